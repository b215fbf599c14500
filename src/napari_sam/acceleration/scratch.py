# SPDX-License-Identifier: Apache-2.0
"""Memory that stays, for what lies between two operations.

A page of memory costs as much when it is touched for the first time as thousands of
products; and large memory goes back to the system as soon as it is free.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from threading import local
from typing import TYPE_CHECKING
from weakref import finalize

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


class Scratch:
    """Memory that is used again and again, so that none has to be mapped anew.

    Parameters
    ----------
    dtype : torch.dtype
        What it holds where nothing else is said.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._flat: dict[str, Tensor] = {}

    def __call__(
        self, name: str, *shape: int, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Return memory of a shape; what is in it is what was left there."""
        size = math.prod(shape)
        flat = self._flat.get(name)
        if flat is None or len(flat) < size:
            # Memory made in inference mode could not be written to outside of it.
            with torch.inference_mode(mode=False):
                flat = torch.empty(size, dtype=dtype or self._dtype)
            self._flat[name] = flat
        return flat[:size].view(shape)


class OwnScratch(local):
    """Scratch memory in float32; every thread has its own."""

    def __init__(self) -> None:
        self._scratch = Scratch(torch.float32)

    def get(self, name: str, *shape: int) -> Tensor:
        """Return memory of a shape, holding anything.

        What an earlier call of this name returned must not be needed any more.
        """
        return self._scratch(name, *shape)


class ScratchPool:
    """Scratch memory for as many threads as ask for some at the same time.

    Parameters
    ----------
    dtype : torch.dtype
        See `Scratch`.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._idle: list[Scratch] = []

    @contextmanager
    def lend(self) -> Iterator[Scratch]:
        """Lend memory that nobody else has meanwhile."""
        try:
            scratch = self._idle.pop()
        except IndexError:
            scratch = Scratch(self._dtype)
        try:
            yield scratch
        finally:
            self._idle.append(scratch)


class Lease:
    """A tensor out of a `Pool`, which gets it back when nobody has the lease."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class Pool:
    """Tensors of one size that are used again and again.

    Parameters
    ----------
    shape : tuple of int
    max_kept : int
        Tensors that are kept while nobody needs them.
    """

    def __init__(self, shape: tuple[int, ...], max_kept: int = 16) -> None:
        self._shape = shape
        self._max_kept = max_kept
        self._free: list[Tensor] = []

    def lease(self) -> Lease:
        """Return a float32 tensor holding anything."""
        try:
            tensor = self._free.pop()
        except IndexError:
            tensor = torch.empty(self._shape)
        lease = Lease(tensor)
        finalize(lease, self._take_back, tensor)
        return lease

    def _take_back(self, tensor: Tensor) -> None:
        if len(self._free) < self._max_kept:
            self._free.append(tensor)

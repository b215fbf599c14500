# SPDX-License-Identifier: Apache-2.0
"""Products with fixed weights, in the fastest way that this processor has.

PyTorch multiplies float32 on the CPU through MKL, which is at its best on Intel only.
oneDNN, the other library within PyTorch, takes weights that were put into its own
order beforehand; on AMD it is about twice as fast, and knows bfloat16. The operations
that reach it are private to PyTorch: nothing outside this module knows them, they are
tried before use, and without them everything runs as `torch.nn.functional.linear`.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

Activation = Literal["gelu"] | None

# The other way has to win by this factor: packed weights take memory twice.
WORTH = 1.25
# Rows and widths (m, k, n) of the products that are timed, for few and for many rows.
FEW_ROWS = 64
_TRIALS = {"few": (16, 256, 256), "many": (256, 512, 512)}
_ROUNDS = 7
# What an operation that is absent, or has another signature, raises.
_ABSENT = (AttributeError, NotImplementedError, RuntimeError, TypeError)


class Product:
    """``activation(x @ weight.T + bias)``, as in a linear layer.

    Which way is the fastest was measured once in this process, in a few milliseconds.
    No gradients pass.

    Parameters
    ----------
    weight : (N, K) float32 tensor
        Read again at every product, or copied into another order.
    bias : (N,) float32 tensor or None
    activation : "gelu" or None
        The exact one (with erf).
    rows : int
        About how many rows x will have.
    dtype : torch.dtype
        float32, or bfloat16 where the processor multiplies faster in it.

    Attributes
    ----------
    dtype : torch.dtype
        Precision of the product: float32 where bfloat16 was allowed but not faster.
    width : int
        Channels N of the result.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        activation: Activation = None,
        rows: int = 4096,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.width = len(weight)
        weight = weight.detach()
        bias = None if bias is None else bias.detach()
        self.dtype = best_dtype(dtype, rows) if weight.device.type == "cpu" else dtype
        is_packed = weight.device.type == "cpu" and _is_packing_faster(
            _kind(rows), self.dtype
        )
        self._way = (_Packed if is_packed else _Plain)(
            weight, bias, activation, rows, self.dtype
        )

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Multiply x (..., K): (..., N).

        Parameters
        ----------
        x : (..., K) tensor
            Converted to the product's precision.
        out : (..., N) tensor, optional
            Memory for the result, of any precision, with rows at even distances.

        Returns
        -------
        (..., N) tensor
            ``out``, or a new one in the precision of the product.
        """
        flat = self._flat(x)
        if out is None:
            y = self._way(flat)
            return y if x.ndim == 2 else y.view(*x.shape[:-1], self.width)
        self._way.write(flat, out.view(-1, self.width))
        return out

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """Multiply x (..., K) and add ``other`` (..., N), whose memory may be used."""
        flat = self._flat(x)
        if other.ndim == 2:
            return self._way.plus(flat, other)
        return self._way.plus(flat, other.view(-1, self.width)).view(other.shape)

    def add(self, x: Tensor, to: Tensor) -> None:
        """Multiply x (..., K) and add the result to memory (..., N)."""
        total = self.plus(x, to)
        if total is not to and total.data_ptr() != to.data_ptr():
            to.copy_(total)

    def _flat(self, x: Tensor) -> Tensor:
        """Return x as a matrix in the product's precision.

        Even a call that changes nothing lets go of Python's lock, and has to wait for
        it where several threads compute.
        """
        flat = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
        return flat if flat.dtype is self.dtype else flat.to(self.dtype)


def best_dtype(dtype: torch.dtype, rows: int = 4096) -> torch.dtype:
    """Return the precision that `Product` computes in on the CPU.

    bfloat16 becomes float32 where this processor is no faster in it.
    """
    if dtype is torch.bfloat16 and not _is_bfloat16_faster(_kind(rows)):
        return torch.float32
    return dtype


class _Plain:
    """Through `torch.nn.functional.linear` or the product behind it."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        activation: Activation,
        rows: int,
        dtype: torch.dtype,
    ) -> None:
        del rows
        self._weight = weight.to(dtype)
        self._bias = None if bias is None else bias.to(dtype)
        self._is_gelu = activation == "gelu"

    def __call__(self, x: Tensor) -> Tensor:
        y = functional.linear(x, self._weight, self._bias)
        return functional.gelu(y) if self._is_gelu else y

    def write(self, x: Tensor, out: Tensor) -> None:
        if out.dtype is not x.dtype:
            out.copy_(self(x))
            return
        if self._bias is None:
            torch.mm(x, self._weight.t(), out=out)
        else:
            torch.addmm(self._bias, x, self._weight.t(), out=out)
        if self._is_gelu:
            torch.ops.aten.gelu_(out)

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        if other.dtype is not x.dtype or self._is_gelu:
            return other.add_(self(x))
        if self._bias is not None:
            other += self._bias
        return other.addmm_(x, self._weight.t())


class _Packed:
    """Through oneDNN, with the weights in its own order."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        activation: Activation,
        rows: int,
        dtype: torch.dtype,
    ) -> None:
        operations: Any = torch.ops.mkldnn
        self._multiply = operations._linear_pointwise  # noqa: SLF001
        weight = weight.to(dtype).contiguous()
        self._weight: Tensor = operations._reorder_linear_weight(weight, rows)  # noqa: SLF001
        self._bias = None if bias is None else bias.to(dtype)
        self._is_gelu = activation == "gelu"

    def __call__(self, x: Tensor) -> Tensor:
        then: tuple[Any, ...] = ("none", [], "")
        if self._is_gelu:
            then = "gelu", [], "none"
        y: Tensor = self._multiply(x, self._weight, self._bias, *then)
        return y

    def write(self, x: Tensor, out: Tensor) -> None:
        out.copy_(self(x))

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        if other.dtype is not x.dtype or self._is_gelu:
            return other.add_(self(x))
        y: Tensor = self._multiply.binary(x, other, self._weight, self._bias, "add")
        return y


def _kind(rows: int) -> str:
    return "few" if rows <= FEW_ROWS else "many"


@cache
def _is_packing_faster(kind: str, dtype: torch.dtype) -> bool:
    """Whether packed weights are there, right, and faster than `linear`."""
    if not _is_packing_right(dtype):
        return False
    plain, packed = _seconds((_Plain, dtype), (_Packed, dtype), kind=kind)
    return packed * WORTH < plain


@cache
def _is_bfloat16_faster(kind: str) -> bool:
    """Whether bfloat16 beats the better of both ways in float32."""
    full, low = (
        (_Packed if _is_packing_faster(kind, dtype) else _Plain, dtype)
        for dtype in (torch.float32, torch.bfloat16)
    )
    in_full, in_low = _seconds(full, low, kind=kind)
    return in_low * WORTH < in_full


@torch.no_grad()
def _seconds(
    *ways: tuple[type[_Plain | _Packed], torch.dtype], kind: str
) -> list[float]:
    """Return the shortest time of each way, tried in turns."""
    m, k, n = _TRIALS[kind]
    x, weight, bias = torch.ones(m, k), torch.ones(n, k), torch.ones(n)
    runs = [(way(weight, bias, None, m, dtype), dtype) for way, dtype in ways]
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(_ROUNDS + 1):  # the first one only warms up
        for (run, dtype), seconds in zip(runs, times, strict=True):
            start = time.perf_counter()
            run(x.to(dtype))
            seconds.append(time.perf_counter() - start)
    return [min(seconds[1:]) for seconds in times]


@cache
@torch.no_grad()
def _is_packing_right(dtype: torch.dtype) -> bool:
    """Whether the private operations are there and answer as `linear` does."""
    draw = torch.Generator().manual_seed(0)
    x, weight, bias = (
        torch.randn(shape, generator=draw) for shape in ((9, 48), (40, 48), (40,))
    )
    tolerance = 0.2 if dtype is torch.bfloat16 else 1e-4
    linear = functional.linear(x, weight, bias)
    try:
        low = x.to(dtype)
        plain = _Packed(weight, bias, None, len(x), dtype)
        gelu = _Packed(weight, bias, "gelu", len(x), dtype)
        errors = (
            plain(low) - linear,
            plain.plus(low, torch.ones_like(linear, dtype=dtype)) - 1 - linear,
            gelu(low) - functional.gelu(linear),
        )
    except _ABSENT:
        return False
    return all(error.abs().max().item() < tolerance for error in errors)

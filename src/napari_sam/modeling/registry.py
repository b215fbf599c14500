# SPDX-License-Identifier: Apache-2.0
"""Names of architectures and the functions that build them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from napari_sam.errors import UnknownModelError
from napari_sam.modeling.sam import Sam

Builder = Callable[[], Sam]
# Modules whose import registers builders; a new family adds its own.
_MODULES = ("napari_sam.modeling.build", "napari_sam.modeling.build_embedded")
_BUILDERS: dict[str, Builder] = {}


def register_model(builder: Builder) -> Builder:
    """Make a function known as the builder of the architecture it is named after.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    name = builder.__name__
    if name in _BUILDERS:
        msg = f"An architecture {name!r} is registered already. Choose another name."
        raise ValueError(msg)
    _BUILDERS[name] = builder
    return builder


def list_architectures() -> tuple[str, ...]:
    """Names that :func:`build_model` accepts."""
    return tuple(_registered())


def build_model(name: str, device: str | torch.device = "cpu") -> Sam:
    """Build an architecture with random weights.

    Parameters
    ----------
    name : str
        One of :func:`list_architectures`.
    device : str or torch.device
        ``"meta"`` allocates no parameters: only names and shapes exist.

    Raises
    ------
    UnknownModelError
        If nothing is registered under the name.
    """
    builders = _registered()
    if name not in builders:
        msg = f"Unknown architecture {name!r}. Choose one of: {', '.join(builders)}."
        raise UnknownModelError(msg)
    return build_on(builders[name], device)


def build_on(builder: Builder, device: str | torch.device) -> Sam:
    """Call a builder so that its parameters appear on ``device``."""
    place = torch.device(device)
    with place, _LiteralsStayReal() if place.type == "meta" else nullcontext():
        return builder()


class _LiteralsStayReal(TorchFunctionMode):
    """Keep tensors made from given numbers off the meta device.

    Pixel statistics and the like are in no weights file, so a model built without
    storage has to know their values all the same.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.tensor:
            kwargs.setdefault("device", "cpu")
        return func(*args, **kwargs)


def _registered() -> dict[str, Builder]:
    for module in _MODULES:
        importlib.import_module(module)
    return _BUILDERS

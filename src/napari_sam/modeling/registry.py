# SPDX-License-Identifier: Apache-2.0
"""Names of architectures and the functions that build them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
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
    with place, _ShapesOnly() if place.type == "meta" else nullcontext():
        return builder()


class _ShapesOnly(TorchFunctionMode):
    """Build on the meta device without what makes it slow or loses values.

    Tensors made from given numbers (pixel statistics and the like, which no weights
    file holds) stay real. So do plain random ones, and layers are not initialised:
    torch imports its compiler, which takes seconds, for such operations on the meta
    device.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.randn):
            kwargs.setdefault("device", "cpu")
        if getattr(func, "__module__", None) == nn.init.__name__:
            return kwargs.get("tensor", args[0] if args else None)
        return func(*args, **kwargs)


def _registered() -> dict[str, Builder]:
    for module in _MODULES:
        importlib.import_module(module)
    return _BUILDERS

# SPDX-License-Identifier: Apache-2.0
"""Low-rank additions to fixed weights (Hu et al. 2022, "LoRA").

A layer with weight W answers with W x + scale * B (A x); only A (rank r, inputs) and B
(outputs, r) learn, and B begins at zero. Saved weights are W + scale * B A under the
names of the plain model.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator

DOWN, UP = "lora_down", "lora_up"


class LoraLinear(nn.Linear):
    """A linear layer with a low-rank addition; takes over the layer's parameters."""

    def __init__(self, plain: nn.Linear, rank: int, scale: float) -> None:
        super().__init__(
            plain.in_features, plain.out_features, bias=False, device="meta"
        )
        self.weight, self.bias = plain.weight, plain.bias
        self.scale = scale
        self.lora_down, self.lora_up = _start(plain.weight, rank)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        low = functional.linear(functional.linear(x, self.lora_down), self.lora_up)
        return functional.linear(x, self.weight, self.bias) + self.scale * low

    def merged(self) -> nn.Linear:
        """Return the plain layer that answers the same."""
        widths = self.in_features, self.out_features
        plain = nn.Linear(*widths, bias=False, device="meta")
        plain.weight, plain.bias = _merged_weight(self), self.bias
        return plain.train(self.training)


class LoraPointwise(nn.Conv2d):
    """The same for a convolution of single places."""

    def __init__(self, plain: nn.Conv2d, rank: int, scale: float) -> None:
        widths = plain.in_channels, plain.out_channels
        super().__init__(*widths, kernel_size=1, bias=False, device="meta")
        self.weight, self.bias = plain.weight, plain.bias
        self.scale = scale
        self.lora_down, self.lora_up = _start(plain.weight, rank)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        down, up = self.lora_down[..., None, None], self.lora_up[..., None, None]
        low = functional.conv2d(functional.conv2d(x, down), up)
        return functional.conv2d(x, self.weight, self.bias) + self.scale * low

    def merged(self) -> nn.Conv2d:
        """Return the plain layer that answers the same."""
        widths = self.in_channels, self.out_channels
        plain = nn.Conv2d(*widths, kernel_size=1, bias=False, device="meta")
        plain.weight, plain.bias = _merged_weight(self), self.bias
        return plain.train(self.training)


LoraLayer = LoraLinear | LoraPointwise


def _start(weight: Tensor, rank: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Return A as a linear layer begins, and B as zeros."""
    outputs, inputs = weight.shape[:2]
    down = weight.new_empty(rank, inputs)
    nn.init.kaiming_uniform_(down, a=math.sqrt(5))
    return nn.Parameter(down), nn.Parameter(weight.new_zeros(outputs, rank))


@torch.no_grad()
def _merged_weight(layer: LoraLayer) -> nn.Parameter:
    low = layer.scale * (layer.lora_up @ layer.lora_down)
    merged = layer.weight + low.view_as(layer.weight)
    return nn.Parameter(merged, requires_grad=False)


def add_lora(module: nn.Module, rank: int, scale: float) -> int:
    """Give all linear layers and convolutions of single places low-rank additions.

    Layers not wider than twice the rank are left alone: nothing would be saved.

    Returns
    -------
    int
        Number of layers that have one now; all their other parameters are fixed.
    """
    module.requires_grad_(requires_grad=False)
    found = 0
    for parent, name, child in list(_children(module)):
        made = _with_addition(child, rank, scale)
        if made is not None:
            setattr(parent, name, made)
            found += 1
    return found


def merge_lora(module: nn.Module) -> None:
    """Make plain layers with merged weights of all layers with additions."""
    for parent, name, child in list(_children(module)):
        if isinstance(child, LoraLayer):
            setattr(parent, name, child.merged())


@contextmanager
def merged_lora(module: nn.Module) -> Iterator[None]:
    """Have plain layers with merged weights for a while.

    What reads weights without calling their layers then sees the trained ones.
    """
    before = list(_children(module))
    merge_lora(module)
    try:
        yield
    finally:
        for parent, name, child in before:
            setattr(parent, name, child)


def _with_addition(layer: nn.Module, rank: int, scale: float) -> LoraLayer | None:
    """Return the layer with an addition, or None if it is not for one."""
    if isinstance(layer, LoraLayer):
        return None
    if isinstance(layer, nn.Linear):
        is_wide = min(layer.weight.shape) > 2 * rank
        return LoraLinear(layer, rank, scale) if is_wide else None
    if isinstance(layer, nn.Conv2d) and _is_pointwise(layer):
        is_wide = min(layer.weight.shape[:2]) > 2 * rank
        return LoraPointwise(layer, rank, scale) if is_wide else None
    return None


def _is_pointwise(conv: nn.Conv2d) -> bool:
    shape = (conv.kernel_size, conv.stride, conv.groups)
    return shape == ((1, 1), (1, 1), 1) and conv.padding in ((0, 0), "valid")


def _children(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Yield parent, name and module of everything inside a module."""
    for parent in module.modules():
        for name, child in parent.named_children():
            yield parent, name, child

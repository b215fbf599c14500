# SPDX-License-Identifier: Apache-2.0
"""The fast form of `LiteImageEncoder`, the embedded model's, on a CPU.

The same convolutions in channels-last memory, each with its activation or the sum after
it in one pass; large maps are worked through in bands of rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from napari_sam.acceleration.bottleneck import Bottleneck
from napari_sam.acceleration.convolutions import (
    Activation,
    Convolution,
    channel_norm,
    image_order,
)
from napari_sam.acceleration.products import best_dtype
from napari_sam.modeling.device import compute_in
from napari_sam.modeling.features import ImageFeatures
from napari_sam.modeling.image_encoder_lite import STRIDE_8, TAPPED

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from napari_sam.modeling.image_encoder_lite import (
        InvertedResidual,
        LiteImageEncoder,
    )


class FastLiteEncoder:
    """Called like the encoder; made of its weights as they are then.

    Parameters
    ----------
    encoder : LiteImageEncoder
        On the CPU.
    dtype : torch.dtype, optional
        Precision of the convolutions; results are float32. Without, the encoder's own,
        but float32 where this processor multiplies no faster in bfloat16.
    """

    def __init__(
        self, encoder: LiteImageEncoder, dtype: torch.dtype | None = None
    ) -> None:
        if dtype is None:
            dtype = best_dtype(encoder.compute_dtype)
        self._stem = pack(encoder.stem, dtype, "relu6")
        stages: Any = encoder.stages
        self._stages = [
            [_inverted_residual(block, dtype) for block in stage] for stage in stages
        ]
        self._lateral = [pack(layer, dtype) for layer in encoder.lateral]
        self._down = [pack(layer, dtype) for layer in encoder.down]
        self._smooth = [_Smoothing(layers, dtype) for layers in encoder.smooth]
        self._norm = encoder.norm

    @torch.no_grad()
    def __call__(
        self, x: Tensor, check: Callable[[], None] | None = None
    ) -> ImageFeatures:
        """Encode frames (B, 3, S, S); see the encoder.

        ``check`` is called between stages.
        """
        # The precision is chosen here, layer by layer: an autocast around us is off.
        with compute_in(torch.float32, x.device):
            images = [self._encode(frame[None], check) for frame in x]
        embedding, *finer = (
            maps[0] if len(maps) == 1 else torch.cat(maps)
            for maps in zip(*images, strict=True)
        )
        return ImageFeatures(embedding, tuple(finer))

    def _encode(
        self, frame: Tensor, check: Callable[[], None] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the embedding of one frame and the maps at strides 4 and 2."""
        x = self._stem(frame.contiguous(memory_format=torch.channels_last))
        maps = []
        for i, stage in enumerate(self._stages):
            if check is not None:
                check()
            for block in stage:
                x = block(x)
            if i in TAPPED:
                maps.append(x)
        levels = self._pyramid(maps)
        norm = self._norm
        embedding = channel_norm(levels[STRIDE_8], norm.eps, norm.weight, norm.bias)
        return tuple(image_order(m) for m in (embedding, levels[1], levels[0]))  # type: ignore[return-value]

    def _pyramid(self, maps: list[Tensor]) -> list[Tensor]:
        """Carry what the coarse maps know down to the finest; finest level first."""
        level = self._smooth[-1](self._lateral[-1](maps[-1]).float())
        levels = [level]
        for i in range(len(maps) - 2, -1, -1):
            level = functional.interpolate(
                self._down[i](level).float(), scale_factor=2.0, mode="bilinear"
            )
            self._lateral[i].add_to(level, maps[i])
            levels.append(self._smooth[i](level))
        return levels[::-1]


class _Smoothing:
    """Adds to a map what three convolutions make of it."""

    def __init__(self, layers: nn.Module, dtype: torch.dtype) -> None:
        depthwise, pointwise, _, project = layers.children()
        self._depthwise = pack(depthwise, dtype)
        self._pointwise = pack(pointwise, dtype, "relu")
        self._project = pack(project, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """Change x (1, C, H, W) in place, and return it."""
        self._project.add_to(x, self._pointwise(self._depthwise(x)))
        return x


def _inverted_residual(block: InvertedResidual, dtype: torch.dtype) -> Bottleneck:
    expand = pack(block.expand, dtype, "relu6") if block.has_expansion else None
    return Bottleneck(
        expand,
        pack(block.depthwise, dtype, "relu6"),
        pack(block.project, dtype),
        has_shortcut=block.has_shortcut,
    )


def pack(layer: Any, dtype: torch.dtype, activation: Activation = None) -> Convolution:
    """Make the fast form of an `nn.Conv2d` whose padding is half its kernel."""
    return Convolution(
        layer.weight,
        layer.bias,
        stride=layer.stride[0],
        groups=layer.groups,
        activation=activation,
        dtype=dtype,
    )

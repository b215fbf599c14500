# SPDX-License-Identifier: Apache-2.0
"""The embedded model's image encoder: EfficientNet-Lite0 and a feature pyramid.

Tan & Le 2019 in the "lite" form without squeeze-and-excitation (ReLU6 throughout), with
batch normalisation folded into the convolutions, and a pyramid as in Lin et al. 2017
down to stride 8. B images, S pixels along a side of the frame.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_sam.modeling.common import LayerNorm2d
from napari_sam.modeling.device import compute_in
from napari_sam.modeling.sam import ImageFeatures

if TYPE_CHECKING:
    from collections.abc import Callable

STEM_CHANNELS = 32
# (repeats, kernel, stride of the first block, expansion, output channels)
STAGES = (
    (1, 3, 1, 1, 16),  # stride 2
    (2, 3, 2, 6, 24),  # stride 4
    (2, 5, 2, 6, 40),  # stride 8
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),  # stride 16
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),  # stride 32
)
STRIDE_2, STRIDE_4 = 0, 1  # indices of the stages with the finer maps
PYRAMID = (2, 4, 6)  # stages at strides 8, 16, 32


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; with a shortcut where shapes allow."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = (
            nn.Conv2d(inputs, hidden, kernel_size=1) if expansion > 1 else nn.Identity()
        )
        self.depthwise = nn.Conv2d(
            hidden, hidden, kernel, stride, padding=kernel // 2, groups=hidden
        )
        self.project = nn.Conv2d(hidden, outputs, kernel_size=1)
        self.has_shortcut = stride == 1 and inputs == outputs
        self.has_expansion = expansion > 1

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        hidden = functional.relu6(self.expand(x)) if self.has_expansion else x
        hidden = functional.relu6(self.depthwise(hidden))
        out: Tensor = self.project(hidden)
        return x + out if self.has_shortcut else out


class LiteImageEncoder(nn.Module):
    """Features at strides 8, 4 and 2.

    Parameters
    ----------
    out_chans : int
        Channels C of the stride-8 embedding; the finer maps have C/4 and C/8.

    Attributes
    ----------
    compute_dtype : torch.dtype
        Precision of the convolutions; weights and results stay float32.
    """

    def __init__(self, out_chans: int = 128) -> None:
        super().__init__()
        self.compute_dtype = torch.float32
        self.stem = nn.Conv2d(3, STEM_CHANNELS, kernel_size=3, stride=2, padding=1)
        self.stages = nn.ModuleList()
        inputs = STEM_CHANNELS
        for repeats, kernel, stride, expansion, outputs in STAGES:
            blocks = []
            for i in range(repeats):
                blocks.append(
                    InvertedResidual(
                        inputs, outputs, kernel, stride if i == 0 else 1, expansion
                    )
                )
                inputs = outputs
            self.stages.append(nn.Sequential(*blocks))
        width = {i: stage[-1] for i, stage in enumerate(STAGES)}
        self.lateral = nn.ModuleList(
            nn.Conv2d(width[i], out_chans, kernel_size=1) for i in PYRAMID
        )
        self.smooth = nn.ModuleList(_separable(out_chans) for _ in PYRAMID)
        self.norm = LayerNorm2d(out_chans)
        # Finer maps begin at nothing: training first learns where prompts point.
        self.stride_4 = _zero_conv(width[STRIDE_4], out_chans // 4)
        self.stride_2 = _zero_conv(width[STRIDE_2], out_chans // 8)

    def forward(
        self, x: Tensor, check: Callable[[], None] | None = None
    ) -> ImageFeatures:
        """Encode (B, 3, S, S) as (B, C, S/8, S/8) and two finer maps, all float32.

        ``check`` is called between stages and may raise to stop.
        """
        is_low = self.compute_dtype is not torch.float32
        # At float32 an autocast around us holds: training uses one.
        with compute_in(self.compute_dtype, x.device) if is_low else nullcontext():
            x = functional.relu6(self.stem(x))
            maps = []
            for stage in self.stages:
                if check is not None:
                    check()
                x = stage(x)
                maps.append(x)
            level = self._pyramid([maps[i] for i in PYRAMID])
            stride_4 = self.stride_4(maps[STRIDE_4])
            stride_2 = self.stride_2(maps[STRIDE_2])
        return ImageFeatures(
            self.norm(level.float()), (stride_4.float(), stride_2.float())
        )

    def _pyramid(self, maps: list[Tensor]) -> Tensor:
        """Carry what the coarse maps know down to the finest, (B, C, S/8, S/8)."""
        laterals = [lateral(x) for lateral, x in zip(self.lateral, maps, strict=True)]
        out: Tensor = laterals[-1] + self.smooth[-1](laterals[-1])
        for here, smooth in zip(laterals[-2::-1], self.smooth[-2::-1], strict=True):
            level = here + functional.interpolate(out, scale_factor=2.0)
            out = level + smooth(level)
        return out


def _separable(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, kernel_size=5, padding=2, groups=channels),
        nn.Conv2d(channels, channels, kernel_size=1),
        nn.GELU(),
        nn.Conv2d(channels, channels, kernel_size=1),
    )


def _zero_conv(inputs: int, outputs: int) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, kernel_size=1)
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv

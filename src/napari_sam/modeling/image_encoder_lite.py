# SPDX-License-Identifier: Apache-2.0
"""The embedded model's image encoder: EfficientNet-Lite0 and a pyramid to stride 2.

Tan & Le 2019 in the "lite" form without squeeze-and-excitation (ReLU6 throughout), with
batch normalisation folded into the convolutions, and a pyramid as in Lin et al. 2017
whose levels become narrower as they become finer. B images, S pixels along a side of
the frame. There is no position code: a frame of any size with sides divisible by 32
will do.
"""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_sam.modeling.common import LayerNorm2d
from napari_sam.modeling.device import compute_in
from napari_sam.modeling.features import ImageFeatures

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
TAPPED = (0, 1, 2, 4, 6)  # last stages at strides 2, 4, 8, 16, 32
WIDTHS = (16, 32, 96, 128, 128)  # of the pyramid at those strides
STRIDE_8 = 2  # index in TAPPED of the level that becomes the embedding


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

    Attributes
    ----------
    compute_dtype : torch.dtype
        Precision of the convolutions; weights and results stay float32.
    """

    def __init__(self) -> None:
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
        tapped = [STAGES[i][-1] for i in TAPPED]
        self.lateral = nn.ModuleList(
            nn.Conv2d(tap, width, kernel_size=1)
            for tap, width in zip(tapped, WIDTHS, strict=True)
        )
        self.down = nn.ModuleList(  # from each level's width to the next finer one's
            nn.Conv2d(coarse, fine, kernel_size=1)
            for fine, coarse in itertools.pairwise(WIDTHS)
        )
        self.smooth = nn.ModuleList(_separable(width) for width in WIDTHS)
        self.norm = LayerNorm2d(WIDTHS[STRIDE_8])

    def forward(
        self, x: Tensor, check: Callable[[], None] | None = None
    ) -> ImageFeatures:
        """Encode (B, 3, S, S) as (B, 96, S/8, S/8) and two finer maps, all float32.

        ``check`` is called between stages and may raise to stop.
        """
        is_low = self.compute_dtype is not torch.float32
        # At float32 an autocast around us holds: training uses one.
        with compute_in(self.compute_dtype, x.device) if is_low else nullcontext():
            x = functional.relu6(self.stem(x))
            maps = []
            for i, stage in enumerate(self.stages):
                if check is not None:
                    check()
                x = stage(x)
                if i in TAPPED:
                    maps.append(x)
            levels = self._pyramid(maps)
        return ImageFeatures(
            self.norm(levels[STRIDE_8].float()),
            (levels[1].float(), levels[0].float()),
        )

    def _pyramid(self, maps: list[Tensor]) -> list[Tensor]:
        """Carry what the coarse maps know down to the finest; finest level first."""
        level = self.lateral[-1](maps[-1])
        level = level + self.smooth[-1](level)
        levels = [level]
        for i in range(len(maps) - 2, -1, -1):
            coarse = functional.interpolate(
                self.down[i](level), scale_factor=2.0, mode="bilinear"
            )
            level = self.lateral[i](maps[i]) + coarse
            level = level + self.smooth[i](level)
            levels.append(level)
        return levels[::-1]


def _separable(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, kernel_size=5, padding=2, groups=channels),
        nn.Conv2d(channels, channels, kernel_size=1),
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel_size=1),
    )

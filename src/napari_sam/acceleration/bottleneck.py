# SPDX-License-Identifier: Apache-2.0
"""Widen, mix each channel over its neighbourhood, narrow: in bands of rows.

What MobileNet (Sandler et al. 2018) calls an inverted residual. The wide map in between
is the largest of its network and never exists as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam.acceleration.convolutions import (
    Activation,
    Convolution,
    activate_into,
    empty_map,
    even_bands,
)

if TYPE_CHECKING:
    from torch import Tensor


class Bottleneck:
    """Three convolutions.

    Parameters
    ----------
    widen : Convolution or None
        Of single pixels, with its activation; None if the input is wide enough.
    mix : Convolution
        With its stride and activation.
    narrow : Convolution
        Of single pixels.
    has_shortcut : bool
        Whether the input is added to the result.
    activation : "gelu", "relu6" or None
        Of the result.
    """

    def __init__(
        self,
        widen: Convolution | None,
        mix: Convolution,
        narrow: Convolution,
        *,
        has_shortcut: bool = False,
        activation: Activation = None,
    ) -> None:
        self._widen = widen
        self._mix = mix
        self._narrow = narrow
        self._has_shortcut = has_shortcut
        self._activation = activation

    def __call__(self, x: Tensor) -> Tensor:
        """Map (1, C, H, W) to a new (1, D, H / stride, W / stride), float32."""
        height, width = x.shape[2:]
        mix, narrow = self._mix, self._narrow
        out = empty_map(narrow.n_outputs, mix.size(height), mix.size(width))
        wide_values = x.shape[1] if self._widen is None else self._widen.n_outputs
        wide_values *= width * -(-height // out.shape[2])  # for a row of the result
        for start, stop in even_bands(out.shape[2], wide_values):
            rows = mix.rows_for(start, stop, height)
            wide = x[:, :, rows.start : rows.stop]
            if self._widen is not None:
                wide = self._widen(wide)
            mixed = mix.in_rows(wide, rows)
            if self._has_shortcut:
                narrowed = narrow.plus(x[:, :, start:stop], mixed)
            else:
                narrowed = narrow(mixed)
            activate_into(out[:, :, start:stop], narrowed, self._activation)
        return out

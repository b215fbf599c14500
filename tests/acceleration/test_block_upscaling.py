# SPDX-License-Identifier: Apache-2.0
"""Drawing block by block is the plain form in another order."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_sam.acceleration import block_upscaling
from napari_sam.modeling.mask_decoder import DecodedTokens, MaskDecoder

C, ROWS, COLUMNS = 32, 3, 5


@pytest.fixture(scope="module")
def decoder() -> MaskDecoder:
    torch.manual_seed(0)
    module = MaskDecoder(C, nn.Identity())
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module.eval().requires_grad_(False)


def finer_maps(batch: int) -> tuple[torch.Tensor, ...]:
    return (
        torch.randn(batch, C // 4, 2 * ROWS, 2 * COLUMNS),
        torch.randn(batch, C // 8, 4 * ROWS, 4 * COLUMNS),
    )


@pytest.mark.parametrize("n_masks", [1, 4])
@pytest.mark.parametrize(("batch", "n_maps"), [(1, 0), (1, 1), (3, 0), (3, 1), (3, 3)])
def test_drawing_in_blocks_is_the_plain_form(decoder, batch, n_maps, n_masks) -> None:
    torch.manual_seed(1)
    image = torch.randn(batch, C, ROWS, COLUMNS)
    hyper = torch.randn(batch, n_masks, C // 8)
    finer = finer_maps(n_maps) if n_maps else ()
    iou = torch.zeros(batch, n_masks)
    expected = decoder.draw(DecodedTokens(iou, hyper, image), finer)
    upscaling = decoder.output_upscaling
    maps = block_upscaling.arrange(upscaling, finer)
    places = image.flatten(2).transpose(1, 2)
    got = block_upscaling.draw(upscaling, places, hyper, maps, (ROWS, COLUMNS))
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-5)

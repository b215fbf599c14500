# SPDX-License-Identifier: Apache-2.0
"""Drawing block by block is the plain form in another order."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_sam.modeling.mask_upscaling import MaskUpscaling

C, ROWS, COLUMNS = 32, 3, 5


@pytest.fixture(scope="module")
def upscaling() -> MaskUpscaling:
    torch.manual_seed(0)
    module = MaskUpscaling(C)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module.eval().requires_grad_(False)


def finer_maps(batch: int) -> tuple[torch.Tensor, ...]:
    return (
        torch.randn(batch, C // 4, 2 * ROWS, 2 * COLUMNS),
        torch.randn(batch, C // 8, 4 * ROWS, 4 * COLUMNS),
    )


def plain(
    module: MaskUpscaling, image: torch.Tensor, finer: tuple[torch.Tensor, ...]
) -> torch.Tensor:
    if not finer:
        return module(image)
    first, norm, gelu1, second, gelu2 = module
    return gelu2(second(gelu1(norm(first(image) + finer[0]))) + finer[1])


@pytest.mark.parametrize("n_masks", [1, 4])
@pytest.mark.parametrize(("batch", "n_maps"), [(1, 0), (1, 1), (3, 0), (3, 1), (3, 3)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_drawing_in_blocks_is_the_plain_form(
    upscaling, batch, n_maps, n_masks, layout
) -> None:
    torch.manual_seed(1)
    image = torch.randn(batch, C, ROWS, COLUMNS).contiguous(memory_format=layout)
    hyper = torch.randn(batch, n_masks, C // 8)
    finer = finer_maps(n_maps) if n_maps else ()
    expected = torch.einsum("bnc,bchw->bnhw", hyper, plain(upscaling, image, finer))
    got = upscaling.draw(image, hyper, upscaling.arrange(finer))
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-5)


def test_keys_of_published_weights_stay(upscaling) -> None:
    assert set(upscaling.state_dict()) == {
        f"{i}.{name}" for i in (0, 1, 3) for name in ("weight", "bias")
    }

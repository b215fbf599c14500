# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from napari_sam.errors import Cancelled
from napari_sam.modeling.image_encoder_vit import ImageEncoderViT


@pytest.fixture
def encoder() -> ImageEncoderViT:
    torch.manual_seed(0)
    model = ImageEncoderViT(
        image_size=32,
        patch_size=4,
        embed_dim=12,
        depth=3,
        num_heads=3,
        mlp_dim=20,
        out_chans=5,
        global_attn_indexes=(1,),
        window_size=3,
    )
    return model.eval().requires_grad_(False)


def test_shapes_windows_and_tables(encoder: ImageEncoderViT) -> None:
    assert encoder(torch.randn(2, 3, 32, 32)).shape == (2, 5, 8, 8)
    assert [block.window_size for block in encoder.blocks] == [3, 0, 3]
    lengths = [len(block.attn.rel_pos_h) for block in encoder.blocks]
    assert lengths == [5, 15, 5]


def test_position_table_is_rows_then_columns(encoder: ImageEncoderViT) -> None:
    x = torch.randn(1, 3, 32, 32)
    before = encoder(x)
    encoder.pos_embed[0, 0, 7] += torch.randn(12)  # top right
    change = (encoder(x) - before).abs().mean(1)[0]
    assert change[0, 7] > 10 * change[7, 0]


def test_images_of_a_batch_do_not_mix(encoder: ImageEncoderViT) -> None:
    x = torch.randn(3, 3, 32, 32)
    one_by_one = torch.cat([encoder(image[None]) for image in x])
    torch.testing.assert_close(encoder(x), one_by_one, atol=1e-5, rtol=1e-5)


def test_check_runs_before_each_block_and_can_stop(encoder: ImageEncoderViT) -> None:
    calls = []
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(encoder(x, check=lambda: calls.append(1)), encoder(x))
    assert len(calls) == 3

    def stop_at_second() -> None:
        calls.append(2)
        if calls.count(2) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        encoder(x, check=stop_at_second)
    assert calls.count(2) == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_near_and_returns_float32(
    encoder: ImageEncoderViT, dtype: torch.dtype
) -> None:
    x = torch.randn(1, 3, 32, 32)
    exact = encoder(x)
    encoder.compute_dtype = dtype
    low = encoder(x)
    assert low.dtype == torch.float32
    assert not torch.equal(low, exact)
    assert (low - exact).abs().max() < 0.1 * exact.std()


def test_an_outer_autocast_does_not_change_float32(encoder: ImageEncoderViT) -> None:
    x = torch.randn(1, 3, 32, 32)
    exact = encoder(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(encoder(x), exact)

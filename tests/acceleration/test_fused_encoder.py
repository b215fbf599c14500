# SPDX-License-Identifier: Apache-2.0
"""Fused attention and the encoder around it against the plain form."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from napari_sam.acceleration.fused_attention import FusedAttention
from napari_sam.acceleration.fused_encoder import FusedViT
from napari_sam.errors import Cancelled
from napari_sam.modeling.device import compute_in
from napari_sam.modeling.image_encoder_vit import ImageEncoderViT
from napari_sam.modeling.registry import build_model
from napari_sam.modeling.vit_blocks import RelativeAttention

LOW = torch.bfloat16


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def max_error(device: torch.device) -> float:
    """On outputs of unit deviation; GPUs sum in another order each."""
    return 2e-5 if device.type == "cpu" else 1e-4


def randomised(module: nn.Module) -> nn.Module:
    """Draw everything: zeros in biases and positions would hide errors."""
    for key, value in module.state_dict().items():
        if "rel_pos" in key or "pos_embed" in key:
            value.normal_()
        elif value.ndim < 2:
            value.normal_(mean=float(key.endswith("weight")), std=0.3)
        else:
            value.normal_(std=1.4 * value[0].numel() ** -0.5)
    return module.eval().requires_grad_(requires_grad=False)


def small_encoder(window_size: int = 3, image_size: int = 32) -> ImageEncoderViT:
    encoder = ImageEncoderViT(
        image_size=image_size,
        patch_size=4,
        embed_dim=24,
        depth=4,
        num_heads=3,
        mlp_dim=40,
        out_chans=10,
        global_attn_indexes=(1, 3),
        window_size=window_size,
    )
    randomised(encoder)
    return encoder


def error(got: Tensor, wanted: Tensor) -> float:
    """Largest difference on the scale of the outputs' deviation."""
    assert got.shape == wanted.shape
    return ((got - wanted).abs().max() / wanted.std()).item()


def spread(got: Tensor, wanted: Tensor) -> float:
    """Root mean square of the difference on the same scale."""
    return ((got - wanted).square().mean().sqrt() / wanted.std()).item()


@pytest.mark.parametrize("size", [1, 5, 14])
@pytest.mark.parametrize("heads", [1, 3])
def test_attention_is_the_plain_one(device, size: int, heads: int) -> None:
    """Sides whose one-hot columns need filling up, and one that does not."""
    plain = randomised(RelativeAttention(16 * heads, heads, size)).to(device)
    x = torch.randn(2, size, size, 16 * heads, device=device)
    qkv = plain.qkv(x).unflatten(-1, (3, heads, 16))
    mixed = FusedAttention(plain, torch.float32)(qkv)
    assert error(plain.proj(mixed.flatten(-2)), plain(x)) < max_error(device)


def test_attention_takes_any_leading_axes() -> None:
    attention = FusedAttention(randomised(RelativeAttention(8, 1, 4)), torch.float32)
    qkv = torch.randn(2, 3, 5, 4, 4, 3, 1, 8)
    one_by_one = torch.stack([attention(part) for part in qkv.flatten(0, 2)])
    torch.testing.assert_close(attention(qkv).flatten(0, 2), one_by_one)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("window_size", [3, 4, 8, 11])
def test_same_as_the_plain_form(device, window_size: int, batch: int) -> None:
    """Windows that divide the grid of 8, that do not, and one larger than it."""
    encoder = small_encoder(window_size).to(device)
    x = torch.randn(batch, 3, 32, 32, device=device)
    fast = FusedViT(encoder)(x)
    assert fast.is_contiguous()
    assert fast.dtype is torch.float32
    assert error(fast, encoder(x)) < max_error(device)


@pytest.mark.parametrize("image_size", [4, 12, 28])
def test_odd_grids(device, image_size: int) -> None:
    encoder = small_encoder(image_size=image_size).to(device)
    x = torch.randn(2, 3, image_size, image_size, device=device)
    assert error(FusedViT(encoder)(x), encoder(x)) < max_error(device)


def test_frames_together_are_as_alone(device) -> None:
    encoder = small_encoder().to(device)
    fast = FusedViT(encoder)
    x = torch.randn(64, 3, 32, 32, device=device)
    together = fast(x)
    for place in (0, 31, 63):
        alone = fast(x[place : place + 1])
        assert error(together[place : place + 1], alone) < max_error(device)


def test_every_weight_takes_part() -> None:
    """Any two answers above could be equal because a weight is used in neither."""
    encoder = small_encoder()
    x = torch.randn(1, 3, 32, 32)
    before = FusedViT(encoder)(x)
    for name, weight in encoder.named_parameters():
        changed = copy.deepcopy(encoder)
        changed.get_parameter(name).add_(torch.randn_like(weight))
        assert error(FusedViT(changed)(x), before) > 1e-3, name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_no_worse_than_autocast(device, dtype) -> None:
    if device.type == "cpu" and dtype is torch.float16:
        pytest.skip("models compute in float16 on GPUs only")
    encoder = small_encoder().to(device)
    x = torch.randn(4, 3, 32, 32, device=device)
    exact = encoder(x)
    encoder.compute_dtype = dtype
    fast = FusedViT(encoder)(x)
    assert fast.dtype is torch.float32
    assert 1e-5 < spread(fast, exact) < 1.3 * spread(encoder(x), exact)


def test_an_outer_autocast_changes_nothing() -> None:
    encoder = small_encoder()
    x = torch.randn(1, 3, 32, 32)
    expected = FusedViT(encoder)(x)
    with compute_in(LOW, x.device):
        assert torch.equal(FusedViT(encoder)(x), expected)


def test_frames_need_not_be_contiguous() -> None:
    encoder = small_encoder()
    x = torch.randn(2, 32, 32, 3).permute(0, 3, 1, 2)
    assert error(FusedViT(encoder)(x), encoder(x)) < 2e-5


def test_no_gradients_and_no_change_of_what_came() -> None:
    encoder = small_encoder().requires_grad_(requires_grad=True)
    x = torch.randn(1, 3, 32, 32, requires_grad=True)
    before = x.detach().clone()
    assert not FusedViT(encoder)(x).requires_grad
    assert torch.equal(x, before)


def test_check_runs_in_each_block_and_can_stop() -> None:
    fast = FusedViT(small_encoder())
    calls: list[int] = []
    fast(torch.randn(1, 3, 32, 32), lambda: calls.append(1))
    assert len(calls) == 4

    def stop() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        fast(torch.randn(1, 3, 32, 32), stop)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["vit_b", "vit_h"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_full_size_on_a_gpu(gpu, name: str, dtype: torch.dtype) -> None:
    """The sizes of SAM's own models have a kernel, and it is right."""
    encoder = randomised(build_model(name).image_encoder).to(gpu)
    x = torch.randn(2, 3, 1024, 1024, device=gpu)
    exact = encoder(x)
    encoder.compute_dtype = dtype
    fast = FusedViT(encoder)(x)
    if dtype is torch.float32:
        assert error(fast, exact) < 1e-3
    else:
        assert spread(fast, exact) < 1.3 * spread(encoder(x), exact)

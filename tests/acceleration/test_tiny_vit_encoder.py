# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from napari_sam.acceleration import convolutions
from napari_sam.acceleration.engine import Engine
from napari_sam.acceleration.tiny_vit_encoder import FastTinyViT
from napari_sam.errors import Cancelled
from napari_sam.modeling.build import DecoderSpec
from napari_sam.modeling.image_encoder_tiny_vit import ImageEncoderTinyViT

MAX_ERROR = 2e-5  # on outputs of unit deviation


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def randomised(module: nn.Module) -> nn.Module:
    """Draw everything: zeros in biases and statistics would hide errors."""
    for key, value in module.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 2.0)
        elif value.is_floating_point() and value.ndim < 2:
            value.normal_(mean=float(key.endswith("weight")), std=0.3)
        elif key.endswith("attention_biases"):
            value.normal_()
        elif value.is_floating_point():
            value.normal_(std=1.4 * value[0].numel() ** -0.5)
    return module.eval().requires_grad_(requires_grad=False)


def small_encoder() -> ImageEncoderTinyViT:
    # One merging that keeps the resolution and windows that do not divide the grid.
    encoder = ImageEncoderTinyViT(
        embed_dims=(16, 32, 64, 320),
        depths=(2, 1, 2, 1),
        num_heads=(1, 2, 10),
        window_sizes=(3, 5, 3),
        out_chans=12,
        num_classes=4,
    )
    return randomised(encoder)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("size", [(64, 64), (72, 104), (33, 47), (1, 16)])
def test_same_as_plain(
    size: tuple[int, int], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = small_encoder()
    x = torch.randn(batch, 3, *size)
    wanted = encoder(x)
    fast = FastTinyViT(encoder)
    for values in (1, 3000, 1 << 20):  # bands of one row, of several, whole maps
        monkeypatch.setattr(convolutions, "BAND_VALUES", values)
        out = fast(x)
        assert out.shape == wanted.shape
        assert out.is_contiguous()
        assert (out - wanted).abs().max() <= MAX_ERROR


def test_two_steps_where_operations_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(convolutions, "is_fusing_right", lambda _: False)
    encoder = small_encoder()
    x = torch.randn(1, 3, 64, 96)
    assert (FastTinyViT(encoder)(x) - encoder(x)).abs().max() <= MAX_ERROR


def test_bfloat16_is_no_worse_than_autocast() -> None:
    encoder = small_encoder()
    x = torch.randn(1, 3, 96, 96)
    exact = encoder(x)
    fast = FastTinyViT(encoder, torch.bfloat16)(x)
    encoder.compute_dtype = torch.bfloat16
    plain = encoder(x)
    assert fast.dtype is torch.float32
    error, allowed = ((y - exact).square().mean().sqrt() for y in (fast, plain))
    assert 0 < error < 1.2 * allowed


def test_autocast_around_changes_nothing() -> None:
    fast = FastTinyViT(small_encoder())
    x = torch.randn(1, 3, 64, 64)
    alone = fast(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(fast(x), alone)


def test_input_is_left_alone() -> None:
    x = torch.randn(1, 3, 64, 64)
    before = x.clone()
    FastTinyViT(small_encoder())(x)
    assert torch.equal(x, before)


def test_check_before_each_block_may_stop() -> None:
    fast = FastTinyViT(small_encoder())
    x = torch.randn(1, 3, 64, 64)
    calls = []
    wanted = fast(x, lambda: calls.append(1))
    assert len(calls) >= 6  # blocks
    calls.pop()  # it stops when called as often as now

    def stop() -> None:
        if not calls:
            raise Cancelled
        calls.pop()

    with pytest.raises(Cancelled):
        fast(x, stop)
    assert torch.equal(fast(x), wanted)


def test_engine_takes_it_and_follows_the_weights() -> None:
    decoder = DecoderSpec(image_size=64, grid_size=4, channels=16)
    encoder = small_encoder()
    model = decoder.assemble("vit_t", encoder).eval()
    engine, plain = Engine(model), Engine(model, is_plain=True)
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        first = engine.encode_image(x).embedding
        wanted = plain.encode_image(x).embedding
    assert (first - wanted).abs().max() <= MAX_ERROR
    assert not torch.equal(first, wanted)  # it is another form
    with torch.no_grad():
        encoder.layers[1].blocks[0].attn.attention_biases.mul_(-1)
    with torch.inference_mode():
        changed = engine.encode_image(x).embedding
        wanted = plain.encode_image(x).embedding
    assert (changed - wanted).abs().max() <= MAX_ERROR
    assert (changed - first).abs().max() > 1e-3


@pytest.mark.slow
def test_published_widths_are_as_close_to_float64_as_plain() -> None:
    encoder = ImageEncoderTinyViT(
        embed_dims=(64, 128, 160, 320),
        depths=(2, 2, 6, 2),
        num_heads=(4, 5, 10),
        window_sizes=(7, 14, 7),
    )
    randomised(encoder)
    x = torch.randn(1, 3, 512, 512)
    fast, plain = FastTinyViT(encoder)(x), encoder(x)
    double = copy.deepcopy(encoder).double()
    exact = double.patch_embed(x.double())
    for stage in double.layers:
        exact = stage(exact, None)
    exact = double.neck(exact)
    error, allowed = ((y - exact).square().mean().sqrt() for y in (fast, plain))
    assert error <= 1.2 * allowed
    assert (fast - plain).abs().max() <= 2 * MAX_ERROR

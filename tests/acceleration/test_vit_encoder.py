# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import io
from torch import Tensor, nn

from napari_sam.acceleration import products, vit_attention, vit_encoder
from napari_sam.acceleration.engine import Engine
from napari_sam.acceleration.vit_encoder import FastViT
from napari_sam.errors import Cancelled
from napari_sam.modeling.build import DecoderSpec, VitSpec, build_vit_sam
from napari_sam.modeling.image_encoder_vit import ImageEncoderViT
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.weights.load import load_model

PARITY = Path(__file__).parents[1] / "data" / "parity"
MAX_ERROR = 2e-5  # on outputs of unit deviation
LOW = torch.bfloat16


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch):
    """Pretend that this processor likes one way of multiplying."""

    def pretend(way: str, *, low: bool = False) -> None:
        if way == "packed" and not products._is_packing_right(torch.float32):
            pytest.skip("this PyTorch has no packed products")
        monkeypatch.setattr(
            products, "_is_packing_faster", lambda _, __: way == "packed"
        )
        monkeypatch.setattr(products, "_is_bfloat16_faster", lambda _: low)

    return pretend


def randomised(module: nn.Module) -> nn.Module:
    """Draw everything: zeros in biases and positions would hide errors."""
    for key, value in module.state_dict().items():
        if "rel_pos" in key or "pos_embed" in key:
            value.normal_(std=2 * value.shape[-1] ** -0.5)
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


@pytest.mark.parametrize("way", ["plain", "packed"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("window_size", [3, 4, 8, 11])
def test_same_as_the_plain_form(choose, window_size: int, batch: int, way: str) -> None:
    """Windows that divide the grid of 8, that do not, and one larger than it."""
    choose(way)
    encoder = small_encoder(window_size)
    x = torch.randn(batch, 3, 32, 32)
    fast = FastViT(encoder)
    for _ in range(2):  # memory is used again
        assert error(fast(x), encoder(x)) < MAX_ERROR
    assert fast(x).is_contiguous()


@pytest.mark.parametrize("n_threads", [2, 3, 9])
def test_same_on_many_threads(n_threads: int) -> None:
    encoder = small_encoder()
    x = torch.randn(2, 3, 32, 32)
    fast = FastViT(encoder)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        for _ in range(3):
            assert error(fast(x), encoder(x)) < MAX_ERROR
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("image_size", [4, 12, 28])
def test_odd_grids(image_size: int) -> None:
    encoder = small_encoder(image_size=image_size)
    x = torch.randn(2, 3, image_size, image_size)
    assert error(FastViT(encoder)(x), encoder(x)) < MAX_ERROR


@pytest.mark.parametrize("size", [1, 8, 24, 40])
def test_size_of_pieces_does_not_matter(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(vit_attention, "QUERIES", size)
    monkeypatch.setattr(vit_encoder, "ROWS", size)
    encoder = small_encoder()
    x = torch.randn(1, 3, 32, 32)
    assert error(FastViT(encoder)(x), encoder(x)) < MAX_ERROR


def test_every_weight_takes_part() -> None:
    """Any two answers above could be equal because a weight is used in neither."""
    encoder = small_encoder()
    x = torch.randn(1, 3, 32, 32)
    before = FastViT(encoder)(x)
    for name, weight in encoder.named_parameters():
        kept = weight.clone()
        weight.add_(torch.randn_like(weight))
        assert error(FastViT(encoder)(x), before) > 1e-3, name
        weight.copy_(kept)


def test_frames_need_not_be_contiguous() -> None:
    encoder = small_encoder()
    x = torch.randn(2, 32, 32, 3).permute(0, 3, 1, 2)
    assert error(FastViT(encoder)(x), encoder(x)) < MAX_ERROR


@pytest.mark.parametrize("way", ["plain", "packed"])
def test_bfloat16_is_no_worse_than_autocast(choose, way: str) -> None:
    choose(way, low=True)
    encoder = small_encoder()
    x = torch.randn(2, 3, 32, 32)
    exact = encoder(x)
    encoder.compute_dtype = LOW
    fast = FastViT(encoder)(x)
    assert fast.dtype is torch.float32
    assert 1e-4 < error(fast, exact) < 1.5 * error(encoder(x), exact)


def test_bfloat16_that_is_no_faster_is_float32(choose) -> None:
    choose("plain", low=False)
    encoder = small_encoder()
    x = torch.randn(1, 3, 32, 32)
    exact = FastViT(encoder)(x)
    encoder.compute_dtype = LOW
    assert torch.equal(FastViT(encoder)(x), exact)


def test_masks_in_bfloat16(choose) -> None:
    """Clicks on drawn blobs, with a trained model: the goal is a median of 0.995."""
    choose("plain", low=True)
    picture, truth = (
        io.imread(PARITY / name) for name in ("blobs.png", "blobs_labels.png")
    )
    masks = []
    for dtype in (torch.float32, LOW):
        checkpoint = PARITY / "mini.safetensors"
        model = load_model(checkpoint=checkpoint, device="cpu", dtype=dtype)
        predictor = SamPredictor(model)
        embedding = predictor.embed(picture)
        for label in np.unique(truth)[1:]:
            centre = np.argwhere(truth == label).mean(0)
            answer = predictor.predict(embedding, [centre], [1], multimask_output=True)
            masks.append(answer.masks)
    exact, low = np.split(np.stack(masks), 2)
    axes = (-2, -1)
    iou = (exact & low).sum(axes) / np.maximum((exact | low).sum(axes), 1)
    assert exact.any(axes).all()
    assert not np.array_equal(exact, low)
    assert np.median(iou) >= 0.995


def test_check_runs_in_each_block_and_can_stop() -> None:
    encoder = small_encoder()
    fast = FastViT(encoder)
    x = torch.randn(1, 3, 32, 32)
    calls: list[int] = []
    wanted = fast(x, lambda: calls.append(1))
    n_checks = len(calls)
    assert n_checks >= 4

    for stop in range(1, n_checks + 1):
        left = iter(range(stop))

        def check(left=left) -> None:
            if next(left) == stop - 1:  # noqa: B023
                raise Cancelled

        with pytest.raises(Cancelled):
            fast(torch.randn(1, 3, 32, 32), check)
        assert torch.equal(fast(x), wanted)


def test_threads_do_not_share_memory() -> None:
    fast = FastViT(small_encoder())
    frames = torch.randn(2, 1, 3, 32, 32)
    wanted = [fast(x) for x in frames]
    inner: list[Tensor] = []

    def encode_the_other() -> None:
        thread = threading.Thread(target=lambda: inner.append(fast(frames[1])))
        thread.start()
        thread.join()

    assert torch.equal(fast(frames[0], encode_the_other), wanted[0])
    assert len(inner) > 4
    assert all(torch.equal(other, wanted[1]) for other in inner)


def test_memory_made_in_inference_mode_serves_outside_of_it() -> None:
    encoder = small_encoder()
    x = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        fast = FastViT(encoder)
        first = fast(x).clone()
    assert torch.equal(fast(x), first)
    assert not fast(x.requires_grad_()).requires_grad


def small_sam():
    vit = VitSpec(
        embed_dim=24,
        depth=2,
        num_heads=2,
        mlp_dim=32,
        global_attn_indexes=(1,),
        window_size=3,
    )
    sam = build_vit_sam("small", vit, DecoderSpec(image_size=128))
    randomised(sam.image_encoder)
    return sam.eval().requires_grad_(requires_grad=False)


def test_engine_takes_it_and_follows_the_weights() -> None:
    sam = small_sam()
    engine, plain = Engine(sam), Engine(sam, is_plain=True)
    x = torch.randn(1, 3, 128, 128)
    before = engine.encode_image(x).embedding
    assert not torch.equal(before, plain.encode_image(x).embedding)  # another form
    assert error(before, plain.encode_image(x).embedding) < MAX_ERROR
    sam.image_encoder.blocks[0].mlp.lin1.weight.mul_(2)
    after = engine.encode_image(x).embedding
    assert error(after, before) > 1e-3
    assert error(after, plain.encode_image(x).embedding) < MAX_ERROR


def test_engine_leaves_training_and_other_precisions_to_the_plain_form() -> None:
    sam = small_sam()
    engine, plain = Engine(sam), Engine(sam, is_plain=True)
    x = torch.randn(1, 3, 128, 128)
    sam.image_encoder.compute_dtype = torch.float16
    assert torch.equal(
        engine.encode_image(x).embedding, plain.encode_image(x).embedding
    )
    sam.image_encoder.compute_dtype = torch.float32
    sam.train().requires_grad_(requires_grad=True)
    assert engine.encode_image(x).embedding.requires_grad


@pytest.mark.slow
def test_full_size(choose) -> None:
    """A windowed and a global block of vit_b, on the grid of 64 x 64."""
    encoder = ImageEncoderViT(
        image_size=1024,
        patch_size=16,
        embed_dim=768,
        depth=2,
        num_heads=12,
        mlp_dim=3072,
        out_chans=256,
        global_attn_indexes=(1,),
        window_size=14,
    )
    randomised(encoder)
    x = torch.randn(1, 3, 1024, 1024)
    wanted = encoder(x)
    for way in ("plain", "packed"):
        choose(way)
        assert error(FastViT(encoder)(x), wanted) < MAX_ERROR

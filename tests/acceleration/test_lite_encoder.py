# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from napari_sam import load_model
from napari_sam.acceleration import convolutions
from napari_sam.acceleration.engine import Engine
from napari_sam.acceleration.lite_encoder import FastLiteEncoder
from napari_sam.errors import Cancelled
from napari_sam.modeling.image_encoder_lite import LiteImageEncoder
from napari_sam.modeling.registry import build_model

if TYPE_CHECKING:
    from napari_sam.modeling.sam import ImageFeatures

PARITY = Path(__file__).parents[1] / "data" / "parity"
MAX_ERROR = 2e-5  # on outputs of unit deviation


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def drawn_encoder() -> LiteImageEncoder:
    """An encoder whose biases are drawn."""
    encoder = LiteImageEncoder().eval().requires_grad_(requires_grad=False)
    for value in encoder.state_dict().values():
        if value.ndim < 2:
            value.normal_(mean=0.5, std=0.5)
    return encoder


def assert_same(
    out: ImageFeatures, wanted: ImageFeatures, tolerance: float = MAX_ERROR
) -> None:
    for a, b in zip(
        (out.embedding, *out.high_res),
        (wanted.embedding, *wanted.high_res),
        strict=True,
    ):
        assert a.shape == b.shape
        assert a.dtype is torch.float32
        assert a.is_contiguous()
        assert (a - b).abs().max() <= tolerance * max(1.0, float(b.std()))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_same_as_plain(
    size: tuple[int, int], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = drawn_encoder()
    x = torch.randn(batch, 3, *size)
    wanted = encoder(x)
    fast = FastLiteEncoder(encoder)
    for values in (1, 20_000, 1 << 20):  # bands of one row, of several, whole maps
        monkeypatch.setattr(convolutions, "BAND_VALUES", values)
        assert_same(fast(x), wanted)


def test_two_steps_where_operations_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(convolutions, "is_fusing_right", lambda _: False)
    encoder = drawn_encoder()
    x = torch.randn(1, 3, 64, 96)
    assert_same(FastLiteEncoder(encoder)(x), encoder(x))


def test_bfloat16_is_no_worse_than_autocast() -> None:
    encoder = drawn_encoder()
    x = torch.randn(1, 3, 96, 96)
    exact = encoder(x).embedding
    fast = FastLiteEncoder(encoder, torch.bfloat16)(x)
    encoder.compute_dtype = torch.bfloat16
    plain = encoder(x)
    assert fast.embedding.dtype is torch.float32
    error, allowed = (
        (y.embedding - exact).square().mean().sqrt() for y in (fast, plain)
    )
    assert 0 < error < 1.2 * allowed


def test_check_between_stages_may_stop() -> None:
    fast = FastLiteEncoder(drawn_encoder())
    x = torch.randn(1, 3, 64, 64)
    calls = []
    wanted = fast(x, lambda: calls.append(1))
    assert len(calls) >= 7  # stages
    calls.pop()  # it stops when called as often as now

    def stop() -> None:
        if not calls:
            raise Cancelled
        calls.pop()

    with pytest.raises(Cancelled):
        fast(x, stop)
    assert_same(fast(x), wanted, 0.0)


def test_engine_takes_it() -> None:
    model = build_model("embedded_v2").eval()
    x = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        out = Engine(model).encode_image(x)
        wanted = Engine(model, is_plain=True).encode_image(x)
    assert_same(out, wanted)
    assert not torch.equal(out.embedding, wanted.embedding)  # it is another form


def test_trained_weights_on_a_picture() -> None:
    model = load_model("embedded")
    with Image.open(PARITY / "blobs.png") as picture:
        rgb = np.array(picture.convert("RGB"))
    pixels = torch.from_numpy(rgb).permute(2, 0, 1)[None].float()
    x = model.preprocess(pixels)
    with torch.inference_mode():
        wanted = model.image_encoder(x)
        assert_same(FastLiteEncoder(model.image_encoder)(x), wanted)
    assert wanted.high_res[0].std() > 0.1

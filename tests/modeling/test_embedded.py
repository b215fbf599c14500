# SPDX-License-Identifier: Apache-2.0
"""The embedded architecture: shapes, prompts said twice, crops of the frame."""

import pytest
import torch

from napari_sam.errors import Cancelled
from napari_sam.modeling.prompt_encoder_spatial import GridWindow
from napari_sam.modeling.registry import build_model
from napari_sam.modeling.sam import Sam


@pytest.fixture(scope="module")
def model() -> Sam:
    torch.manual_seed(0)
    return build_model("embedded").eval()


def test_it_is_small(model: Sam) -> None:
    n_parameters = sum(p.numel() for p in model.parameters())
    assert 2 * n_parameters < 18e6  # bytes in half precision


@torch.no_grad()
def test_shapes(model: Sam) -> None:
    features = model.encode_image(model.preprocess(torch.rand(1, 3, 300, 512) * 255))
    assert features.embedding.shape == (1, 128, 64, 64)
    assert [f.shape for f in features.high_res] == [
        (1, 32, 128, 128),
        (1, 16, 256, 256),
    ]
    points = torch.rand(5, 2, 2) * 300, torch.ones(5, 2)
    logits, iou = model.decode(features, *model.encode_prompts(points))
    assert logits.shape == (5, 4, 256, 256)
    assert iou.shape == (5, 4)
    again, _ = model.decode(
        features, *model.encode_prompts(points, masks=logits[:, :1])
    )
    assert not torch.equal(again, logits)


@torch.no_grad()
def test_dense_prompt_moves_with_the_click(model: Sam) -> None:
    here, there = (
        model.encode_prompts((torch.tensor([[[x, 204.0]]]), torch.ones(1, 1)))[1]
        for x in (100.0, 180.0)
    )  # ten cells apart
    torch.testing.assert_close(there[..., 10:], here[..., :-10])
    assert (here[..., 12] - here[..., 40]).abs().max() > 0.01


@torch.no_grad()
def test_a_negative_click_differs_from_a_positive_one(model: Sam) -> None:
    at = torch.tensor([[[100.0, 100.0]]])
    _, positive = model.encode_prompts((at, torch.ones(1, 1)))
    _, negative = model.encode_prompts((at, torch.zeros(1, 1)))
    _, nothing = model.encode_prompts((at, -torch.ones(1, 1)))
    assert not torch.allclose(positive, negative)
    assert not torch.allclose(negative, nothing)


@torch.no_grad()
def test_a_window_of_the_grid_equals_that_part_of_the_whole(model: Sam) -> None:
    window = GridWindow(row=8, column=20, height=32, width=16)
    part = (..., slice(8, 40), slice(20, 36))
    encoder = model.prompt_encoder
    boxes = torch.tensor([[180.0, 90.0, 260.0, 200.0]])
    points = torch.tensor([[[200.0, 150.0]]]), torch.ones(1, 1)
    _, whole = encoder(points, boxes, None)
    _, window_only = encoder(points, boxes, None, window)
    torch.testing.assert_close(window_only, whole[part])
    torch.testing.assert_close(encoder.dense_pe(window), encoder.dense_pe()[part])


def test_encoding_stops_between_stages(model: Sam) -> None:
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        model.encode_image(torch.zeros(1, 3, 512, 512), check=check)
    assert len(calls) == 3


@torch.no_grad()
def test_low_precision_changes_little_and_returns_float32(model: Sam) -> None:
    picture = model.preprocess(torch.rand(1, 3, 512, 512) * 255)
    exact = model.encode_image(picture)
    model.image_encoder.compute_dtype = torch.bfloat16
    try:
        low = model.encode_image(picture)
    finally:
        model.image_encoder.compute_dtype = torch.float32
    for result in (low.embedding, *low.high_res):
        assert result.dtype == torch.float32
    difference = (exact.embedding - low.embedding).abs().mean()
    assert 0 < difference < 0.05 * exact.embedding.abs().mean()


def test_where_prompts_lie_is_spread_by_products_as_by_convolutions(model: Sam) -> None:
    torch.manual_seed(0)
    encoder = model.prompt_encoder
    maps = torch.randn(2, encoder.spatial[0].in_channels, 5, 7)
    with torch.inference_mode():
        expected, got = encoder.spatial(maps), encoder._spread(maps)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    assert got.is_contiguous(memory_format=torch.channels_last)

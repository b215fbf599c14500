# SPDX-License-Identifier: Apache-2.0
"""The embedded architecture: shapes, obedience of prompts, what must not matter."""

import pytest
import torch

from napari_sam.modeling.registry import build_model
from napari_sam.modeling.sam import ImageFeatures, Sam


@pytest.fixture(scope="module")
def model() -> Sam:
    torch.manual_seed(0)
    return build_model("embedded_v2").eval()


@pytest.fixture(scope="module")
def features(model: Sam) -> ImageFeatures:
    torch.manual_seed(1)
    with torch.no_grad():
        return model.encode_image(torch.randn(1, 3, 512, 512))


def points(*places: tuple[float, float, int]) -> tuple[torch.Tensor, torch.Tensor]:
    given = torch.tensor([places], dtype=torch.float32)
    return given[..., :2], given[..., 2].long()


def test_it_is_small(model: Sam) -> None:
    n_parameters = sum(p.numel() for p in model.parameters())
    assert 2 * n_parameters < 8e6  # bytes in half precision


@torch.no_grad()
def test_maps_have_the_promised_shapes(model: Sam, features: ImageFeatures) -> None:
    assert features.embedding.shape == (1, 96, 64, 64)
    assert [m.shape[1:] for m in features.high_res] == [(32, 128, 128), (16, 256, 256)]
    assert model.object_maps(features).shape == (1, 3, 256, 256)
    box = torch.tensor([[10.0, 20.0, 200.0, 90.0]])
    for prompts in (
        (points((30, 40, 1)), None, None),
        (points((30, 40, 1), (90, 90, 0)), box, None),
        (None, box, torch.randn(1, 1, 256, 256)),
        (None, None, torch.randn(1, 1, 256, 256)),
    ):
        logits, iou = model.decode(features, *model.encode_prompts(*prompts))
        assert logits.shape == (1, 4, 256, 256)
        assert iou.shape == (1, 4)
        assert ((iou >= 0) & (iou <= 1)).all()


@torch.no_grad()
def test_prompts_together_answer_as_alone(model: Sam, features: ImageFeatures) -> None:
    places = [(30.0, 40.0), (300.0, 210.0), (500.0, 3.0)]
    coords = torch.tensor(places)[:, None]
    many, _ = model.decode(
        features, *model.encode_prompts((coords, torch.ones(3, 1, dtype=torch.long)))
    )
    for i, (x, y) in enumerate(places):
        one, _ = model.decode(features, *model.encode_prompts(points((x, y, 1))))
        torch.testing.assert_close(many[i], one[0], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_padding_points_change_nothing(model: Sam, features: ImageFeatures) -> None:
    plain = model.decode(features, *model.encode_prompts(points((30, 40, 1))))
    padded = model.decode(
        features, *model.encode_prompts(points((30, 40, 1), (200, 100, -1)))
    )
    for a, b in zip(plain, padded, strict=True):
        torch.testing.assert_close(a, b)


@torch.no_grad()
def test_each_prompt_is_seen(model: Sam, features: ImageFeatures) -> None:
    def answer(*prompts: object) -> torch.Tensor:
        return model.decode(features, *model.encode_prompts(*prompts))[0]

    one = answer(points((30, 40, 1)))
    assert not torch.allclose(one, answer(points((130, 40, 1))), atol=1e-3)
    assert not torch.allclose(one, answer(points((30, 40, 1), (60, 40, 0))), atol=1e-3)
    assert not torch.allclose(
        one, answer(points((30, 40, 1)), torch.tensor([[0.0, 0, 60, 60]])), atol=1e-3
    )
    mask = torch.zeros(1, 1, 256, 256)
    mask[..., 10:30, 10:30] = 8
    assert not torch.allclose(one, answer(points((30, 40, 1)), None, mask), atol=1e-3)


@torch.no_grad()
def test_drawing_fewer_outputs_draws_the_same(
    model: Sam, features: ImageFeatures
) -> None:
    sparse, dense = model.encode_prompts((torch.rand(4, 1, 2) * 500, torch.ones(4, 1)))
    decoded = model.decode_tokens(features, sparse, dense)
    every = model.draw_masks(features, decoded)
    chosen = torch.tensor([2, 0, 3, 1])
    some = model.draw_masks(features, decoded.of_outputs(chosen))
    torch.testing.assert_close(some[:, 0], every[torch.arange(4), chosen])
    rows = torch.tensor([3, 1])
    fewer = model.draw_masks(features, decoded.of_prompts(rows))
    torch.testing.assert_close(fewer, every[rows], rtol=1e-4, atol=1e-4)


def test_published_models_have_no_object_maps() -> None:
    model = build_model("vit_t", device="meta")
    assert not model.has_object_maps

# SPDX-License-Identifier: Apache-2.0
"""The decoder for a GPU, recorded clicks included, against the plain form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from napari_sam.acceleration import batched_decoding
from napari_sam.acceleration.batched_decoding import BatchedDecoding, is_batched
from napari_sam.acceleration.cuda_graph import (
    CudaGraph,
    DrawnAttended,
    GraphedDecoding,
    fixed_copies,
)
from napari_sam.acceleration.decoding import PlainDecoding, Prompts
from napari_sam.modeling.build import DecoderSpec
from napari_sam.modeling.sam import ImageFeatures, Sam

FRAME, GRID, CHANNELS = 256, 16, 64
SPEC = DecoderSpec(
    image_size=FRAME, grid_size=GRID, channels=CHANNELS, mlp_dim=96, mask_in_chans=8
)


class Repeated:
    """Stands for a CUDA graph where there is no CUDA."""

    def __init__(self, work, inputs) -> None:
        self._work = work
        self.inputs = fixed_copies(inputs)
        self.outputs = work(*self.inputs)

    def replay(self) -> None:
        for fixed, made in zip(self.outputs, self._work(*self.inputs), strict=True):
            fixed.copy_(made)


def drawn_model() -> Sam:
    """A decoder with random weights, norms and biases among them."""
    torch.manual_seed(0)
    model = SPEC.assemble("random", nn.Identity()).eval()
    for name, weight in model.requires_grad_(requires_grad=False).named_parameters():
        if weight.ndim > 1:
            nn.init.normal_(weight, std=1.2 * weight[0].numel() ** -0.5)
        else:
            is_norm = "norm" in name and name.endswith("weight")
            nn.init.normal_(weight, mean=float(is_norm), std=0.3)
    return model


def drawn_features(*, has_finer: bool) -> ImageFeatures:
    torch.manual_seed(1)
    first = torch.randn(1, CHANNELS, GRID, GRID)
    finer = (
        torch.randn(1, CHANNELS // 4, 2 * GRID, 2 * GRID),
        torch.randn(1, CHANNELS // 8, 4 * GRID, 4 * GRID),
    )
    return ImageFeatures(first, finer if has_finer else ())


def points(n_prompts: int, n_points: int) -> tuple[Tensor, Tensor]:
    """Points of which some are background and some padding."""
    torch.manual_seed(2)
    coords = torch.rand(n_prompts, n_points, 2) * FRAME
    labels = torch.randint(-1, 2, (n_prompts, n_points))
    labels[:, 0] = 1
    return coords, labels


def boxes(n_prompts: int) -> Tensor:
    torch.manual_seed(3)
    corner, size = torch.rand(2, n_prompts, 2) * FRAME / 2
    return torch.cat([corner, corner + size], dim=1)


def masks(n_prompts: int) -> Tensor:
    torch.manual_seed(4)
    return torch.randn(n_prompts, 1, 4 * GRID, 4 * GRID) * 5


def moved(prompts: Prompts, device: torch.device) -> Prompts:
    given, where, logits = prompts
    return Prompts(
        None if given is None else (given[0].to(device), given[1].to(device)),
        None if where is None else where.to(device),
        None if logits is None else logits.to(device),
    )


class Forms:
    """A model in all three forms, with one image prepared."""

    def __init__(self, device: torch.device, kind: str) -> None:
        model = drawn_model().to(device)
        first, finer = drawn_features(has_finer=kind == "finer maps")
        features = ImageFeatures(first.to(device), tuple(x.to(device) for x in finer))
        record = Repeated if device.type == "cpu" else CudaGraph
        self.device = device
        self.plain = PlainDecoding(model)
        self.fast = {
            "batched": BatchedDecoding(model),
            "graphed": GraphedDecoding(model, record),
        }
        self.plain_image = self.plain.prepare(features)
        self.images = {name: form.prepare(features) for name, form in self.fast.items()}

    def attend(self, form: str, prompts: Prompts) -> tuple:
        given = moved(prompts, self.device)
        return (
            self.fast[form].attend(self.images[form], given),
            self.plain.attend(self.plain_image, given),
        )


@pytest.fixture(params=["sam", "finer maps"])
def forms(device, request) -> Forms:
    return Forms(device, request.param)


def assert_same(got, expected, tolerance: float = 5e-5) -> None:
    pairs = [(got.predicted_iou, expected.predicted_iou), (got.draw(), expected.draw())]
    for found, wanted in pairs:
        scale = float(wanted.square().mean().sqrt())
        torch.testing.assert_close(found, wanted, atol=tolerance * scale, rtol=0)


ALL = [
    pytest.param(Prompts(points(1, 1)), id="click"),
    pytest.param(Prompts(points(64, 1)), id="64"),
    pytest.param(Prompts(points(3, 7)), id="points"),
    pytest.param(Prompts(points(2, 30)), id="30 points"),
    pytest.param(Prompts(points(1, 30)), id="30 points of one"),
    pytest.param(Prompts(boxes=boxes(1)), id="box"),
    pytest.param(Prompts(boxes=boxes(5)), id="boxes"),
    pytest.param(Prompts(points(1, 1), masks=masks(1)), id="point and mask"),
    pytest.param(Prompts(masks=masks(2)), id="masks"),
    pytest.param(Prompts(points(2, 1), boxes(2), masks(2)), id="all"),
]


@pytest.mark.parametrize("form", ["batched", "graphed"])
@pytest.mark.parametrize("prompts", ALL)
def test_same_as_the_plain_form(forms, form, prompts) -> None:
    for _ in range(3):  # seen, recorded, replayed
        with torch.inference_mode():
            assert_same(*forms.attend(form, prompts))


ORDERS = {
    "some": [19, 3, 3, 0],
    "backwards": list(range(20))[::-1],
    "as many, repeated": [1, 0] * 10,
}


@pytest.mark.parametrize("form", ["batched", "graphed"])
@pytest.mark.parametrize("rows", ORDERS.values(), ids=ORDERS.keys())
def test_chosen_prompts_and_outputs(forms, form, rows) -> None:
    got, expected = forms.attend(form, Prompts(points(20, 1)))
    outputs = torch.tensor([0, 1, 3, 2] * 5, device=forms.device)[: len(rows)]
    rows = torch.tensor(rows, device=forms.device)
    got, expected = (x.of_prompts(rows).of_outputs(outputs) for x in (got, expected))
    assert got.draw().shape == (len(rows), 1, 4 * GRID, 4 * GRID)
    assert_same(got, expected)


def test_chosen_outputs_of_a_replayed_click(forms) -> None:
    for _ in range(3):
        got, expected = forms.attend("graphed", Prompts(points(1, 1)))
    assert isinstance(got, DrawnAttended)
    chosen = torch.tensor([2], device=forms.device)
    assert_same(got.of_outputs(chosen), expected.of_outputs(chosen))
    rows = torch.tensor([0, 0], device=forms.device)
    assert_same(got.of_prompts(rows), expected.of_prompts(rows))
    none = torch.tensor([], dtype=torch.int64, device=forms.device)
    assert got.of_prompts(none).draw().shape == (0, 4, 4 * GRID, 4 * GRID)


def test_replayed_clicks_follow_place_and_image(forms) -> None:
    """Answers kept from one replay do not change with the next."""
    kept = []
    for n in range(1, 8):
        prompts = Prompts((points(n, 1)[0][-1:], torch.ones(1, 1, dtype=torch.int64)))
        kept.append(forms.attend("graphed", prompts))
    for got, expected in kept:
        assert_same(got, expected)
    first, last = kept[0][0].draw(), kept[-1][0].draw()
    assert not torch.allclose(first, last)


def test_nothing_chosen_and_nothing_asked(forms) -> None:
    none = torch.tensor([], dtype=torch.int64, device=forms.device)
    got, _ = forms.attend("batched", Prompts(points(3, 1)))
    assert got.of_prompts(none).predicted_iou.shape == (0, 4)
    assert got.of_prompts(none).draw().shape == (0, 4, 4 * GRID, 4 * GRID)
    coords, labels = points(1, 1)
    empty, _ = forms.attend("batched", Prompts((coords[:0], labels[:0])))
    assert empty.draw().shape == (0, 4, 4 * GRID, 4 * GRID)


def test_how_many_are_drawn_at_once_does_not_matter(monkeypatch) -> None:
    forms = Forms(torch.device("cpu"), "sam")
    got, expected = forms.attend("batched", Prompts(points(7, 1)))
    monkeypatch.setattr(batched_decoding, "_DRAWN_AT_ONCE", 3)
    assert_same(got, expected)


def test_no_gradients() -> None:
    model = drawn_model().requires_grad_(requires_grad=True)
    decoding = GraphedDecoding(model, Repeated)
    image = decoding.prepare(drawn_features(has_finer=False))
    for n in (1, 1, 1, 2):
        got = decoding.attend(image, Prompts(points(n, 1)))
        assert not got.predicted_iou.requires_grad
        assert not got.draw().requires_grad


def test_memory_of_a_prepared_image() -> None:
    image = Forms(torch.device("cpu"), "sam").images["batched"]
    places = 4 * GRID * GRID * CHANNELS
    assert 2 * places <= image.nbytes < 2.1 * places


def test_which_models_have_this_form() -> None:
    model = drawn_model()
    assert is_batched(model)
    assert not is_batched(drawn_model().bfloat16())
    assert not is_batched(model.train())

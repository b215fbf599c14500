# SPDX-License-Identifier: Apache-2.0
"""The low-rank form answers as the plain one does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from napari_sam.acceleration import low_rank_attention, low_rank_decoding
from napari_sam.acceleration.decoding import PlainDecoding, Prompts
from napari_sam.acceleration.dense_decoding import DenseAttended
from napari_sam.acceleration.forms import choose_decoding
from napari_sam.acceleration.low_rank_decoding import LowRankAttended, LowRankDecoding
from napari_sam.acceleration.workers import work_unsplit
from napari_sam.modeling.build import DecoderSpec
from napari_sam.modeling.sam import ImageFeatures, Sam

if TYPE_CHECKING:
    from collections.abc import Callable

FRAME, GRID, CHANNELS = 256, 16, 64
SMALL = DecoderSpec(
    image_size=FRAME, grid_size=GRID, channels=CHANNELS, mlp_dim=96, mask_in_chans=8
)


def randomised(spec: DecoderSpec, gain: float = 1.2) -> Sam:
    """A decoder with random weights, norms and biases among them."""
    torch.manual_seed(0)
    model = spec.assemble("random", nn.Identity()).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=gain * parameter[0].numel() ** -0.5)
        else:
            is_norm = "norm" in name and name.endswith("weight")
            nn.init.normal_(parameter, mean=1.0 if is_norm else 0.0, std=0.3)
    return model


def features_of(spec: DecoderSpec) -> ImageFeatures:
    torch.manual_seed(1)
    return ImageFeatures(torch.randn(1, spec.channels, spec.grid_size, spec.grid_size))


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


def masks(n_prompts: int, grid: int = GRID) -> Tensor:
    torch.manual_seed(4)
    return torch.randn(n_prompts, 1, 4 * grid, 4 * grid) * 5


class Forms:
    """A model in both forms, with one image prepared."""

    def __init__(self, model: Sam, features: ImageFeatures) -> None:
        self.plain, self.fast = PlainDecoding(model), LowRankDecoding(model)
        self.plain_image = self.plain.prepare(features)
        self.image = self.fast.prepare(features)

    def attend(self, prompts: Prompts) -> tuple:
        return (
            self.fast.attend(self.image, prompts),
            self.plain.attend(self.plain_image, prompts),
        )

    def assert_same(self, prompts: Prompts, tolerance: float = 2e-5) -> None:
        assert_same(*self.attend(prompts), tolerance)


def assert_same(got, expected, tolerance: float = 2e-5) -> None:
    iou, logits = expected.predicted_iou, expected.draw()
    torch.testing.assert_close(
        got.predicted_iou, iou, atol=tolerance * float(iou.std()), rtol=0
    )
    torch.testing.assert_close(
        got.draw(), logits, atol=tolerance * float(logits.std()), rtol=0
    )


@pytest.fixture(scope="module")
def random_forms() -> Forms:
    return Forms(randomised(SMALL), features_of(SMALL))


@pytest.fixture(scope="module")
def tiny_forms(tiny_sam, blobs) -> Forms:
    torch.manual_seed(5)
    frame = torch.tensor(blobs.image).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        features = tiny_sam.encode_image(tiny_sam.preprocess(frame))
    return Forms(tiny_sam, features)


@pytest.fixture(scope="module", params=["random", "trained"])
def forms(request, random_forms, tiny_forms) -> Forms:
    return random_forms if request.param == "random" else tiny_forms


@pytest.mark.parametrize(
    "prompts",
    [
        Prompts(points(1, 1)),
        Prompts(points(64, 1)),
        Prompts(points(3, 7)),
        Prompts(boxes=boxes(5)),
        Prompts(points(2, 2), boxes(2)),
    ],
    ids=["click", "64", "points", "boxes", "points and boxes"],
)
def test_low_rank_form_is_the_plain_one(forms, prompts) -> None:
    with torch.inference_mode():
        got, expected = forms.attend(prompts)
        assert isinstance(got, LowRankAttended)
        assert_same(got, expected)


@pytest.mark.parametrize(
    "prompts",
    [
        Prompts(points(2, 30)),
        Prompts(masks=masks(2)),
        Prompts(points(3, 1), masks=masks(3)),
        Prompts(points(2, 1), boxes(2), masks(2)),
    ],
    ids=["30 points", "mask", "point and mask", "all"],
)
def test_many_tokens_and_masks_make_the_places(forms, prompts) -> None:
    with torch.inference_mode():
        got, expected = forms.attend(prompts)
        assert isinstance(got, DenseAttended)
        assert_same(got, expected)
        rows, outputs = torch.tensor([1, 0]), torch.tensor([3, 0])
        assert_same(
            got.of_prompts(rows).of_outputs(outputs),
            expected.of_prompts(rows).of_outputs(outputs),
        )


def test_as_many_tokens_as_the_low_rank_form_takes(random_forms, monkeypatch) -> None:
    monkeypatch.setattr(low_rank_decoding, "_MANY_ROWS", 10_000)
    random_forms.assert_same(Prompts(points(2, 30)))


def test_chosen_prompts_in_any_order(forms) -> None:
    got, expected = forms.attend(Prompts(points(21, 1)))
    for rows in ([20], [3, 3, 0], [7, 20, 8, 9, 1], list(range(21))):
        chosen = torch.tensor(rows)
        assert_same(got.of_prompts(chosen), expected.of_prompts(chosen))


@pytest.mark.parametrize("n_points", [1, 30], ids=["low rank", "places made"])
@pytest.mark.parametrize("rows", [[1, 0, 2], [2, 1, 0], [1, 0, 1], [2, 2, 0]])
def test_all_prompts_of_a_batch_in_another_order_or_repeated(
    random_forms, rows, n_points
) -> None:
    """As many as were seen together, but not those."""
    got, expected = random_forms.attend(Prompts(points(3, n_points)))
    chosen, outputs = torch.tensor(rows), torch.tensor([3, 0, 1])
    assert_same(got.of_prompts(chosen), expected.of_prompts(chosen))
    assert_same(
        got.of_prompts(chosen).of_outputs(outputs),
        expected.of_prompts(chosen).of_outputs(outputs),
    )
    assert_same(
        got.of_outputs(outputs).of_prompts(chosen),
        expected.of_outputs(outputs).of_prompts(chosen),
    )


def test_chosen_outputs(forms) -> None:
    got, expected = forms.attend(Prompts(points(9, 1)))
    chosen = torch.tensor([0, 1, 2, 3, 3, 2, 0, 0, 1])
    got, expected = got.of_outputs(chosen), expected.of_outputs(chosen)
    assert got.draw().shape == (9, 1, 4 * GRID, 4 * GRID)
    assert_same(got, expected)
    rows = torch.tensor([8, 0, 4])
    assert_same(got.of_prompts(rows), expected.of_prompts(rows))


def test_nothing_chosen(random_forms) -> None:
    got, _ = random_forms.attend(Prompts(points(3, 1)))
    got = got.of_prompts(torch.zeros(0, dtype=torch.int64))
    assert got.predicted_iou.shape == (0, 4)
    assert got.draw().shape == (0, 4, 4 * GRID, 4 * GRID)


def test_no_prompts(random_forms) -> None:
    coords, labels = points(1, 1)
    got, _ = random_forms.attend(Prompts((coords[:0], labels[:0])))
    assert got.predicted_iou.shape == (0, 4)
    assert got.draw().shape == (0, 4, 4 * GRID, 4 * GRID)


def test_answers_do_not_depend_on_the_batch(random_forms) -> None:
    coords, labels = points(11, 1)
    together, _ = random_forms.attend(Prompts((coords, labels)))
    alone, _ = random_forms.attend(Prompts((coords[7:8], labels[7:8])))
    row = together.of_prompts(torch.tensor([7]))
    torch.testing.assert_close(row.draw(), alone.draw(), atol=1e-5, rtol=1e-4)


def test_drawing_twice_is_the_same(random_forms) -> None:
    got, _ = random_forms.attend(Prompts(points(2, 1)))
    assert torch.equal(got.draw(), got.draw())


def test_padding_points_change_what_they_change_in_the_plain_form(random_forms) -> None:
    coords, labels = points(2, 3)
    labels[0, 1:] = -1
    random_forms.assert_same(Prompts((coords, labels)))


def test_gradients_may_be_on() -> None:
    """Whoever forgets inference mode is answered too, without a graph."""
    model = randomised(SMALL).requires_grad_(True)
    image = (decoding := LowRankDecoding(model)).prepare(features_of(SMALL))
    got = decoding.attend(image, Prompts(points(2, 1)))
    assert not got.draw().requires_grad
    assert torch.isfinite(got.predicted_iou).all()


def doubled(model: Sam, features: ImageFeatures, prompts: Prompts) -> Tensor:
    """Logits in double precision."""
    twin = SMALL.assemble("double", nn.Identity()).eval().requires_grad_(False)
    twin.load_state_dict(model.state_dict())
    plain = PlainDecoding(twin.double())
    image = plain.prepare(ImageFeatures(features.embedding.double()))
    return plain.attend(image, prompts).draw()


def errors(model: Sam, features: ImageFeatures, prompts: Prompts) -> tuple:
    """Largest errors of both forms by the standard deviation of exact logits."""
    exact = doubled(model, features, prompts)
    found = [form.draw() for form in Forms(model, features).attend(prompts)]
    low_rank, plain = (float((x - exact).abs().max() / exact.std()) for x in found)
    return low_rank, plain


@pytest.mark.parametrize("gain", [0.1, 3.0, 6.0])
def test_extreme_weights_cost_no_more_digits_than_in_the_plain_form(gain) -> None:
    model = randomised(SMALL, gain)
    low_rank, plain = errors(model, features_of(SMALL), Prompts(points(3, 1)))
    assert low_rank < 5 * plain + 1e-5


@pytest.mark.parametrize("mean", [10.0, 1000.0])
def test_features_of_large_mean(mean) -> None:
    features = features_of(SMALL)
    features = features._replace(embedding=features.embedding + mean)
    model = randomised(SMALL)
    low_rank, plain = errors(model, features, Prompts(points(3, 1)))
    assert low_rank < 5 * plain + 1e-5


def cancelling() -> tuple[Sam, ImageFeatures]:
    """A model whose tokens take away nearly all that an image's places are."""
    model, features = randomised(SMALL), features_of(SMALL)
    tell = model.mask_decoder.transformer.layers[0].cross_attn_image_to_token
    pattern = torch.randn(CHANNELS) * 300
    nn.init.zeros_(tell.v_proj.weight)
    value = torch.linalg.lstsq(
        tell.out_proj.weight.double(), -pattern[:, None].double()
    )
    tell.v_proj.bias.copy_(value.solution[:, 0])
    # What is out of reach of the values is left to the image.
    given = tell.out_proj(tell.v_proj.bias) - tell.out_proj.bias
    embedding = features.embedding - given[None, :, None, None]
    return model, ImageFeatures(embedding)


def test_variances_that_cancel_are_made_anew(monkeypatch) -> None:
    prompts = Prompts(points(3, 1))
    low_rank, plain = errors(*cancelling(), prompts)
    assert low_rank < 10 * plain
    monkeypatch.setattr(low_rank_attention, "_CANCELLED", -1.0)
    without, _ = errors(*cancelling(), prompts)
    assert without > 5 * low_rank


def test_memory_of_tables_is_told(random_forms) -> None:
    """Tables have 13 rows by heads and 3 rows of channels for each place."""
    places, inner = GRID * GRID, CHANNELS // 2
    least = 4 * places * (11 * inner + 2 * CHANNELS)
    assert least < random_forms.image.nbytes < 1.5 * least


def test_which_models_have_this_form(tiny_sam) -> None:
    assert isinstance(choose_decoding(tiny_sam), LowRankDecoding)
    training = randomised(SMALL).train()
    assert not isinstance(choose_decoding(training), LowRankDecoding)
    half = randomised(SMALL).bfloat16()
    assert not isinstance(choose_decoding(half), LowRankDecoding)


@pytest.mark.slow
def test_full_size() -> None:
    spec = DecoderSpec()
    forms = Forms(randomised(spec), features_of(spec))
    forms.assert_same(Prompts(points(5, 1)))
    forms.assert_same(Prompts(points(1, 1), masks=masks(1, spec.grid_size)))


@pytest.mark.parametrize("mask_inputs", [None, masks(1)])
def test_a_lone_prompt_with_help(
    forms: Forms, mask_inputs: Tensor | None, three_threads: Callable
) -> None:
    prompts = Prompts(points(1, 2), None, mask_inputs)
    expected = forms.plain.attend(forms.plain_image, prompts)

    def answer() -> tuple[LowRankAttended | DenseAttended, Tensor]:
        attended = forms.fast.attend(forms.image, prompts)
        return attended, attended.draw()

    with three_threads():
        got, drawn = work_unsplit(answer)
    assert_same(got, expected)
    scale = float(drawn.std())
    torch.testing.assert_close(drawn, expected.draw(), atol=2e-5 * scale, rtol=0)

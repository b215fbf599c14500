# SPDX-License-Identifier: Apache-2.0
"""The fast form of the convolutional decoder against the plain one."""

import pytest
import torch

from napari_sam.acceleration.conv_decoding import ConvDecoding, is_convolutional
from napari_sam.acceleration.decoding import PlainDecoding, Prompts
from napari_sam.acceleration.engine import Engine
from napari_sam.modeling.features import ImageFeatures
from napari_sam.modeling.registry import build_model
from napari_sam.modeling.sam import Sam

CLOSE = 2e-5  # of the largest logit


def drawn_model(seed: int) -> Sam:
    """A model in which no weight is zero."""
    torch.manual_seed(seed)
    model = build_model("embedded_v2").eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:
                weight.add_(0.3 * torch.randn_like(weight))
            elif not weight.any():
                weight.copy_(0.1 * torch.randn_like(weight))
    return model


@pytest.fixture(scope="module")
def model() -> Sam:
    return drawn_model(0)


@pytest.fixture(scope="module")
def features() -> ImageFeatures:
    draw = torch.Generator().manual_seed(1)
    shapes = ((1, 96, 64, 64), (1, 32, 128, 128), (1, 16, 256, 256))
    first, *finer = (torch.randn(shape, generator=draw) for shape in shapes)
    return ImageFeatures(first, tuple(finer))


def points(n: int, *labels: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(n + len(labels))
    places = 530 * torch.rand(n, len(labels), 2, generator=draw) - 9
    return places, torch.tensor(labels).expand(n, -1)


BOX = torch.tensor([[10.0, 20.0, 200.5, 90.0]])
MASK = 5 * torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(7))
CASES = {
    "one click": Prompts(points(1, 1)),
    "64 clicks": Prompts(points(64, 1)),
    "a click beside": Prompts(points(1, 0)),
    "padding": Prompts(points(1, 1, -1)),
    "only padding": Prompts(points(1, -1)),
    "clicks of both kinds": Prompts(points(3, 1, 0, 1, -1)),
    "thirty clicks": Prompts(points(2, *([1, 0] * 15))),
    "box": Prompts(None, BOX),
    "box and clicks": Prompts(points(1, 1, 0), BOX),
    "mask": Prompts(None, None, MASK),
    "all": Prompts(points(1, 1, 0, 0), BOX, MASK),
}


@pytest.mark.parametrize("case", CASES)
def test_answers_are_those_of_the_plain_form(
    model: Sam, features: ImageFeatures, case: str
) -> None:
    plain, fast = PlainDecoding(model), ConvDecoding(model)
    prompts = CASES[case]
    with torch.no_grad():
        wanted = plain.attend(plain.prepare(features), prompts)
        found = fast.attend(fast.prepare(features), prompts)
        torch.testing.assert_close(
            found.predicted_iou, wanted.predicted_iou, rtol=0, atol=1e-5
        )
        right, ours = wanted.draw(), found.draw()
    assert float(right.std()) > 0.1
    assert float((right - ours).abs().max()) < CLOSE * float(right.abs().max())


def test_chosen_prompts_and_outputs_are_drawn_alone(
    model: Sam, features: ImageFeatures
) -> None:
    fast = ConvDecoding(model)
    answers = fast.attend(fast.prepare(features), Prompts(points(4, 1)))
    every = answers.draw()
    rows, chosen = torch.tensor([3, 0]), torch.tensor([2, 1])
    some = answers.of_prompts(rows).of_outputs(chosen)
    assert torch.equal(some.predicted_iou[:, 0], answers.predicted_iou[rows, chosen])
    torch.testing.assert_close(
        some.draw()[:, 0], every[rows, chosen], rtol=1e-4, atol=1e-4
    )
    # Those that were chosen by output first keep theirs.
    # What lies above a threshold is the same where only that is asked for.
    above = answers.of_prompts(rows).of_outputs(chosen).only_above(0.5).draw()[:, 0]
    is_above = every[rows, chosen] > 0.5
    torch.testing.assert_close(
        above[is_above], every[rows, chosen][is_above], rtol=1e-4, atol=1e-4
    )
    assert float(above[~is_above].max()) < 0.5001
    # Outputs of one prompt are drawn together, those of others on their own.
    rows, chosen = torch.tensor([0, 2, 2, 2, 3]), torch.tensor([3, 1, 2, 3, 1])
    several = answers.of_prompts(rows).of_outputs(chosen)
    torch.testing.assert_close(
        several.draw()[:, 0], every[rows, chosen], rtol=1e-4, atol=1e-4
    )
    again = answers.of_outputs(torch.tensor([0, 1, 2, 3])).of_prompts(torch.tensor([2]))
    torch.testing.assert_close(again.draw()[0, 0], every[2, 2], rtol=1e-4, atol=1e-4)


def test_the_answer_does_not_depend_on_what_was_asked_before(
    model: Sam, features: ImageFeatures
) -> None:
    fast = ConvDecoding(model)
    image = fast.prepare(features)
    first = fast.attend(image, CASES["one click"]).draw()
    for case in ("box", "all", "thirty clicks"):
        fast.attend(image, CASES[case]).draw()
    assert torch.equal(fast.attend(image, CASES["one click"]).draw(), first)


def test_the_engine_takes_this_form_and_follows_new_weights(
    features: ImageFeatures,
) -> None:
    model = drawn_model(3)
    assert is_convolutional(model)
    engine = Engine(model)

    def answer() -> torch.Tensor:
        return engine.draw(engine.attend(engine.prepare(features), CASES["one click"]))

    before = answer()
    model.load_state_dict(drawn_model(4).state_dict())
    plain = Engine(model, is_plain=True)
    wanted = plain.draw(plain.attend(plain.prepare(features), CASES["one click"]))
    assert not torch.allclose(before, wanted, atol=1e-2)
    torch.testing.assert_close(answer(), wanted, rtol=1e-4, atol=1e-3)


def test_published_models_keep_theirs() -> None:
    assert not is_convolutional(build_model("vit_t").eval())
    assert not is_convolutional(build_model("embedded_v2").train())

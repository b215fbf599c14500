# SPDX-License-Identifier: Apache-2.0
"""The engine notices changed models, and computes in the model's own precision."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from napari_sam.acceleration.decoding import PlainAttended, Prompts
from napari_sam.acceleration.engine import Engine
from napari_sam.acceleration.low_rank_decoding import LowRankAttended
from napari_sam.modeling.sam import ImageFeatures
from napari_sam.weights.load import load_model

MINI = Path(__file__).parents[1] / "data" / "parity" / "mini.safetensors"
CLICKS = Prompts((torch.tensor([[[90.0, 60.0]], [[30.0, 200.0]]]), torch.ones(2, 1)))


@pytest.fixture
def model():
    """A model of one's own, to be spoilt."""
    return load_model(checkpoint=MINI, device="cpu")


@pytest.fixture
def frame():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 3, 256, 256, generator=generator)


def write_in_place(model):
    with torch.no_grad():
        model.mask_decoder.iou_token.weight.mul_(1.5)


def load_other_weights(model):
    model.load_state_dict({k: v * 1.5 for k, v in model.state_dict().items()})


def assign_other_weights(model):
    weights = {k: v * 1.5 for k, v in model.state_dict().items()}
    model.load_state_dict(weights, assign=True)


def replace_a_tensor(model):
    token = model.mask_decoder.iou_token
    token.weight = nn.Parameter(token.weight.detach() * 1.5)


def replace_a_part(model):
    head = copy.deepcopy(model.mask_decoder.iou_prediction_head)
    model.mask_decoder.iou_prediction_head = head


def change_the_precision(model):
    model.double()


def train(model):
    model.train()


CHANGES = [
    write_in_place,
    load_other_weights,
    assign_other_weights,
    replace_a_tensor,
    replace_a_part,
    change_the_precision,
    train,
]


@pytest.mark.parametrize("is_plain", [False, True], ids=["fast", "plain"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_model_is_noticed_once(model, change, is_plain):
    engine = Engine(model, is_plain=is_plain)
    first = engine.keep_up()
    change(model)
    second = engine.keep_up()
    assert second > first
    assert engine.keep_up() == second


@pytest.mark.parametrize("is_plain", [False, True], ids=["fast", "plain"])
def test_using_a_model_does_not_change_it(model, frame, is_plain):
    engine = Engine(model, is_plain=is_plain)
    first = engine.keep_up()
    with torch.inference_mode():
        image = engine.prepare(engine.encode_image(frame))
        engine.draw(engine.attend(image, CLICKS))
    model.requires_grad_(requires_grad=False)
    assert engine.keep_up() == first


def test_weights_made_in_inference_mode_are_weights(model, frame):
    with torch.inference_mode():
        weights = {k: v.clone() for k, v in model.state_dict().items()}
        model.load_state_dict(weights, assign=True)
        engine, plain = Engine(model), Engine(model, is_plain=True)
        found, wanted = engine.encode_image(frame), plain.encode_image(frame)
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=0)


@pytest.mark.parametrize("is_plain", [False, True], ids=["fast", "plain"])
def test_an_autocast_of_the_caller_changes_nothing(model, frame, is_plain):
    def answer(engine):
        with torch.inference_mode():
            features = engine.encode_image(frame)
            attended = engine.attend(engine.prepare(features), CLICKS)
            assert isinstance(attended, PlainAttended if is_plain else LowRankAttended)
            return features, attended.predicted_iou, engine.draw(attended)

    wanted = answer(Engine(model, is_plain=is_plain))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = answer(Engine(model, is_plain=is_plain))
    for one, other in zip(found, wanted, strict=True):
        if isinstance(one, ImageFeatures):
            one, other = one.embedding, other.embedding
        assert one.dtype == torch.float32
        assert torch.equal(one, other)

# SPDX-License-Identifier: Apache-2.0
"""What a GPU's user gets, from pixels and prompts to masks.

On a processor the same forms run in the same order, only the recording of clicks is
done by a stand-in; on a GPU nothing is pretended.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_sam.acceleration import forms, gpu_forms
from napari_sam.acceleration.cuda_graph import GraphedDecoding, fixed_copies
from napari_sam.acceleration.engine import Engine
from napari_sam.acceleration.forms import choose_decoding, choose_encoding
from napari_sam.acceleration.proof import ProvenDecoding, ProvenEncoding
from napari_sam.prediction.automatic_mask_generator import AutomaticMaskGenerator
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.weights.load import load_model

if TYPE_CHECKING:
    from napari_sam.modeling.sam import Sam

MINI = Path(__file__).parents[1] / "data" / "parity" / "mini.safetensors"


class Repeated:
    """Stands for a CUDA graph where there is no CUDA."""

    n_replays = 0

    def __init__(self, work, inputs) -> None:
        self._work = work
        self.inputs = fixed_copies(inputs)
        self.outputs = work(*self.inputs)

    def replay(self) -> None:
        Repeated.n_replays += 1
        for fixed, made in zip(self.outputs, self._work(*self.inputs), strict=True):
            fixed.copy_(made)


@pytest.fixture
def load(device, monkeypatch, caplog):
    """Load models onto a GPU, or take the processor for one; all must prove itself."""
    if device.type == "cpu":
        monkeypatch.setattr(forms, "is_on_gpu", lambda _: True)
        monkeypatch.setattr(
            gpu_forms, "GraphedDecoding", lambda model: GraphedDecoding(model, Repeated)
        )
    with caplog.at_level(logging.WARNING):
        yield partial(load_model, device=str(device))
    assert not caplog.messages


@pytest.fixture
def predictors(load) -> tuple[SamPredictor, SamPredictor]:
    model = load(checkpoint=MINI)
    return SamPredictor(model), SamPredictor(model, is_plain=True)


PROMPTS = {
    "click": {"points_yx": [[60, 70]]},
    "two points": {"points_yx": [[60, 70], [20, 31]], "point_labels": [1, 0]},
    "box": {"box_yx": [10, 12, 70, 90]},
    "box and point": {"points_yx": [[40, 50]], "box_yx": [10, 12, 70, 90]},
    "thirty": {"points_yx": [[3 * i, 2 * i + 1] for i in range(30)]},
}


def assert_alike(got, expected) -> None:
    scale = expected.low_res_logits.std()
    error = np.abs(got.low_res_logits - expected.low_res_logits).max() / scale
    assert error < 1e-3
    assert np.abs(got.predicted_iou - expected.predicted_iou).max() < 1e-3
    assert (got.masks != expected.masks).mean() < 1e-4


@pytest.mark.parametrize("size", [(208, 256), (131, 97), (256, 256), (1030, 777)])
def test_answers_on_images_of_any_size(predictors, blobs, size) -> None:
    rows, columns = (
        np.linspace(0, n - 1, m).astype(int)
        for n, m in zip(blobs.image.shape[:2], size, strict=True)
    )
    image = np.ascontiguousarray(blobs.image[rows][:, columns])
    fast, plain = predictors
    embedding, expected = fast.embed(image), plain.embed(image)
    scale = expected.features.std()
    assert np.abs(embedding.features - expected.features).max() / scale < 1e-3
    for prompt in PROMPTS.values():
        for _ in range(3):
            assert_alike(
                fast.predict(embedding, **prompt), plain.predict(expected, **prompt)
            )


def test_corrections_of_an_answer(predictors, blobs) -> None:
    fast, plain = predictors
    embedding = fast.embed(blobs.image)
    mask = plain.predict(embedding, [[60, 70]]).low_res_logits[:1]
    for _ in range(3):
        given = {"points_yx": [[60, 70]], "mask_input": mask}
        assert_alike(
            fast.predict(embedding, **given), plain.predict(embedding, **given)
        )


@pytest.mark.parametrize("n_prompts", [1, 2, 64, 65])
def test_many_prompts(predictors, blobs, n_prompts: int) -> None:
    fast, plain = predictors
    embedding = fast.embed(blobs.image)
    points = np.random.default_rng(0).uniform(5, 200, (n_prompts, 1, 2))
    labels = np.ones((n_prompts, 1), dtype=np.int64)
    got = fast.predict_batch(embedding, points, labels)
    expected = plain.predict_batch(embedding, points, labels)
    assert len(got) == n_prompts
    for one, other in zip(got, expected, strict=True):
        assert_alike(one, other)


def test_automatic_masks(predictors, blobs) -> None:
    found = []
    for predictor in predictors:
        generator = AutomaticMaskGenerator(
            predictor,
            points_per_side=6,
            pred_iou_thresh=0.6,
            stability_score_thresh=0.7,
        )
        found.append([record.mask() for record in generator.generate(blobs.image)])
    fast, plain = found
    assert len(fast) == len(plain) > 3
    for one, other in zip(fast, plain, strict=True):
        assert (one != other).mean() < 1e-4


def test_clicks_are_replayed(predictors, blobs, device) -> None:
    if device.type != "cpu":
        pytest.skip("counts the calls of the stand-in")
    fast, _ = predictors
    embedding = fast.embed(blobs.image)
    fast.predict(embedding, [[1, 2]])
    before = Repeated.n_replays
    for place in range(4):
        fast.predict(embedding, [[place, 2]])  # recorded when the form was proved
    assert Repeated.n_replays == before + 4


def test_the_embedded_model(load, blobs) -> None:
    """It is shown where prompts lie, and has finer maps; its encoder stays plain."""
    model = load("embedded")
    assert choose_encoding(model) is None
    fast, plain = SamPredictor(model), SamPredictor(model, is_plain=True)
    embedding = fast.embed(blobs.image)
    for name in ("click", "click", "click", "box and point"):
        got, expected = (
            one.predict(embedding, **PROMPTS[name]) for one in (fast, plain)
        )
        assert_alike(got, expected)


def test_low_precision_gives_the_same_masks(load, blobs) -> None:
    exact = load(checkpoint=MINI)
    low = load(checkpoint=MINI, dtype="bfloat16")
    shared, plain = [], SamPredictor(exact, is_plain=True)
    fast = SamPredictor(low)
    embedding, expected = fast.embed(blobs.image), plain.embed(blobs.image)
    for label in np.unique(blobs.labels)[1:]:
        centre = np.argwhere(blobs.labels == label).mean(0)
        one = fast.predict(embedding, [centre]).masks
        other = plain.predict(expected, [centre]).masks
        both, any_ = (one & other).sum((1, 2)), (one | other).sum((1, 2))
        shared.append(both / np.maximum(any_, 1))
    assert not np.array_equal(embedding.features, expected.features)
    assert np.median(shared) >= 0.995


def test_forms_follow_the_weights(load, device) -> None:
    model = load(checkpoint=MINI)
    engine, plain = Engine(model), Engine(model, is_plain=True)
    x = torch.randn(2, 3, 256, 256).to(device)
    engine.encode_image(x)
    model.image_encoder.blocks[0].mlp.lin1.weight.data.mul_(2)
    model.image_encoder.blocks[0].mlp.lin1.weight.add_(0)  # noted as a change
    after, expected = (one.encode_image(x).embedding for one in (engine, plain))
    assert float((after - expected).abs().max() / expected.std()) < 1e-3


def test_which_models_have_these_forms(load) -> None:
    model = load(checkpoint=MINI)
    assert isinstance(choose_encoding(model), ProvenEncoding)
    assert isinstance(choose_decoding(model), ProvenDecoding)
    low = load(checkpoint=MINI).bfloat16()
    assert choose_encoding(low) is None
    assert choose_decoding(low) is None
    model.train()
    assert choose_encoding(model) is None
    assert choose_decoding(model) is None


def test_without_a_gpu_these_forms_are_not_asked_for(tiny_sam: Sam) -> None:
    assert not isinstance(choose_encoding(tiny_sam), ProvenEncoding)
    assert not isinstance(choose_decoding(tiny_sam), ProvenDecoding)
    assert Engine(tiny_sam).frames_at_once == 1


@pytest.mark.gpu
def test_frames_are_worth_encoding_together_on_a_gpu(gpu) -> None:
    engine = Engine(load_model(checkpoint=MINI, device=str(gpu)))
    assert engine.frames_at_once > 1
    x = torch.randn(engine.frames_at_once, 3, 256, 256, device=gpu)
    together = engine.encode_image(x).embedding
    for place, frame in enumerate(x):
        alone = engine.encode_image(frame[None]).embedding[0]
        torch.testing.assert_close(together[place], alone, atol=1e-3, rtol=1e-3)

# SPDX-License-Identifier: Apache-2.0
"""What was made before a model changed is not mixed with what is made after."""

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_sam.prediction.automatic_mask_generator import AutomaticMaskGenerator
from napari_sam.prediction.embedding_library import EmbeddingLibrary
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.weights.load import load_model

MINI = Path(__file__).parents[1] / "data" / "parity" / "mini.safetensors"
POINT = [(80, 100)]


@pytest.fixture
def model():
    """A model of one's own, to be spoilt."""
    return load_model(checkpoint=MINI, device="cpu")


def change(model, seed=0):
    """Write other weights in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.add_(0.05 * noise * weight.abs().mean())


def logits(predictor, embedding):
    return predictor.predict(embedding, POINT).low_res_logits


def made_anew(model, image):
    """What the model says, asked for the first time and in its plain form."""
    plain = SamPredictor(model, is_plain=True)
    return logits(plain, plain.embed(image))


@pytest.mark.parametrize("is_plain", [False, True], ids=["fast", "plain"])
@pytest.mark.parametrize("is_asked", [False, True], ids=["", "asked between"])
def test_weights_written_in_place(model, blobs, is_plain, is_asked):
    predictor = SamPredictor(model, is_plain=is_plain)
    first = predictor.embed(blobs.image)
    before = logits(predictor, first)
    change(model)
    wanted = made_anew(model, blobs.image)
    assert np.abs(wanted - before).max() > 0.1
    if is_asked:
        logits(predictor, first)
    second = predictor.embed(blobs.image)
    assert not np.array_equal(first.features, second.features)
    np.testing.assert_allclose(logits(predictor, second), wanted, atol=1e-3)


def test_an_embedding_from_before_is_asked_with_the_weights_of_now(model, blobs):
    predictor = SamPredictor(model)
    kept = predictor.embed(blobs.image)
    logits(predictor, kept)
    change(model)
    wanted = logits(SamPredictor(model, is_plain=True), kept)
    np.testing.assert_allclose(logits(predictor, kept), wanted, atol=1e-3)


def test_planes_encoded_ahead_are_encoded_anew(model, blobs):
    predictor = SamPredictor(model)
    predictor.embed_ahead([blobs.image])
    change(model)
    predictor.embed_ahead([blobs.image])
    found = logits(predictor, predictor.embed(blobs.image))
    np.testing.assert_allclose(found, made_anew(model, blobs.image), atol=1e-3)


def test_a_model_in_training_mode_answers_images_from_before(model, blobs):
    predictor = SamPredictor(model)
    embedding = predictor.embed(blobs.image)
    before = logits(predictor, embedding)
    model.train()
    logits(predictor, predictor.embed(blobs.image[::-1].copy()))
    np.testing.assert_allclose(logits(predictor, embedding), before, atol=1e-3)


def test_a_library_is_for_the_weights_of_the_file(model, tiny_sam, blobs):
    library = EmbeddingLibrary()
    predictor = SamPredictor(model, library=library)
    other = blobs.image[::-1].copy()
    predictor.embed(other)
    assert library.in_memory.n_embeddings == 1
    change(model)
    changed = predictor.embed(blobs.image)
    assert library.in_memory.n_embeddings == 1
    assert predictor.recall(changed.digest) is None
    # Neither does it take what the library has of the file's weights.
    own = SamPredictor(tiny_sam, library=library).embed(blobs.image)
    assert own.digest == changed.digest
    again = predictor.embed(other)
    wanted = SamPredictor(model, is_plain=True).embed(other)
    np.testing.assert_allclose(again.features, wanted.features, atol=1e-4)
    assert not np.allclose(own.features, changed.features, atol=1e-2)


def test_a_library_takes_nothing_of_weights_changed_before(model, blobs):
    library = EmbeddingLibrary()
    change(model)
    SamPredictor(model, library=library).embed(blobs.image)
    assert library.in_memory.n_embeddings == 0


@pytest.mark.parametrize("is_plain", [False, True], ids=["fast", "plain"])
def test_an_autocast_of_the_caller_changes_nothing(tiny_sam, blobs, is_plain):
    predictor = SamPredictor(tiny_sam, is_plain=is_plain)
    wanted = predictor.predict(predictor.embed(blobs.image), POINT)
    predictor = SamPredictor(tiny_sam, is_plain=is_plain)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = predictor.predict(predictor.embed(blobs.image), POINT)
    later = predictor.predict(predictor.embed(blobs.image), POINT)
    for answer in (found, later):
        np.testing.assert_array_equal(answer.low_res_logits, wanted.low_res_logits)
        np.testing.assert_array_equal(answer.predicted_iou, wanted.predicted_iou)
        np.testing.assert_array_equal(answer.masks, wanted.masks)


def test_all_objects_are_found_alike_in_an_autocast(tiny_sam, blobs):
    generator = AutomaticMaskGenerator(
        tiny_sam, points_per_side=8, pred_iou_thresh=0.3, stability_score_thresh=0.3
    )
    wanted = generator.generate(blobs.image)
    assert wanted
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = generator.generate(blobs.image)
    assert [one.bbox for one in found] == [one.bbox for one in wanted]
    assert [one.predicted_iou for one in found] == [one.predicted_iou for one in wanted]

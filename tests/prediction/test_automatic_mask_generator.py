# SPDX-License-Identifier: Apache-2.0
"""A real model's records, against those of the reference."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_sam.errors import ImageError, SettingsError
from napari_sam.prediction.automatic_mask_generator import AutomaticMaskGenerator
from napari_sam.prediction.intensity import IntensityRule
from napari_sam.prediction.predictor import SamPredictor

PARITY = Path(__file__).parents[1] / "data" / "parity"
FEW = {"points_per_side": 6, "pred_iou_thresh": 0.6, "stability_score_thresh": 0.7}


@pytest.fixture(scope="module")
def predictor(tiny_sam):
    return SamPredictor(tiny_sam)


def published(name):
    return json.loads((PARITY / f"mini_amg_{name}.json").read_text())


@pytest.mark.parametrize("name", ["plain", "crops", "cleaned"])
def test_records_are_those_of_the_reference(predictor, blobs, name):
    fixture = published(name)
    generator = AutomaticMaskGenerator(predictor, **fixture["settings"])
    records = generator.generate(blobs.image)
    assert len(records) == len(fixture["records"])
    for record, wanted in zip(records, fixture["records"], strict=True):
        found = record.to_dict()
        assert found["area"] == pytest.approx(wanted["area"], abs=2)
        assert found["bbox"] == pytest.approx(wanted["bbox"], abs=2)
        assert found["crop_box"] == wanted["crop_box"]
        assert found["point_coords"][0] == pytest.approx(wanted["point_coords"][0])
        for score in ("predicted_iou", "stability_score"):
            assert found[score] == pytest.approx(wanted[score], abs=1e-3)
        counts = wanted["segmentation"]["counts"]
        assert sum(counts[1::2]) == wanted["area"]
        mask = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
        mask = mask.reshape(wanted["segmentation"]["size"][::-1]).T
        assert (found["segmentation"] != mask).sum() <= 5


def test_records_are_written_in_the_chosen_form(predictor, blobs):
    generator = AutomaticMaskGenerator(predictor, output_mode="coco_rle", **FEW)
    first = generator.generate(blobs.image)[0].to_dict()
    assert isinstance(first["segmentation"]["counts"], str)


def test_an_embedding_saves_the_encoding(tiny_sam, blobs, monkeypatch):
    embedding = SamPredictor(tiny_sam).embed(blobs.image)
    wanted = AutomaticMaskGenerator(tiny_sam, **FEW).generate(blobs.image)

    def refuse(*_, **__):
        pytest.fail("the image was encoded again")

    monkeypatch.setattr(tiny_sam, "encode_image", refuse)
    generator = AutomaticMaskGenerator(tiny_sam, **FEW)
    assert generator.generate(blobs.image, embedding=embedding) == wanted


def test_an_embedding_of_another_image_is_refused(predictor, blobs):
    embedding = predictor.embed(blobs.image[:100])
    generator = AutomaticMaskGenerator(predictor, **FEW)
    with pytest.raises(ImageError, match="embedding is of an image of"):
        generator.generate(blobs.image, embedding=embedding)


def test_an_embedding_of_another_image_of_the_same_size_is_refused(predictor, blobs):
    generator = AutomaticMaskGenerator(predictor, **FEW)
    changed = blobs.image.copy()
    changed[:40] = 255 - changed[:40]
    with pytest.raises(ImageError, match="not of this image as the model sees it"):
        generator.generate(changed, embedding=predictor.embed(blobs.image))


def test_an_embedding_of_the_same_picture_is_accepted_however_it_came(predictor, blobs):
    grey = blobs.image.mean(axis=2)
    rule = IntensityRule(limits=(0, 200))
    embedding = predictor.embed(grey, intensity=rule)
    generator = AutomaticMaskGenerator(predictor, **FEW | {"points_per_side": 2})
    generator.generate(grey.copy(), embedding=embedding, intensity=rule)
    with pytest.raises(ImageError, match="intensity rule"):
        generator.generate(grey, embedding=embedding)


def test_an_embedding_of_another_model_is_refused(predictor, blobs):
    foreign = replace(predictor.embed(blobs.image), model="vit_h")
    generator = AutomaticMaskGenerator(predictor, **FEW)
    with pytest.raises(ImageError, match="made by the model 'vit_h'"):
        generator.generate(blobs.image, embedding=foreign)


def test_the_models_own_defaults_lie_under_the_users(tiny_sam, monkeypatch):
    own = {"points_per_side": 5, "pred_iou_thresh": 0.3, "min_area": 9}
    monkeypatch.setattr(tiny_sam, "auto_defaults", own)
    settings = AutomaticMaskGenerator(tiny_sam, pred_iou_thresh=0.4).settings
    assert (settings.points_per_side, settings.pred_iou_thresh) == (5, 0.4)
    grids = AutomaticMaskGenerator(tiny_sam, point_grids=[[[0.5, 0.5]]]).settings
    assert grids.points_per_side is None


def test_unknown_settings_are_refused_at_once(tiny_sam):
    with pytest.raises(SettingsError, match="points_per_sid"):
        AutomaticMaskGenerator(tiny_sam, points_per_sid=4)


def test_cancelling_keeps_what_was_found(predictor, blobs):
    cancel = threading.Event()
    steps = []

    def stop_at_once(done, total):
        steps.append((done, total))
        cancel.set()

    generator = AutomaticMaskGenerator(predictor, **FEW | {"points_per_side": 12})
    part = generator.generate(blobs.image, progress=stop_at_once, cancel=cancel)
    whole = generator.generate(blobs.image)
    assert steps == [(4, 144)]
    assert len(part) < len(whole)


def test_grey_and_16_bit_images_are_searched(predictor, blobs):
    grey = blobs.image.mean(axis=2)
    generator = AutomaticMaskGenerator(predictor, **FEW)
    records = generator.generate((grey * 200).astype(np.uint16))
    assert len(records) >= 3

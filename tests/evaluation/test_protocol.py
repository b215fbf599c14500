# SPDX-License-Identifier: Apache-2.0
"""The protocol with the tiny model, against calls of the predictor by hand."""

import numpy as np
import pytest

from napari_sam.errors import ImageError, LabelsError, SettingsError
from napari_sam.evaluation import protocol
from napari_sam.evaluation.cases import WorstCases
from napari_sam.evaluation.prompts import centre_point
from napari_sam.evaluation.settings import EvaluationSettings

LABELS = (2, 5, 7)


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()


@pytest.fixture(scope="module")
def scene(blobs):
    """Three blobs of the picture."""
    labels = np.where(np.isin(blobs.labels, LABELS), blobs.labels, 0)
    return "blobs", blobs.image, labels


@pytest.fixture(scope="module")
def answers(scene, tiny_sam):
    """What the predictor gives for each object: three masks of the click, and a box."""
    from napari_sam.prediction.predictor import SamPredictor

    _, image, labels = scene
    predictor = SamPredictor(tiny_sam)
    embedding = predictor.embed(image)
    found = []
    for label in LABELS:
        truth = labels == label
        rows, columns = np.nonzero(truth)
        box = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
        click = predictor.predict(embedding, [centre_point(truth)])
        found.append((truth, click, predictor.predict(embedding, box_yx=box)))
    return found


def test_point_and_box_are_those_of_the_predictor(scene, answers, tiny_sam):
    settings = EvaluationSettings(modes=("point", "box"))
    seen = []
    report = protocol.evaluate_images([scene], tiny_sam, settings, progress=seen.append)
    (image,) = report.images
    assert seen == [image]
    assert [facts.label for facts in image.objects] == list(LABELS)
    for i, (truth, click, box) in enumerate(answers):
        ious = [_iou(mask, truth) for mask in click.masks]
        assert image.ious["point_iou"][i] == pytest.approx(ious[click.best])
        assert image.ious["point_oracle_iou"][i] == pytest.approx(max(ious))
        assert image.ious["box_iou"][i] == pytest.approx(_iou(box.masks[0], truth))
    assert report.value("point_iou") == pytest.approx(
        image.ious["point_iou"].mean(), abs=1e-5
    )


def test_a_correction_is_that_of_the_predictor(scene, answers, tiny_sam):
    from napari_sam.evaluation.prompts import correction_point
    from napari_sam.prediction.predictor import SamPredictor
    from napari_sam.structures.mask_window import MaskWindow

    settings = EvaluationSettings(
        modes=("point-corrections",), corrections=1, without_logits=True
    )
    (image,) = protocol.evaluate_images([scene], tiny_sam, settings).images
    predictor = SamPredictor(tiny_sam)
    embedding = predictor.embed(scene[1])
    for i, (truth, click, _) in enumerate(answers):
        shown = MaskWindow.of_mask(click.masks[click.best])
        second = correction_point(MaskWindow.of_mask(truth), shown)
        points = [centre_point(truth), second.yx]
        for key, logits in (
            ("after_point", click.low_res_logits[click.best]),
            ("after_point_without_logits", None),
        ):
            found = predictor.predict(
                embedding, points, [1, second.label], mask_input=logits
            )
            assert len(found) == 1
            expected = _iou(found.masks[0], truth)
            assert image.ious[key][i, 1] == pytest.approx(expected)
            assert image.ious[key][i, 0] == image.ious["point_iou"][i]


def test_results_do_not_depend_on_how_many_objects_are_asked_at_once(
    scene, tiny_sam, monkeypatch
):
    modes = ("random-point", "jittered-box", "refined-box", "box-corrections")
    settings = EvaluationSettings(modes=modes, corrections=1, seed=3)
    (together,) = protocol.evaluate_images([scene], tiny_sam, settings).images
    monkeypatch.setattr(protocol, "_AT_ONCE", 1)
    (apart,) = protocol.evaluate_images([scene], tiny_sam, settings).images
    assert list(together.ious) == [
        "random_point_iou",
        "random_point_oracle_iou",
        "box_iou",
        "refined_box_iou",
        "after_box",
        "jittered_box_iou",
    ]
    for key, values in together.ious.items():
        np.testing.assert_allclose(apart.ious[key], values, atol=0.02)


def test_every_image_is_encoded_once_for_everything(scene, tiny_sam, monkeypatch):
    from napari_sam.acceleration.engine import Engine

    encode = Engine.encode_image
    encoded = []

    def counting(self, x, *rest):
        encoded.append(len(x))
        return encode(self, x, *rest)

    monkeypatch.setattr(Engine, "encode_image", counting)
    settings = EvaluationSettings(
        modes=("point", "box", "box-corrections", "grid"),
        corrections=1,
        automatic={"points_per_side": 4},
    )
    protocol.evaluate_images([scene], tiny_sam, settings)
    assert encoded == [1]


def test_automatic_scores_and_cases(scene, tiny_sam):
    easy = {
        "points_per_side": 12,
        "pred_iou_thresh": 0.5,
        "stability_score_thresh": 0.5,
    }
    settings = EvaluationSettings(modes=("point", "box", "grid"), automatic=easy)
    cases = WorstCases(2)
    report = protocol.evaluate_images([scene], tiny_sam, settings, cases=cases)
    (image,) = report.images
    counts = image.instances["grid"].counts
    assert counts.true_positives + counts.false_negatives == 3
    assert counts.true_positives >= 1
    assert report.value("grid_ap") == pytest.approx(counts.average_precision, abs=1e-5)
    found = cases.all()
    assert [case.kind for case in found] == ["point", "point", "box", "box", "grid"]
    worst = found[0]
    lowest = int(image.ious["point_iou"].argmin())
    assert worst.label == image.objects[lowest].label
    assert worst.score == pytest.approx(image.ious["point_iou"][lowest])
    assert _iou(worst.prediction > 0, worst.truth > 0) == pytest.approx(worst.score)
    assert found[-1].truth.max() == 3


def test_image_without_objects_is_not_asked(scene, tiny_sam):
    _, image, labels = scene
    nothing = np.zeros_like(labels)
    settings = EvaluationSettings(
        modes=("point", "box-corrections", "grid"),
        automatic={"points_per_side": 2, "pred_iou_thresh": 0.999},
    )
    report = protocol.evaluate_images([("n", image, nothing)], tiny_sam, settings)
    assert report.images[0].ious == {}
    assert report.value("point_iou") is None
    assert report.value("grid_ap") in (0, 1)


def test_odd_images_are_measured(tiny_sam):
    labels = np.zeros((40, 50), np.uint8)
    labels[10:30, 10:30] = 3
    settings = EvaluationSettings(
        modes=("point", "box", "point-corrections"), corrections=2
    )
    pictures = (
        np.full((40, 50), np.nan, np.float32),
        np.zeros((40, 50), np.uint8),
        np.where(labels > 0, np.inf, 0.0),
    )
    for number, picture in enumerate(pictures):
        report = protocol.evaluate_images(
            [(str(number), picture, labels)], tiny_sam, settings
        )
        assert 0 <= report.value("point_iou") <= 1


def test_groups_come_from_the_name(scene, tiny_sam):
    settings = EvaluationSettings(modes=("box",))
    groups = {"blobs": {"site": "Ulm"}}
    report = protocol.evaluate_images([scene], tiny_sam, settings, groups=groups)
    assert list(report.groups["site"]) == ["Ulm"]


def test_wrong_input_is_named(scene, tiny_sam):
    _, image, labels = scene
    with pytest.raises(LabelsError, match="do not fit"):
        protocol.evaluate_images([("a", image[:-1], labels)], tiny_sam)
    with pytest.raises(LabelsError, match="integers"):
        protocol.evaluate_images([("a", image, labels.astype(float))], tiny_sam)
    with pytest.raises(ImageError, match="1 axes"):
        protocol.evaluate_images([("a", image[0, 0], labels)], tiny_sam)
    settings = EvaluationSettings(modes=("grid",), automatic={"colour": 3})
    with pytest.raises(SettingsError, match="colour"):
        protocol.evaluate_images([scene], tiny_sam, settings)

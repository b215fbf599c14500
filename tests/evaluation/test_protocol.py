# SPDX-License-Identifier: Apache-2.0
"""The protocol against a view whose answers are known."""

from types import SimpleNamespace

import numpy as np
import pytest

from napari_sam.errors import ImageError, LabelsError, SettingsError
from napari_sam.evaluation import protocol


class FakeView:
    """Answers with squares around the prompt; keeps what it was asked."""

    calls: list[dict]
    views = 0

    def __init__(self, predictor, image):
        FakeView.views += 1
        self.shape = image.shape[:2]

    def predict_batch(self, points_yx=None, boxes_yx=None, *, multimask_output=None):
        FakeView.calls.append(
            {"points": points_yx, "boxes": boxes_yx, "multimask": multimask_output}
        )
        if boxes_yx is not None:
            return [self._box(self.shape, box) for box in boxes_yx]
        return [self._point(self.shape, point) for point in points_yx]

    @staticmethod
    def _box(size, box):
        y0, x0, y1, x1 = box.astype(int)
        masks = np.zeros((1, *size), bool)
        masks[0, y0:y1, x0:x1] = True
        return SimpleNamespace(masks=masks, predicted_iou=np.array([0.1]))

    @staticmethod
    def _point(size, point):
        y, x = point.astype(int)
        masks = np.zeros((3, *size), bool)
        for mask, radius in zip(masks, (1, 5, 3), strict=True):
            mask[y - radius : y + radius + 1, x - radius : x + radius + 1] = True
        return SimpleNamespace(masks=masks, predicted_iou=np.array([0.2, 0.3, 0.9]))


@pytest.fixture
def labels() -> np.ndarray:
    labels = np.zeros((60, 80), np.uint16)
    labels[10:21, 20:31] = 4  # 11 x 11, centre (15, 25)
    labels[40:47, 50:57] = 5  # 7 x 7
    labels[0:2, 0:2] = 6  # too small to count
    return labels


@pytest.fixture
def fake(monkeypatch, labels):
    settings = []

    def segment(image, model, **kwargs):
        settings.append(kwargs)
        predicted = np.where(labels == 4, 1, 0).astype(np.uint32)
        predicted[55:60, 70:80] = 2  # 50 px, invented
        predicted[0:3, 70:78] = 3  # 24 px, dropped
        return predicted

    FakeView.calls, FakeView.views = [], 0
    monkeypatch.setattr(protocol, "SamPredictor", lambda model: model)
    monkeypatch.setattr(protocol, "ImageView", FakeView)
    monkeypatch.setattr(protocol, "segment_image", segment)
    return settings


def test_all_modes(fake, labels):
    image = np.zeros((60, 80), np.uint8)
    seen = []
    report = protocol.evaluate_images(
        [("one", image, labels)], object(), progress=seen.append
    )
    assert report.n_objects == 2
    # the mask of highest predicted IoU is the 7 x 7 square: 49/121 and 1
    np.testing.assert_allclose(report.images[0].point, [49 / 121, 1])
    np.testing.assert_allclose(report.images[0].point_oracle, [1, 1])
    np.testing.assert_allclose(report.images[0].box, [1, 1])
    assert report.average_precision == pytest.approx(1 / 3)
    assert seen == list(report.images)
    assert FakeView.views == 1
    first, second = FakeView.calls
    assert first["points"].tolist() == [[15, 25], [43, 53]]
    assert first["multimask"] is True
    assert second["boxes"].tolist() == [[10, 20, 21, 31], [40, 50, 47, 57]]
    assert second["multimask"] is False


def test_modes_can_be_limited(fake, labels):
    image = np.zeros((60, 80, 3), np.uint8)
    report = protocol.evaluate_images([("one", image, labels)], None, modes=["box"])
    assert report.images[0].point is None
    assert report.images[0].grid is None
    assert fake == []
    protocol.evaluate_images(
        [("one", image, labels)], None, modes=["grid"], settings={"points_per_side": 9}
    )
    assert fake == [{"points_per_side": 9}]


def test_batches_are_bounded(fake, labels, monkeypatch):
    monkeypatch.setattr(protocol, "_BATCH_BYTES", 1)
    image = np.zeros((60, 80), np.uint8)
    report = protocol.evaluate_images([("one", image, labels)], None, modes=["box"])
    assert [len(call["boxes"]) for call in FakeView.calls] == [1, 1]
    np.testing.assert_allclose(report.images[0].box, [1, 1])


def test_image_without_objects_is_not_embedded(fake):
    image, nothing = np.zeros((60, 80), np.uint8), np.zeros((60, 80), np.uint8)
    report = protocol.evaluate_images([("n", image, nothing)], None)
    assert FakeView.views == 0
    assert report.n_objects == 0
    assert report.average_precision == 0  # two invented objects


def test_wrong_input_is_named(fake, labels):
    image = np.zeros((60, 80), np.uint8)
    with pytest.raises(SettingsError, match="Allowed: point, box, grid"):
        protocol.evaluate_images([], None, modes=["circle"])
    with pytest.raises(SettingsError):
        protocol.evaluate_images([], None, modes=[])
    with pytest.raises(LabelsError, match="do not fit"):
        protocol.evaluate_images([("a", image[:-1], labels)], None)
    with pytest.raises(LabelsError, match="integers"):
        protocol.evaluate_images([("a", image, labels.astype(float))], None)
    with pytest.raises(ImageError, match="1 axes"):
        protocol.evaluate_images([("a", image[0], labels)], None)

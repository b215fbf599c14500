# SPDX-License-Identifier: Apache-2.0
"""Scores of a model in training, with a decoder that answers by script."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_sam.errors import Cancelled
from napari_sam.training.dataset import LabelledImage
from napari_sam.training.feature_cache import EncodedFrame
from napari_sam.training.frames import FrameSource
from napari_sam.training.recipe import Frames
from napari_sam.training.validation import Validation, _largest_error

PLAIN = Frames()


class Scripted:
    """Knows the truth; answers boxes well and clicks with a part of the object.

    Outputs 1 to 3 for a click: half of the object with the highest predicted IoU, all
    of it, nothing. A second click completes it.
    """

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels  # at mask resolution
        self.points: list[np.ndarray] = []
        self.boxes: list[list[float]] = []

    def encode_prompts(self, points=None, boxes=None, masks=None):
        if boxes is not None:
            self.boxes.extend(boxes.tolist())
            at = (boxes[:, :2] + boxes[:, 2:]) / 2
            return at, torch.tensor(3)
        self.points.append(points[0].numpy())
        return points[0][:, 0], torch.tensor(1 if masks is None else 2)

    def decode(self, features, at, kind):
        logits, iou = [], torch.tensor([[0.1, 0.9, 0.5, 0.2]]).repeat(len(at), 1)
        for x, y in at.tolist():
            label = self.labels[int(y + 0.5) // 2, int(x + 0.5) // 2]
            whole = torch.from_numpy(self.labels == label)
            half = whole.clone()
            rows = whole.any(dim=1).nonzero()[:, 0]
            half[: int(rows.float().mean()) + 1] = False
            nothing = torch.zeros_like(whole)
            first = whole if kind > 1 else nothing
            logits.append(torch.stack([first, half, whole, nothing]))
        return torch.stack(logits).float() * 2 - 1, iou


def score(tiny, images, max_objects=100):
    validation = Validation(FrameSource(images, tiny, PLAIN), max_objects)
    model = Scripted(np.zeros((32, 32), int))

    def encode(key, frame):
        model.labels = frame.labels
        place = SimpleNamespace(embedding=torch.zeros(1))
        return EncodedFrame(frame, place)

    return model, *validation.score(model, encode)


def test_scores_by_hand(tiny, scene) -> None:
    model, scores, examples = score(tiny, [scene])
    assert scores["objects"] == 4
    assert (scores["box"], scores["oracle"], scores["corrected"]) == (1, 1, 1)
    shares = []
    small = scene.labels[1::2, 1::2]
    for label in range(1, 5):
        rows, counts = np.unique(np.nonzero(small == label)[0], return_counts=True)
        cut = int((rows.min() + rows.max()) / 2) + 1
        shares.append(counts[rows >= cut].sum() / counts.sum())
    assert scores["point"] == pytest.approx(np.mean(shares), abs=0.03)
    assert scores["selection"] == pytest.approx((scores["point"] + 2) / 3)
    # prompts: the middle of the disc around (16, 14) with radius 9, its tight box
    assert model.points[0][0, 0] == pytest.approx([14, 16], abs=1)
    rows, columns = np.nonzero(scene.labels == 1)
    assert model.boxes[0] == [
        columns.min(),
        rows.min(),
        columns.max() + 1,
        rows.max() + 1,
    ]
    (example,) = examples
    assert example.name == "scene"


def test_the_correction_is_in_the_missing_part(tiny, scene) -> None:
    model, *_ = score(tiny, [scene])
    second = model.points[1]  # (4, 2, 2): the first click and the correction
    assert np.array_equal(second[:, 0], model.points[0][:, 0])
    assert (second[:, 1, 1] < second[:, 0, 1]).all()  # the upper half was missing


def test_the_correction_goes_to_the_deepest_error_not_to_the_largest() -> None:
    """A long thin surplus has more pixels than the square hole, but is less deep."""
    wanted, predicted = np.zeros((2, 32, 32), bool)
    wanted[4:13, 4:13] = True
    predicted[4:13, 4:13] = True
    predicted[6:11, 6:11] = False  # 25 pixels missing around (8, 8)
    predicted[20:22, 2:30] = True  # 56 pixels too many
    assert _largest_error(predicted, wanted, 2.0) == (16.5, 16.5, 1.0)
    predicted[6:11, 6:11] = True
    _, y, label = _largest_error(predicted, wanted, 2.0)
    assert (y, label) == (40.5, 0.0)
    # nothing is wrong: a click in the middle of the object
    assert _largest_error(wanted, wanted, 1.0) == (8.0, 8.0, 1.0)


def test_every_view_is_asked_for_before(tiny, scene) -> None:
    images = [dataclasses.replace(scene, name=str(i)) for i in range(3)]
    validation = Validation(FrameSource(images, tiny, PLAIN), 100)
    seen = []

    def encode(key, frame):
        seen.append(key)
        return EncodedFrame(frame, SimpleNamespace(embedding=torch.zeros(1)))

    def check():
        if len(seen) == 2:
            msg = "stopped"
            raise Cancelled(msg)

    class Any(Scripted):
        def decode(self, features, at, kind):
            return torch.zeros(len(at), 4, 32, 32), torch.zeros(len(at), 4)

    with pytest.raises(Cancelled):
        validation.score(Any(np.zeros((32, 32), int)), encode, check)
    assert len(seen) == 2


def test_objects_are_chosen_evenly_over_images(tiny, scene) -> None:
    images = [dataclasses.replace(scene, name=str(i)) for i in range(6)]
    model, scores, _ = score(tiny, images, max_objects=10)
    assert scores["objects"] == 8
    assert len(model.points) == 4  # two images, two rounds each


def test_small_objects_do_not_count(tiny) -> None:
    labels = np.zeros((64, 64), np.int32)
    labels[10:14, 10:16] = 1  # 24 pixels
    labels[30:35, 30:35] = 2  # 25 pixels
    image = LabelledImage("x", "x", (labels * 50).astype(np.uint8), labels)
    _, scores, _ = score(tiny, [image])
    assert scores["objects"] == 1


def squares(side: int, n: int) -> LabelledImage:
    """Squares of one size in the upper left of a picture of 64 pixels."""
    labels = np.zeros((64, 64), np.int32)
    for number in range(n):
        y, x = 2 + (side + 2) * (number // 3), 2 + (side + 2) * (number % 3)
        labels[y : y + side, x : x + side] = number + 1
    pixels = np.where(labels > 0, 200, 40).astype(np.uint8)
    return LabelledImage("squares", "x", pixels, labels)


def test_an_object_in_two_views_is_scored_once_in_the_larger_one(tiny) -> None:
    tiny.min_object_px = 24
    source = FrameSource([squares(6, 9)], tiny, PLAIN)
    whole, enlarged = source.views(0)
    shown = {label for label, _ in source.objects(0, enlarged)}
    assert shown
    assert len(source.objects(0, whole)) == 9
    model, scores, _ = score(tiny, [squares(6, 9)])
    assert scores["objects"] == 9
    sides = [x1 - x0 for x0, _, x1, _ in model.boxes]
    assert sides.count(6 * enlarged.scale[1]) == len(shown)


def test_enlarged_views_leave_as_many_objects_to_each_view(tiny) -> None:
    tiny.min_object_px = 24
    images = [dataclasses.replace(squares(6, 9), name=str(i)) for i in range(6)]
    model, scores, _ = score(tiny, images, max_objects=10)
    assert len(model.points) == 4  # one image in two views, two rounds each
    assert 5 < scores["objects"] <= 10

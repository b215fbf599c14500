# SPDX-License-Identifier: Apache-2.0
"""Small objects of a large image are found; whatever needs the whole image gets it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_sam.errors import PromptError
from napari_sam.prediction.image_view import ImageView
from napari_sam.prediction.predictor import SamPredictor

if TYPE_CHECKING:
    from napari_sam.structures.candidates import Candidates

AT = (430, 300)  # where the picture of blobs lies in the large one


@pytest.fixture(scope="module")
def predictor(tiny_sam) -> SamPredictor:
    return SamPredictor(tiny_sam)


@pytest.fixture(scope="module")
def large(blobs) -> tuple[np.ndarray, np.ndarray]:
    """The blobs in a corner of a large plane of their ground's colour."""
    height, width = blobs.image.shape[:2]
    image = np.empty((height + AT[0] + 60, width + AT[1] + 150, 3), np.uint8)
    image[:] = np.median(blobs.image.reshape(-1, 3), axis=0)
    labels = np.zeros(image.shape[:2], blobs.labels.dtype)
    window = (slice(AT[0], AT[0] + height), slice(AT[1], AT[1] + width))
    image[window], labels[window] = blobs.image, blobs.labels
    return image, labels


@pytest.fixture(scope="module")
def view(predictor, large) -> ImageView:
    return ImageView(predictor, large[0])


def centres(labels: np.ndarray) -> np.ndarray:
    ids = np.unique(labels)[1:]
    return np.array([np.argwhere(labels == i).mean(axis=0) for i in ids])


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    return (mask & truth).sum() / (mask | truth).sum()


def test_clicks_on_small_objects_are_answered_at_full_resolution(
    view, predictor, large
) -> None:
    image, labels = large
    ids, points = np.unique(labels)[1:], centres(labels)
    near = [view.predict([p], [1]) for p in points]
    far = [predictor.predict(view.whole, [p], [1]) for p in points]
    scores = [
        np.mean(
            [
                iou(a.masks[a.best], labels == i)
                for i, a in zip(ids, answers, strict=True)
            ]
        )
        for answers in (near, far)
    ]
    assert near[0].masks.shape[1:] == image.shape[:2]
    assert scores[0] > 0.75
    assert scores[0] > scores[1] + 0.1


def test_many_at_once_are_answered_like_one(view, large) -> None:
    points = centres(large[1])
    together = view.predict_batch(points_yx=points)
    for point, answer in zip(points, together, strict=True):
        alone = view.predict([point], [1])
        differing = (alone.masks != answer.masks).sum()
        assert differing <= 5
    boxes = np.concatenate([points - 12, points + 12], axis=1)
    masks = view.predict_batch(boxes_yx=boxes, multimask_output=False)
    assert {len(answer.masks) for answer in masks} == {1}


def test_a_box_larger_than_a_region_is_answered_on_the_whole_image(
    view, predictor
) -> None:
    box = (20.0, 30.0, 650.0, 600.0)
    expected = predictor.predict(view.whole, box_yx=box)
    got = view.predict(box_yx=box)
    np.testing.assert_array_equal(got.low_res_logits, expected.low_res_logits)


class Overflowing(SamPredictor):
    """Answers on a region with a mask that fills it."""

    def predict(self, embedding, *args, **kwargs) -> Candidates:
        answer = super().predict(embedding, *args, **kwargs)
        if embedding.original_size == (256, 256):
            return replace(answer, masks=np.ones_like(answer.masks))
        return answer


def test_an_answer_cut_by_its_region_is_asked_again_of_the_whole_image(
    tiny_sam, large
) -> None:
    predictor = Overflowing(tiny_sam)
    view = ImageView(predictor, large[0])
    expected = predictor.predict(view.whole, [(300, 350)], [1])
    got = view.predict([(300, 350)], [1])
    np.testing.assert_array_equal(got.masks, expected.masks)


def test_small_images_and_mask_inputs_go_to_the_whole_image(
    predictor, blobs, view
) -> None:
    small = ImageView(predictor, blobs.image)
    point = [(100.0, 120.0)]
    expected = predictor.predict(predictor.embed(blobs.image), point, [1])
    np.testing.assert_array_equal(small.predict(point, [1]).masks, expected.masks)

    logits = predictor.predict(view.whole, [(500, 400)], [1]).low_res_logits[0]
    expected = predictor.predict(view.whole, [(500, 400)], [1], mask_input=logits)
    got = view.predict([(500, 400)], [1], mask_input=logits)
    np.testing.assert_array_equal(got.masks, expected.masks)


@pytest.mark.parametrize("point", [(np.nan, 3.0), (5.0, 9999.0)])
def test_impossible_points_are_refused_in_coordinates_of_the_image(view, point) -> None:
    with pytest.raises(PromptError, match=r"(?i)nan|9999"):
        view.predict([point], [1])

# SPDX-License-Identifier: Apache-2.0
"""Small objects of a large image are found; whatever needs the whole image gets it."""

from __future__ import annotations

import weakref
from threading import Event

import numpy as np
import pytest

from napari_sam.errors import Cancelled, PromptError
from napari_sam.prediction.image_view import ImageView
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.structures.lru_cache import LruCache
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompts import BoxPrompt, PointPrompt, PromptSet

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
    """Lesson 25: large images are looked at in regions of full resolution."""
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
    # All four outputs at once, or one: sums may come in another order.
    np.testing.assert_allclose(got.low_res_logits, expected.low_res_logits, atol=1e-4)


class Overflowing(SamPredictor):
    """Answers on a region with masks that fill it."""

    def mask_windows(self, embedding, logits) -> list[MaskWindow]:
        found = super().mask_windows(embedding, logits)
        if embedding.original_size == (256, 256):
            return [MaskWindow.of_mask(np.ones((256, 256), bool)) for _ in found]
        return found


def test_an_answer_cut_by_its_region_is_asked_again_of_the_whole_image(
    tiny_sam, large
) -> None:
    predictor = Overflowing(tiny_sam)
    view = ImageView(predictor, large[0])
    at = tuple(centres(large[1])[0])
    expected = predictor.predict(view.whole, [at], [1])
    assert expected.masks.any()
    got = view.predict([at], [1])
    np.testing.assert_array_equal(got.masks, expected.masks)
    np.testing.assert_array_equal(
        view.preview(at).masks[0].on_plane(view.shape), got.masks[got.best]
    )


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


def test_an_answer_holds_all_four_outputs_as_the_predictor_gives_them(
    predictor, blobs
) -> None:
    view = ImageView(predictor, blobs.image)
    point = (100.0, 120.0)
    got = view.answer(PromptSet((PointPrompt(point),)))
    assert len(got) == 4
    assert got.seconds > 0
    for multimask, outputs in ((False, slice(0, 1)), (True, slice(1, 4))):
        expected = predictor.predict(
            view.whole, [point], [1], multimask_output=multimask
        )
        np.testing.assert_array_equal(
            got.predicted_iou[outputs], expected.predicted_iou
        )
        for mask, wanted in zip(got.masks[outputs], expected.masks, strict=True):
            np.testing.assert_array_equal(mask.on_plane(view.shape), wanted)


def test_the_preview_is_the_best_mask_that_a_click_gives(view, large) -> None:
    for point in centres(large[1])[:4]:
        yx = tuple(point)
        clicked = view.answer(PromptSet((PointPrompt(yx),)))
        best = 1 + int(np.argmax(clicked.predicted_iou[1:]))
        shown = view.preview(yx)
        assert len(shown) == 1
        assert shown.masks[0].iou(clicked.masks[best]) > 0.999
        np.testing.assert_allclose(
            shown.predicted_iou[0], clicked.predicted_iou[best], atol=1e-5
        )


def correction(mask: np.ndarray, truth: np.ndarray) -> PointPrompt:
    """A click on what is missing or, if there is more of it, on the surplus."""
    missing, surplus = truth & ~mask, mask & ~truth
    is_missing = missing.sum() >= surplus.sum()
    y, x = np.argwhere(missing if is_missing else surplus)[0]
    return PointPrompt((float(y), float(x)), int(is_missing))


def test_a_correction_on_a_large_image_stays_with_the_region_it_corrects(
    view, predictor, large
) -> None:
    """The logits of a region are not taken for logits of the whole image."""
    labels = large[1]
    scores, wrong = [], []
    for i, point in zip(np.unique(labels)[1:], centres(labels), strict=True):
        truth = labels == i
        first = PointPrompt(tuple(point))
        answer = view.answer(PromptSet((first,)))
        best = 1 + int(np.argmax(answer.predicted_iou[1:]))
        mask = answer.masks[best].on_plane(view.shape)
        logits = answer.low_res_logits[best].copy()
        points = (first, correction(mask, truth))
        again = view.answer(PromptSet(points, mask_input=logits))
        scores.append(iou(again.masks[0].on_plane(view.shape), truth))
        misread = predictor.predict(
            view.whole,
            [p.yx for p in points],
            [p.label for p in points],
            mask_input=logits,
        )
        wrong.append(iou(misread.masks[0], truth))
    assert np.mean(scores) > 0.75
    assert np.mean(scores) > np.mean(wrong) + 0.1


def test_a_correction_finds_its_region_after_the_image_was_embedded_anew(
    view, predictor, large
) -> None:
    other_model = SamPredictor(predictor.model)
    n_misread = 0
    for centre in centres(large[1])[:4]:
        first = PointPrompt(tuple(centre))
        answer = view.answer(PromptSet((first,)))
        box = answer.masks[0].box
        points = (first, PointPrompt((box[0] - 3.0, box[1] - 3.0), 0))
        prompts = PromptSet(points, mask_input=answer.low_res_logits[0])
        expected = view.answer(prompts).low_res_logits
        again = ImageView(predictor, large[0]).answer(prompts)
        np.testing.assert_array_equal(again.low_res_logits, expected)
        # Who never saw the logits takes them for the whole image's.
        misread = ImageView(other_model, large[0]).answer(prompts)
        n_misread += not np.array_equal(misread.low_res_logits, expected)
    assert n_misread > 0


def test_logits_follow_the_prompts_to_another_part_of_the_image(view, large) -> None:
    """Prompts that reach beyond the region take its logits to the whole image."""
    labels = large[1]
    truth = labels == 1
    first = PointPrompt(tuple(centres(labels)[0]))
    answer = view.answer(PromptSet((first,)))
    best = 1 + int(np.argmax(answer.predicted_iou[1:]))
    logits = answer.low_res_logits[best]
    far = (PointPrompt((3.0, 3.0), 0), PointPrompt((690.0, 700.0), 0))
    moved = view.answer(PromptSet((first, *far), mask_input=logits))
    alone = view.answer(PromptSet((first, *far)))
    scores = [iou(a.masks[0].on_plane(view.shape), truth) for a in (moved, alone)]
    assert scores[0] > 0.3
    assert not np.array_equal(moved.low_res_logits, alone.low_res_logits)
    # And from there they are logits of the whole image.
    back = view.answer(PromptSet((first,), mask_input=moved.low_res_logits[0]))
    assert iou(back.masks[0].on_plane(view.shape), truth) > 0.3


@pytest.mark.parametrize("with_box", [True, False])
def test_a_mask_gives_itself_back(view, large, with_box) -> None:
    labels = large[1]
    scores = []
    for i in np.unique(labels)[1:]:
        mask = MaskWindow.of_mask(labels == i)
        box = BoxPrompt(*mask.box) if with_box else None
        answer = view.answer(PromptSet(box=box, mask=mask))
        scores.append(answer.masks[0].iou(mask))
    assert np.median(scores) > 0.85


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (MaskWindow(3, 4, np.zeros((5, 5), bool)), "no pixels"),
        (MaskWindow(690, 4, np.ones((50, 5), bool)), "698 rows"),
    ],
)
def test_impossible_masks_are_refused(view, mask, message) -> None:
    with pytest.raises(PromptError, match=message):
        view.answer(PromptSet(mask=mask))


def mixed_prompts(labels: np.ndarray) -> list[PromptSet]:
    """One set for each object: clicks, boxes, boxes with a click, masks."""
    sets = []
    for k, i in enumerate(np.unique(labels)[1:]):
        mask = MaskWindow.of_mask(labels == i)
        point = PointPrompt(tuple(centres(labels)[k]))
        box = BoxPrompt(*mask.box)
        sets.append(
            (
                PromptSet((point,)),
                PromptSet(box=box),
                PromptSet((point, PointPrompt((1.0, 2.0), 0)), box),
                PromptSet(mask=mask),
            )[k % 4]
        )
    return sets


def test_many_objects_get_one_mask_each_in_their_order(view, large) -> None:
    sets, reports = mixed_prompts(large[1]), []
    answers = view.answer_many(sets, progress=lambda *p: reports.append(p))
    assert reports[-1] == (len(sets), len(sets))
    assert [done for done, _ in reports] == sorted({done for done, _ in reports})
    for prompts, answer in zip(sets, answers, strict=True):
        alone = view.answer(prompts)
        which = 1 + int(np.argmax(alone.predicted_iou[1:]))
        which = which if prompts.is_ambiguous else 0
        assert answer.masks[0].iou(alone.masks[which]) > 0.999
        assert answer.low_res_logits.shape[0] == 0


def test_cancelled_many_are_a_beginning_of_the_answers(predictor, blobs) -> None:
    view, stop = ImageView(predictor, blobs.image), Event()
    sets = [PromptSet((PointPrompt(tuple(c)),)) for c in centres(blobs.labels)]

    def progress(done: int, total: int) -> None:
        if done >= 4:
            stop.set()

    some = view.answer_many(sets, progress=progress, cancel=stop)
    assert 4 <= len(some) < len(sets)
    for prompts, answer in zip(sets, some, strict=False):
        assert answer.masks[0].iou(view.preview(prompts.points[0].yx).masks[0]) > 0.999


def test_cancelling_while_a_region_is_encoded_keeps_what_was_done(
    tiny_sam, large
) -> None:
    view, stop = ImageView(SamPredictor(tiny_sam), large[0]), Event()
    stop.set()
    prompts = PromptSet((PointPrompt((500.0, 400.0)),))
    assert view.answer_many([prompts], cancel=stop) == []
    with pytest.raises(Cancelled):
        view.answer(prompts, cancel=stop)


def test_embeddings_of_regions_are_bounded_over_all_images(tiny_sam, large) -> None:
    predictor = SamPredictor(tiny_sam)
    size = predictor.embed(large[0]).nbytes
    predictor.region_embeddings = LruCache(1000, 16 * size)
    views = [ImageView(predictor, large[0] ^ np.uint8(k)) for k in range(3)]
    for view in views:
        for y in range(40, 690, 240):
            for x in range(40, 700, 200):
                view.preview((float(y), float(x)))
    assert 8 < len(predictor.region_embeddings) <= 16
    assert predictor.region_embeddings.nbytes <= 16 * size
    # Answers are the image's own, also of a region that was forgotten meanwhile.
    point = tuple(centres(large[1])[0])
    fresh = ImageView(SamPredictor(tiny_sam), large[0] ^ np.uint8(0)).preview(point)
    assert views[0].preview(point).masks[0].iou(fresh.masks[0]) > 0.999


def test_pixels_of_an_image_without_regions_are_let_go(predictor, blobs) -> None:
    image = blobs.image.copy()
    view, kept = ImageView(predictor, image), weakref.ref(image)
    del image
    assert kept() is None
    assert len(view.preview((100.0, 120.0))) == 1

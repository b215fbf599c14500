# SPDX-License-Identifier: Apache-2.0
"""Tiny objects are asked for enlarged: better masks, shared regions, quick hovering."""

from __future__ import annotations

import weakref
from dataclasses import replace
from threading import Event

import numpy as np
import pytest

from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.array_ports import ArrayImage, ArrayLabels
from napari_sam.errors import Cancelled
from napari_sam.prediction.answers import answer_with_best
from napari_sam.prediction.image_view import ImageView
from napari_sam.prediction.model_segmenter import ModelSegmenter
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.prediction.transforms import resize_rgb, resized_shape
from napari_sam.structures.lru_cache import LruCache
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompts import BoxPrompt, PointPrompt, PromptSet

FRAME = 256
LEAST_PX = 32.0
TINY = [(60.0 + 20 * i, 80.0 + 20 * j, 4.4) for i in range(4) for j in range(3)]
LARGE = (420.0, 300.0, 40.0)
SHAPE = (520, 600)


@pytest.fixture(scope="module")
def picture(large_images) -> np.ndarray:
    discs = large_images.Discs([*TINY, LARGE], max(SHAPE))
    return np.ascontiguousarray(discs[:][: SHAPE[0]])


@pytest.fixture
def enlarging_sam(tiny_sam, monkeypatch):
    monkeypatch.setattr(tiny_sam, "min_object_px", LEAST_PX)
    return tiny_sam


@pytest.fixture
def make(large_images):
    """Make a model that sees what is smaller than its frame enlarged, as true ones."""

    class Seeing(large_images.Filling):
        def embed(self, image, *args, **how):
            size = image.shape[:2]
            shown = resize_rgb(image, resized_shape(size, FRAME))
            embedding = super().embed(shown, *args, **how)
            self.encoded[-1] = size
            return replace(embedding, original_size=size)

    return Seeing


@pytest.fixture
def predictor(make, enlarging_sam):
    return make(enlarging_sam)


@pytest.fixture
def view(predictor, picture) -> ImageView:
    return ImageView(predictor, picture)


def click(y: float, x: float) -> PromptSet:
    return PromptSet((PointPrompt((y, x)),))


def box_around(disc) -> PromptSet:
    y, x, r = disc
    return PromptSet(box=BoxPrompt(y - r, x - r, y + r + 1, x + r + 1))


def score(large_images, answer, disc) -> float:
    return large_images.iou_with_disc(answer.masks[2 if len(answer) > 1 else 0], disc)


@pytest.mark.parametrize("ask", [lambda d: click(*d[:2]), box_around])
def test_tiny_objects_are_found_better_enlarged(
    make, tiny_sam, view, picture, large_images, monkeypatch, ask
) -> None:
    enlarged = [score(large_images, view.answer(ask(disc)), disc) for disc in TINY]
    monkeypatch.setattr(tiny_sam, "min_object_px", None)
    plain = ImageView(make(tiny_sam), picture)
    usual = [score(large_images, plain.answer(ask(disc)), disc) for disc in TINY]
    assert np.mean(enlarged) > 0.85
    assert np.mean(enlarged) > np.mean(usual) + 0.1


def test_masks_and_logits_are_those_of_the_image(view, picture) -> None:
    found = view.predict([TINY[0][:2]], [1])
    assert found.masks.shape == (3, *SHAPE)
    assert found.low_res_logits.shape == (3, 64, 64)
    rows, columns = np.nonzero(found.masks[found.best])
    assert abs(rows.mean() - TINY[0][0]) < 1
    assert abs(columns.mean() - TINY[0][1]) < 1


def test_regions_are_shared_by_the_objects_in_them(view, predictor) -> None:
    """Twelve objects in a field of 60 x 40 pixels, seen in regions of 64."""
    points = np.array([disc[:2] for disc in TINY])
    answers = view.predict_batch(points_yx=points)
    assert len(answers) == len(TINY)
    sizes = predictor.encoded
    n_usual = sum(size == (FRAME, FRAME) for size in sizes)
    assert n_usual == 1
    assert sizes.count((64, 64)) == len(sizes) - n_usual <= 9
    n_encoded = len(sizes)
    view.predict_batch(points_yx=points)
    view.answer(click(*TINY[5][:2]))
    assert len(predictor.encoded) == n_encoded


def test_each_region_is_encoded_once_though_few_are_kept(
    make, enlarging_sam, picture
) -> None:
    predictor = make(enlarging_sam)
    predictor.region_embeddings = LruCache(2, 1 << 30)
    predictor.batch_size = 1
    view = ImageView(predictor, picture)
    # Neighbours in the list are far apart.
    points = np.array([disc[:2] for disc in TINY])[[0, 11, 1, 10, 2, 9, 3, 8, 4, 7]]
    view.predict_batch(points_yx=points)
    regions = set(predictor._pictures)
    assert len(predictor.encoded) == len(regions) <= 12
    assert predictor.encoded.count((FRAME, FRAME)) == 1


def test_many_at_once_are_answered_like_one(view) -> None:
    prompts = [click(*disc[:2]) for disc in (*TINY, LARGE)]
    prompts += [box_around(disc) for disc in (*TINY, LARGE)]
    reports: list[tuple[int, int]] = []
    many = view.answer_many(prompts, progress=lambda *p: reports.append(p))
    assert reports[-1] == (26, 26)
    for one, answer in zip(prompts, many, strict=True):
        alone = view.answer(one)
        assert answer.masks[0] == alone.masks[2 if one.is_ambiguous else 0]


def test_what_is_large_enough_is_not_enlarged(view, predictor, large_images) -> None:
    for prompts in (click(*LARGE[:2]), box_around(LARGE)):
        answer = view.answer(prompts)
        assert score(large_images, answer, LARGE) > 0.93
    assert set(predictor.encoded) == {(FRAME, FRAME)}


def test_a_box_goes_to_the_enlarged_region_at_once(view, predictor) -> None:
    view.answer(box_around(TINY[0]))
    assert predictor.encoded == [(64, 64)]


def test_hovering_encodes_nothing_and_uses_what_is_there(
    view, predictor, large_images
) -> None:
    disc = TINY[4]
    view.preview(LARGE[:2])
    before = view.preview(disc[:2])
    assert set(predictor.encoded) == {(FRAME, FRAME)}
    clicked = view.answer(click(*disc[:2]))
    n_encoded = len(predictor.encoded)
    assert (64, 64) in predictor.encoded
    after = view.preview(disc[:2])
    assert len(predictor.encoded) == n_encoded
    assert after.masks[0] == clicked.masks[2]
    assert score(large_images, after, disc) > score(large_images, before, disc)


def test_a_sketch_on_screen_uses_the_enlarged_region_if_it_is_ready(
    view, predictor, large_images
) -> None:
    disc = TINY[4]
    view.look(view.region_at(disc[:2], 1))
    before = view.sketch(disc[:2], 1)
    assert predictor.encoded == [(FRAME, FRAME)]
    clicked = view.answer(click(*disc[:2]), scale=1)
    n_encoded = len(predictor.encoded)
    after = view.sketch(disc[:2], 1)
    assert len(predictor.encoded) == n_encoded == 2
    y, x = (int(value) for value in after.corner_yx)
    moved = replace(after.window, y0=after.window.y0 + y, x0=after.window.x0 + x)
    assert moved == clicked.masks[2]
    assert before is not None
    assert before.window.area != after.window.area


def test_corrections_stay_in_the_region_of_the_first_answer(view, predictor) -> None:
    y, x, _ = TINY[0]
    first = view.answer(click(y, x))
    n_encoded = len(predictor.encoded)
    points = (PointPrompt((y, x)), PointPrompt((y + 2, x)))
    logits = first.low_res_logits[2].copy()
    again = view.answer(PromptSet(points, mask_input=logits))
    assert len(predictor.encoded) == n_encoded
    assert again.masks[0] == first.masks[0]
    # Also of what was asked for many at once, and by another look at the image.
    (found,) = view._asking.decode([click(y, x)], answer_with_best)
    anew = ImageView(predictor, np.zeros((*SHAPE, 3), np.uint8))
    corrected = PromptSet(points, mask_input=found[0].low_res_logits[0])
    assert anew._parts.best_for(corrected) == view._parts.best_for(corrected)
    assert anew._parts.best_for(corrected).scale == 1 / 4


def test_a_correction_beside_the_region_keeps_as_much_detail_as_it_can(view) -> None:
    y, x, _ = TINY[0]
    logits = view.answer(click(y, x)).low_res_logits[2]
    points = (PointPrompt((y, x)), PointPrompt((y, x + 100), 0))
    region = view._parts.best_for(PromptSet(points, mask_input=logits))
    assert region.scale == 1 / 2
    answer = view.answer(PromptSet(points, mask_input=logits))
    assert 20 < answer.masks[0].area < 80


@pytest.mark.parametrize("fill", [True, False])
def test_an_enlarged_answer_of_another_size_is_not_believed(
    make, enlarging_sam, picture, large_images, fill
) -> None:
    class Losing(make):
        """Sees nothing, or an object everywhere, where things are enlarged."""

        def mask_windows(self, embedding, logits):
            found = super().mask_windows(embedding, logits)
            if embedding.original_size != (64, 64):
                return found
            return [MaskWindow.of_mask(np.full((64, 64), fill)) for _ in found]

    predictor = Losing(enlarging_sam)
    view = ImageView(predictor, picture)
    for prompts in (click(*TINY[3][:2]), box_around(TINY[3])):
        answer = view.answer(prompts)
        assert score(large_images, answer, TINY[3]) > 0.3
        assert view.preview(TINY[3][:2]).masks[0].area < 200
        assert view.sketch(TINY[3][:2], 1).window.area < 200
    assert (64, 64) in predictor.encoded


def test_a_larger_reading_is_not_cut_by_the_enlarged_region(
    view, predictor, tiny_sam, make, picture, monkeypatch
) -> None:
    """The model's third reading is all that it is shown."""
    found = view.answer(click(*TINY[0][:2]))
    assert (64, 64) in predictor.encoded
    monkeypatch.setattr(tiny_sam, "min_object_px", None)
    usual = ImageView(make(tiny_sam), picture).answer(click(*TINY[0][:2]))
    assert found.masks[3] == usual.masks[3]
    assert found.masks[3].area > 64 * 64
    assert found.masks[2] != usual.masks[2]


def test_published_models_answer_as_before(make, tiny_sam, picture) -> None:
    assert tiny_sam.min_object_px is None
    predictor = make(tiny_sam)
    view = ImageView(predictor, picture)
    view.answer(click(*TINY[0][:2]))
    view.answer(box_around(TINY[0]))
    assert set(predictor.encoded) == {(FRAME, FRAME)}


def test_pixels_are_kept_as_long_as_they_may_be_enlarged(
    predictor, picture, large_images
) -> None:
    small = picture[30:130, 50:200].copy()
    disc = (TINY[0][0] - 30, TINY[0][1] - 50, TINY[0][2])
    view, kept = ImageView(predictor, small), weakref.ref(small)
    del small
    assert score(large_images, view.answer(click(*disc[:2])), disc) > 0.8
    assert predictor.encoded[0] == (100, 150)
    # Of an image that is smaller than any region they are let go.
    tiny = picture[40:80, 60:100].copy()
    view, gone = ImageView(predictor, tiny), weakref.ref(tiny)
    del tiny
    assert gone() is None
    assert kept() is None
    assert view.answer(click(20, 20)).masks[2].area > 20


def test_cancelling_stops_before_the_enlarged_regions(view, predictor) -> None:
    stop = Event()
    view.look(view.region_at(TINY[0][:2]))
    stop.set()
    prompts = [click(*disc[:2]) for disc in TINY]
    assert view.answer_many(prompts, cancel=stop) == []
    with pytest.raises(Cancelled):
        view.answer(prompts[0], cancel=stop)
    assert predictor.encoded == [(FRAME, FRAME)]


def test_labels_and_undo_are_those_of_the_image(
    make, enlarging_sam, picture, large_images
) -> None:
    segmenter = ModelSegmenter(enlarging_sam)
    segmenter._predictor = make(enlarging_sam)
    labels = np.zeros(SHAPE, np.uint16)
    source = ArrayImage(picture)
    annotator, plane = Annotator(source, ArrayLabels(labels)), source.plane()
    annotator.attach(segmenter)
    for disc in TINY[:2]:
        annotator.add_point(plane, disc[:2])
        annotator.commit()
    assert labels.shape == SHAPE
    for number, disc in enumerate(TINY[:2], start=1):
        mask = MaskWindow.of_mask(labels == number)
        assert large_images.iou_with_disc(mask, disc) > 0.75
    annotator.undo()
    assert set(np.unique(labels)) == {0, 1}


@pytest.mark.slow
def test_the_embedded_model_finds_tiny_nuclei_better(monkeypatch) -> None:
    import napari_sam

    rng = np.random.default_rng(3)
    image = rng.normal(30, 6, (300, 500))
    rows, columns = np.ogrid[:300, :500]
    places = np.stack(np.meshgrid([30, 70, 110, 150], [40, 80, 120]), axis=-1)
    places = places.reshape(-1, 2) + rng.uniform(-6, 6, (12, 2))
    truths = [(rows - y) ** 2 + (columns - x) ** 2 < 3.4**2 for y, x in places]
    for truth in truths:
        image[truth] += rng.uniform(40, 120)
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    model = napari_sam.load_model(device="cpu")
    means = []
    for least in (None, LEAST_PX):
        monkeypatch.setattr(model, "min_object_px", least)
        view = ImageView(SamPredictor(model), pixels)
        found = view.predict_batch(points_yx=places.round())
        ious = [
            (one.masks[one.best] & truth).sum() / (one.masks[one.best] | truth).sum()
            for one, truth in zip(found, truths, strict=True)
        ]
        means.append(np.mean(ious))
    assert means[1] > means[0] + 0.02

# SPDX-License-Identifier: Apache-2.0
"""Objects of any size on a plane of any size: found whole, little read."""

from __future__ import annotations

from threading import Event

import numpy as np
import pytest

from napari_sam.errors import Cancelled, PromptError
from napari_sam.prediction import region_asking
from napari_sam.prediction.image_view import ImageView
from napari_sam.structures.plane_pixels import ArrayPixels
from napari_sam.structures.prompts import BoxPrompt, PointPrompt, PromptSet

FRAME = 256
# Radii from 5 to 2500 pixels, on and beside borders of regions of every scale.
DISCS = [
    (3000.0, 3500.0, 5.0),
    (4096.0, 12288.0, 10.0),
    (3137.0, 23711.0, 25.0),
    (13137.0, 3711.0, 60.0),
    (12800.0, 12800.0, 150.0),
    (14400.0, 24000.0, 400.0),
    (24064.0, 6000.0, 1000.0),
    (24576.0, 20480.0, 2500.0),
]


@pytest.fixture
def scene(large_images):
    return large_images.Discs(DISCS)


@pytest.fixture
def predictor(large_images, tiny_sam):
    return large_images.Filling(tiny_sam)


@pytest.fixture
def view(predictor, scene):
    return ImageView(predictor, ArrayPixels(scene.pyramid(8)))


def click(y: float, x: float) -> PromptSet:
    return PromptSet((PointPrompt((y, x)),))


@pytest.mark.parametrize("disc", DISCS)
def test_a_click_at_a_fitting_zoom_gives_the_whole_object(
    view, predictor, scene, large_images, disc
) -> None:
    y, x, radius = disc
    scale = view.scale_for(large_images.view_of(y, x, max(radius / 40, 0.25)))
    answer = view.answer(click(y + radius / 3, x), scale=scale)
    least = 0.93 if radius >= 10 else 0.88
    assert large_images.iou_with_disc(answer.masks[2], disc) > least
    assert len(predictor.encoded) == 1
    assert max(predictor.encoded[0]) <= FRAME
    # At most twice the frame's pixels along a side: no level fits better.
    assert sum(level.n_read for level in scene.pyramid(1)) <= (2 * FRAME) ** 2


@pytest.mark.parametrize("disc", DISCS[4:])
def test_an_object_larger_than_the_region_grows_it(
    view, predictor, large_images, disc
) -> None:
    """Clicked at full zoom, it is asked for at coarser scales until it is whole."""
    answer = view.answer(click(*disc[:2]), scale=1)
    assert large_images.iou_with_disc(answer.masks[2], disc) > 0.9
    assert 2 <= len(predictor.encoded) <= 8


def test_an_object_on_a_border_of_regions_is_whole(
    view, predictor, large_images
) -> None:
    y, x, radius = disc = (12800.0, 12800.0, 150.0)
    regions = view._parts.regions
    # A region that shows the click, but not all of the object.
    region = regions.best_for(np.array([(y, x - 140.0)]), 2)
    assert regions.is_cut((12650, 12650, 12951, min(12951, region.box[3])), region)
    answer = view.answer(click(y, x - 140), scale=2)
    assert large_images.iou_with_disc(answer.masks[2], disc) > 0.93
    assert radius < FRAME  # a neighbour of the same scale shows it
    assert {seen.scale for seen in ready(view, predictor)} == {2}


def ready(view, predictor) -> list:
    return [key[1] for key in predictor.region_embeddings._values]


def test_going_back_is_answered_from_what_was_encoded(view, predictor, scene) -> None:
    first = view.answer(click(3000, 3500), scale=1)
    view.answer(click(13137, 3711), scale=2)
    n_encoded, n_reads = len(predictor.encoded), scene.n_reads
    again = view.answer(click(3000, 3500), scale=1)
    assert len(predictor.encoded) == n_encoded
    assert scene.n_reads == n_reads
    assert again.masks == first.masks


def test_zooming_in_refines(view, large_images) -> None:
    disc = DISCS[3]
    coarse, fine = (
        view.answer(click(disc[0], disc[1]), scale=scale) for scale in (16, 2)
    )
    scores = [large_images.iou_with_disc(a.masks[2], disc) for a in (coarse, fine)]
    assert scores[1] > max(scores[0], 0.95)


def test_a_correction_takes_the_logits_along_to_the_finer_region(view) -> None:
    y, x, _ = DISCS[3]
    coarse = view.answer(click(y, x), scale=16)
    logits = coarse.low_res_logits[2]
    points = (PointPrompt((y, x)), PointPrompt((y + 20, x)))
    fine = view.answer(PromptSet(points, mask_input=logits), scale=1)
    again = view.answer(PromptSet(points, mask_input=fine.low_res_logits[0]), scale=16)
    # What was seen in detail is not seen with less because the user zoomed out.
    assert again.masks[0] == fine.masks[0]


def test_a_box_is_answered_where_it_fits(view, large_images) -> None:
    y, x, radius = disc = DISCS[6]
    box = BoxPrompt(y - radius, x - radius, y + radius, x + radius)
    answer = view.answer(PromptSet(box=box), scale=1)
    assert large_images.iou_with_disc(answer.masks[0], disc) > 0.95


def test_a_sketch_needs_a_region_that_is_ready(view, predictor, large_images) -> None:
    y, x, radius = disc = DISCS[5]
    assert view.sketch((y, x), 4) is None
    assert predictor.encoded == []
    view.look(view.region_at((y, x), 16))
    sketch = view.sketch((y, x), 4)  # a coarser one is better than none
    assert sketch.step_yx == (16.0, 16.0)
    view.look(view.region_at((y, x), 8))
    sketch = view.sketch((y, x), 8)
    assert sketch.step_yx == (8.0, 8.0)
    assert sketch.window.area * 64 == pytest.approx(np.pi * radius**2, rel=0.1)
    assert sketch.holds((y + radius - 20, x))
    assert not sketch.holds((y + radius + 40, x))
    assert large_images.iou_with_disc(sketch.window, disc) < 0.1  # in its own pixels


def test_a_sketch_is_never_cut(view) -> None:
    y, x, _ = DISCS[6]
    view.look(view.region_at((y, x), 1))
    assert view.sketch((y, x), 1) is None


def test_of_other_readings_only_what_is_worth_it_is_drawn(view) -> None:
    y, x, _ = DISCS[3]
    answer = view.answer(click(y, x), scale=2)
    areas = [mask.area for mask in answer.masks]
    assert areas[0] == areas[2] > areas[1] > 0
    assert areas[3] == 0  # it fills the region: its end is not to be seen


def test_an_answer_that_is_too_large_is_explained(view, monkeypatch) -> None:
    monkeypatch.setattr(region_asking, "MAX_LIKELY_PX", 1 << 20)
    with pytest.raises(PromptError, match="Zoom in"):
        view.answer(click(*DISCS[7][:2]), scale=32)
    (many,) = view.answer_many([click(*DISCS[7][:2])])
    assert many.masks[0].area == 0


def test_cancelling_stops_at_the_next_region(view) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(Cancelled):
        view.answer(click(3000, 3500), scale=1, cancel=stop)


def test_opening_reads_what_is_on_screen(predictor, scene, large_images) -> None:
    levels = scene.pyramid(8)
    seen = large_images.view_of(20000, 9000, 40.0)
    view = ImageView(predictor, ArrayPixels(levels), view=seen)
    assert len(predictor.encoded) == 1
    assert sum(level.n_read for level in levels) <= 4 * FRAME**2 + 4
    assert view.is_ready(view.region_at((20000, 9000), view.scale_for(seen)))


def test_opening_without_a_screen_reads_nothing_of_a_large_image(
    predictor, scene
) -> None:
    ImageView(predictor, ArrayPixels([scene]))
    assert scene.n_reads == 0
    assert predictor.encoded == []


def test_a_ready_region_goes_before_a_better_one_still_to_encode(view) -> None:
    near = view.region_at((3000, 3500), 1)
    view.look(near)
    y, x = near.box[2] - 40, near.box[3] - 40
    assert view.region_at((float(y), float(x)), 1) == near
    # Scripts get the best one, whatever was asked before.
    assert view.region_at((float(y), float(x))) != near

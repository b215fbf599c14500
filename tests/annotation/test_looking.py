# SPDX-License-Identifier: Apache-2.0
"""What is on screen of a large plane is embedded; clicks and previews go first."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.ports import PlaneKey
from napari_sam.structures.mask_sketch import MaskSketch
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.plane_view import PlaneView, Region

FLAT = PlaneKey()
FRONT, BACK = PlaneKey((1, 2), (0,)), PlaneKey((1, 2), (1,))
SIDE = 8


def view(y: float, x: float, step: float = 1.0) -> PlaneView:
    return PlaneView((y - 5 * step, x - 5 * step, y + 5 * step, x + 5 * step), step)


@pytest.fixture
def large(segmenter):  # noqa: C901  many small methods
    """The fake model, looking at planes in squares of 8 pixels times the scale."""

    class Large(type(segmenter)):
        def __init__(self):
            super().__init__()
            self.looked: list[Region] = []
            self.sketched: list[tuple] = []
            self.scales: list[int | None] = []

        def embed(self, pixels, *, view=None, cancel=None, **how):
            embedding = super().embed(pixels, cancel=cancel)
            if view is not None:
                scale = self.scale_for(embedding, view)
                self.looked.append(self.region_at(embedding, view.centre_yx, scale))
            return embedding

        def scale_for(self, embedding, view, extent=None):
            if view is None:
                return None
            scale = max(1, round(view.step))
            while extent is not None and SIDE * scale < extent[2] - extent[0]:
                scale *= 2
            return scale

        def region_at(self, embedding, yx, scale):
            side = SIDE * scale
            y, x = (int(v // side) * side for v in yx)
            return Region((y, x, y + side, x + side), scale)

        def is_ready(self, embedding, region):
            return region in self.looked

        def look(self, embedding, region, *, cancel=None):
            if self.error is not None:
                raise self.error
            self.looked.append(region)

        def predict(self, embedding, prompts, *, scale=None, cancel=None):
            self.scales.append(scale)
            return super().predict(embedding, prompts)

        def sketch(self, embedding, yx, scale):
            self.sketched.append((yx, scale))
            region = self.region_at(embedding, yx, scale)
            if region not in self.looked:
                return None
            one = MaskWindow(0, 0, np.ones((1, 1), bool))
            corner = (float(region.box[0]), float(region.box[1]))
            return MaskSketch(one, corner, (float(SIDE), float(SIDE)))

    return Large()


@pytest.fixture
def world(source, store, large, fakes):
    """An annotator whose model works when the test says so, looking at (4, 4)."""
    runner = fakes.HeldRunner()
    annotator = Annotator(source, store, runner)
    annotator.attach(large)
    annotator.look_at(FLAT, view(4, 4))
    runner.run_all()
    return annotator, runner


def boxes(large) -> list[tuple[int, int]]:
    return [region.box[:2] for region in large.looked]


def test_a_plane_opens_with_what_is_on_screen(world, large):
    annotator, _ = world
    assert boxes(large) == [(0, 0)]
    assert annotator.ready_region == Region((0, 0, 8, 8), 1)
    assert not annotator.is_embedding


def test_the_region_on_screen_follows_and_comes_back_without_work(world, large):
    annotator, runner = world
    told = []
    annotator.embedding_changed.connect(lambda plane, ready: told.append(ready))
    annotator.look(FLAT, view(20, 30))
    assert annotator.is_embedding
    assert annotator.ready_region == Region((0, 0, 8, 8), 1)  # until the other is there
    runner.run_all()
    assert annotator.ready_region == Region((16, 24, 24, 32), 1)
    annotator.look(FLAT, view(4, 4))
    assert runner.n_waiting == 0
    assert annotator.ready_region == Region((0, 0, 8, 8), 1)
    assert boxes(large) == [(0, 0), (16, 24)]
    assert told == [False, True, True, True]


def test_while_the_camera_moves_on_older_regions_are_given_up(world, large):
    annotator, runner = world
    annotator.look(FLAT, view(20, 30))
    under_way = runner.begin()
    annotator.look(FLAT, view(36, 44))
    assert under_way.cancel_event.is_set()
    runner.finish(under_way)
    runner.run_all()
    assert annotator.ready_region == Region((32, 40, 40, 48), 1)
    annotator.look(FLAT, view(20, 30))
    annotator.look(FLAT, view(36, 44))  # back before it began
    assert not annotator.is_embedding
    assert runner.n_waiting == 0


def test_clicks_and_previews_go_before_regions(world, large):
    annotator, runner = world
    annotator.look(FLAT, view(20, 30))
    annotator.hover(FLAT, (5.0, 5.0))
    runner.finish(runner.begin())
    assert large.sketched == [((5.0, 5.0), 1)]
    assert boxes(large) == [(0, 0)]
    annotator.add_point(FLAT, (5, 5))
    runner.finish(runner.begin())
    assert annotator.shown is not None
    assert boxes(large) == [(0, 0)]


def test_the_region_under_the_pointer_is_next_and_is_shown_when_it_is_there(
    world, large
):
    annotator, runner = world
    seen = []
    annotator.hovered.connect(lambda mask, plane: seen.append(mask))
    annotator.hover(FLAT, (30.0, 45.0))
    runner.run_all()
    assert boxes(large) == [(0, 0), (24, 40)]
    assert seen[0] is None
    assert seen[-1].corner_yx == (24.0, 40.0)
    assert large.sketched == [((30.0, 45.0), 1)] * 2


def test_one_region_at_a_time_and_then_the_last_one_asked_for(world, large):
    annotator, runner = world
    annotator.look(FLAT, view(20, 30))
    for x in range(0, 60, 5):
        annotator.hover(FLAT, (36.0, float(x)))
    runner.run_all()
    assert boxes(large) == [(0, 0), (16, 24), (32, 48)]


def test_prompts_are_asked_at_the_scale_of_the_screen(world, large):
    annotator, runner = world
    annotator.look(FLAT, view(20, 30, 4.0))
    runner.run_all()
    annotator.add_point(FLAT, (5, 5))
    runner.run_all()
    assert large.scales == [4]


def test_zooming_in_asks_again_in_as_much_detail_as_the_object_allows(world, large):
    annotator, runner = world
    annotator.look(FLAT, view(20, 30, 4.0))
    annotator.add_point(FLAT, (5, 5))
    runner.run_all()
    height = annotator.shown.mask.box[2] - annotator.shown.mask.box[0]
    annotator.look(FLAT, view(5, 5, 1.0))
    runner.run_all()
    fitting = 2 if height > SIDE else 1
    assert large.scales == [4, fitting]
    # Zooming out keeps what was seen, also for the next prompt.
    annotator.look(FLAT, view(20, 30, 4.0))
    runner.run_all()
    assert large.scales == [4, fitting]
    annotator.add_point(FLAT, (6, 6))
    runner.run_all()
    assert large.scales == [4, fitting, fitting]


def test_zooming_back_and_forth_asks_the_model_once(world, large):
    annotator, runner = world
    annotator.look(FLAT, view(5, 5, 4.0))
    annotator.add_point(FLAT, (5, 5))
    for step in (2.0, 4.0, 2.0):
        annotator.look(FLAT, view(5, 5, step))
        runner.run_all()
    assert large.scales == [4, 2]
    annotator.discard()
    annotator.add_point(FLAT, (5, 5))
    runner.run_all()
    assert large.scales == [4, 2]


def test_another_plane_is_looked_at_where_the_screen_shows_it(
    stack_source, store, large, fakes
):
    runner = fakes.HeldRunner()
    annotator = Annotator(stack_source, store, runner)
    annotator.attach(large)
    annotator.look_at(FRONT, view(4, 4))
    runner.run_all()
    annotator.look_at(BACK, view(20, 20))
    assert annotator.ready_region is None
    runner.run_all()
    assert annotator.ready_region == Region((16, 16, 24, 24), 1)
    assert large.n_embedded == 2


def test_a_plane_that_is_seen_whole_is_left_alone_when_the_camera_moves(
    held, segmenter
):
    annotator, runner = held
    told = []
    annotator.look_at(FLAT, view(4, 4))
    runner.run_all()
    annotator.embedding_changed.connect(lambda *args: told.append(args))
    annotator.look(FLAT, view(20, 30))
    assert runner.n_waiting == 0
    assert told == []
    assert annotator.ready_region is None


def test_an_error_is_told_and_another_look_is_a_new_try(world, large):
    annotator, runner = world
    errors = []
    annotator.failed.connect(errors.append)
    large.error = RuntimeError("out of memory")
    annotator.look(FLAT, view(20, 30))
    runner.run_all()
    assert errors == [large.error]
    assert not annotator.is_embedding
    large.error = None
    annotator.look(FLAT, view(20, 30))
    runner.run_all()
    assert annotator.ready_region == Region((16, 24, 24, 32), 1)


def test_a_model_given_up_stops_looking(world, large):
    annotator, runner = world
    annotator.look(FLAT, view(20, 30))
    annotator.detach()
    assert not annotator.is_embedding
    runner.run_all()
    assert boxes(large) == [(0, 0)]
    annotator.attach(large)  # and looks at what is on screen now
    runner.run_all()
    assert annotator.ready_region == Region((16, 24, 24, 32), 1)

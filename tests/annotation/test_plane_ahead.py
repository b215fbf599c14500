# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.array_ports import ArrayImage
from napari_sam.annotation.job import Priority
from napari_sam.annotation.jobs import ModelThread
from napari_sam.annotation.plane_ahead import Course, PlanesAhead
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import Cancelled
from napari_sam.structures.plane_view import PlaneView, Region

SHAPE = (10, 40, 60)


def plane(z: int) -> PlaneKey:
    return PlaneKey((1, 2), (z,))


def zs(planes: list[PlaneKey]) -> list[int]:
    return [key.index[0] for key in planes]


class TestCourse:
    def visit(self, *indices: int) -> list[int]:
        course = Course(SHAPE)
        for z in indices:
            course.turn_to(plane(z))
        return zs(course.neighbours())

    def test_a_stack_begins_downwards(self):
        assert self.visit(4) == [5, 6, 3]

    def test_it_follows_the_slider(self):
        assert self.visit(4, 5) == [6, 7, 4]
        assert self.visit(5, 4) == [3, 2, 5]
        assert self.visit(2, 7) == [8, 9, 6]
        assert self.visit(4, 5, 5) == [6, 7, 4]

    def test_it_ends_where_the_stack_does(self):
        assert self.visit(9) == [8]
        assert self.visit(7, 8) == [9, 7]
        assert self.visit(1, 0) == [1]

    def test_a_flat_image_has_no_neighbours(self):
        course = Course((40, 60))
        assert course.neighbours() == []
        course.turn_to(PlaneKey())
        assert course.neighbours() == []

    def test_the_slider_moved_last_counts(self):
        course = Course((3, 40, 5, 60))

        def at(t: int, z: int) -> PlaneKey:
            return PlaneKey((1, 3), (t, z))

        course.turn_to(at(0, 2))
        assert course.neighbours() == [at(0, 3), at(0, 4), at(0, 1)]
        course.turn_to(at(1, 2))
        assert course.neighbours() == [at(2, 2), at(0, 2)]
        course.turn_to(at(1, 1))
        assert course.neighbours() == [at(1, 0), at(1, 2)]

    def test_other_axes_are_another_course(self):
        course = Course(SHAPE)
        course.turn_to(plane(5))
        course.turn_to(plane(4))
        course.turn_to(PlaneKey((0, 1), (30,)))
        assert [key.index for key in course.neighbours()] == [(31,), (32,), (29,)]


class World:
    """An annotator of a stack, whose model and reader work when the test says so."""

    def __init__(self, fakes, segmenter) -> None:
        numbers = np.arange(SHAPE[0], dtype=np.uint8)[:, None, None]
        self.source = fakes.Source(np.broadcast_to(numbers + 1, SHAPE).copy())
        self.runner, self.reader = fakes.HeldRunner(), fakes.HeldRunner()
        store = fakes.Store(np.zeros(SHAPE, np.uint32))
        self.annotator = Annotator(self.source, store, self.runner)
        self.ahead = PlanesAhead(self.annotator, self.runner, self.reader, SHAPE)
        self.segmenter = segmenter
        self.annotator.attach(segmenter)

    @property
    def embedded(self) -> list[int]:
        """Planes in the order in which they were made ready."""
        return zs(self.annotator.desk.memory.embeddings.keys())

    @property
    def views(self) -> list[object]:
        """What is kept."""
        kept = self.annotator.desk.memory.embeddings
        return [kept.get(key) for key in kept.keys()]  # noqa: SIM118  no dict

    def look(self, z: int) -> None:
        self.annotator.look_at(plane(z))

    def settle(self) -> None:
        while self.runner.n_waiting or self.reader.n_waiting:
            self.runner.run_all()
            self.reader.run_all()


@pytest.fixture
def world(fakes, segmenter) -> World:
    return World(fakes, segmenter)


def test_neighbours_follow_once_the_plane_is_there(world):
    world.look(4)
    assert not world.ahead.is_busy  # first things first
    world.settle()
    assert world.embedded == [4, 5, 6, 3]
    assert not world.ahead.is_busy


def test_scrolling_finds_the_next_plane_ready(world):
    heard = []
    world.annotator.embedding_changed.connect(
        lambda key, is_ready: heard.append((key.index[0], is_ready))
    )
    world.look(4)
    world.settle()
    heard.clear()
    world.look(5)
    assert heard == [(5, True)]
    world.settle()
    assert world.segmenter.n_embedded == 5  # 7 is new
    assert sorted(world.embedded) == [3, 4, 5, 6, 7]
    world.look(4)
    world.settle()
    assert world.segmenter.n_embedded == 6  # 3 and 2 lie ahead now; 2 is new
    assert 2 in world.embedded


def test_every_plane_is_read_and_embedded_once(world):
    for z in range(SHAPE[0]):
        world.look(z)
        world.settle()
    assert world.segmenter.n_embedded == SHAPE[0]


def test_switched_off_nothing_happens(world):
    world.ahead.is_on = False
    world.look(4)
    world.settle()
    assert world.embedded == [4]


def test_going_elsewhere_gives_the_work_up(world):
    world.look(2)
    world.runner.run_all()
    world.reader.run_all()
    under_way = world.runner.begin()  # plane 3, in the middle of the encoder
    world.look(8)
    assert under_way.cancel_event.is_set()
    world.runner.finish(under_way)
    world.settle()
    assert world.embedded == [2, 8, 9, 7]


def test_one_step_further_keeps_what_is_still_of_use(world):
    world.look(2)
    world.settle()  # 2, 3, 4, 1
    world.look(3)
    world.reader.run_all()
    under_way = world.runner.begin()  # plane 5
    world.look(4)
    assert not under_way.cancel_event.is_set()
    world.runner.finish(under_way)
    world.settle()
    assert world.segmenter.n_embedded == 6  # 1 to 6
    assert {4, 5, 6, 3} <= set(world.embedded)


def test_turning_to_the_plane_under_way_makes_it_urgent(world):
    world.look(2)
    world.runner.run_all()
    world.reader.run_all()
    under_way = world.runner.begin()
    assert under_way.priority is Priority.PREFETCH
    world.look(3)
    assert under_way.priority is Priority.INTERACTIVE
    assert not under_way.cancel_event.is_set()
    world.runner.finish(under_way)
    world.runner.run_all()
    assert world.annotator.desk.embedding_of(plane(3)) is not None
    assert world.segmenter.n_embedded == 2  # not twice

    world.settle()


def test_leaving_it_again_makes_it_wait(world):
    world.look(2)
    world.runner.run_all()
    world.reader.run_all()
    under_way = world.runner.begin()  # plane 3
    world.look(3)
    world.look(2)
    assert under_way.priority is Priority.PREFETCH
    world.runner.finish(under_way)
    world.settle()
    assert sorted(world.embedded) == [0, 1, 2, 3]
    assert world.segmenter.n_embedded == 4


def test_a_plane_still_being_read_is_left_to_the_annotator(world):
    world.look(2)
    world.runner.run_all()
    assert world.reader.n_waiting == 1
    world.look(3)
    assert world.reader.n_waiting == 0
    world.settle()
    assert 3 in world.embedded
    assert world.segmenter.n_embedded == len(world.embedded)


def test_another_model_gets_nothing_of_the_old_one(world, fakes):
    world.look(2)
    world.runner.run_all()
    world.reader.run_all()
    under_way = world.runner.begin()
    other = fakes.Segmenter("other")
    world.annotator.attach(other)
    assert under_way.cancel_event.is_set()
    world.runner.finish(under_way)
    world.settle()
    models = {view.model for view in world.views}
    assert models == {"other"}
    assert world.embedded == [2, 3, 4, 1]


def test_other_pixels_get_nothing_of_the_old_ones(world, fakes):
    world.look(2)
    world.runner.run_all()
    world.reader.run_all()
    under_way = world.runner.begin()
    world.annotator.replace_source(fakes.Source(world.source.array + 100))
    world.runner.finish(under_way)
    world.look(2)
    world.settle()
    assert min(float(view.features.max()) for view in world.views) > 100


def test_without_a_model_nothing_is_made_ready(world):
    world.look(2)
    world.runner.run_all()
    world.annotator.detach()
    assert not world.ahead.is_busy
    world.settle()
    assert world.embedded == []


def test_a_plane_that_fails_is_skipped_in_silence(world):
    errors = []
    world.annotator.failed.connect(errors.append)
    read = world.source.plane_pixels

    def broken(key):
        if key.index == (5,):
            msg = "a hole in the file"
            raise OSError(msg)
        return read(key)

    world.source.plane_pixels = broken
    world.look(4)
    world.settle()
    assert world.embedded == [4, 6, 3]
    assert errors == []


def test_pixels_are_read_in_the_other_thread(world):
    world.look(4)
    world.runner.run_all()
    assert world.reader.n_waiting == 1
    assert world.runner.n_waiting == 0
    n_seen = []
    world.segmenter.see = lambda pixels: n_seen.append(1) or pixels
    world.reader.run_all()
    assert n_seen == [1]
    assert world.runner.n_waiting == 1


class Regional:
    """A model that looks at regions: the left or the right half of a plane."""

    name = "halves"
    auto_defaults: dict[str, float] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.looked: list[tuple[int, Region]] = []

    def describe(self):
        return {"model": self.name}

    def see(self, pixels):
        return pixels

    def embed(self, pixels, *, view=None, cancel=None, digests=None):
        return {"value": int(pixels.read((0, 0, 1, 1))[0, 0]), "ready": set()}

    def scale_for(self, embedding, view, extent=None):
        return 1

    def region_at(self, embedding, yx, scale):
        return Region((0, 0, 40, 30) if yx[1] < 30 else (0, 30, 40, 60), scale)

    def is_ready(self, embedding, region):
        return region in embedding["ready"]

    def look(self, embedding, region, *, cancel=None):
        self.looked.append((embedding["value"] - 1, region))
        embedding["ready"].add(region)


def test_of_large_planes_what_will_be_on_screen_is_made_ready(fakes):
    world = World(fakes, Regional())
    left, right = (Region(box) for box in ((0, 0, 40, 30), (0, 30, 40, 60)))
    world.annotator.look_at(plane(4), PlaneView((0, 0, 40, 20), 1.0))
    world.settle()
    assert world.segmenter.looked == [(4, left), (5, left), (6, left), (3, left)]
    world.segmenter.looked.clear()
    world.annotator.look(plane(4), PlaneView((0, 40, 40, 60), 1.0))
    world.settle()
    assert world.segmenter.looked == [(4, right), (5, right), (6, right), (3, right)]


class SlowEncoder:
    """A model whose encoder has twenty blocks of 10 ms and looks at its flag between.

    Clicks take no time.
    """

    name = "slow"
    auto_defaults: dict[str, float] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.n_blocks = 0
        self.n_finished = 0

    def describe(self):
        return {"model": self.name}

    def see(self, pixels):
        return pixels

    def embed(self, pixels, *, view=None, cancel=None, digests=None):
        for _ in range(20):
            time.sleep(0.01)
            self.n_blocks += 1
            if cancel.is_set():
                msg = "given up"
                raise Cancelled(msg)
        self.n_finished += 1
        return pixels

    def scale_for(self, embedding, view, extent=None):
        return None

    def region_at(self, embedding, yx, scale):
        return None


def pump_until(condition, *runners: ModelThread) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        for runner in runners:
            runner.drain()
        time.sleep(0.001)


def test_everything_else_goes_first_within_one_block(fakes):
    runner, reader = ModelThread(), ModelThread("reader")
    segmenter = SlowEncoder()
    annotator = Annotator(
        ArrayImage(np.zeros(SHAPE, np.uint8)),
        fakes.Store(np.zeros(SHAPE, np.uint32)),
        runner,
    )
    ahead = PlanesAhead(annotator, runner, reader, SHAPE)
    try:
        annotator.attach(segmenter)
        annotator.look_at(plane(2))
        pump_until(lambda: segmenter.n_finished == 1, runner, reader)
        pump_until(lambda: segmenter.n_blocks >= 25, runner, reader)  # ahead
        before, answered = segmenter.n_blocks, threading.Event()
        runner.submit(lambda _: answered.set(), priority=Priority.INTERACTIVE)
        assert answered.wait(5)
        assert segmenter.n_blocks - before <= 2  # the one under way, and a hair's width
        assert segmenter.n_finished == 1
        pump_until(lambda: segmenter.n_finished == 2, runner, reader)
        assert segmenter.n_blocks == 40  # what was made before was not lost
    finally:
        ahead.drop()
        runner.close()
        reader.close()

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.grid_run import GridRun, LargeResult
from napari_sam.annotation.jobs import InlineRunner, ModelThread
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import PhaseError
from napari_sam.structures.mask_window import MaskWindow

FLAT = PlaneKey()


def run(source, segmenter, region=None):
    results, steps = [], []
    grid = GridRun(InlineRunner())
    grid.finished.connect(results.append)
    grid.progressed.connect(lambda *step: steps.append(step))
    window = None if region is None else MaskWindow.of_mask(region)
    grid.start(segmenter, source, FLAT, {}, window)
    assert not grid.is_running
    return results[0], steps


def test_whole_plane(source, segmenter):
    result, steps = run(source, segmenter)
    assert result.box == (0, 0, 40, 60)
    for object_id, value in [(1, 7), (2, 8), (3, 9)]:
        np.testing.assert_array_equal(result.labels == object_id, source.array == value)
    assert len(result.records) == 3
    assert not result.is_partial
    assert steps[-1] == (3, 3)


def test_region_keeps_objects_that_lie_mostly_inside(source, segmenter):
    region = np.zeros(source.array.shape, bool)
    region[0:20, 0:16] = True  # all of 7, three of the seven columns of 8
    result, _ = run(source, segmenter, region)
    y0, x0, y1, x1 = result.box
    assert (y1, x1) == (40, 48)  # the region and a margin, cut at the border
    np.testing.assert_array_equal(result.labels == 1, source.array[y0:y1, x0:x1] == 7)
    assert result.labels.max() == 1
    assert len(result.records) == 1


def test_a_region_of_a_large_plane_gives_objects_of_the_plane(source, segmenter):
    results = []
    grid = GridRun(InlineRunner())
    grid.planes_finished.connect(results.append)
    region = MaskWindow(20, 40, np.ones((20, 20), bool))  # all of 9
    grid.start_planes(segmenter, source, [FLAT], {}, region, is_large=True)
    ((found,),) = (result.planes for result in results)
    assert isinstance(found, LargeResult)
    assert found.part == (0, 8, 40, 60)
    whole = (0, 0, *source.array.shape)
    np.testing.assert_array_equal(found.objects.labels_in(whole), source.array == 9)
    y, x = np.nonzero(source.array == 9)
    assert found.objects.box(1) == (y.min(), x.min(), y.max() + 1, x.max() + 1)
    assert found.objects.area(1) == y.size


def test_region_beside_the_image_is_an_error(source, segmenter):
    errors = []
    grid = GridRun(InlineRunner())
    grid.failed.connect(errors.append)
    beside = MaskWindow(200, 300, np.ones((5, 5), bool))
    grid.start(segmenter, source, FLAT, {}, beside)
    assert "does not touch the image" in str(errors[0])
    assert not grid.is_running


def test_cancel_keeps_what_was_found(source, segmenter):
    results, runner = [], ModelThread()
    grid = GridRun(runner)
    grid.finished.connect(results.append)
    paused, go_on = threading.Event(), threading.Event()

    class Slow(type(segmenter)):
        def segment_everything(self, plane, settings, *, progress, cancel):
            def wait_after_first(done, total):
                paused.set()
                assert go_on.wait(5)
                progress(done, total)

            return super().segment_everything(
                plane, settings, progress=wait_after_first, cancel=cancel
            )

    grid.start(Slow(), source, FLAT, {})
    assert paused.wait(5)
    with pytest.raises(PhaseError, match="under way"):
        grid.start(segmenter, source, FLAT, {})
    grid.cancel()
    go_on.set()
    runner.wait(5)
    runner.close()
    assert results[0].is_partial
    assert len(results[0].records) == 1
    np.testing.assert_array_equal(results[0].labels > 0, source.array == 7)
    assert not grid.is_running


def test_click_is_answered_while_a_grid_runs(source, store, segmenter):
    """The grid stands still until the click has its answer."""
    runner = ModelThread()
    annotator = Annotator(source, store, runner)
    annotator.attach(segmenter)
    grid, answers, results = GridRun(runner), [], []
    annotator.answer_changed.connect(
        lambda shown: answers.append(len(results)) if shown else None
    )
    grid.finished.connect(results.append)
    started, clicked = threading.Event(), threading.Event()

    class Slow(type(segmenter)):
        def segment_everything(self, plane, settings, *, progress, cancel):
            def wait(done, total):
                started.set()
                assert clicked.wait(5)
                progress(done, total)

            return super().segment_everything(
                plane, settings, progress=wait, cancel=cancel
            )

    grid.start(Slow(), source, FLAT, {})
    assert started.wait(5)
    annotator.add_point(FLAT, (5.0, 5.0))
    clicked.set()
    runner.wait(5)
    runner.close()
    assert answers == [0]  # before the grid's result
    assert len(results[0].records) == 3


def test_failure_leaves_the_run_usable(source, segmenter):
    errors, results = [], []
    grid = GridRun(InlineRunner())
    grid.failed.connect(errors.append)
    grid.finished.connect(results.append)

    class Broken(type(segmenter)):
        def segment_everything(self, *_, **__):
            msg = "no memory"
            raise RuntimeError(msg)

    grid.start(Broken(), source, FLAT, {})
    assert str(errors[0]) == "no memory"
    grid.start(segmenter, source, FLAT, {})
    assert len(results) == 1


def run_planes(source, segmenter, planes, runner=None):
    results, errors = [], []
    grid = GridRun(runner or InlineRunner())
    grid.planes_finished.connect(results.append)
    grid.failed.connect(errors.append)
    grid.start_planes(segmenter, source, planes, {})
    return grid, results, errors


def test_all_planes(stack_source, segmenter):
    planes = [PlaneKey((1, 2), (z,)) for z in (0, 1)]
    grid, results, _ = run_planes(stack_source, segmenter, planes)
    assert not grid.is_running
    (result,) = results
    assert [found.plane for found in result.planes] == planes
    for z, found in enumerate(result.planes):
        np.testing.assert_array_equal(found.labels > 0, stack_source.array[z] > 0)
    assert not result.is_partial


def test_results_can_be_finished_in_the_model_thread(source, segmenter):
    results = []
    grid = GridRun(InlineRunner())
    grid.planes_finished.connect(results.append)
    grid.start_planes(
        segmenter, source, [FLAT], {}, finish=lambda found, _: len(found.records)
    )
    assert results[0].planes == (3,)


def test_cancel_keeps_finished_planes_and_the_interrupted_one(stack_source, segmenter):
    runner, paused, go_on = ModelThread(), threading.Event(), threading.Event()
    n_steps = []

    class Slow(type(segmenter)):
        def segment_everything(self, plane, settings, *, progress, cancel):
            def wait(done, total):
                n_steps.append(done)
                if len(n_steps) == 4:  # the first object of the second plane
                    paused.set()
                    assert go_on.wait(5)
                progress(done, total)

            return super().segment_everything(
                plane, settings, progress=wait, cancel=cancel
            )

    planes = [PlaneKey((1, 2), (z,)) for z in (0, 1, 0)]
    grid, results, _ = run_planes(stack_source, Slow(), planes, runner)
    assert paused.wait(5)
    assert grid.is_running
    grid.cancel()
    go_on.set()
    runner.wait(5)
    runner.close()
    (result,) = results
    assert result.is_partial
    assert [len(found.records) for found in result.planes] == [3, 1]
    assert [found.is_partial for found in result.planes] == [False, True]


class ByTiles:
    """Stands for a model that finds one object per tile."""

    def __init__(self, on_tile):
        self._on_tile = on_tile

    def find_everything(self, pixels, settings, *, progress, cancel):
        n_found = 0
        for tile in range(4):
            if cancel.is_set():
                break
            self._on_tile(tile)
            pixels.read((10 * tile, 0, 10 * tile + 10, 60))
            n_found += 1
            progress(tile + 1, 4)
        return ["object"] * n_found


def test_large_planes_are_searched_by_tiles(source):
    results, steps = [], []
    grid = GridRun(InlineRunner())
    grid.planes_finished.connect(results.append)
    grid.progressed.connect(lambda *step: steps.append(step))
    model = ByTiles(lambda _tile: None)
    grid.start_planes(model, source, [FLAT], {}, is_large=True)
    (found,) = results[0].planes
    assert isinstance(found, LargeResult)
    assert found.part == (0, 0, 40, 60)
    assert len(found.objects) == 4
    assert not found.is_partial
    assert steps[-1] == (4, 4)


def test_cancelling_keeps_the_tiles_of_a_large_plane(source):
    results, runner = [], ModelThread()
    grid = GridRun(runner)
    grid.planes_finished.connect(results.append)
    paused, go_on = threading.Event(), threading.Event()

    def wait(tile):
        if tile == 2:
            paused.set()
            assert go_on.wait(5)

    grid.start_planes(ByTiles(wait), source, [FLAT], {}, is_large=True)
    assert paused.wait(5)
    grid.cancel()
    go_on.set()
    runner.wait(5)
    runner.close()
    (found,) = results[0].planes
    assert results[0].is_partial
    assert found.is_partial
    assert len(found.objects) == 3


def test_around_a_region_no_more_is_read(source, segmenter):
    boxes = []
    real = source.plane_pixels

    class Watched:
        def __init__(self, pixels):
            self.shape = pixels.shape
            self._pixels = pixels

        def read(self, box, level=0):
            boxes.append(box)
            return self._pixels.read(box, level)

    source.plane_pixels = lambda key: Watched(real(key))
    region = np.zeros(source.array.shape, bool)
    region[0:5, 0:5] = True
    run(source, segmenter, region)
    assert boxes == [(0, 0, 37, 37)]

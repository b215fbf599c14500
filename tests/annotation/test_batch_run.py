# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from napari_sam.annotation import batch_run
from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.batch_run import (
    BatchRun,
    batch_items,
    batch_text,
    resolve_overlaps,
)
from napari_sam.annotation.commit_policy import CommitSettings
from napari_sam.annotation.jobs import InlineRunner, ModelThread
from napari_sam.annotation.objects import Origin, Status
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import PhaseError, PromptError
from napari_sam.structures.drawn import DrawnPrompts, DrawnShape
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompts import PointPrompt

FLAT = PlaneKey()
ON_7, ON_8, ON_9 = (5.0, 5.0), (5.0, 15.0), (30.0, 45.0)


def at(*yx):
    return DrawnPrompts(points=tuple(PointPrompt(one) for one in yx))


def run(source, segmenter, prompts, **options):
    results, errors, steps = [], [], []
    batch = BatchRun(InlineRunner())
    batch.finished.connect(results.append)
    batch.failed.connect(errors.append)
    batch.progressed.connect(lambda *step: steps.append(step))
    batch.start(segmenter, source, prompts, **options)
    assert not batch.is_running
    if errors:
        raise errors[0]
    return results[0], steps


def test_every_prompt_becomes_an_object_to_review(source, store, segmenter):
    """Item 17 of the wish list: maxima become masks with a score and a review."""
    result, steps = run(source, segmenter, {FLAT: [at(ON_7), at(ON_8), at(ON_9)]})
    assert steps[-1] == (3, 3)
    annotator = Annotator(source, store)
    made = annotator.write_objects("Batch", batch_items(result, "tiny"))
    assert len(made) == 3
    for known, value in zip(made, (7, 8, 9), strict=True):
        np.testing.assert_array_equal(
            store.array == known.object_id, source.array == value
        )
        assert known.status is Status.PROPOSED
        assert known.origin is Origin.BATCH
        assert known.model == "tiny"
        assert known.prompts.has_object
    annotator.undo()  # one step
    assert not store.array.any()
    assert batch_text(result) == "3 objects from 3 prompts."


def test_boxes_and_polygons_ask_as_one_object(source, segmenter):
    box = DrawnShape("rectangle", ((24, 39), (24, 55), (35, 55), (35, 39)))
    corners = ((1, 2), (1, 12), (12, 12), (12, 2))
    prompts = [
        DrawnPrompts(shapes=(box,)),
        DrawnPrompts(shapes=(DrawnShape("polygon", corners),)),
    ]
    result, _ = run(source, segmenter, {FLAT: prompts})
    first, second = result.planes[0].objects
    np.testing.assert_array_equal(first.mask.on_plane((40, 60)), source.array == 9)
    np.testing.assert_array_equal(second.mask.on_plane((40, 60)), source.array == 7)
    assert segmenter.asked[1].mask is not None


def test_repeats_are_dropped_and_told(source, segmenter):
    result, _ = run(source, segmenter, {FLAT: [at(ON_7), at((3.0, 4.0)), at(ON_9)]})
    (batch,) = result.planes
    assert [found.drawn for found in batch.objects] == [at(ON_7), at(ON_9)]
    assert batch.n_repeats == 1
    assert batch_text(result) == (
        "2 objects from 3 prompts (1 the same as a better one)."
    )


def test_masks_too_small_are_told(source, segmenter):
    rule = CommitSettings(min_area=71)  # region 8 has 70 pixels
    result, _ = run(source, segmenter, {FLAT: [at(ON_7), at(ON_8)]}, settings=rule)
    assert len(result.planes[0].objects) == 1
    assert result.planes[0].n_empty == 1
    assert "1 without a mask" in batch_text(result)


def test_planes_and_portions(stack_source, segmenter, monkeypatch):
    monkeypatch.setattr(batch_run, "AT_ONCE", 2)
    planes = [PlaneKey((1, 2), (z,)) for z in (0, 1)]
    flipped = [at((39 - y, x)) for y, x in (ON_7, ON_8, ON_9)]
    prompts = {
        planes[0]: [at(ON_7), at(ON_8), at(ON_9)],
        PlaneKey((1, 2), (5,)): [],
        planes[1]: flipped,
    }
    result, steps = run(stack_source, segmenter, prompts)
    assert [batch.plane for batch in result.planes] == planes
    for z, batch in enumerate(result.planes):
        painted = np.zeros((40, 60), int)
        for value, found in zip((7, 8, 9), batch.objects, strict=True):
            painted[found.mask.on_plane((40, 60))] = value
        np.testing.assert_array_equal(painted, stack_source.array[z])
    assert steps[-1] == (6, 6)
    assert all(done <= total for done, total in steps)


def test_embedding_of_others_is_used(source, segmenter):
    embedding = segmenter.embed(source.array)
    n_embedded = segmenter.n_embedded
    result, _ = run(
        source, segmenter, {FLAT: [at(ON_7)]}, embed=lambda plane, context: embedding
    )
    assert len(result.planes[0].objects) == 1
    assert segmenter.n_embedded == n_embedded


def test_cancel_keeps_what_was_answered(source, segmenter):
    results, runner = [], ModelThread()
    batch = BatchRun(runner)
    batch.finished.connect(results.append)
    paused, go_on = threading.Event(), threading.Event()

    class Slow(type(segmenter)):
        def predict(self, embedding, prompts, **how):
            answer = super().predict(embedding, prompts)
            if len(self.asked) == 2:
                paused.set()
                assert go_on.wait(5)
            return answer

    batch.start(Slow(), source, {FLAT: [at(ON_7), at(ON_8), at(ON_9)]})
    assert paused.wait(5)
    with pytest.raises(PhaseError, match="under way"):
        batch.start(segmenter, source, {FLAT: [at(ON_7)]})
    batch.cancel()
    go_on.set()
    runner.wait(5)
    runner.close()
    assert not batch.is_running
    (result,) = results
    assert result.is_partial
    assert [found.drawn for found in result.planes[0].objects] == [at(ON_7), at(ON_8)]
    assert result.planes[0].n_answered == 2
    assert batch_text(result) == "2 objects from 2 prompts; the rest was cancelled."


def test_failure_on_a_later_plane_keeps_the_first(stack_source, segmenter):
    class Breaks(type(segmenter)):
        def embed(self, pixels, **how):
            if self.n_embedded:
                msg = "no memory"
                raise RuntimeError(msg)
            return super().embed(pixels, **how)

    prompts = {PlaneKey((1, 2), (z,)): [at(ON_7)] for z in (0, 1)}
    result, _ = run(stack_source, Breaks(), prompts)
    assert len(result.planes) == 1
    assert batch_text(result) == "1 object from 1 prompt; then it failed: no memory"


def test_nothing_to_do_and_failure_leave_the_run_usable(source, segmenter):
    with pytest.raises(PromptError, match="no point or shape"):
        run(source, segmenter, {FLAT: []})
    segmenter.error = RuntimeError("no memory")
    with pytest.raises(RuntimeError, match="no memory"):
        run(source, segmenter, {FLAT: [at(ON_7)]})
    segmenter.error = None
    assert run(source, segmenter, {FLAT: [at(ON_7)]})[0].planes[0].objects


def window(box):
    y0, x0, y1, x1 = box
    return MaskWindow(y0, x0, np.ones((y1 - y0, x1 - x0), bool))


def test_masks_written_over_each_other_leave_slivers():
    """Lesson 14: the better mask keeps the pixel; one piece is left, or nothing."""
    wide, better = window((2, 0, 6, 20)), window((0, 12, 8, 16))
    kept, n_repeats = resolve_overlaps([wide, better], [0.7, 0.9], (8, 20))
    assert n_repeats == 0
    assert kept[1] == better
    assert kept[0] == window((2, 0, 6, 12))  # the piece beyond is a sliver
    # Less than half is left of a mask that lies mostly below a better one.
    kept, _ = resolve_overlaps(
        [window((0, 0, 4, 9)), window((0, 4, 4, 20))], [0.7, 0.9], (8, 20)
    )
    assert list(kept) == [1]
    kept, _ = resolve_overlaps([window((0, 0, 2, 2))], [0.9], (8, 20), min_area=5)
    assert kept == {}


def test_the_better_of_two_repeats_stays_whatever_the_order():
    ten, nine = window((0, 0, 10, 10)), window((0, 0, 10, 9))  # IoU 0.9
    for scores, winner in (([0.8, 0.9], 1), ([0.9, 0.8], 0)):
        kept, n_repeats = resolve_overlaps([ten, nine], scores, (10, 10))
        assert list(kept) == [winner]
        assert n_repeats == 1


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 6).flatmap(
        lambda n: st.tuples(
            arrays(np.bool_, (n, 6, 7)),
            st.lists(st.floats(0, 1), min_size=n, max_size=n),
        )
    )
)
def test_resolved_masks_share_no_pixel(case):
    masks, scores = case
    windows = [MaskWindow.of_mask(mask) for mask in masks]
    kept, n_repeats = resolve_overlaps(windows, scores, (6, 7))
    planes = {number: found.on_plane((6, 7)) for number, found in kept.items()}
    assert sum(planes.values(), np.zeros((6, 7), int)).max(initial=0) <= 1
    for number, plane in planes.items():
        assert not (plane & ~masks[number]).any()
        assert 2 * plane.sum() >= masks[number].sum()
        assert ndimage.label(plane, np.ones((3, 3)))[1] == 1
    assert n_repeats + len(kept) <= len(masks)

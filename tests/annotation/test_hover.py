# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.commit_policy import CommitSettings
from napari_sam.annotation.jobs import ModelThread
from napari_sam.annotation.ports import PlaneKey

FLAT = PlaneKey()
OTHER = PlaneKey((1, 2), (1,))


class Pointer:
    """A pointer over the image, and the boxes of the masks that follow it."""

    def __init__(self, annotator, runner):
        self.annotator, self.runner = annotator, runner
        self.seen = []
        annotator.hovered.connect(
            lambda mask, plane: self.seen.append(
                None if mask is None else mask.window.box
            )
        )

    def move(self, *yx, plane=FLAT):
        self.annotator.hover(plane, yx)


LEFT, RIGHT, FAR = (2, 3, 12, 13), (2, 13, 12, 20), (25, 40, 35, 55)


@pytest.fixture
def pointer(held):
    """A pointer whose masks come when the test says so; the plane is embedded."""
    annotator, runner = held
    annotator.look_at(FLAT)
    runner.run_all()
    return Pointer(annotator, runner)


def test_the_mask_under_the_pointer_is_shown_before_a_click(pointer, store, source):
    masks = []
    pointer.annotator.hovered.connect(lambda mask, plane: masks.append((mask, plane)))
    pointer.move(5, 5)
    pointer.runner.run_all()
    mask, plane = masks[-1]
    np.testing.assert_array_equal(mask.window.on_plane((40, 60)), source.array == 7)
    assert plane == FLAT
    assert not store.array.any()
    assert pointer.annotator.ledger.history.undo_text == ""


def test_only_the_newest_position_waits(pointer, segmenter):
    pointer.move(5, 5)
    first = pointer.runner.begin()
    for x in range(30, 56):
        pointer.move(30, x)
    assert pointer.runner.n_waiting == 0
    pointer.runner.finish(first)
    pointer.runner.run_all()
    assert [p.points[0].yx for p in segmenter.asked] == [(5, 5), (30, 55)]


def test_stale_answers_are_dropped(pointer):
    pointer.move(5, 5)
    first = pointer.runner.begin()
    pointer.move(30, 45)
    pointer.runner.finish(first)
    assert pointer.seen == []
    pointer.runner.run_all()
    assert pointer.seen == [FAR]


def test_an_answer_is_good_as_long_as_the_pointer_stays_on_its_mask(pointer):
    pointer.move(5, 5)
    first = pointer.runner.begin()
    pointer.move(9, 9)
    pointer.runner.finish(first)
    assert pointer.seen == [LEFT]


def test_a_pointer_that_never_rests_is_followed(pointer):
    """While every answer comes late by one move, masks appear all the same."""
    pointer.move(5, 3)
    for x in np.arange(3.5, 19.5, 0.5):
        job = pointer.runner.begin()
        pointer.move(5, float(x))
        pointer.runner.finish(job)
    assert pointer.seen.count(LEFT) > 10
    assert pointer.seen.count(RIGHT) > 5
    assert pointer.runner.n_waiting <= 1


def test_the_same_position_is_asked_for_once(pointer, segmenter):
    for _ in range(3):
        pointer.move(5, 5)
        pointer.runner.run_all()
    assert len(segmenter.asked) == 1
    assert pointer.seen == [LEFT]


def test_leaving_clears(pointer):
    pointer.move(5, 5)
    pointer.runner.run_all()
    pointer.annotator.hover(FLAT, None)
    pointer.annotator.hover(FLAT, None)
    assert pointer.seen == [LEFT, None]
    pointer.move(5, 5)
    pointer.runner.run_all()
    assert pointer.seen == [LEFT, None, LEFT]


def test_what_is_asked_when_the_pointer_leaves_is_never_shown(pointer):
    pointer.move(5, 5)
    job = pointer.runner.begin()
    pointer.annotator.hover(FLAT, None)
    pointer.runner.finish(job)
    assert pointer.seen == []
    pointer.move(30, 45)
    pointer.runner.run_all()
    assert pointer.seen == [FAR]


def test_nothing_is_shown_while_an_object_is_prompted(pointer, segmenter):
    pointer.move(5, 5)
    pointer.runner.run_all()
    pointer.annotator.add_point(FLAT, (5, 5))
    assert pointer.seen == [LEFT, None]
    pointer.runner.run_all()
    n_asked = len(segmenter.asked)
    pointer.move(30, 45)
    pointer.runner.run_all()
    assert len(segmenter.asked) == n_asked
    pointer.annotator.commit()
    pointer.move(30, 45)
    pointer.runner.run_all()
    assert pointer.seen == [LEFT, None, FAR]


def test_a_click_overtakes_the_preview_under_way(pointer):
    pointer.move(5, 5)
    job = pointer.runner.begin()
    pointer.annotator.add_point(FLAT, (5, 15))
    pointer.runner.finish(job)
    assert pointer.seen == []
    pointer.runner.run_all()
    assert pointer.annotator.shown.mask.box == RIGHT


def test_nothing_is_asked_when_it_is_off(pointer, segmenter):
    pointer.move(5, 5)
    pointer.runner.run_all()
    pointer.annotator.is_hover_on = False
    pointer.move(30, 45)
    pointer.runner.run_all()
    assert pointer.seen == [LEFT, None]
    assert len(segmenter.asked) == 1


def test_nothing_is_asked_before_the_plane_is_embedded(held, segmenter):
    annotator, runner = held
    annotator.hover(FLAT, (5, 5))
    assert runner.n_waiting == 0
    annotator.detach()
    annotator.hover(FLAT, (5, 5))
    assert runner.n_waiting == 0


def test_background_without_a_mask_shows_none(pointer, segmenter, monkeypatch):
    empty = segmenter.preview
    pointer.move(5, 5)
    pointer.runner.run_all()

    def preview(embedding, yx):
        answer = empty(embedding, yx)
        window = type(answer.masks[0]).of_mask(np.zeros((40, 60), bool))
        return type(answer)((window,), answer.predicted_iou, answer.low_res_logits)

    monkeypatch.setattr(segmenter, "preview", preview, raising=False)
    pointer.move(20, 30)
    pointer.runner.run_all()
    assert pointer.seen == [LEFT, None]


def test_masks_are_cleaned_by_the_rule(pointer, source, segmenter):
    source.array[20, 30] = 7
    pointer.annotator.replace_source(source)
    pointer.annotator.look_at(FLAT)
    pointer.runner.run_all()
    pointer.move(5, 5)
    pointer.runner.run_all()
    pointer.annotator.settings = CommitSettings(largest_piece=False, drop_specks=False)
    pointer.move(5, 6)
    pointer.runner.run_all()
    assert pointer.seen == [LEFT, (2, 3, 21, 31)]


def test_an_error_is_told_and_the_next_position_asked(pointer, segmenter):
    errors = []
    pointer.annotator.failed.connect(errors.append)
    segmenter.error = RuntimeError("out of memory")
    pointer.move(5, 5)
    pointer.runner.run_all()
    assert errors == [segmenter.error]
    segmenter.error = None
    pointer.move(5, 6)
    pointer.runner.run_all()
    assert pointer.seen == [LEFT]


def test_another_plane_takes_the_mask_away(stack_source, fakes, segmenter):
    runner = fakes.HeldRunner()
    store = fakes.Store(np.zeros(stack_source.array.shape, np.uint8))
    annotator = Annotator(stack_source, store, runner)
    annotator.attach(segmenter)
    first = PlaneKey((1, 2), (0,))
    annotator.look_at(first)
    runner.run_all()
    pointer = Pointer(annotator, runner)
    pointer.move(5, 5, plane=first)
    runner.run_all()
    annotator.look_at(OTHER)
    assert pointer.seen == [LEFT, None]
    runner.run_all()
    pointer.move(34, 5, plane=OTHER)
    runner.run_all()
    assert pointer.seen[-1] == (28, 3, 38, 13)


def test_a_real_thread_keeps_up_with_a_pointer_that_never_rests(
    source, store, segmenter
):
    """The model takes longer than a mouse event, and previews appear on the way."""
    runner = ModelThread()
    annotator = Annotator(source, store, runner)
    annotator.attach(segmenter)
    annotator.look_at(FLAT)
    runner.wait(5)
    slow, n_asked = segmenter.preview, []

    def preview(embedding, yx):
        n_asked.append(threading.current_thread().name)
        time.sleep(0.01)
        return slow(embedding, yx)

    segmenter.preview = preview
    pointer = Pointer(annotator, runner)
    for i in range(120):
        pointer.move(5 + i % 3, 4 + (i % 8))
        time.sleep(0.002)
        runner.drain()
    assert len(pointer.seen) >= 5
    assert set(pointer.seen) == {LEFT}
    assert len(n_asked) < 60
    pointer.move(30, 45)
    runner.wait(5)
    runner.close()
    assert pointer.seen[-1] == FAR

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.annotation.commit_policy import CommitSettings
from napari_sam.annotation.desk import ModelDesk
from napari_sam.annotation.draft import Draft
from napari_sam.annotation.objects import Turn
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import Cancelled
from napari_sam.structures.drawn import DrawnPrompts
from napari_sam.structures.prompts import PointPrompt

FRONT, BACK = PlaneKey((1, 2), (0,)), PlaneKey((1, 2), (1,))
RULE = CommitSettings()


def draft_at(y, x, plane=FRONT):
    return Draft(plane, (Turn(DrawnPrompts((PointPrompt((y, x)),))),))


class Log:
    """What a desk has told."""

    def __init__(self, desk):
        self.embedded, self.masks, self.errors = [], [], []
        desk.embedding_changed.connect(
            lambda plane, is_ready: self.embedded.append((plane.index[0], is_ready))
        )
        desk.answered.connect(
            lambda draft, answered: self.masks.append(answered.mask.box)
        )
        desk.failed.connect(self.errors.append)


@pytest.fixture
def runner(fakes):
    return fakes.HeldRunner()


@pytest.fixture
def desk(stack_source, runner):
    return ModelDesk(stack_source, runner, "desk")


@pytest.fixture
def log(desk):
    return Log(desk)


def test_embedding_ahead_of_the_first_prompt(desk, runner, segmenter, log):
    desk.prepare(segmenter, FRONT)
    desk.prepare(segmenter, FRONT)  # on its way already
    assert desk.is_embedding
    assert desk.embedding_of(FRONT) is None
    runner.run_all()
    assert not desk.is_embedding
    assert desk.embedding_of(FRONT) is not None
    desk.ask(segmenter, draft_at(5, 5), RULE, None)
    runner.run_all()
    assert segmenter.n_embedded == 1
    assert log.masks == [(2, 3, 12, 13)]
    assert log.embedded == [(0, False), (0, False), (0, True)]


def test_a_prompt_embeds_by_itself_and_says_so(desk, runner, segmenter, log):
    desk.ask(segmenter, draft_at(34, 5, BACK), RULE, None)
    runner.run_all()
    assert log.masks == [(28, 3, 38, 13)]
    assert log.embedded == [(1, True)]
    assert desk.embedding_of(BACK) is not None


def test_a_plane_that_is_there_is_announced_at_once(desk, runner, segmenter, log):
    desk.prepare(segmenter, FRONT)
    runner.run_all()
    log.embedded.clear()
    desk.prepare(segmenter, FRONT)
    assert log.embedded == [(0, True)]
    assert runner.n_waiting == 0


def test_the_newest_plane_is_embedded(desk, runner, segmenter, log):
    desk.prepare(segmenter, FRONT)
    under_way = runner.begin()
    desk.prepare(segmenter, BACK)
    runner.finish(under_way)
    runner.run_all()
    assert log.embedded == [(0, False), (1, False), (1, True)]
    assert log.errors == []


def test_only_the_newest_question_is_answered(desk, runner, segmenter, log):
    desk.ask(segmenter, draft_at(5, 5), RULE, None)
    under_way = runner.begin()
    for x in range(13, 19):
        desk.ask(segmenter, draft_at(5, x), RULE, None)
    runner.finish(under_way)
    runner.run_all()
    assert log.masks == [(2, 13, 12, 20)]
    assert len(segmenter.asked) == 2


def test_forgotten_questions_are_not_answered(desk, runner, segmenter, log):
    desk.ask(segmenter, draft_at(5, 5), RULE, None)
    under_way = runner.begin()
    desk.forget_answers()
    runner.finish(under_way)
    assert log.masks == []


def test_what_is_under_way_when_all_is_cleared_never_comes_back(
    desk, runner, segmenter, log
):
    desk.prepare(segmenter, FRONT)
    under_way = runner.begin()
    desk.clear()
    assert not desk.is_embedding
    runner.finish(under_way)
    assert desk.embedding_of(FRONT) is None
    assert log.embedded == [(0, False)]
    desk.prepare(segmenter, FRONT)
    runner.run_all()
    assert desk.embedding_of(FRONT) is not None


def test_clearing_stops_the_encoder(desk, runner, segmenter):
    desk.prepare(segmenter, FRONT)
    job = runner.begin()
    desk.clear()
    assert job.cancel_event.is_set()
    runner.finish(job)
    assert segmenter.n_embedded == 0


def test_an_embedding_made_elsewhere_is_used(desk, runner, segmenter, stack_source):
    desk.adopt_embedding(FRONT, segmenter.embed(stack_source.plane_pixels(FRONT)))
    desk.ask(segmenter, draft_at(5, 5), RULE, None)
    runner.run_all()
    assert segmenter.n_embedded == 1


def test_errors_are_told_and_the_plane_can_be_tried_again(desk, runner, segmenter, log):
    segmenter.error = RuntimeError("out of memory")
    desk.prepare(segmenter, FRONT)
    runner.run_all()
    desk.ask(segmenter, draft_at(5, 5), RULE, None)
    runner.run_all()
    assert log.errors == [segmenter.error] * 2
    assert not desk.is_embedding
    segmenter.error = None
    desk.prepare(segmenter, FRONT)
    runner.run_all()
    assert log.embedded[-1] == (0, True)


def test_a_cancelled_embedding_is_no_error(desk, runner, segmenter, log):
    segmenter.error = Cancelled("stopped")
    desk.prepare(segmenter, FRONT)
    runner.run_all()
    assert log.errors == []
    assert not desk.is_embedding


def test_preference_reaches_the_answer(desk, runner, segmenter, log):
    desk.ask(segmenter, draft_at(5, 5), RULE, "large")
    runner.run_all()
    assert log.masks == [(0, 0, 40, 60)]


def test_two_desks_of_one_runner_do_not_replace_each_other(
    stack_source, runner, segmenter
):
    desks = [ModelDesk(stack_source, runner, name) for name in ("one", "two")]
    logs = [Log(desk) for desk in desks]
    for desk, x in zip(desks, (5, 15), strict=True):
        desk.prepare(segmenter, FRONT)
        desk.ask(segmenter, draft_at(5, x), RULE, None)
    runner.run_all()
    assert [log.masks for log in logs] == [[(2, 3, 12, 13)], [(2, 13, 12, 20)]]
    assert desks[0].embedding_of(FRONT) is not desks[1].embedding_of(FRONT)


def test_new_pixels_are_read_by_what_is_asked_next(desk, runner, segmenter, fakes):
    desk.ask(segmenter, draft_at(5, 5), RULE, None)
    runner.run_all()
    seen = Log(desk)
    desk.source = fakes.Source(np.full((2, 40, 60), 7, np.uint8))
    desk.clear()
    desk.ask(segmenter, draft_at(5, 5), RULE, None)
    runner.run_all()
    assert seen.masks == [(0, 0, 40, 60)]

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_sam.annotation import answers as answers_module
from napari_sam.annotation.answers import Memory, answer_turns
from napari_sam.annotation.commit_policy import CommitSettings
from napari_sam.annotation.objects import Turn
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import Cancelled, PromptError
from napari_sam.structures.drawn import DrawnPrompts
from napari_sam.structures.prompts import PointPrompt

FLAT = PlaneKey()
SHAPE = (40, 60)
RAW = CommitSettings(fill_holes=False, largest_piece=False, drop_specks=False)


def drawn(*points):
    return DrawnPrompts(points=tuple(PointPrompt(yx) for yx in points))


def given(segmenter, n):
    """Whose logits the n-th question came with: None, or question and output."""
    logits = segmenter.asked[n].mask_input
    if logits is None:
        return None
    question, output = divmod(round(float(logits[0, 0]) * 10), 10)
    return question - 1, output


@pytest.fixture
def embedding(segmenter, source):
    return segmenter.embed(source.array)


@pytest.fixture
def ask(segmenter, embedding):
    """Answer turns with a memory that is kept."""
    memory = Memory()

    def ask(*turns, settings=RAW, preference=None, memory=memory):
        return answer_turns(
            segmenter,
            embedding,
            FLAT,
            SHAPE,
            turns,
            settings,
            preference=preference,
            memory=memory,
        )

    return ask


def test_each_turn_gets_the_logits_of_the_mask_chosen_before(ask, segmenter):
    answered = ask(
        Turn(drawn((5, 5)), 3),
        Turn(drawn((5, 5), (6, 6)), 1),
        Turn(drawn((5, 5), (6, 6), (7, 7))),
    )
    assert [given(segmenter, n) for n in range(3)] == [None, (0, 3), (1, 1)]
    assert answered.index == 0  # clear by now
    assert answered.before.area == 1  # the small mask of the second turn
    assert answered.before_iou == pytest.approx(0.1)


def test_without_a_choice_the_mask_shown_first_is_given_back(ask, segmenter):
    ask(Turn(drawn((5, 5))), Turn(drawn((5, 5), (6, 6))))
    assert given(segmenter, 1) == (0, 2)
    ask(Turn(drawn((8, 8))), Turn(drawn((8, 8), (6, 6))), preference="small")
    assert given(segmenter, 3) == (2, 1)


def test_a_further_turn_is_one_question(ask, segmenter):
    first = Turn(drawn((5, 5)), 2)
    ask(first)
    ask(first, Turn(drawn((5, 5), (6, 6))))
    ask(first)
    ask(first, Turn(drawn((5, 5), (6, 6))))
    assert len(segmenter.asked) == 2


def test_another_choice_before_is_another_question(ask, segmenter):
    second = Turn(drawn((5, 5), (6, 6)))
    ask(Turn(drawn((5, 5)), 2), second)
    ask(Turn(drawn((5, 5)), 1), second)
    assert [given(segmenter, n) for n in range(3)] == [None, (0, 2), (0, 1)]


def test_another_preference_is_not_answered_from_memory(ask, segmenter):
    turns = Turn(drawn((5, 5))), Turn(drawn((5, 5), (6, 6)))
    ask(*turns)
    ask(*turns, preference="large")
    assert [given(segmenter, n) for n in range(3)] == [None, (0, 2), (0, 3)]


def test_logits_are_never_those_of_another_object(ask, segmenter):
    ask(Turn(drawn((5, 5)), 2), Turn(drawn((5, 5), (6, 6))))
    ask(Turn(drawn((30, 45)), 2), Turn(drawn((30, 45), (31, 46))))
    assert [given(segmenter, n) for n in range(4)] == [None, (0, 2), None, (2, 2)]


def test_a_choice_that_the_answer_does_not_have_is_left_to_the_rule(ask):
    assert ask(Turn(drawn((5, 5)), 9)).index == 2


def test_the_mask_shown_and_the_one_before_are_cleaned(segmenter, source):
    source.array[20, 30] = 7  # a speck that belongs to the rectangle's region
    embedding = segmenter.embed(source.array)
    turns = Turn(drawn((5, 5)), 2), Turn(drawn((5, 5), (6, 6)))
    for settings, area in [(CommitSettings(), 100), (RAW, 101)]:
        answered = answer_turns(segmenter, embedding, FLAT, SHAPE, turns, settings)
        assert (answered.before.area, answered.mask.area) == (area, area)


def test_no_turns_are_refused(ask):
    with pytest.raises(PromptError, match="no prompts"):
        ask()


def test_memory_of_answers_is_bounded(ask, segmenter, monkeypatch):
    monkeypatch.setattr(answers_module, "MAX_ANSWERS", 3)
    memory = Memory()
    for x in (4, 5, 6, 4, 7, 4, 5):  # 5 makes room for 7
        ask(Turn(drawn((5, x))), memory=memory)
    assert len(memory._answers) == 3
    assert len(segmenter.asked) == 5


class Context:
    """What running work is handed."""

    def __init__(self):
        self.cancel = threading.Event()

    def check(self):
        if self.cancel.is_set():
            raise Cancelled


def test_memory_of_embeddings_is_bounded(segmenter, fakes, regions, monkeypatch):
    """Lesson 18: what is made ahead is bounded, in the computer's own memory, and
    gives way.
    """
    monkeypatch.setattr(answers_module, "MAX_EMBEDDINGS", 2)
    source = fakes.Source(np.stack([regions] * 3))
    planes = [PlaneKey((1, 2), (i,)) for i in range(3)]
    memory = Memory()
    for index in (0, 1, 0, 2, 0, 1):
        memory.embed(segmenter, source, planes[index], Context())
    assert memory.embeddings.keys() == [planes[0], planes[1]]
    assert segmenter.n_embedded == 4


def test_a_cancelled_plane_is_not_even_read(segmenter, source):
    context = Context()
    context.cancel.set()
    with pytest.raises(Cancelled):
        Memory().embed(segmenter, source, FLAT, context)
    assert source.n_reads == 0


# The same through the annotator.


def test_a_further_point_is_answered_with_the_mask_on_offer(annotator, segmenter):
    annotator.add_point(FLAT, (5, 5))
    annotator.choose(1)
    annotator.add_point(FLAT, (6, 6))
    assert [given(segmenter, n) for n in range(2)] == [None, (0, 1)]


def test_a_later_preference_changes_no_earlier_choice(annotator, segmenter):
    annotator.add_point(FLAT, (5, 5))
    annotator.preference = "small"
    annotator.add_point(FLAT, (6, 6))
    assert given(segmenter, 1) == (0, 2)
    assert annotator.draft.turns[0].choice == 2


def test_a_moved_point_starts_anew(annotator, segmenter):
    annotator.add_point(FLAT, (5, 5))
    annotator.add_point(FLAT, (6, 6))
    annotator.set_drawn(FLAT, drawn((5, 6), (6, 6)))
    assert given(segmenter, 2) is None
    assert [turn.drawn for turn in annotator.draft.turns] == [drawn((5, 6), (6, 6))]


def test_moving_the_last_point_keeps_what_was_before_it(annotator, segmenter):
    annotator.add_point(FLAT, (5, 5))
    annotator.add_point(FLAT, (6, 6))
    annotator.set_drawn(FLAT, drawn((5, 5), (6, 7)))
    assert given(segmenter, 2) == (0, 2)


def test_a_removed_point_asks_nothing_again(annotator, segmenter):
    annotator.add_point(FLAT, (5, 5))
    annotator.add_point(FLAT, (6, 6))
    annotator.set_drawn(FLAT, drawn((5, 5)))
    assert len(segmenter.asked) == 2


def test_the_next_object_starts_without_logits(annotator, segmenter):
    for end in (annotator.commit, annotator.discard):
        annotator.add_point(FLAT, (5, 5))
        annotator.add_point(FLAT, (6, 6))
        end()
    annotator.add_point(FLAT, (5, 15))
    assert given(segmenter, len(segmenter.asked) - 1) is None


def test_undo_and_redo_ask_no_model(annotator, segmenter):
    annotator.add_point(FLAT, (5, 5))
    annotator.choose(1)
    annotator.add_point(FLAT, (6, 6))
    annotator.commit()
    n_asked = len(segmenter.asked)
    indices = []
    annotator.answer_changed.connect(
        lambda shown: indices.append(shown and shown.index)
    )
    for _ in range(4):
        annotator.undo()
    for _ in range(4):
        annotator.redo()
    assert len(segmenter.asked) == n_asked
    assert indices == [None, 0, 1, 2, None, None, 2, 1, 0, None]


def test_a_reopened_object_goes_on_from_its_own_turns(annotator, segmenter, fakes):
    annotator.add_point(FLAT, (5, 5))
    annotator.choose(1)
    annotator.commit()
    annotator.add_point(FLAT, (5, 15))
    annotator.commit()
    other = fakes.Segmenter()
    annotator.attach(other)
    annotator.reopen(FLAT, 1)
    annotator.add_point(FLAT, (6, 6))
    assert [given(other, n) for n in range(2)] == [None, (0, 1)]

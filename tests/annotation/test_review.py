# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.objects import AnnotatedObject, Origin, Status
from napari_sam.annotation.ports import PlaneKey
from napari_sam.annotation.review import ReviewQueue
from napari_sam.errors import PhaseError
from napari_sam.structures.mask_window import MaskWindow

FLAT = PlaneKey()


def write(annotator, *specs):
    """Write 4 x 4 objects in a row; (score, status) each. Ids go by falling score."""
    items = []
    for place, (score, status) in enumerate(specs):
        window = MaskWindow(0, 5 * place, np.ones((4, 4), bool))
        known = AnnotatedObject(
            0,
            FLAT,
            window.box,
            window.area,
            predicted_iou=score,
            status=status,
            origin=Origin.BATCH,
        )
        items.append((window, known))
    return annotator.write_objects("Batch", items)


@pytest.fixture
def annotator(source, store, segmenter):
    annotator = Annotator(source, store)
    annotator.attach(segmenter)
    return annotator


@pytest.fixture
def queue(annotator):
    """Scores 0.9, 0.7 and 0.5 wait as objects 1, 3 and 4; object 2 is accepted."""
    write(
        annotator,
        (0.9, Status.PROPOSED),
        (0.8, Status.ACCEPTED),
        (0.7, Status.UNSURE),
        (0.5, Status.PROPOSED),
    )
    return ReviewQueue(annotator)


def ids(queue):
    return [known.object_id for known in queue.queue()]


def test_worst_first(queue):
    assert ids(queue) == [4, 3, 1]
    assert queue.current.object_id == 4
    assert len(queue) == 3


def test_accept_and_reject_advance(queue, annotator, store):
    queue.accept()
    assert annotator.objects[FLAT, 4].status is Status.ACCEPTED
    assert queue.current.object_id == 3
    queue.reject()
    assert (FLAT, 3) not in annotator.objects
    assert not (store.array == 3).any()
    assert queue.current.object_id == 1
    queue.accept()
    assert queue.current is None
    with pytest.raises(PhaseError, match="nothing left to review"):
        queue.accept()


def test_each_decision_is_one_undo_and_comes_back_to_it(queue, annotator, store):
    before = store.array.copy()
    queue.accept()
    queue.reject()
    assert queue.current.object_id == 1
    annotator.undo()
    np.testing.assert_array_equal(store.array, before)
    assert queue.current.object_id == 3
    annotator.undo()
    assert queue.current.object_id == 4
    annotator.redo()
    assert ids(queue) == [3, 1]
    assert queue.current.object_id == 3


def test_unsure_stays_for_later(queue, annotator):
    queue.mark_unsure()
    assert annotator.objects[FLAT, 4].status is Status.UNSURE
    assert queue.current.object_id == 3
    assert ids(queue) == [4, 3, 1]


def test_walk_goes_round(queue):
    seen = []
    for _ in range(4):
        seen.append(queue.current.object_id)
        queue.next()
    assert seen == [4, 3, 1, 4]
    queue.previous()
    assert queue.current.object_id == 4
    queue.previous()
    assert queue.current.object_id == 1
    assert queue.go_to((FLAT, 3))
    assert queue.current.object_id == 3
    assert not queue.go_to((FLAT, 2))  # accepted already
    assert queue.current.object_id == 3


def test_objects_that_vanish_are_passed_over(queue, annotator, store):
    queue.next()
    annotator.delete([(FLAT, 3)])
    assert queue.current.object_id == 1  # what followed it
    annotator.undo()
    annotator.undo()  # the whole batch
    assert queue.current is None
    assert len(queue) == 0
    queue.next()
    queue.previous()
    assert queue.current is None
    annotator.redo()
    assert queue.current.object_id == 4


def test_replaced_labels_empty_the_queue(queue, annotator, store):
    annotator.replace_labels(type(store)(np.zeros_like(store.array)))
    assert queue.current is None


def test_objects_of_a_later_batch_join(queue, annotator, store):
    queue.accept()
    window = MaskWindow(30, 30, np.ones((4, 4), bool))
    known = AnnotatedObject(
        0, FLAT, window.box, 16, predicted_iou=0.1, status=Status.PROPOSED
    )
    annotator.write_objects("Batch", [(window, known)])
    assert ids(queue) == [5, 3, 1]
    assert queue.current.object_id == 3  # nobody is torn away


def test_object_without_a_score_comes_last(annotator):
    write(annotator, (None, Status.UNSURE), (0.2, Status.PROPOSED))
    queue = ReviewQueue(annotator)
    assert [known.predicted_iou for known in queue.queue()] == [0.2, None]


def test_refine_opens_the_prompts_and_accepting_settles(queue, annotator, store):
    queue.refine()
    assert annotator.draft.object_id == 4
    assert queue.current.object_id == 4
    annotator.commit()
    assert queue.current.object_id == 3


def test_tells_what_is_current(queue, annotator):
    told = []
    queue.changed.connect(lambda known, n: told.append((known and known.object_id, n)))
    queue.accept()
    queue.next()
    annotator.undo()
    queue.close()
    annotator.redo()
    assert told == [(3, 2), (1, 2), (4, 3)]

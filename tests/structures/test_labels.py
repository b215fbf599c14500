# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from napari_sam.errors import LabelsError
from napari_sam.structures import rle
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.labels import LabelEdit, records_to_labels


def record_of(box, score, shape=(6, 8)):
    mask = np.zeros(shape, bool)
    mask[box[0] : box[2], box[1] : box[3]] = True
    return MaskRecord(rle.encode(mask), box, int(mask.sum()), score, 1.0, (0, 0), box)


def test_the_higher_score_keeps_the_pixel():
    records = [record_of((0, 0, 4, 4), 0.5), record_of((2, 2, 6, 6), 0.9)]
    labels = records_to_labels(records, (6, 8))
    assert labels.dtype == np.uint32
    assert labels[3, 3] == 2
    assert labels[0, 0] == 1
    assert labels[5, 7] == 0


def test_equal_scores_favour_the_earlier_record():
    records = [record_of((0, 0, 4, 4), 0.5), record_of((2, 2, 6, 6), 0.5)]
    assert records_to_labels(records, (6, 8))[3, 3] == 1


def test_no_records_make_an_empty_image():
    assert not records_to_labels([], (3, 4)).any()


def test_records_of_another_image_are_refused():
    with pytest.raises(LabelsError, match="cannot be painted"):
        records_to_labels([record_of((0, 0, 2, 2), 0.5)], (9, 9))


def test_an_edit_can_be_taken_back():
    labels = np.arange(48, dtype=np.uint32).reshape(6, 8)
    before = labels.copy()
    old = labels[1:3, 2:5].copy()
    edit = LabelEdit((1, 2, 3, 5), old, np.full((2, 3), 99, np.uint32))
    edit.apply_to(labels)
    assert (labels[1:3, 2:5] == 99).all()
    assert (labels != before).sum() == 6
    edit.inverse().apply_to(labels)
    np.testing.assert_array_equal(labels, before)


def test_an_edit_fills_its_box():
    with pytest.raises(LabelsError, match="needs two arrays"):
        LabelEdit((0, 0, 2, 2), np.zeros((2, 2), int), np.zeros((2, 3), int))


def test_an_edit_stays_in_the_plane_and_in_the_type():
    edit = LabelEdit((0, 0, 2, 2), np.zeros((2, 2), int), np.full((2, 2), 300))
    with pytest.raises(LabelsError, match="does not fit into uint8"):
        edit.apply_to(np.zeros((4, 4), np.uint8))
    with pytest.raises(LabelsError, match="leaves a label image"):
        edit.apply_to(np.zeros((1, 4), np.uint32))

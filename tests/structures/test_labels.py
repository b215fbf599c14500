# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from napari_sam.errors import LabelsError
from napari_sam.structures.labels import LabelEdit


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

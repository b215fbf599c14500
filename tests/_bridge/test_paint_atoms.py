# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from napari_sam._bridge.paint_atoms import edits_between, edits_of_stroke
from napari_sam.annotation.ports import PlaneKey


def reader(data):
    def read(key, box):
        y0, x0, y1, x1 = box
        return np.array(data[key.locate(slice(y0, y1), slice(x0, x1))])

    return read


def mask_atom(data, slices, mask, value):
    """Paint, and return the atom that tells of it."""
    region = data[slices]
    old = region.copy() if mask is None else region[mask]
    region[... if mask is None else mask] = value
    return SimpleNamespace(slice_key=slices, mask=mask, old_values=old, new_value=value)


def index_atom(data, indices, values):
    old = data[indices].copy()
    data[indices] = values
    return indices, old, values


def taken_back(edits, data):
    data = data.copy()
    for plane_edit in edits:
        edit = plane_edit.edit
        y0, x0, y1, x1 = edit.box
        where = plane_edit.plane.locate(slice(y0, y1), slice(x0, x1))
        np.testing.assert_array_equal(data[where], edit.new)
        data[where] = edit.old
    return data


def test_atoms_that_overlap_are_taken_back_in_order():
    before = np.arange(100, dtype=np.uint16).reshape(10, 10)
    data = before.copy()
    diagonal = np.eye(4, dtype=bool)
    atoms = [
        mask_atom(data, (slice(1, 5), slice(1, 5)), diagonal, 7),
        mask_atom(data, (slice(2, 4), slice(0, 8)), None, 9),
        index_atom(data, (np.array([2, 3, 9]), np.array([2, 3, 9])), 5),
        index_atom(data, (np.array([0, 3]), np.array([0, 3])), np.array([1, 2])),
    ]
    (edit,) = edits = edits_of_stroke(atoms, (0, 1), reader(data))
    assert edit.plane == PlaneKey()
    np.testing.assert_array_equal(taken_back(edits, data), before)


@pytest.mark.parametrize("is_written", [True, False])
def test_a_stroke_may_be_announced_before_it_is_written(is_written):
    before = np.zeros((10, 10), np.uint8)
    after = before.copy()
    atom = mask_atom(after, (slice(1, 5), slice(2, 6)), np.eye(4, dtype=bool), 7)
    read = reader(after if is_written else before)
    (edit,) = edits_of_stroke([atom], (0, 1), read)
    np.testing.assert_array_equal(edit.edit.new, after[1:5, 2:6])
    np.testing.assert_array_equal(edit.edit.old, before[1:5, 2:6])


@pytest.mark.parametrize("axes", [(1, 2), (0, 1), (0, 2)])
def test_planes_of_any_orientation(axes):
    rng = np.random.default_rng(0)
    before = rng.integers(0, 5, (6, 7, 8), np.int32)
    data = before.copy()
    mask = rng.random((3, 4, 5)) > 0.6
    some = tuple(rng.integers(0, size, 12) for size in data.shape)
    some = tuple(np.unique(np.stack(some, 1), axis=0).T)
    atoms = [
        mask_atom(data, (slice(1, 4), slice(2, 6), slice(3, 8)), mask, 9),
        index_atom(data, some, 11),
    ]
    edits = edits_of_stroke(atoms, axes, reader(data))
    assert {edit.plane.axes for edit in edits} == {axes}
    assert len({edit.plane for edit in edits}) == len(edits)
    np.testing.assert_array_equal(taken_back(edits, data), before)
    compared = edits_between(before, data, axes)
    assert {edit.plane for edit in compared} == {edit.plane for edit in edits}
    np.testing.assert_array_equal(taken_back(compared, data), before)


@pytest.mark.parametrize(
    "atom",
    [
        object(),
        (1, 2),
        ((slice(0, 3), np.array([1])), np.array([1]), 2),
        ((np.array([0.5]), np.array([1.0])), np.array([1]), 2),
        (None, np.array([1]), 2),
    ],
)
def test_unknown_atoms_are_said_to_be_unknown(atom):
    data = np.zeros((5, 5), np.uint8)
    known = index_atom(data, (np.array([1]), np.array([1])), 3)
    assert edits_of_stroke([known, atom], (0, 1), reader(data)) is None


def test_a_stroke_that_changes_nothing_has_no_edit():
    data = np.full((5, 5), 3, np.uint8)
    atom = index_atom(data, (np.array([1]), np.array([1])), 3)
    assert edits_of_stroke([atom], (0, 1), reader(data)) == ()

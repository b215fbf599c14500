# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_sam.annotation.history import PlaneEdit, Step
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import AnnotationFileError
from napari_sam.io.step_json import step_from_json, step_to_json
from napari_sam.structures.labels import LabelEdit


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_step_comes_back(values, data):
    step = data.draw(values.steps)
    found = step_from_json(json.loads(json.dumps(step_to_json(step), allow_nan=False)))
    assert len(found.edits) == len(step.edits)
    assert all(map(values.same_edit, found.edits, step.edits))
    assert (found.text, found.objects, found.draft, found.proposals) == (
        step.text,
        step.objects,
        step.draft,
        step.proposals,
    )


@given(st.data())
def test_inverse_of_what_came_back_takes_back(values, data):
    edit = data.draw(values.edits())
    found = step_from_json(step_to_json(Step("x", edits=(edit,)))).edits[0]
    np.testing.assert_array_equal(found.inverse().edit.new, edit.edit.old)


def test_edit_that_does_not_fill_its_box_is_refused():
    labels = np.zeros((2, 3), np.uint8)
    edit = PlaneEdit(PlaneKey(), LabelEdit((0, 0, 2, 3), labels, labels))
    data = step_to_json(Step("Paint", edits=(edit,)))
    data["edits"][0]["box"] = [0, 0, 3, 3]
    with pytest.raises(AnnotationFileError, match=r"\(3, 3\)"):
        step_from_json(data)


def test_text_is_needed():
    with pytest.raises(AnnotationFileError, match="'text' is missing"):
        step_from_json({})

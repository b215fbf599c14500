# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.annotation.commit_policy import CommitSettings
from napari_sam.annotation.objects import AnnotatedObject, Turn
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import AnnotationFileError
from napari_sam.io.value_json import (
    draft_from_json,
    draft_to_json,
    object_from_json,
    object_to_json,
    plane_from_json,
    settings_from_json,
    settings_to_json,
)
from napari_sam.structures.drawn import DrawnPrompts
from napari_sam.structures.prompts import PointPrompt


def through_text(data):
    return json.loads(json.dumps(data, allow_nan=False))


def one_object():
    turn = Turn(DrawnPrompts(points=(PointPrompt((1.5, 2.0)),)), choice=2)
    return AnnotatedObject(7, PlaneKey((1, 2), (0,)), (1, 2, 3, 4), 4, (turn,))


@settings(max_examples=25)
@given(st.data())
def test_object_comes_back(values, data):
    item = data.draw(values.objects)
    assert object_from_json(through_text(object_to_json(item))) == item


@settings(max_examples=25)
@given(st.data())
def test_draft_comes_back(values, data):
    draft = data.draw(values.drafts)
    assert draft_from_json(through_text(draft_to_json(draft))) == draft


@given(st.data())
def test_settings_come_back(values, data):
    value = data.draw(values.settings)
    assert settings_from_json(through_text(settings_to_json(value))) == value


def test_fields_of_a_later_version_are_ignored():
    data = object_to_json(one_object())
    data["mood"] = "good"
    data["turns"][0]["drawn"]["points"][0]["pressure"] = 0.5
    assert object_from_json(data) == one_object()


def test_fields_with_a_default_may_be_missing():
    assert settings_from_json({}) == CommitSettings()
    data = object_to_json(one_object())
    for name in ("class_name", "predicted_iou", "status", "seconds"):
        del data[name]
    assert object_from_json(data) == one_object()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("status", "blessed", r"'status' is 'blessed'.*known: proposed, accepted"),
        ("origin", 3, "'origin' is text, not 3"),
        ("id", None, "'id' is a whole number, not None"),
        ("id", True, "'id' is a whole number, not True"),
        ("box", [1, 2, 3], "'box' has 4 numbers, not 3"),
        ("box", [1, 2, 3, 4.5], "whole number, not 4.5"),
        ("turns", {}, "'turns' is a list"),
        ("turns", [{}], "'drawn' is missing"),
        ("predicted_iou", float("nan"), "'predicted_iou' is a number, not nan"),
    ],
)
def test_nonsense_is_named(name, value, text):
    data = object_to_json(one_object())
    data[name] = value
    with pytest.raises(AnnotationFileError, match=text):
        object_from_json(data)


@pytest.mark.parametrize(
    "drawn",
    [
        {"points": [{"yx": [1.0, 2.0], "label": 5}]},
        {"points": [{"yx": [1.0]}]},
        {"shapes": [{"kind": "polygon", "vertices_yx": [[0, 0], [1, 1]]}]},
        {"shapes": [{"kind": "star", "vertices_yx": []}]},
        {"shapes": [{"kind": "line", "vertices_yx": [[0, 0, 0], [1, 1, 1]]}]},
        {"mask": {"y0": 0, "x0": 0, "size": [2, 2], "counts": [3]}},
        {"mask": {"y0": 0, "x0": 0, "size": [-1, -1], "counts": [1]}},
        {"mask": {"y0": 0, "x0": 0, "size": [2, 2], "counts": [2**70]}},
    ],
)
def test_prompts_without_sense_are_refused(drawn):
    data = object_to_json(one_object())
    data["turns"][0]["drawn"] = drawn
    with pytest.raises(AnnotationFileError):
        object_from_json(data)


@pytest.mark.parametrize(
    "plane",
    [{"axes": [1, 0], "index": []}, {"axes": [0, 2], "index": []}, {"axes": [0, 1]}],
)
def test_planes_without_sense_are_refused(plane):
    with pytest.raises(AnnotationFileError):
        plane_from_json(plane)


def test_draft_needs_a_turn():
    data = {"plane": {"axes": [0, 1], "index": []}, "turns": []}
    with pytest.raises(AnnotationFileError, match="needs a turn"):
        draft_from_json(data)

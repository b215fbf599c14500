# SPDX-License-Identifier: Apache-2.0
"""Steps of the history as JSON and back."""

from __future__ import annotations

from typing import Any

from napari_sam.annotation.history import DraftChange, PlaneEdit, ProposalChange, Step
from napari_sam.annotation.objects import AnnotatedObject, ObjectChange
from napari_sam.errors import AnnotationFileError, LabelsError
from napari_sam.io.json_fields import JsonObject, take, take_numbers
from napari_sam.io.label_runs import labels_from_json, labels_to_json
from napari_sam.io.value_json import (
    draft_from_json,
    draft_to_json,
    object_from_json,
    object_to_json,
    plane_from_json,
    plane_to_json,
)
from napari_sam.structures.labels import LabelEdit


def step_to_json(step: Step) -> JsonObject:
    """Write a step; parts that are empty are left out."""
    data: JsonObject = {"text": step.text}
    if step.edits:
        data["edits"] = [_edit_to_json(edit) for edit in step.edits]
    if step.objects:
        data["objects"] = [
            {"before": _maybe(change.before), "after": _maybe(change.after)}
            for change in step.objects
        ]
    if step.draft is not None:
        data["draft"] = {
            "before": draft_to_json(step.draft.before),
            "after": draft_to_json(step.draft.after),
        }
    if step.proposals:
        data["proposals"] = [
            {"id": int(c.proposal_id), "before": c.before, "after": c.after}
            for c in step.proposals
        ]
    return data


def step_from_json(data: Any) -> Step:
    """Read a step.

    Raises
    ------
    AnnotationFileError
        If it makes no sense.
    """
    draft = take(data, "draft", dict, None)
    return Step(
        text=take(data, "text", str),
        edits=tuple(_edit_from_json(e) for e in take(data, "edits", list, [])),
        objects=tuple(
            ObjectChange(_object_of(change, "before"), _object_of(change, "after"))
            for change in take(data, "objects", list, [])
        ),
        draft=None
        if draft is None
        else DraftChange(
            draft_from_json(take(draft, "before", dict, None)),
            draft_from_json(take(draft, "after", dict, None)),
        ),
        proposals=tuple(
            ProposalChange(
                take(change, "id", int),
                take(change, "before", str),
                take(change, "after", str),
            )
            for change in take(data, "proposals", list, [])
        ),
    )


def _edit_to_json(edit: PlaneEdit) -> JsonObject:
    return {
        "plane": plane_to_json(edit.plane),
        "box": [int(side) for side in edit.edit.box],
        "old": labels_to_json(edit.edit.old),
        "new": labels_to_json(edit.edit.new),
    }


def _edit_from_json(data: Any) -> PlaneEdit:
    box = take_numbers(data, "box", int, 4)
    old = labels_from_json(take(data, "old", dict))
    new = labels_from_json(take(data, "new", dict))
    try:
        edit = LabelEdit(box=box, old=old, new=new)
    except LabelsError as error:
        raise AnnotationFileError(str(error)) from error
    return PlaneEdit(plane_from_json(take(data, "plane", dict)), edit)


def _maybe(item: AnnotatedObject | None) -> JsonObject | None:
    return None if item is None else object_to_json(item)


def _object_of(change: Any, name: str) -> AnnotatedObject | None:
    data = take(change, name, dict, None)
    return None if data is None else object_from_json(data)

# SPDX-License-Identifier: Apache-2.0
"""Values of annotation as JSON and back: planes, prompts, objects, drafts, settings."""

from __future__ import annotations

import math
from dataclasses import fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from napari_sam.annotation.commit_policy import CommitSettings
from napari_sam.annotation.draft import Draft
from napari_sam.annotation.objects import AnnotatedObject, Origin, Status, Turn
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import AnnotationFileError, NapariSamError
from napari_sam.io.json_fields import (
    JsonObject,
    checked,
    take,
    take_choice,
    take_numbers,
)
from napari_sam.io.label_runs import mask_from_json, mask_to_json
from napari_sam.structures.drawn import DrawnPrompts, DrawnShape, ShapeKind
from napari_sam.structures.prompts import PointPrompt

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def plane_to_json(plane: PlaneKey) -> JsonObject:
    """Write which plane is meant."""
    return {
        "axes": [int(axis) for axis in plane.axes],
        "index": [int(position) for position in plane.index],
    }


def plane_from_json(data: Any) -> PlaneKey:
    """Read which plane is meant; raises AnnotationFileError if that makes no sense."""
    axes = take_numbers(data, "axes", int, 2)
    index = take_numbers(data, "index", int)
    if not 0 <= axes[0] < axes[1] < len(index) + 2 or min(index, default=0) < 0:
        msg = f"There is no plane of the axes {axes} at {index}."
        raise AnnotationFileError(msg)
    return PlaneKey(axes, index)


def drawn_to_json(drawn: DrawnPrompts) -> JsonObject:
    """Write what the user drew; parts that are empty are left out."""
    data: JsonObject = {}
    if drawn.points:
        data["points"] = [
            {"yx": list(point.yx), "label": int(point.label)} for point in drawn.points
        ]
    if drawn.shapes:
        data["shapes"] = [
            {
                "kind": str(shape.kind),
                "label": int(shape.label),
                "vertices_yx": [list(vertex) for vertex in shape.vertices_yx],
            }
            for shape in drawn.shapes
        ]
    if drawn.mask is not None:
        data["mask"] = mask_to_json(drawn.mask)
    return data


def drawn_from_json(data: Any) -> DrawnPrompts:
    """Read what the user drew; raises AnnotationFileError if it makes no sense."""
    mask = take(data, "mask", dict, None)
    return DrawnPrompts(
        points=_each(data, "points", _point),
        shapes=_each(data, "shapes", _shape),
        mask=None if mask is None else mask_from_json(mask),
    )


def turns_to_json(turns: tuple[Turn, ...]) -> list[JsonObject]:
    """Write turns: what was drawn, and the chosen output of the decoder."""
    return [
        {
            "drawn": drawn_to_json(turn.drawn),
            "choice": None if turn.choice is None else int(turn.choice),
        }
        for turn in turns
    ]


def object_to_json(item: AnnotatedObject) -> JsonObject:
    """Write one object."""
    iou = item.predicted_iou
    return {
        "id": int(item.object_id),
        "plane": plane_to_json(item.plane),
        "box": [int(side) for side in item.box],
        "area": int(item.area),
        "class_name": item.class_name,
        "candidate": item.candidate,
        "predicted_iou": None if iou is None or not math.isfinite(iou) else float(iou),
        "status": str(item.status),
        "origin": str(item.origin),
        "is_locked": bool(item.is_locked),
        "seconds": float(item.seconds),
        "model": item.model,
        "turns": turns_to_json(item.turns),
    }


def object_from_json(data: Any) -> AnnotatedObject:
    """Read one object; raises AnnotationFileError if it makes no sense."""
    return AnnotatedObject(
        object_id=take(data, "id", int),
        plane=plane_from_json(take(data, "plane", dict)),
        box=take_numbers(data, "box", int, 4),
        area=take(data, "area", int),
        turns=_each(data, "turns", _turn),
        class_name=take(data, "class_name", str, ""),
        candidate=take(data, "candidate", str, ""),
        predicted_iou=take(data, "predicted_iou", float, None),
        status=take_choice(data, "status", Status, Status.ACCEPTED),
        origin=take_choice(data, "origin", Origin, Origin.PROMPTS),
        is_locked=take(data, "is_locked", bool, False),  # noqa: FBT003  its default
        seconds=take(data, "seconds", float, 0.0),
        model=take(data, "model", str, ""),
    )


def draft_to_json(draft: Draft | None) -> JsonObject | None:
    """Write the object being prompted, if there is one."""
    if draft is None:
        return None
    return {
        "plane": plane_to_json(draft.plane),
        "turns": turns_to_json(draft.turns),
        "object_id": None if draft.object_id is None else int(draft.object_id),
    }


def draft_from_json(data: Any) -> Draft | None:
    """Read the object being prompted; raises AnnotationFileError without sense."""
    if data is None:
        return None
    turns = _each(data, "turns", _turn)
    if not turns:
        msg = "An object being prompted needs a turn."
        raise AnnotationFileError(msg)
    return Draft(
        plane=plane_from_json(take(data, "plane", dict)),
        turns=turns,
        object_id=take(data, "object_id", int, None),
    )


def settings_to_json(settings: CommitSettings) -> JsonObject:
    """Write the commit rule."""
    values = {item.name: getattr(settings, item.name) for item in fields(settings)}
    return {n: str(v) if isinstance(v, StrEnum) else v for n, v in values.items()}


def settings_from_json(data: Any) -> CommitSettings:
    """Read the commit rule; what is not stated has its default.

    Raises
    ------
    AnnotationFileError
        If a value makes no sense.
    """
    found: JsonObject = {}
    for item in fields(CommitSettings):
        default: Any = item.default
        if isinstance(default, StrEnum):
            found[item.name] = take_choice(data, item.name, type(default), default)
        else:
            found[item.name] = take(data, item.name, type(default), default)
    return _made(lambda: CommitSettings(**found))


def _turn(data: Any) -> Turn:
    return Turn(
        drawn=drawn_from_json(take(data, "drawn", dict)),
        choice=take(data, "choice", int, None),
    )


def _point(data: Any) -> PointPrompt:
    yx = take_numbers(data, "yx", float, 2)
    label = take(data, "label", int, 1)
    return _made(lambda: PointPrompt(yx, label))


def _shape(data: Any) -> DrawnShape:
    kind = take_choice(data, "kind", ShapeKind)
    vertices = tuple(
        tuple(checked(value, "vertices_yx", float) for value in vertex)
        for vertex in (
            checked(v, "vertices_yx", list) for v in take(data, "vertices_yx", list)
        )
    )
    if any(len(vertex) != 2 for vertex in vertices):
        msg = "Each of 'vertices_yx' has two numbers."
        raise AnnotationFileError(msg)
    label = take(data, "label", int, 1)
    return _made(lambda: DrawnShape(kind, vertices, label))


def _each(data: Any, name: str, read: Callable[[Any], T]) -> tuple[T, ...]:
    return tuple(read(item) for item in take(data, name, list, []))


def _made(make: Callable[[], T]) -> T:
    """Make a value; what it refuses is a damaged file."""
    try:
        return make()
    except NapariSamError as error:
        raise AnnotationFileError(str(error)) from error

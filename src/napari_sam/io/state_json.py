# SPDX-License-Identifier: Apache-2.0
"""A whole annotation as JSON and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_sam.annotation.state import AnnotationState
from napari_sam.errors import AnnotationFileError
from napari_sam.io.json_fields import JsonObject, take, take_numbers
from napari_sam.io.label_runs import integer_dtype, labels_from_json, labels_to_json
from napari_sam.io.value_json import (
    draft_from_json,
    draft_to_json,
    object_from_json,
    object_to_json,
    plane_from_json,
    plane_to_json,
    settings_from_json,
    settings_to_json,
)

if TYPE_CHECKING:
    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.annotation.state import LabelPlane


def state_to_json(state: AnnotationState) -> JsonObject:
    """Write everything but the labels."""
    return {
        "image": {
            "identity": state.image_identity,
            "name": state.image_name,
            "path": state.image_path,
        },
        "view": dict(state.view),
        "model": dict(state.model),
        "settings": settings_to_json(state.settings),
        "draft": draft_to_json(state.draft),
        "other_drafts": [draft_to_json(draft) for draft in state.other_drafts],
        "label_image": {
            "shape": [int(side) for side in state.shape],
            "dtype": state.dtype,
        },
        "objects": [object_to_json(item) for item in state.objects],
    }


def state_from_json(data: Any) -> AnnotationState:
    """Read everything but the labels.

    Raises
    ------
    AnnotationFileError
        If it makes no sense.
    """
    image, labels = take(data, "image", dict), take(data, "label_image", dict)
    shape = take_numbers(labels, "shape", int)
    if len(shape) < 2 or min(shape) < 1:
        msg = f"A label image cannot have the shape {shape}."
        raise AnnotationFileError(msg)
    state = AnnotationState(
        image_identity=take(image, "identity", str),
        image_name=take(image, "name", str, ""),
        image_path=take(image, "path", str, ""),
        shape=shape,
        dtype=integer_dtype(take(labels, "dtype", str)).name,
        view=take(data, "view", dict, {}),
        model={str(k): str(v) for k, v in take(data, "model", dict, {}).items()},
        settings=settings_from_json(take(data, "settings", dict, {})),
        objects=tuple(object_from_json(o) for o in take(data, "objects", list)),
        draft=draft_from_json(take(data, "draft", dict, None)),
        other_drafts=tuple(
            draft
            for draft in map(draft_from_json, take(data, "other_drafts", list, []))
            if draft is not None
        ),
    )
    drafts = (draft for draft in (state.draft, *state.other_drafts) if draft)
    planes = {item.plane for item in state.objects} | {draft.plane for draft in drafts}
    for plane in planes:
        check_plane(plane, shape)
    return state


def label_plane_to_json(plane: PlaneKey, labels: LabelPlane) -> JsonObject:
    """Write the labels of one plane."""
    return {"plane": plane_to_json(plane), "labels": labels_to_json(labels)}


def label_plane_from_json(
    data: Any, shape: tuple[int, ...]
) -> tuple[PlaneKey, LabelPlane]:
    """Read the labels of one plane of a label image.

    Raises
    ------
    AnnotationFileError
        If they are damaged or do not belong to a label image of that shape.
    """
    plane = plane_from_json(take(data, "plane", dict))
    size = check_plane(plane, shape)
    content = take(data, "labels", dict)
    # Looked at before anything is unpacked: a damaged shape may ask for any memory.
    found = take_numbers(content, "shape", int, 2)
    if found != size:
        msg = f"Labels of shape {found} do not fit a plane of {size}."
        raise AnnotationFileError(msg)
    return plane, labels_from_json(content)


def check_plane(plane: PlaneKey, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return height and width of a plane of a label image.

    Raises
    ------
    AnnotationFileError
        If the image has no such plane.
    """
    others = [side for axis, side in enumerate(shape) if axis not in plane.axes]
    if len(plane.index) + 2 != len(shape) or any(
        position >= side for position, side in zip(plane.index, others, strict=True)
    ):
        msg = f"An image of shape {shape} has no plane {plane.axes} at {plane.index}."
        raise AnnotationFileError(msg)
    return shape[plane.axes[0]], shape[plane.axes[1]]

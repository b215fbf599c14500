# SPDX-License-Identifier: Apache-2.0
"""Saves what a controller holds to an annotation file, and continues from one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._bridge.label_pyramid import finest
from napari_sam.annotation.phases import Loading
from napari_sam.annotation.ports import PlaneKey
from napari_sam.annotation.snapshot import restore, snapshot
from napari_sam.io.annotation_file import load_annotation, save_annotation

if TYPE_CHECKING:
    from pathlib import Path

    from napari_sam._bridge.controller import PromptController
    from napari_sam.annotation.state import AnnotationState


def state_of(controller: PromptController) -> AnnotationState:
    """Return objects, prompts, labels and settings as they stand."""
    annotator = controller.annotator
    phase, layer = annotator.phase, controller.labels_layer
    model = {} if isinstance(phase, Loading) else dict(phase.segmenter.describe())
    source = controller.source
    return snapshot(
        annotator,
        image_identity=source.image_identity,
        image_name=controller.image.name,
        image_path=str(controller.image.source.path or ""),
        shape=tuple(layer.data.shape),
        dtype=str(layer.data.dtype),
        view=source.portable_settings.to_dict(),
        model=model,
        labels=planes_with_labels(finest(layer)),
    )


def planes_with_labels(data: Any) -> dict[PlaneKey, Any]:
    """Return views of the planes of an array that hold labels.

    Of an array that is not in memory, none: reading all of it could take minutes.
    """
    if not isinstance(data, np.ndarray):
        return {}
    axes = (data.ndim - 2, data.ndim - 1)
    return {
        PlaneKey(axes, index): data[index]
        for index in np.ndindex(data.shape[:-2])
        if data[index].any()
    }


def save_record(controller: PromptController, path: Path) -> None:
    """Write an annotation file.

    Raises
    ------
    OutputError
        If it cannot be written.
    AnnotationFileError
        If the file there is of another image, or is no annotation file.
    """
    save_annotation(path, state_of(controller))


def load_record(controller: PromptController, path: Path) -> None:
    """Continue an annotation file: its labels and objects replace those at hand.

    That is one step, which undo takes back.

    Raises
    ------
    AnnotationFileError
        If the file cannot be read, or is of another image.
    LabelsError
        If the labels layer cannot take it; nothing has changed then.
    """
    state = load_annotation(path, controller.source.image_identity)
    take_over(controller, state)


def take_over(controller: PromptController, state: AnnotationState) -> None:
    """Replace labels, objects and prompts by those of a state.

    Labels of planes that were never shown are replaced as well, so that two
    annotations are never mixed. Undo brings labels and objects back.
    """
    controller.renew_labels()
    data = finest(controller.labels_layer)
    planes = planes_with_labels(data)
    restore(controller.annotator, state, tuple(data.shape), planes)
    controller.embed_now()

# SPDX-License-Identifier: Apache-2.0
"""What is saved of an image of a folder, and how it comes back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._bridge.annotation_record import planes_with_labels, state_of
from napari_sam.annotation.history import DraftChange
from napari_sam.annotation.snapshot import recall
from napari_sam.annotation.state import AnnotationState
from napari_sam.io.annotation_file import save_annotation

if TYPE_CHECKING:
    from pathlib import Path

    from napari_sam._bridge.folder_image import OpenImage
    from napari_sam.annotation.annotator import Annotator
    from napari_sam.io.folder_images import FolderImage
    from napari_sam.io.folder_project import FolderProject
    from napari_sam.io.image_file import ImageFile


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What is to be written, taken in the main thread and left alone since.

    Attributes
    ----------
    labels : (..., H, W) integer array
    annotation : AnnotationState
    fingerprint : str
        Equal for equal labels, objects and prompts.
    array : array
        What `labels` is a copy of; only to be told from others.
    """

    labels: np.ndarray
    annotation: AnnotationState
    fingerprint: str
    array: Any


def take_snapshot(opened: OpenImage) -> Snapshot:
    """Copy everything that is to be saved, from wherever the user works now."""
    array = opened.labels_now.data
    labels = np.array(array)
    content = opened.content
    if opened.controller is not None:
        state = state_of(opened.controller)
    else:
        state = content.annotation or AnnotationState(content.identity, labels.shape)
    state = replace(
        state,
        image_identity=content.identity,
        shape=tuple(labels.shape),
        dtype=str(labels.dtype),
        image_name=content.pixels.path.name,
        image_path=str(content.pixels.path),
        labels=planes_with_labels(labels),
    )
    return Snapshot(labels, state, _fingerprint(state, labels), array)


def write_snapshot(
    project: FolderProject,
    entry: FolderImage,
    pixels: ImageFile,
    snapshot: Snapshot,
    *,
    is_older_kept: bool = False,
) -> list[Path]:
    """Write labels and annotation; returns the copies of replaced files.

    Files of others are copied before they are replaced, and with `is_older_kept` our
    own as well.

    Raises
    ------
    LabelsError
        If the labels do not fit the image; nothing is written then.
    OutputError
        If one of them cannot be written.
    """
    copies = [
        project.write_labels(
            entry, snapshot.labels, pixels, is_older_kept=is_older_kept
        ),
        project.write_annotation(
            entry,
            lambda path: save_annotation(
                path, snapshot.annotation, is_other_replaced=True
            ),
            is_older_kept=is_older_kept,
        ),
    ]
    return [copy for copy in copies if copy is not None]


def restore_known(
    annotator: Annotator, known: AnnotationState | None, labels: np.ndarray
) -> None:
    """Tell an annotator what is known of the labels that it begins with.

    Objects whose size or place is another by now, and labels that nobody knows, count
    as painted ones. Prompts that were not accepted yet come back, too.

    Parameters
    ----------
    annotator : Annotator
        One that knows of the labels at most what can be seen in them.
    known : AnnotationState or None
        Objects, prompts and settings as they were left.
    labels : (..., H, W) integer array
        As they are now.
    """
    if known is not None:
        annotator.settings = known.settings
        recall(annotator, known.objects)
        for draft in (*known.other_drafts, known.draft):
            if draft is not None:
                before = annotator.ledger.drafts.get(draft.plane)
                annotator.take_draft(DraftChange(before, draft))
    for plane in planes_with_labels(labels):
        annotator.adopt(plane, (labels.shape[-2], labels.shape[-1]))


def _fingerprint(state: AnnotationState, labels: np.ndarray) -> str:
    """Hash labels, objects and prompts: what a user would not want to lose."""
    text = repr((labels.shape, state.objects, state.draft, state.other_drafts))
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    digest.update(np.ascontiguousarray(labels, dtype=np.uint32).data)
    return digest.hexdigest()

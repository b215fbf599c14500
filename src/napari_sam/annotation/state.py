# SPDX-License-Identifier: Apache-2.0
"""Everything known about the annotation of one image, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_sam.annotation.commit_policy import CommitSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_sam.annotation.draft import Draft
    from napari_sam.annotation.objects import AnnotatedObject
    from napari_sam.annotation.ports import PlaneKey

LabelPlane: TypeAlias = npt.NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class AnnotationState:
    """What is saved, loaded and continued.

    Attributes
    ----------
    image_identity : str
        Hash of the image's pixels; what tells one image from another.
    shape : tuple of int
        Shape of the label image, that of the image without its colours or channels.
    dtype : str
        Type of the label image, such as ``"uint32"``.
    image_name : str
        What the image is called.
    image_path : str
        Where its file lay, empty if unknown.
    view : mapping
        How pixels were shown to the model; values that JSON knows.
    model : mapping of str to str
        Facts about the model: its name, the hash of its weights, its settings.
    settings : CommitSettings
    objects : tuple of AnnotatedObject
        In the order in which they were made.
    labels : mapping of PlaneKey to (H, W) integer array
        The planes that hold labels; all others are background.
    draft : Draft or None
        The object being prompted.
    other_drafts : tuple of Draft
        Objects whose prompts were left on other planes.
    """

    image_identity: str
    shape: tuple[int, ...]
    dtype: str = "uint32"
    image_name: str = ""
    image_path: str = ""
    view: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, str] = field(default_factory=dict)
    settings: CommitSettings = field(default_factory=CommitSettings)
    objects: tuple[AnnotatedObject, ...] = ()
    labels: Mapping[PlaneKey, LabelPlane] = field(default_factory=dict)
    draft: Draft | None = None
    other_drafts: tuple[Draft, ...] = ()

    def __eq__(self, other: object) -> bool:
        """Compare by value, labels pixel by pixel."""
        if not isinstance(other, AnnotationState):
            return NotImplemented
        return self._facts() == other._facts() and _same(self.labels, other.labels)

    __hash__ = None  # type: ignore[assignment]

    def label_image(self) -> npt.NDArray[np.integer]:
        """Return the whole label image, an array of `shape` and `dtype`."""
        image: npt.NDArray[np.integer] = np.zeros(self.shape, np.dtype(self.dtype))
        for plane, labels in self.labels.items():
            image[plane.locate(slice(None), slice(None))] = labels
        return image

    def _facts(self) -> tuple[Any, ...]:
        return (
            (self.image_identity, self.image_name, self.image_path),
            (self.shape, self.dtype, dict(self.view), dict(self.model)),
            (self.settings, self.objects, self.draft, self.other_drafts),
        )


def _same(
    here: Mapping[PlaneKey, LabelPlane], there: Mapping[PlaneKey, LabelPlane]
) -> bool:
    """Compare planes; one that is missing is background."""
    for plane in here.keys() | there.keys():
        one, two = here.get(plane), there.get(plane)
        if one is None or two is None:
            rest = two if one is None else one
            if rest is not None and rest.any():
                return False
        elif not np.array_equal(one, two):
            return False
    return True

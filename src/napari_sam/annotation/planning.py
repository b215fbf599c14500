# SPDX-License-Identifier: Apache-2.0
"""What accepting a mask would write, for the preview and for the commit alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.annotation.commit_policy import (
    LabelMode,
    Overlap,
    plan_commit,
    shift_points,
    writable_part,
)
from napari_sam.errors import LabelsError
from napari_sam.structures.geometry import union_box
from napari_sam.structures.mask_window import MaskWindow

if TYPE_CHECKING:
    from napari_sam.annotation.commit_policy import CommitSettings
    from napari_sam.annotation.objects import ObjectTable
    from napari_sam.annotation.ports import LabelStore, PlaneKey
    from napari_sam.structures.labels import LabelEdit
    from napari_sam.structures.prompts import PointPrompt


@dataclass(frozen=True)
class Site:
    """Where a mask is to be written, and what has to be respected there.

    Attributes
    ----------
    labels : LabelStore
    objects : ObjectTable
    plane : PlaneKey
    settings : CommitSettings
    points : tuple of PointPrompt
        The prompts of the mask.
    own_id : int or None
        The object that was opened again.
    """

    labels: LabelStore
    objects: ObjectTable
    plane: PlaneKey
    settings: CommitSettings
    points: tuple[PointPrompt, ...] = ()
    own_id: int | None = None

    @property
    def binding(self) -> CommitSettings:
        """The rule that holds: a store that keeps what exists is the stricter one."""
        if self.labels.keeps_existing and self.settings.overlap is Overlap.OVERWRITE:
            return replace(self.settings, overlap=Overlap.KEEP)
        return self.settings

    @property
    def locked_ids(self) -> set[int]:
        """Objects of the plane that nothing may be taken from."""
        found = self.objects.on_plane(self.plane)
        locked = {o.object_id for o in found if o.is_locked}
        return locked - {self.own_id or 0}


def planned_mask(site: Site, mask: MaskWindow) -> MaskWindow:
    """Return the pixels that `planned_edit` would give to the object."""
    if not mask.area:
        return mask
    writable = writable_part(
        mask.crop,
        site.labels.read(site.plane, mask.box),
        site.binding.overlap,
        shift_points(site.points, mask.y0, mask.x0),
        own_id=site.own_id,
        locked_ids=site.locked_ids,
    )
    return MaskWindow.of_mask(writable, mask.y0, mask.x0)


def planned_edit(
    site: Site, mask: MaskWindow, class_name: str
) -> tuple[int, LabelEdit]:
    """Return the id that the mask gets, and the edit that writes it.

    Raises
    ------
    LabelsError
        If no pixel or no id is left, or the object that was opened again is locked.
    """
    own = None
    if site.own_id is not None:
        own = site.objects.get((site.plane, site.own_id))
        if own is not None and own.is_locked:
            msg = f"Object {site.own_id} is locked. Unlock it to change it."
            raise LabelsError(msg)
    box = mask.box if own is None else union_box(mask.box, own.box)
    if site.own_id is not None:
        object_id = site.own_id
    elif site.settings.mode is LabelMode.SEMANTIC:
        object_id = value_of_class(site, class_name)
    else:
        object_id = site.labels.next_id()
    y0, x0 = box[:2]
    edit = plan_commit(
        mask.inside(box),
        site.labels.read(site.plane, box),
        box,
        object_id,
        site.binding,
        shift_points(site.points, y0, x0),
        own_id=site.own_id,
        locked_ids=site.locked_ids,
    )
    return object_id, edit


def value_of_class(site: Site, class_name: str) -> int:
    """Return the value that a class has on any plane, or a new one."""
    for known in site.objects:
        if known.class_name == class_name:
            return known.object_id
    return site.labels.next_id()


def overlaps_at(site: Site, mask: MaskWindow) -> dict[int, int]:
    """Count the mask's pixels on each existing object but its own."""
    if not mask.area:
        return {}
    existing = site.labels.read(site.plane, mask.box)[mask.crop]
    ids, counts = np.unique(existing, return_counts=True)
    return {
        int(i): int(n)
        for i, n in zip(ids, counts, strict=True)
        if i and i != site.own_id
    }

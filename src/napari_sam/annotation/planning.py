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
from napari_sam.annotation.objects import Origin
from napari_sam.errors import LabelsError
from napari_sam.structures.geometry import union_box
from napari_sam.structures.mask_window import MaskWindow

if TYPE_CHECKING:
    from napari_sam.annotation.commit_policy import CommitSettings
    from napari_sam.annotation.objects import AnnotatedObject, ObjectTable
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
    class_name : str or None
        Class that the mask is to get; None if that is not known yet.
    """

    labels: LabelStore
    objects: ObjectTable
    plane: PlaneKey
    settings: CommitSettings
    points: tuple[PointPrompt, ...] = ()
    own_id: int | None = None
    class_name: str | None = None

    @property
    def binding(self) -> CommitSettings:
        """The rule that holds: a store that keeps what exists is the stricter one."""
        if self.labels.keeps_existing and self.settings.overlap is Overlap.OVERWRITE:
            return replace(self.settings, overlap=Overlap.KEEP)
        return self.settings

    @property
    def free_id(self) -> int | None:
        """The value whose pixels are free: of the object itself, or of its class."""
        is_class = self.settings.mode is LabelMode.SEMANTIC
        if self.own_id is not None or not is_class or self.class_name is None:
            return self.own_id
        try:
            return known_value(self, self.class_name)
        except LabelsError:  # a locked class: accepting will say so
            return None

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
        own_id=site.free_id,
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
        If no pixel or no id is left, or the object that was opened again or that the
        mask would join is locked.
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
    value = known_value(site, class_name)
    return site.labels.next_id() if value is None else value


def known_value(site: Site, class_name: str) -> int | None:
    """Return the value that a class has on any plane; None if it has none.

    Raises
    ------
    LabelsError
        If the class is locked on the plane of the site.
    """
    alike = [known for known in site.objects if is_of_class(known, class_name)]
    alike.sort(key=lambda known: known.origin is not Origin.CLASS)
    for value in dict.fromkeys(known.object_id for known in alike):
        here = site.objects.get((site.plane, value))
        if here is None:
            return value
        is_unnamed = here.origin is Origin.PAINTED and not here.class_name
        if not is_of_class(here, class_name) and not is_unnamed:
            continue  # on this plane, somebody gave the value another meaning
        if here.is_locked:
            msg = (
                f"Object {value}, which holds all of the class {class_name!r} on this "
                "plane, is locked. Unlock it to add to it."
            )
            raise LabelsError(msg)
        return value
    return None


def is_of_class(known: AnnotatedObject, class_name: str) -> bool:
    """Tell whether an object is the area of a class, not one object of that class.

    What was painted or imported is if somebody gave it the name: without one, it may
    be anything.
    """
    if known.class_name != class_name:
        return False
    is_named = known.origin is Origin.PAINTED and bool(class_name)
    return known.origin is Origin.CLASS or is_named


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

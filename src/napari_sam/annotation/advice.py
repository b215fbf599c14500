# SPDX-License-Identifier: Apache-2.0
"""What the annotator points out about an answer before it is accepted.

Two things go wrong unnoticed. A further prompt makes the mask worse: SAM's masks often
decline after a few corrections. And a mask repeats an object that exists already.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.annotation.commit_policy import LabelMode
from napari_sam.annotation.planning import is_of_class, overlaps_at

if TYPE_CHECKING:
    from napari_sam.annotation.answers import Answered
    from napari_sam.annotation.draft import Draft
    from napari_sam.annotation.objects import AnnotatedObject
    from napari_sam.annotation.planning import Site
    from napari_sam.structures.drawn import DrawnPrompts
    from napari_sam.structures.mask_window import MaskWindow

WORSE_BY = 0.1
"""A predicted IoU lower by this much is clearly lower: the estimate's own error on the
embedded model is about half of it."""
LOST_SHARE = 0.5
"""A positive prompt that costs this part of the mask was misunderstood."""
GROWN_BY = 2.0
"""A negative prompt after which the mask has this many times its pixels, too."""
SAME_IOU = 0.8
"""Two masks that overlap so much are the same object."""
INSIDE_SHARE = 0.9
"""A mask with this part of its pixels on an object lies inside it."""


class AdviceKind(StrEnum):
    """What is pointed out."""

    WORSE = "worse"
    JUMPED = "jumped"
    REPEATS = "repeats"
    INSIDE = "inside"


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to point out.

    Attributes
    ----------
    kind : AdviceKind
    text : str
        For the user; says what can be done.
    object_id : int or None
        The object that is repeated.
    """

    kind: AdviceKind
    text: str
    object_id: int | None = None


def advise(answered: Answered, draft: Draft, site: Site) -> Advice | None:
    """Return what the user should know about an answer, the most useful thing first."""
    return guard(answered, draft) or find_repeated(answered.mask, site)


def guard(answered: Answered, draft: Draft) -> Advice | None:
    """Compare the mask with the one that the last prompt was to correct."""
    before, now = answered.before, answered.mask
    if before is None or not before.area or len(draft.turns) < 2:
        return None
    drop = answered.before_iou - answered.predicted_iou
    if drop > WORSE_BY:
        return Advice(
            AdviceKind.WORSE,
            f"The last prompt made the mask worse: predicted IoU fell from "
            f"{answered.before_iou:.2f} to {answered.predicted_iou:.2f}. Go back?",
        )
    common = int(np.count_nonzero(before.crop & now.inside(before.box)))
    has_lost = common < (1 - LOST_SHARE) * before.area
    has_grown = now.area > GROWN_BY * before.area
    added = _added(draft.turns[-2].drawn, draft.drawn)
    if (has_lost and added == {1}) or (has_grown and added == {0}):
        return Advice(
            AdviceKind.JUMPED,
            f"The last prompt made the mask jump from {before.area} to {now.area} "
            "pixels. Go back?",
        )
    return None


def find_repeated(mask: MaskWindow, site: Site) -> Advice | None:
    """Tell whether a mask repeats an object, or lies inside one.

    In semantic mode, masks of one class may lie on each other.
    """
    counts = overlaps_at(site, mask)
    if not counts:
        return None
    object_id = max(counts, key=lambda i: counts[i])
    common = counts[object_id]
    known = site.objects.get((site.plane, object_id))
    if known is not None and _is_joined(known, site):
        return None
    # An object that nobody measured is taken to be as large as what is seen of it.
    area = known.area if known is not None else common
    if common / (mask.area + area - common) > SAME_IOU:
        return Advice(
            AdviceKind.REPEATS,
            f"This is object {object_id} again. Refine that one?",
            object_id,
        )
    if common > INSIDE_SHARE * mask.area:
        return Advice(
            AdviceKind.INSIDE,
            f"The mask lies inside object {object_id}. Refine that one?",
            object_id,
        )
    return None


def _is_joined(known: AnnotatedObject, site: Site) -> bool:
    """Tell whether the mask would become part of this object."""
    if site.settings.mode is not LabelMode.SEMANTIC or site.own_id is not None:
        return False
    if site.class_name is None:  # not said: any class may be meant
        return is_of_class(known, known.class_name)
    return is_of_class(known, site.class_name)


def _added(before: DrawnPrompts, now: DrawnPrompts) -> set[int]:
    """Labels of the prompts that came last."""
    points = set(now.points) - set(before.points)
    shapes = set(now.shapes) - set(before.shapes)
    return {point.label for point in points} | {shape.label for shape in shapes}

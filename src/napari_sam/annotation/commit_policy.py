# SPDX-License-Identifier: Apache-2.0
"""The commit rule: how a mask is cleaned, and which pixels a new object gets."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_sam.errors import LabelsError, SettingsError
from napari_sam.structures.labels import LabelEdit
from napari_sam.structures.mask_window import MaskWindow

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from napari_sam.structures.arrays import BoolMask, HalfOpenBox, LabelImage
    from napari_sam.structures.prompts import PointPrompt

MAX_HOLE_SHARE = 0.1
"""Holes up to this part of the mask are filled; a larger one makes it a ring."""
SPECK_SHARE = 0.02
"""Pieces below this part of the largest one are specks."""
MAX_EXACT_PX = 1 << 22
THIN_PX = 1024
"""Larger masks are looked at in so many pixels along a side before they are cleaned."""
ALL_TAKEN = (
    "The whole mask lies on objects that exist already, which are kept. "
    "Choose to overwrite existing objects, or erase there first."
)
_WITH_CORNERS = np.ones((3, 3), dtype=np.bool_)


class Overlap(StrEnum):
    """What happens to pixels that belong to another object."""

    KEEP = "keep"
    """The older object keeps them; slivers that this cuts off the mask are dropped."""
    OVERWRITE = "overwrite"
    """The new object takes them, unless the older one is locked."""
    FILL = "fill"
    """Only background is written: nothing is cut off and nothing is taken away, not
    even from the object that was opened again."""


class LabelMode(StrEnum):
    """What a value of the label image stands for."""

    INSTANCE = "instance"
    """One object: every mask gets an id of its own."""
    SEMANTIC = "semantic"
    """One class: masks of a class share its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitSettings:
    """What happens to a mask that is accepted.

    Attributes
    ----------
    overlap : Overlap
    mode : LabelMode
    fill_holes : bool
        Fill holes up to a tenth of the mask, unless a negative point lies in them.
    drop_specks : bool
        Drop pieces below 2 % of the largest one.
    largest_piece : bool
        Keep one piece, or those under positive points.
    min_area : int
        Masks with fewer pixels are refused.
    """

    overlap: Overlap = Overlap.KEEP
    mode: LabelMode = LabelMode.INSTANCE
    fill_holes: bool = True
    drop_specks: bool = True
    largest_piece: bool = True
    min_area: int = 0

    def __post_init__(self) -> None:
        """Check the values; names of the two enumerations are accepted as text."""
        try:
            object.__setattr__(self, "overlap", Overlap(self.overlap))
            object.__setattr__(self, "mode", LabelMode(self.mode))
        except ValueError as error:
            msg = (
                f"{error}. Overlap is one of {', '.join(Overlap)}; mode is one of "
                f"{', '.join(LabelMode)}."
            )
            raise SettingsError(msg) from error
        if self.min_area < 0:
            msg = f"min_area is a number of pixels from 0 on, not {self.min_area}."
            raise SettingsError(msg)


def clean_window(
    window: MaskWindow, points: Sequence[PointPrompt], settings: CommitSettings
) -> MaskWindow:
    """Clean a model's mask: holes, specks, pieces.

    Parameters
    ----------
    window : MaskWindow
        The model's answer.
    points : sequence of PointPrompt
        The points it answers, on the plane. Pieces under a positive point stay; where
        there is none, the largest. A hole that holds a negative point stays open.
    settings : CommitSettings
        What to do.

    Returns
    -------
    MaskWindow
        Of a very large mask, the same if every n-th pixel shows nothing to clean.
    """
    if not window.area or _looks_clean(window, points, settings):
        return window
    mask = window.crop
    inside = _pixels_at(shift_points(points, window.y0, window.x0), mask.shape)
    if settings.fill_holes:
        # Filled first: a speck in a hole belongs to what surrounds it.
        mask = _fill_holes(mask, inside[False])
    if settings.largest_piece:
        mask = _keep_pieces(mask, inside[True])
    elif settings.drop_specks:
        mask = _drop_specks(mask, inside[True])
    return MaskWindow.of_mask(mask, window.y0, window.x0)


def _looks_clean(
    window: MaskWindow, points: Sequence[PointPrompt], settings: CommitSettings
) -> bool:
    """Tell whether nothing is to be done to a very large mask, from few of its pixels.

    Labelling the pieces of 25 million pixels takes seconds.
    """
    n = math.ceil(max(window.crop.shape) / THIN_PX)
    if window.crop.size <= MAX_EXACT_PX or n <= 1:
        return False
    thin = MaskWindow(0, 0, np.ascontiguousarray(window.crop[::n, ::n]))
    shifted = shift_points(points, window.y0, window.x0)
    near = [replace(p, yx=(p.yx[0] / n, p.yx[1] / n)) for p in shifted]
    whole = (0, 0, *thin.crop.shape)
    return np.array_equal(clean_window(thin, near, settings).inside(whole), thin.crop)


def shift_points(points: Sequence[PointPrompt], y0: int, x0: int) -> list[PointPrompt]:
    """Points relative to another origin."""
    return [replace(p, yx=(p.yx[0] - y0, p.yx[1] - x0)) for p in points]


def _pixels_at(
    points: Sequence[PointPrompt], shape: tuple[int, ...]
) -> dict[bool, list[tuple[int, int]]]:
    """Pixels under the positive (True) and negative (False) points inside a shape."""
    inside: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    for point in points:
        y, x = round(point.yx[0]), round(point.yx[1])
        if 0 <= y < shape[0] and 0 <= x < shape[1]:
            inside[point.label == 1].append((y, x))
    return inside


def _fill_holes(mask: BoolMask, open_at: Sequence[tuple[int, int]]) -> BoolMask:
    """Fill small holes, apart from those with a position of `open_at`."""
    holes, _ = ndimage.label(np.pad(~mask, 1, constant_values=True))
    holes = holes[1:-1, 1:-1]
    areas = np.bincount(holes.ravel(), minlength=2)
    is_filled = areas <= MAX_HOLE_SHARE * np.count_nonzero(mask)
    is_filled[:2] = False  # the mask, and what is around it
    is_filled[[holes[position] for position in open_at]] = False
    return np.asarray(mask | is_filled[holes])


def _keep_pieces(mask: BoolMask, at: Sequence[tuple[int, int]]) -> BoolMask:
    """Keep the connected pieces at some positions, or else the largest."""
    pieces, n_pieces = ndimage.label(mask, structure=_WITH_CORNERS)
    if n_pieces <= 1:
        return mask
    is_kept = np.zeros(n_pieces + 1, dtype=np.bool_)
    is_kept[[pieces[position] for position in at]] = True
    is_kept[0] = False
    if not is_kept.any():
        is_kept[1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))] = True
    return np.asarray(is_kept[pieces])


def _drop_specks(mask: BoolMask, at: Sequence[tuple[int, int]]) -> BoolMask:
    """Drop pieces that are tiny beside the largest, but for those under points."""
    pieces, n_pieces = ndimage.label(mask, structure=_WITH_CORNERS)
    if n_pieces <= 1:
        return mask
    areas = np.bincount(pieces.ravel())
    is_kept = areas >= SPECK_SHARE * areas[1:].max()
    is_kept[[pieces[position] for position in at]] = True
    is_kept[0] = False
    return np.asarray(is_kept[pieces])


def writable_part(
    mask: BoolMask,
    existing: LabelImage,
    overlap: Overlap,
    points: Sequence[PointPrompt] = (),
    *,
    own_id: int | None = None,
    locked_ids: Collection[int] = (),
) -> BoolMask:
    """Leave out what existing objects keep, and the slivers that this cuts off.

    Parameters
    ----------
    mask : (h, w) bool array
        The mask, clean by itself.
    existing : (h, w) integer array
        The labels of the same pixels.
    overlap : Overlap
        Who owns pixels that both claim.
    points : sequence of PointPrompt
        Relative to the first pixel of `mask`. Pieces under a positive point stay;
        where there is none, the largest.
    own_id : int, optional
        The object that was opened again: its pixels are free.
    locked_ids : collection of int
        Objects that keep their pixels under any rule.

    Returns
    -------
    (h, w) bool array
        `mask` itself if it can be written whole; empty if nothing can be.
    """
    if overlap is Overlap.OVERWRITE:
        if not locked_ids:
            return mask
        return np.asarray(mask & ~np.isin(existing, list(locked_ids)))
    is_free = existing == 0
    if own_id is not None:
        is_free |= existing == own_id
    free: BoolMask = mask & is_free
    is_whole = not free.any() or np.array_equal(free, mask)
    if overlap is Overlap.FILL or is_whole:
        return free
    return _keep_pieces(free, _pixels_at(points, free.shape)[True])


def plan_commit(
    mask: BoolMask,
    existing: LabelImage,
    box: HalfOpenBox,
    object_id: int,
    settings: CommitSettings,
    points: Sequence[PointPrompt] = (),
    *,
    own_id: int | None = None,
    locked_ids: Collection[int] = (),
) -> LabelEdit:
    """Turn an accepted mask into an edit of a box.

    Parameters
    ----------
    mask : (h, w) bool array
        The mask inside `box`.
    existing : (h, w) integer array
        The labels inside `box` now.
    box : (y0, x0, y1, x1)
        Half-open pixel box of the plane.
    object_id : int
        Id of the object.
    settings : CommitSettings
        Who owns pixels that both claim, and how large a mask must be.
    points, own_id, locked_ids
        See `writable_part`. Pixels of `own_id` outside the mask become background,
        unless only background is filled. Where it consists of several pieces, that
        holds for those that the mask touches or a negative point lies on.

    Returns
    -------
    LabelEdit
        Old and new labels of the box.

    Raises
    ------
    LabelsError
        If no pixel is left to write, or too few.
    """
    if not mask.any():
        msg = "The mask is empty, so there is nothing to accept. Add or move a prompt."
        raise LabelsError(msg)
    writable = writable_part(
        mask,
        existing,
        settings.overlap,
        points,
        # What has the value already, as a class may, does not stand in the way.
        own_id=object_id if own_id is None else own_id,
        locked_ids=locked_ids,
    )
    n_writable = int(np.count_nonzero(writable))
    if not n_writable:
        raise LabelsError(ALL_TAKEN)
    if n_writable < settings.min_area:
        msg = (
            f"The mask has {n_writable} pixels; the commit rule asks for at least "
            f"{settings.min_area}. Choose a larger mask, or lower that limit."
        )
        raise LabelsError(msg)
    new = existing.copy()
    if own_id is not None and settings.overlap is not Overlap.FILL:
        negative = _pixels_at(points, mask.shape)[False]
        new[_replaced_part(existing == own_id, writable, negative)] = 0
    new[writable] = object_id
    return LabelEdit(box=box, old=existing, new=new)


def _replaced_part(
    own: BoolMask, written: BoolMask, at: Sequence[tuple[int, int]]
) -> BoolMask:
    """Leave out pieces of an object that its new mask says nothing about.

    Parameters
    ----------
    own : (h, w) bool array
        The object that was opened again; one piece of it is replaced whole.
    written : (h, w) bool array
        What it gets.
    at : sequence of (y, x)
        Pixels that are said not to be of it.
    """
    pieces, n_pieces = ndimage.label(own, structure=_WITH_CORNERS)
    if n_pieces <= 1:
        return own
    is_replaced = np.zeros(n_pieces + 1, dtype=np.bool_)
    is_replaced[pieces[written]] = True
    is_replaced[[pieces[position] for position in at]] = True
    is_replaced[0] = False
    return np.asarray(is_replaced[pieces])

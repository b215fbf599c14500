# SPDX-License-Identifier: Apache-2.0
"""What a brush stroke of napari's changed, plane by plane.

napari announces a stroke as a list of atoms, whose classes are its own. They are read
by their shape here: masks in a bounding box (brush, fill and polygon since napari 0.8)
and pixel indices (everything before, and `data_setitem`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.annotation.history import PlaneEdit
from napari_sam.annotation.ports import PlaneKey
from napari_sam.structures.labels import LabelEdit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy.typing as npt

    from napari_sam.structures.arrays import BoolMask, HalfOpenBox, LabelImage


@dataclass(frozen=True, eq=False)
class _Patch:
    """Pixels of one plane that one atom changed, what they were and became."""

    key: PlaneKey
    y0: int
    x0: int
    mask: BoolMask
    old: npt.NDArray[np.integer]
    new: npt.NDArray[np.integer]

    @property
    def box(self) -> HalfOpenBox:
        h, w = self.mask.shape
        return self.y0, self.x0, self.y0 + h, self.x0 + w


def edits_of_stroke(
    atoms: Iterable[Any],
    axes: tuple[int, int],
    read: Callable[[PlaneKey, HalfOpenBox], LabelImage],
) -> tuple[PlaneEdit, ...] | None:
    """Turn the atoms of one stroke into one edit per plane.

    Parameters
    ----------
    atoms : iterable
        Value of the layer's event `paint`.
    axes : tuple of two int
        Array axes that are the rows and columns of planes, ascending.
    read : callable
        Gives the labels in a box of a plane. napari announces some strokes after and
        some before it writes them; both are understood.

    Returns
    -------
    tuple of PlaneEdit or None
        None if an atom is of a kind not known here.
    """
    patches: dict[PlaneKey, list[_Patch]] = {}
    for atom in atoms:
        found = _patches(atom, axes)
        if found is None:
            return None
        for patch in found:
            patches.setdefault(patch.key, []).append(patch)
    edits = (_merged(key, group, read) for key, group in patches.items())
    return tuple(edit for edit in edits if edit is not None)


def edits_between(
    before: npt.NDArray[np.integer],
    after: npt.NDArray[np.integer],
    axes: tuple[int, int],
) -> tuple[PlaneEdit, ...]:
    """Compare two whole arrays, plane by plane; (..., H, W) of any axes order."""
    changed = before != after
    start = (0,) * before.ndim
    patches = _split(changed, before, after, start, axes)

    def read(key: PlaneKey, box: HalfOpenBox) -> LabelImage:
        y0, x0, y1, x1 = box
        return np.array(after[key.locate(slice(y0, y1), slice(x0, x1))])

    edits = (_merged(patch.key, [patch], read) for patch in patches)
    return tuple(edit for edit in edits if edit is not None)


def _patches(atom: Any, axes: tuple[int, int]) -> list[_Patch] | None:
    if all(hasattr(atom, name) for name in ("slice_key", "old_values", "new_value")):
        return _patches_of_mask(atom, axes)
    if isinstance(atom, (tuple, list)) and len(atom) == 3:
        return _patches_of_indices(atom[0], atom[1], atom[2], axes)
    return None


def _patches_of_mask(atom: Any, axes: tuple[int, int]) -> list[_Patch]:
    slices: Sequence[slice] = atom.slice_key
    shape = tuple(int(s.stop - s.start) for s in slices)
    values = np.asarray(atom.old_values)
    mask = getattr(atom, "mask", None)
    if mask is None:  # napari keeps no mask where every pixel changed
        region = np.broadcast_to(values, shape)
        mask = np.ones(shape, dtype=bool)
    else:
        mask = np.broadcast_to(np.asarray(mask, dtype=bool), shape)
        region = np.zeros(shape, dtype=values.dtype)
        region[mask] = values
    new = np.broadcast_to(np.asarray(atom.new_value), shape)
    return _split(mask, region, new, tuple(int(s.start) for s in slices), axes)


def _split(
    mask: npt.NDArray[np.bool_],
    old: npt.NDArray[np.integer],
    new: npt.NDArray[np.integer],
    start: tuple[int, ...],
    axes: tuple[int, int],
) -> list[_Patch]:
    """Cut an n-D region into planes; those without a changed pixel are left out."""
    fixed = [axis for axis in range(mask.ndim) if axis not in axes]
    found = []
    for index in np.ndindex(*(mask.shape[axis] for axis in fixed)):
        place: list[Any] = [slice(None)] * mask.ndim
        for axis, position in zip(fixed, index, strict=True):
            place[axis] = position
        plane_mask = mask[tuple(place)]
        if plane_mask.any():
            position = tuple(
                start[axis] + i for axis, i in zip(fixed, index, strict=True)
            )
            key = PlaneKey(axes, position)
            y0, x0 = (start[axis] for axis in axes)
            here = tuple(place)
            found.append(_Patch(key, y0, x0, plane_mask, old[here], new[here]))
    return found


def _patches_of_indices(
    indices: Any, old_values: Any, new_values: Any, axes: tuple[int, int]
) -> list[_Patch] | None:
    try:
        arrays = [np.asarray(index) for index in indices]
        arrays = [array.ravel() for array in np.broadcast_arrays(*arrays)]
    except (TypeError, ValueError):
        return None
    if len(arrays) < 2 or any(array.dtype.kind not in "iu" for array in arrays):
        return None
    values = [
        np.broadcast_to(np.asarray(v).ravel(), arrays[0].shape)
        for v in (old_values, new_values)
    ]
    fixed = [axis for axis in range(len(arrays)) if axis not in axes]
    where = np.stack([arrays[axis] for axis in fixed], axis=1) if fixed else None
    if where is None:
        groups: list[tuple[tuple[int, ...], Any]] = [((), slice(None))]
    else:
        places, group_of = np.unique(where, axis=0, return_inverse=True)
        groups = [
            (tuple(int(v) for v in place), group_of.ravel() == number)
            for number, place in enumerate(places)
        ]
    rows, columns = arrays[axes[0]], arrays[axes[1]]
    return [
        _patch_of_pixels(
            PlaneKey(axes, place),
            rows[which],
            columns[which],
            [v[which] for v in values],
        )
        for place, which in groups
        if rows[which].size
    ]


def _patch_of_pixels(
    key: PlaneKey, rows: Any, columns: Any, values: list[Any]
) -> _Patch:
    y0, x0 = int(rows.min()), int(columns.min())
    shape = (int(rows.max()) - y0 + 1, int(columns.max()) - x0 + 1)
    mask = np.zeros(shape, dtype=bool)
    mask[rows - y0, columns - x0] = True
    regions = [np.zeros(shape, dtype=v.dtype) for v in values]
    for region, pixels in zip(regions, values, strict=True):
        region[rows - y0, columns - x0] = pixels
    return _Patch(key, y0, x0, mask, *regions)


def _merged(
    key: PlaneKey,
    patches: list[_Patch],
    read: Callable[[PlaneKey, HalfOpenBox], LabelImage],
) -> PlaneEdit | None:
    """Put the patches of a plane together, from what is there now."""
    boxes = np.array([patch.box for patch in patches])
    y0, x0 = (int(v) for v in boxes[:, :2].min(axis=0))
    y1, x1 = (int(v) for v in boxes[:, 2:].max(axis=0))
    new = read(key, (y0, x0, y1, x1))
    old = new.copy()
    for patch in reversed(patches):
        _inside(old, patch, y0, x0)[patch.mask] = patch.old[patch.mask]
    for patch in patches:
        _inside(new, patch, y0, x0)[patch.mask] = patch.new[patch.mask]
    if np.array_equal(old, new):
        return None
    return PlaneEdit(key, LabelEdit((y0, x0, y1, x1), old, new))


def _inside(labels: Any, patch: _Patch, y0: int, x0: int) -> Any:
    """Return the part of labels that begin at (y0, x0) which a patch covers."""
    top, left, bottom, right = patch.box
    return labels[top - y0 : bottom - y0, left - x0 : right - x0]

# SPDX-License-Identifier: Apache-2.0
"""The prompts that an evaluation gives for an object whose outline is known."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sam.structures.innermost import innermost_pixel
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompt_checks import BACKGROUND, FOREGROUND
from napari_sam.structures.prompts import PointPrompt

MAX_JITTER_PX = 20.0
"""No side of a box moves further (Kirillov et al. 2023, appendix A)."""


@dataclass(frozen=True, slots=True)
class TrueObject:
    """One object of a label image, cut out.

    ``crop`` is its (h, w) bool mask inside the bounding box, ``corner_yx`` the first
    pixel of that box in the plane.
    """

    label: int
    crop: NDArray[np.bool_]
    corner_yx: tuple[int, int]

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.crop))

    @property
    def window(self) -> MaskWindow:
        """The object as a mask of the plane."""
        return MaskWindow(*self.corner_yx, self.crop)

    @property
    def box_yx(self) -> tuple[int, int, int, int]:
        """Tight box (y0, x0, y1, x1): smallest index and largest index plus one."""
        (y0, x0), (h, w) = self.corner_yx, self.crop.shape
        return y0, x0, y0 + h, x0 + w

    @property
    def centre_yx(self) -> tuple[int, int]:
        """Row and column of the centre point, a pixel of the object."""
        y, x = centre_point(self.crop)
        return self.corner_yx[0] + y, self.corner_yx[1] + x


def centre_point(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Row and column of `innermost_pixel`, for a mask that must not be empty.

    Parameters
    ----------
    mask : (H, W) bool array
        One object with at least one pixel.
    """
    if not mask.any():
        msg = "An empty mask has no centre point. Give a mask with at least one pixel."
        raise ValueError(msg)
    found = innermost_pixel(mask)
    return found.y, found.x


def true_objects(
    labels: NDArray[np.integer], *, min_area: int = 0
) -> Iterator[TrueObject]:
    """Objects of a label image with at least ``min_area`` pixels, in label order.

    Parameters
    ----------
    labels : (H, W) integer array
        0 is background; numbers may have gaps.
    min_area : int
        Smaller objects are left out.
    """
    ids, inverse = np.unique(labels, return_inverse=True)
    compact = inverse.reshape(labels.shape)  # 0 only stands for 0 if 0 occurs
    for index, box in enumerate(ndimage.find_objects(compact + 1)):
        if box is None or ids[index] == 0:
            continue
        rows, columns = box
        found = TrueObject(
            label=int(ids[index]),
            crop=compact[box] == index,
            corner_yx=(rows.start, columns.start),
        )
        if found.area >= min_area:
            yield found


def random_generator(seed: int, image: str, label: int) -> np.random.Generator:
    """Return the source of chance of one object.

    It depends on nothing else, so that an object gets the same prompts in whatever
    order and company images are evaluated.
    """
    return np.random.default_rng((seed, zlib.crc32(image.encode()), label))


def random_point(found: TrueObject, rng: np.random.Generator) -> tuple[int, int]:
    """Return a pixel of the object, drawn evenly from all of them."""
    rows, columns = np.nonzero(found.crop)
    i = int(rng.integers(len(rows)))
    return found.corner_yx[0] + int(rows[i]), found.corner_yx[1] + int(columns[i])


def jittered_box(
    found: TrueObject, rng: np.random.Generator, share: float, shape: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Return the box of an object as somebody draws it who does not look closely.

    Its sides move as `moved_sides` says, by 20 px at most.

    Parameters
    ----------
    found : TrueObject
        The object.
    rng : Generator
        Source of chance.
    share : float
        Standard deviation as a part of the side.
    shape : (H, W)
        Size of the plane; the box is cut at its borders.

    Returns
    -------
    (y0, x0, y1, x1) of float
    """
    moved = moved_sides(np.array(found.box_yx, np.float64), rng, share, MAX_JITTER_PX)
    height, width = shape
    return (
        max(0.0, float(moved[0])),
        max(0.0, float(moved[1])),
        min(float(height), float(moved[2])),
        min(float(width), float(moved[3])),
    )


def moved_sides(
    box: NDArray[np.float64], rng: np.random.Generator, share: float, limit: float
) -> NDArray[np.float64]:
    """Move each side of a box by normal noise (Kirillov et al. 2023, appendix A).

    No side moves by more than two fifths of the box, so that it keeps its middle.

    Parameters
    ----------
    box : (4,) array
        Lower corner, upper corner; either axis first.
    rng : Generator
        Source of chance.
    share : float
        Standard deviation as a part of the box's height or width.
    limit : float
        No side moves further, in units of the box.
    """
    sides = np.tile(box[2:] - box[:2], 2)
    most = np.minimum(limit, 0.4 * sides)
    moved = box + np.clip(rng.normal(size=4) * share * sides, -most, most)
    return np.asarray(moved, np.float64)


def correction_point(truth: MaskWindow, prediction: MaskWindow) -> PointPrompt | None:
    """Return the next click of somebody who sees what is wrong.

    Of the pixels that are missing and of those that are too many, the one that lies
    farthest from the boundary of its region is clicked: the middle of the larger error.
    It says "object" where pixels are missing; if both lie equally deep, "background".
    The border of the image counts as boundary (Kirillov et al. 2023, section 7.1; the
    rule for ties is that of SAM 2).

    Parameters
    ----------
    truth, prediction : MaskWindow
        Masks of the same plane.

    Returns
    -------
    PointPrompt or None
        None if nothing is wrong.
    """
    boxes = [mask.box for mask in (truth, prediction) if mask.area]
    if not boxes:
        return None
    y0, x0 = min(b[0] for b in boxes), min(b[1] for b in boxes)
    whole = (y0, x0, max(b[2] for b in boxes), max(b[3] for b in boxes))
    wanted, given = truth.inside(whole), prediction.inside(whole)
    missing = innermost_pixel(wanted & ~given)
    surplus = innermost_pixel(given & ~wanted)
    if missing.depth == 0 and surplus.depth == 0:
        return None
    is_missing = missing.depth > surplus.depth
    _, y, x = missing if is_missing else surplus
    label = FOREGROUND if is_missing else BACKGROUND
    return PointPrompt((float(y0 + y), float(x0 + x)), label)

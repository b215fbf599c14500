# SPDX-License-Identifier: Apache-2.0
"""What a model is shown of labelled images: whole ones, or regions of large ones.

The rule is that of annotating (`napari_sam.prediction.image_view`): an image of up to
1.5 frames fills the frame, a larger one is seen in regions at full resolution, at half
of it and so on, up to the whole. What is tiny there is seen once more, enlarged, if the
model is one of those that need it (`napari_sam.prediction.magnification`). S pixels
along a side of the frame, M along a side of the mask logits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_sam.errors import LabelsError
from napari_sam.prediction.magnification import size_of
from napari_sam.prediction.regions import Regions
from napari_sam.prediction.shown_pixels import ShownPixels
from napari_sam.structures.lru_cache import LruCache
from napari_sam.training.looks import vary_looks
from napari_sam.training.samples import MIN_AREA_PX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam.modeling.sam import Sam
    from napari_sam.structures.arrays import HalfOpenBox
    from napari_sam.structures.plane_view import Region
    from napari_sam.training.dataset import LabelledImage
    from napari_sam.training.recipe import Frames

CACHE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A picture in the model's frame and what lies in it.

    Attributes
    ----------
    name : str
        The image's.
    rgb : (h, w, 3) float32 array
        Values 0..255; at most S x S.
    labels : (M, M) int32 array
        Object numbers at the centres of the mask pixels, 0 elsewhere and past the
        picture.
    box : (y0, x0, y1, x1)
        Part of the image that is shown.
    scale : (y, x)
        Pixels of the frame for a pixel of the image.
    """

    name: str
    rgb: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    box: HalfOpenBox
    scale: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """An image ready to be cut: pixels as shown, compact labels, boxes of objects."""

    name: str
    regions: Regions
    shown: ShownPixels
    labels: npt.NDArray[np.int32]
    boxes: npt.NDArray[np.int64]  # (n, 4) y0, x0, y1, x1; object i has label i + 1


class FrameSource:
    """Cuts frames out of labelled images.

    Parameters
    ----------
    images : sequence of LabelledImage
        Read one at a time, when needed; those used last are kept.
    model : Sam
        Says how large its frame and its masks are, and which objects are tiny.
    recipe : Frames
        How much views vary.
    min_area : int
        Smallest object that is scored, in pixels of the image.
    """

    def __init__(
        self,
        images: Sequence[LabelledImage],
        model: Sam,
        recipe: Frames,
        min_area: int = MIN_AREA_PX,
    ) -> None:
        self._images, self._recipe = images, recipe
        self.min_area = min_area
        self.frame_size = model.image_size
        self.mask_size = 4 * model.grid_size
        self._min_object_px = model.min_object_px
        self._kept: LruCache[_Known] = LruCache(
            max(1, len(images)), CACHE_BYTES, keeps_last=True
        )

    def __len__(self) -> int:
        return len(self._images)

    @property
    def stride(self) -> float:
        """Pixels of the frame for a pixel of the mask logits."""
        return self.frame_size / self.mask_size

    @property
    def views_per_image(self) -> int:
        """Most views of an image that fills the frame: whole, and enlarged."""
        return 1 if self._min_object_px is None else 2

    def name(self, index: int) -> str:
        """Name of an image."""
        return self._images[index].name

    def draw(self, index: int, rng: np.random.Generator) -> Frame | None:
        """Show some part of an image, around one of its objects.

        Returns
        -------
        Frame or None
            None if the image has no object.
        """
        image = self._known(index)
        if not len(image.boxes):
            return None
        recipe = self._recipe
        around = image.boxes[rng.integers(len(image.boxes))].tolist()
        scale = float(rng.choice(self._scales(image.regions)))
        region = self._enlarging(image.regions, around)
        if region is not None and rng.random() < recipe.enlarged_share:
            scale = self.frame_size / max(region.size)
        if rng.random() >= recipe.usual_share:
            low, high = np.log(recipe.scale_jitter)
            scale *= float(np.exp(rng.uniform(low, high)))
        box = self._box_around(image, around, scale, rng)
        size = self._size(box, scale)
        turns = int(rng.integers(4)) if recipe.flips else 0
        is_mirrored = recipe.flips and bool(rng.random() < 0.5)
        frame = self._cut(image, box, size, turns, is_mirrored=is_mirrored)
        if recipe.looks:
            unit = vary_looks(frame.rgb / np.float32(255), rng, recipe.looks)
            frame.rgb[:] = unit * np.float32(255)
        return frame

    def views(self, index: int, n_regions: int = 4) -> list[Frame]:
        """Show an image as it is usually shown, always the same way.

        Returns
        -------
        list of Frame
            The whole image; of a large one some of its regions that have objects. If
            some objects are tiny, the region that enlarges one of them.
        """
        image = self._known(index)
        if not len(image.boxes):
            return []
        scale = self._scales(image.regions)[0]
        rng = np.random.default_rng([len(image.boxes), index])
        boxes: list[HalfOpenBox] = [(0, 0, *image.labels.shape)]
        if scale != self.frame_size / max(image.labels.shape):
            chosen = rng.integers(len(image.boxes), size=n_regions)
            boxes = [
                self._box_around(image, around, scale, rng)
                for around in image.boxes[chosen].tolist()
            ]
        frames = [self._cut(image, box, self._size(box, scale), 0) for box in boxes]
        for around in rng.permutation(image.boxes).tolist():
            region = self._enlarging(image.regions, around)
            if region is not None:
                size = self._size(region.box, self.frame_size / max(region.size))
                frames.append(self._cut(image, region.box, size, 0))
                break
        return frames

    def objects(self, index: int, frame: Frame) -> list[tuple[int, HalfOpenBox]]:
        """Return objects that a view shows whole: label, box in the image.

        Only those of at least `min_area` pixels that the mask logits can show.
        """
        image = self._known(index)
        y0, x0, y1, x1 = frame.box
        seen = np.bincount(frame.labels.ravel(), minlength=len(image.boxes) + 1)
        found = []
        for i, (top, left, bottom, right) in enumerate(image.boxes.tolist()):
            is_inside = y0 <= top and x0 <= left and bottom <= y1 and right <= x1
            if is_inside and seen[i + 1]:
                mask = image.labels[top:bottom, left:right] == i + 1
                if np.count_nonzero(mask) >= self.min_area:
                    found.append((i + 1, (top, left, bottom, right)))
        return found

    def shown_size(self, frame: Frame) -> tuple[int, int]:
        """Rows and columns of mask pixels with their centre in the picture."""
        height, width = frame.rgb.shape[:2]
        rows, columns = (
            max(1, math.ceil(n / self.stride - 0.5)) for n in (height, width)
        )
        return rows, columns

    def mask(self, index: int, label: int, box: HalfOpenBox) -> npt.NDArray[np.bool_]:
        """Return an object's mask inside its box, at full resolution."""
        y0, x0, y1, x1 = box
        return np.asarray(self._known(index).labels[y0:y1, x0:x1] == label)

    def _known(self, index: int) -> _Known:
        found = self._kept.get(index)
        if found is None:
            image = self._images[index]
            found = _look_at(image, self.frame_size, self._min_object_px)
            self._kept.put(index, found, found.labels.nbytes + image.pixels.nbytes)
        return found

    def _scales(self, regions: Regions) -> list[float]:
        """Pixels of the frame for one of the image, the usual scale first."""
        whole = self.frame_size / max(regions.shape)
        scales = [1 / scale for scale in regions.scales]
        is_whole_usual = not scales or regions.usual_scale > regions.scales[-1]
        return [whole, *scales] if is_whole_usual else [*scales, whole]

    def _enlarging(self, regions: Regions, box: Sequence[int]) -> Region | None:
        """Return the region in which annotating shows an object again, if it is tiny.

        None if it is not, or the model is one that sees everything at the usual scale.
        """
        if self._min_object_px is None:
            return None
        corners = np.array([box[:2], box[2:]], dtype=np.float64)
        usual = regions.best_for(corners)
        return regions.enlarging(corners, size_of(box), usual)

    def _box_around(
        self,
        image: _Known,
        around: Sequence[int],
        scale: float,
        rng: np.random.Generator,
    ) -> HalfOpenBox:
        """Return a part of the image that fills the frame and has an object in it."""
        top, left, bottom, right = around
        side = max(1, round(self.frame_size / scale))
        corner, extents = [], []
        for low, high, length in (
            (top, bottom, image.labels.shape[0]),
            (left, right, image.labels.shape[1]),
        ):
            extent = min(side, length)
            start = round((low + high) / 2 - float(rng.uniform(0.1, 0.9)) * extent)
            corner.append(min(max(0, start), length - extent))
            extents.append(extent)
        (y0, x0), (height, width) = corner, extents
        return y0, x0, y0 + height, x0 + width

    def _size(self, box: HalfOpenBox, scale: float) -> tuple[int, int]:
        height, width = (
            min(self.frame_size, max(1, int((high - low) * scale + 0.5)))
            for low, high in ((box[0], box[2]), (box[1], box[3]))
        )
        return height, width

    def _cut(
        self,
        image: _Known,
        box: HalfOpenBox,
        size: tuple[int, int],
        turns: int,
        *,
        is_mirrored: bool = False,
    ) -> Frame:
        y0, x0, y1, x1 = box
        rgb = image.shown.read_at(box, size)
        labels = image.labels[y0:y1, x0:x1]
        if is_mirrored:
            rgb, labels = rgb[:, ::-1], labels[:, ::-1]
        rgb, labels = np.rot90(rgb, turns), np.rot90(labels, turns)
        height, width = rgb.shape[:2]
        scale = (height / labels.shape[0], width / labels.shape[1])
        return Frame(
            image.name,
            np.ascontiguousarray(rgb, np.float32),
            self._sample(labels, scale),
            box,
            scale,
        )

    def _sample(
        self, labels: npt.NDArray[np.int32], scale: tuple[float, float]
    ) -> npt.NDArray[np.int32]:
        """Labels at the centres of the mask pixels, 0 past the picture."""
        centres = (np.arange(self.mask_size) + 0.5) * self.stride
        out = np.zeros((self.mask_size, self.mask_size), np.int32)
        rows, columns = (np.floor(centres / s).astype(int) for s in scale)
        n_rows = int(np.count_nonzero(rows < labels.shape[0]))
        n_columns = int(np.count_nonzero(columns < labels.shape[1]))
        out[:n_rows, :n_columns] = labels[np.ix_(rows[:n_rows], columns[:n_columns])]
        return out


def _look_at(
    image: LabelledImage, frame_size: int, min_object_px: float | None
) -> _Known:
    """Check an image and find its objects.

    Raises
    ------
    LabelsError
        If the labels do not fit the image or are no object numbers.
    ImageError
        If the pixels are no image.
    """
    shown = ShownPixels(image.pixels)
    labels = image.labels
    is_whole = np.issubdtype(labels.dtype, np.integer) or labels.dtype == np.bool_
    if labels.ndim != 2 or not is_whole:
        msg = (
            f"{image.name}: labels must be one (H, W) plane of whole numbers, not "
            f"{labels.dtype} of shape {labels.shape}."
        )
        raise LabelsError(msg)
    if labels.shape != shown.shape:
        msg = (
            f"{image.name}: labels of shape {labels.shape} do not fit the image of "
            f"shape {shown.shape}. They must have the same rows and columns."
        )
        raise LabelsError(msg)
    if labels.size and labels.dtype != np.bool_ and labels.min() < 0:
        msg = (
            f"{image.name}: labels must not be negative; the lowest is {labels.min()}. "
            "0 is background, each object has a number of its own."
        )
        raise LabelsError(msg)
    numbers, inverse = np.unique(labels, return_inverse=True)
    compact = inverse.reshape(labels.shape).astype(np.int32)
    compact += int(numbers[0] != 0)  # without background the first object has number 1
    boxes = [
        (rows.start, columns.start, rows.stop, columns.stop)
        for rows, columns in ndimage.find_objects(compact)
    ]
    return _Known(
        image.name,
        Regions(shown.shape, frame_size, min_object_px),
        shown,
        compact,
        np.array(boxes, np.int64).reshape(-1, 4),
    )

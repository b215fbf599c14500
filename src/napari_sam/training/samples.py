# SPDX-License-Identifier: Apache-2.0
"""Training images as samples of bounded size, read when they are needed.

A first pass looks at all labels and pixels: it finds the planes that have objects,
counts them, and makes a digest of what the model will see. Afterwards samples are read
again and again; who needs one many times keeps it, as `frames.FrameSource` does.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, overload

import numpy as np

from napari_sam.errors import Cancelled, ImageError, LabelsError
from napari_sam.structures.lru_cache import LruCache
from napari_sam.training.dataset import LabelledImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from threading import Event

    from numpy.typing import NDArray

    from napari_sam.structures.arrays import HalfOpenBox, Plane
    from napari_sam.structures.plane_pixels import PlanePixels
    from napari_sam.training.sources import LabelledPlane, TrainingImage

MIN_AREA_PX = 25
SAMPLE_SIDE = 1024
"""Planes with a side longer than 1.5 times this are cut into tiles."""

# Images with several samples that stay open, or in memory, for the next of them.
_OPEN_IMAGES = 2


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Where one piece of training data lies, and what was found there.

    Attributes
    ----------
    name : str
        Image, place in the stack, and corner of a tile.
    image : TrainingImage
    plane : int
        Position in the list of its planes.
    box : (y0, x0, y1, x1)
        Half-open, in pixels of the plane.
    labels : frozenset of int
        Its objects of at least the wanted area, after `dropped` were left out.
    dropped : frozenset of int
        Objects that are taken for background here: too small in their plane, or left
        out by the split.
    digest : bytes
        Of pixels and labels.
    min_area : int
        The wanted area in pixels.
    """

    name: str
    image: TrainingImage
    plane: int
    box: HalfOpenBox
    labels: frozenset[int]
    dropped: frozenset[int]
    digest: bytes
    min_area: int = MIN_AREA_PX

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        y0, x0, y1, x1 = self.box
        return y1 - y0, x1 - x0


class SampleSet(Sequence[LabelledImage]):
    """Samples that are read when asked for, each time anew.

    Pixels are (H, W, 3) uint8 as the model sees them, labels (H, W) int32. May be read
    from several threads.

    Parameters
    ----------
    samples : iterable of Sample
    """

    def __init__(self, samples: Iterable[Sample]) -> None:
        self.samples = tuple(samples)
        self._n_samples = Counter(id(sample.image) for sample in self.samples)
        self._opened: LruCache[list[LabelledPlane]] = LruCache(_OPEN_IMAGES)

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> LabelledImage: ...
    @overload
    def __getitem__(self, index: slice) -> SampleSet: ...
    def __getitem__(self, index: int | slice) -> LabelledImage | SampleSet:
        """Read one sample, or take some of them as a set of their own."""
        if isinstance(index, slice):
            return SampleSet(self.samples[index])
        return self._read(self.samples[index])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the samples."""
        return tuple(sample.name for sample in self.samples)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each sample."""
        return tuple(sample.size for sample in self.samples)

    @property
    def n_images(self) -> int:
        """Images that the samples are from."""
        return len({id(sample.image) for sample in self.samples})

    @property
    def n_objects(self) -> int:
        """Objects; one that is spread over tiles counts once, over planes each time."""
        return sum(len(labels) for labels in self._objects().values())

    @property
    def digest(self) -> str:
        """SHA-256 of all pixels and labels; order and names do not count."""
        digests = sorted(sample.digest for sample in self.samples)
        return hashlib.sha256(b"".join(digests)).hexdigest()

    @property
    def min_area(self) -> int:
        """Area from which objects count, in pixels."""
        return min((s.min_area for s in self.samples), default=MIN_AREA_PX)

    def _objects(self) -> dict[tuple[int, int], set[int]]:
        found: dict[tuple[int, int], set[int]] = {}
        for sample in self.samples:
            found.setdefault((id(sample.image), sample.plane), set()).update(
                sample.labels
            )
        return found

    def _read(self, sample: Sample) -> LabelledImage:
        planes = self._opened.get(id(sample.image))
        if planes is None:
            planes = sample.image.open()
            if self._n_samples[id(sample.image)] > 1:
                self._opened.put(id(sample.image), planes)
        pixels, labels = _read_box(planes[sample.plane], sample.box)
        if sample.dropped:
            labels[np.isin(labels, list(sample.dropped))] = 0
        return LabelledImage(sample.name, sample.image.group, pixels, labels)


def find_samples(
    images: Sequence[TrainingImage],
    *,
    min_area: int = MIN_AREA_PX,
    side: int = SAMPLE_SIDE,
    progress: Callable[[int, int], None] | None = None,
    cancel: Event | None = None,
) -> list[Sample]:
    """Look through images for what can be learned from.

    Parameters
    ----------
    images : sequence of TrainingImage
        What `sources` found.
    min_area : int
        Objects of fewer pixels in their plane are taken for background; samples
        without others are left out.
    side : int
        Planes with a side longer than 1.5 times this are cut into tiles.
    progress : callable, optional
        Called with ``(images done, images in all)``.
    cancel : threading.Event, optional
        Looked at before each plane; raises `Cancelled`.

    Returns
    -------
    list of Sample
        In the order of `images`.

    Raises
    ------
    ImageError, LabelsError
        If an image cannot be read, its labels do not fit, or there are no objects at
        all, or only one.
    """
    found: list[Sample] = []
    for done, image in enumerate(images):
        if progress is not None:
            progress(done, len(images))
        for number, opened in enumerate(image.open()):
            if cancel is not None and cancel.is_set():
                msg = "Stopped while looking through the images."
                raise Cancelled(msg)
            plane = replace(opened, labels=_ReadOnce(opened.labels))
            dropped = too_small(image, plane, min_area, side)
            for box in tiles((0, 0, *plane.pixels.shape), side):
                sample = look_at(image, number, plane, box, min_area, dropped)
                if sample is not None:
                    found.append(sample)
    if progress is not None:
        progress(len(images), len(images))
    _check_enough(images, found, min_area)
    return found


class _ReadOnce:
    """Labels of which the box read last stays in memory: each is looked at twice."""

    def __init__(self, labels: PlanePixels) -> None:
        self._labels = labels
        self._last: tuple[HalfOpenBox, int, Plane] | None = None
        self.shape, self.level_shapes = labels.shape, labels.level_shapes
        self.dtype = labels.dtype

    def read(self, box: HalfOpenBox, level: int = 0) -> Plane:
        """Read a box of a level, as `PlanePixels.read` does."""
        if self._last is None or self._last[:2] != (box, level):
            self._last = (box, level, self._labels.read(box, level))
        return self._last[2]


def look_at(
    image: TrainingImage,
    number: int,
    plane: LabelledPlane,
    box: HalfOpenBox,
    min_area: int = MIN_AREA_PX,
    dropped: frozenset[int] = frozenset(),
) -> Sample | None:
    """Read one box of a plane; None if it has no object of enough pixels.

    Raises
    ------
    ImageError, LabelsError
        If it cannot be read or labels are below 0.
    """
    name = _name(image.name, plane, box)
    labels = _read_labels(plane, box, name)
    values, counts = np.unique(labels, return_counts=True)
    wanted = (values != 0) & (counts >= min_area)
    dropped &= frozenset(values.tolist())
    objects = frozenset(values[wanted].tolist()) - dropped
    if not objects:
        return None
    pixels = plane.pixels.read(box)
    little = np.ascontiguousarray(labels, dtype="<i4")
    digest = hashlib.sha256(repr((pixels.shape, sorted(dropped))).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    digest.update(little.data)
    found = digest.digest()
    return Sample(name, image, number, box, objects, dropped, found, min_area)


def too_small(
    image: TrainingImage, plane: LabelledPlane, min_area: int, side: int = SAMPLE_SIDE
) -> frozenset[int]:
    """Objects of fewer pixels than `min_area` in a whole plane, read tile by tile.

    What a tile shows of an object may be small without the object being so.

    Raises
    ------
    ImageError, LabelsError
        If it cannot be read or labels are below 0.
    """
    areas: Counter[int] = Counter()
    for box in tiles((0, 0, *plane.pixels.shape), side):
        labels = _read_labels(plane, box, _name(image.name, plane, box))
        values, counts = np.unique(labels, return_counts=True)
        areas.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    return frozenset(v for v, area in areas.items() if v and area < min_area)


def tiles(box: HalfOpenBox, side: int) -> Iterator[HalfOpenBox]:
    """Cut a box into even tiles of at most `side`, if it is longer than 1.5 times that.

    Yields
    ------
    (y0, x0, y1, x1)
        Half-open; together they cover the box once.
    """
    y0, x0, y1, x1 = box
    if max(y1 - y0, x1 - x0) <= 1.5 * side:
        yield box
        return
    rows, columns = (
        np.linspace(low, high, math.ceil((high - low) / side) + 1).astype(int).tolist()
        for low, high in ((y0, y1), (x0, x1))
    )
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            yield top, left, bottom, right


def _read_box(
    plane: LabelledPlane, box: HalfOpenBox
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    pixels = np.asarray(plane.pixels.read(box), dtype=np.uint8)
    labels = np.array(plane.labels.read(box), dtype=np.int32)
    return pixels, labels


def _read_labels(
    plane: LabelledPlane, box: HalfOpenBox, name: str
) -> NDArray[np.int32]:
    labels = np.asarray(plane.labels.read(box))
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > np.iinfo(np.int32).max:
        msg = (
            f"The labels of {name} go from {low} to {high}. Allowed are 0 for "
            "background and 1 to 2147483647 for objects: number the objects anew, for "
            "instance with skimage.segmentation.relabel_sequential."
        )
        raise LabelsError(msg)
    return labels.astype(np.int32)


def _name(image: str, plane: LabelledPlane, box: HalfOpenBox) -> str:
    """Say which image, which plane and, of a tile, where it begins."""
    place = [plane.where] if plane.where else []
    if box != (0, 0, *plane.pixels.shape):
        place.append(f"y={box[0]}:{box[2]},x={box[1]}:{box[3]}")
    return f"{image}[{','.join(place)}]" if place else image


def _check_enough(
    images: Sequence[TrainingImage], found: list[Sample], min_area: int
) -> None:
    names = ", ".join(image.name for image in images[:3])
    names += f" and {len(images) - 3} more" if len(images) > 3 else ""
    if not images:
        msg = "There are no images to train on. Name a folder, a file or a table."
        raise ImageError(msg)
    if not found:
        msg = (
            f"No plane of {names} has an object of at least {min_area} pixels. Label "
            "some objects, check that these are the label images, or let smaller "
            "objects count (min_area)."
        )
        raise LabelsError(msg)
    if SampleSet(found).n_objects < 2:
        msg = (
            f"{names}: there is only one object of at least {min_area} pixels "
            f"(in {found[0].name}). Training needs one to learn from and one to check "
            "by, better a hundred. If several objects share one number, give each its "
            "own, for instance with skimage.measure.label."
        )
        raise LabelsError(msg)

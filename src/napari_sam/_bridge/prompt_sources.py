# SPDX-License-Identifier: Apache-2.0
"""Points, shapes and labels of any layer of the user's as prompts, one object each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from napari_sam.errors import PromptError
from napari_sam.structures.drawn import DrawnPrompts, DrawnShape, ShapeKind
from napari_sam.structures.prompts import PointPrompt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari.layers import Labels, Layer, Points, Shapes

    from napari_sam._bridge.coordinates import PlaneMap
    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.structures.arrays import Coordinates

MAX_DIRECT_ID = 1_000_000
"""Labels up to this id are looked up as they are; larger ones are renumbered first."""
MIN_SHAPE_PX = 2.0
"""Rectangles and ellipses with a shorter side are slips of the mouse."""


@dataclass
class PromptsRead:
    """What a layer holds for some planes.

    Attributes
    ----------
    prompts : dict of PlaneKey to list of DrawnPrompts
        One entry per object; every plane asked for is there.
    n_unusable : int
        Items beside the image, too small, or that lie across several planes.
    """

    prompts: dict[PlaneKey, list[DrawnPrompts]] = field(default_factory=dict)
    n_unusable: int = 0

    @property
    def n_prompts(self) -> int:
        """Objects in all."""
        return sum(len(drawn) for drawn in self.prompts.values())


def read_prompts(
    layer: Layer, plane_map: PlaneMap, planes: Sequence[PlaneKey]
) -> PromptsRead:
    """Read every point, shape or labelled object of a layer as one object's prompt.

    Points are clicks on the object, shapes what they are when drawn with our tools
    (a box, a box and a mask, a scribble), labelled objects a click at their centre. A
    layer of fewer dimensions than the image lies on all planes, as napari shows it.

    Parameters
    ----------
    layer : napari.layers.Points, Shapes or Labels
        Any place in the world; never changed.
    plane_map : PlaneMap
        The image that is segmented.
    planes : sequence of PlaneKey
        Where prompts are wanted.

    Raises
    ------
    PromptError
        If the layer is of another kind.
    """
    from napari.layers import Labels, Points, Shapes

    read = PromptsRead({plane: [] for plane in planes})
    place = _Place(layer, plane_map)
    if isinstance(layer, Points):
        _read_points(layer, place, read)
    elif isinstance(layer, Shapes):
        _read_shapes(layer, place, read)
    elif isinstance(layer, Labels):
        _read_labels(layer, place, read)
    else:
        msg = (
            f"The layer {layer.name!r} is a {type(layer).__name__} layer. Choose one "
            "of points, shapes or labels."
        )
        raise PromptError(msg)
    return read


class _Place:
    """How positions of a layer lie on the planes of an image.

    Transforms are affine, so that a few probed positions tell of all others.

    Attributes
    ----------
    ndim : int
        Axes of the image.
    """

    def __init__(self, layer: Layer, plane_map: PlaneMap) -> None:
        self._map = plane_map
        self.ndim = plane_map.ndim
        self._n_missing = max(plane_map.ndim - layer.ndim, 0)
        probes = np.concatenate([np.zeros((1, layer.ndim)), np.eye(layer.ndim)])
        mapped = np.array([self._pixel(layer, probe) for probe in probes])
        self._origin, self._steps = mapped[0], mapped[1:] - mapped[0]

    def pixels(self, positions: Any) -> Coordinates:
        """Map (n, layer.ndim) positions to pixels of the image, (n, image.ndim)."""
        positions = np.asarray(positions, dtype=float)
        return np.asarray(positions @ self._steps + self._origin)

    def on_plane(self, key: PlaneKey, pixels: Coordinates) -> Any:
        """Tell which pixels lie on a plane, (n,) bool; missing axes do not matter."""
        fixed = [a for a in range(self._map.ndim) if a not in key.axes]
        index = np.asarray(key.index, dtype=float)
        known = [i for i, axis in enumerate(fixed) if axis >= self._n_missing]
        rounded = np.round(pixels[:, [fixed[i] for i in known]])
        return (rounded == index[known]).all(axis=1)

    def yx(self, key: PlaneKey, pixels: Coordinates) -> Coordinates:
        """Row and column of pixels, (n, 2)."""
        return pixels[:, list(key.axes)]

    def is_inside(self, key: PlaneKey, yx: Coordinates) -> Any:
        """Tell which positions lie on the image, (n,) bool."""
        shape = np.asarray(self._map.plane_shape(key))
        return ((yx >= -0.5) & (yx < shape - 0.5)).all(axis=1)

    def _pixel(self, layer: Layer, position: Coordinates) -> Coordinates:
        world = np.asarray(layer.data_to_world(position), dtype=float)
        return self._map.world_to_pixel(np.append(np.zeros(self._n_missing), world))


def _read_points(layer: Points, place: _Place, read: PromptsRead) -> None:
    pixels = place.pixels(layer.data)
    for key in read.prompts:
        on_plane = pixels[place.on_plane(key, pixels)]
        _add_clicks(key, place.yx(key, on_plane), place, read)


def _read_shapes(layer: Shapes, place: _Place, read: PromptsRead) -> None:
    kinds = layer.shape_type
    for index, vertices in enumerate(layer.data):
        pixels = place.pixels(vertices)
        n_found = 0
        is_across = False
        for key, found in read.prompts.items():
            is_on = place.on_plane(key, pixels)
            if not is_on.all():
                is_across |= bool(is_on.any())
                continue
            shape = _drawn(ShapeKind(kinds[index]), place.yx(key, pixels), key, place)
            if shape is None:
                read.n_unusable += 1
            else:
                found.append(DrawnPrompts(shapes=(shape,)))
            n_found += 1
        read.n_unusable += is_across and not n_found


def _drawn(
    kind: ShapeKind, yx: Coordinates, key: PlaneKey, place: _Place
) -> DrawnShape | None:
    """Make a shape of vertices; None if it is too small or beside the image."""
    if not place.is_inside(key, yx).any() and not _reaches_over(key, yx, place):
        return None
    if not kind.is_scribble and np.ptp(yx, axis=0).min() < MIN_SHAPE_PX:
        return None
    try:
        return DrawnShape(kind, tuple((float(y), float(x)) for y, x in yx))
    except PromptError:  # too few vertices
        return None


def _reaches_over(key: PlaneKey, yx: Coordinates, place: _Place) -> bool:
    """Whether a shape without a vertex on the image has part of it inside."""
    low, high = yx.min(axis=0), yx.max(axis=0)
    corner = np.clip(np.zeros(2), low, high)[None]
    return bool(place.is_inside(key, corner).all())


def _read_labels(layer: Labels, place: _Place, read: PromptsRead) -> None:
    data = layer.data[0] if layer.multiscale else layer.data
    for key in read.prompts:
        for index, axes in _slices(data.shape, key, place):
            plane = np.asarray(data[index])
            centres = _centres(plane)
            if not len(centres):
                continue
            positions = np.zeros((len(centres), data.ndim))
            positions[:] = [0 if isinstance(i, slice) else i for i in index]
            positions[:, list(axes)] = centres
            yx = place.yx(key, place.pixels(positions))
            _add_clicks(key, yx, place, read)


def _slices(
    shape: tuple[int, ...], key: PlaneKey, place: _Place
) -> Iterator[tuple[tuple[Any, ...], tuple[int, int]]]:
    """Yield index and axes of the slices of a label image that lie on a plane."""
    offset = len(shape) - place.ndim
    axes = (key.axes[0] + offset, key.axes[1] + offset)
    if axes[0] < 0:  # rows that the layer does not have
        return
    fixed = [axis for axis in range(len(shape)) if axis not in axes]
    for position in np.ndindex(*(shape[axis] for axis in fixed)):
        middle = np.array([size / 2 for size in shape])
        middle[fixed] = position
        if place.on_plane(key, place.pixels(middle[None])).all():
            index: list[Any] = [slice(None)] * len(shape)
            for axis, value in zip(fixed, position, strict=True):
                index[axis] = value
            yield tuple(index), axes


def _centres(labels: Any) -> Coordinates:
    """Return the pixel of each object that is nearest to its centroid, (n, 2)."""
    numbers = np.asarray(labels)
    if numbers.max(initial=0) > MAX_DIRECT_ID:  # a list of that length is no good
        ids, numbers = np.unique(numbers, return_inverse=True)
        numbers = numbers.reshape(labels.shape) + int(ids[0] > 0)
    centres = []
    for number, box in enumerate(ndimage.find_objects(numbers.astype(np.int32)), 1):
        if box is None:
            continue
        pixels = np.argwhere(numbers[box] == number)
        nearest = ((pixels - pixels.mean(axis=0)) ** 2).sum(axis=1).argmin()
        centres.append(pixels[nearest] + (box[0].start, box[1].start))
    return np.asarray(centres, dtype=float).reshape(-1, 2)


def _add_clicks(
    key: PlaneKey, yx: Coordinates, place: _Place, read: PromptsRead
) -> None:
    is_inside = place.is_inside(key, yx)
    read.n_unusable += int((~is_inside).sum())
    read.prompts[key] += [
        DrawnPrompts(points=(PointPrompt((float(y), float(x))),))
        for y, x in yx[is_inside]
    ]

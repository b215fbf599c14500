# SPDX-License-Identifier: Apache-2.0
"""A Shapes layer that holds the boxes, outlines and scribbles of the object being made.

napari keeps shapes in the order in which they were made; which of several outlines
counts depends on the order in which they were touched, so that is kept here.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._bridge.prompt_matching import n_in_common
from napari_sam._bridge.prompt_style import (
    COLORS,
    NEGATIVE,
    POSITIVE,
    is_far_larger_than_a_screen,
    layer_arguments,
    layer_to_pixels,
    pixels_to_layer,
    point_size,
    polarity_of,
    set_polarities,
)
from napari_sam.structures.drawn import DrawnShape, ShapeKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Shapes

    from napari_sam._bridge.coordinates import PlaneMap
    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.structures.arrays import Coordinates

EDGE_ON_SCREEN = 2.5
"""Width of edges in pixels of the screen, where they go by it."""
MIN_BOX_PX = 3.0
"""A rectangle tool clicked without a drag leaves a box smaller than this."""
MIN_STROKE_PX = 1.0
"""A line tool clicked without a drag leaves a stroke shorter than this."""
SHAPE_MODES = {
    "box": "add_rectangle",
    "ellipse": "add_ellipse",
    "polygon": "add_polygon",
    "lasso": "add_polygon_lasso",
    "scribble": "add_path",
}
"""Modes of the layer, by our name of the tool."""


class PromptShapes:
    """The layer, and the order in which its shapes were touched.

    Parameters
    ----------
    plane_map : PlaneMap
        The image to be prompted.

    Attributes
    ----------
    layer : napari.layers.Shapes
    """

    def __init__(self, plane_map: PlaneMap) -> None:
        from napari.layers import Shapes

        self._map = plane_map
        self._touched: list[int] = []
        self._n_touches = 0
        self._has_rubber_band = False
        self.layer: Shapes = Shapes(
            name="SAM shapes",
            property_choices={"polarity": [POSITIVE, NEGATIVE]},
            edge_color=COLORS[POSITIVE],
            edge_width=point_size(plane_map) / 5,
            face_color="transparent",
            **layer_arguments(plane_map),
        )

    def set_next(self, polarity: str) -> None:
        """Let the next scribbles be positive or negative; existing ones stay."""
        # With shapes selected, napari would change those as well.
        self.layer.selected_data = set()
        self.layer.current_edge_color = COLORS[polarity]
        self.layer.feature_defaults = {"polarity": polarity}

    def fit_to(self, step: float) -> None:
        """Let edges be as wide as ever on the screen, of images far larger than it.

        Parameters
        ----------
        step : float
            Pixels of the image per pixel of the screen.
        """
        width, now = EDGE_ON_SCREEN * step, float(self.layer.current_edge_width)
        if is_far_larger_than_a_screen(self._map) and not 0.7 < width / now < 1.4:
            self.layer.selected_data = set()
            self.layer.current_edge_width = width
            self.layer.edge_width = width

    def note_event(self, event: Any) -> None:
        """Remember which shapes a finished change has touched."""
        action = str(getattr(event.action, "value", event.action))
        if action == "removed":
            gone = {index % max(len(self._touched), 1) for index in event.data_indices}
            kept = [t for i, t in enumerate(self._touched) if i not in gone]
            self._touched = kept
        elif action == "changed":
            for index in event.data_indices:
                if index < len(self._touched):
                    self._touched[index] = self._next_touch()
        self._count_touches()
        self._drop_stray_features()

    def _count_touches(self) -> None:
        """Make up for events nobody heard, or that lie about what they tell of.

        However many shapes were added, napari's event names one; a degenerate polygon
        is announced although it is gone again.
        """
        n_shapes = len(self.layer.data)
        del self._touched[n_shapes:]
        while len(self._touched) < n_shapes:
            self._touched.append(self._next_touch())

    def _next_touch(self) -> int:
        self._n_touches += 1
        return self._n_touches

    def _drop_stray_features(self) -> None:
        """Remove rows that a degenerate polygon left; they would shift later ones."""
        n_shapes = len(self.layer.data)
        if len(self.layer.features) > n_shapes:
            default = polarity_of(self.layer)
            self.layer.features = self.layer.features.iloc[:n_shapes].copy()
            self.layer.feature_defaults = {"polarity": default}

    def read(self, key: PlaneKey) -> tuple[list[DrawnShape], int]:
        """Read the shapes of a plane, in the order in which they were touched.

        Returns
        -------
        shapes : list of DrawnShape
        n_bad : int
            Shapes on the plane that are too small or beside the image.
        """
        shapes, _, unusable = self._read(key)
        return shapes, len(unusable)

    def _read(self, key: PlaneKey) -> tuple[list[DrawnShape], list[int], list[int]]:
        """Shapes of a plane, their indices, and indices of unusable ones."""
        self._count_touches()
        found: list[tuple[int, int, DrawnShape]] = []
        unusable: list[int] = []
        kinds = self.layer.shape_type
        polarities = self.layer.features["polarity"].to_numpy()
        for index, yx in self._on(key):
            kind = ShapeKind(kinds[index])
            if not self._is_usable(key, kind, yx):
                unusable.append(index)
                continue
            is_negative = kind.is_scribble and polarities[index] == NEGATIVE
            vertices = tuple((float(y), float(x)) for y, x in yx)
            shape = DrawnShape(kind, vertices, 0 if is_negative else 1)
            found.append((self._touched[index], index, shape))
        found.sort(key=lambda entry: entry[0])
        shapes = [shape for _, _, shape in found]
        return shapes, [index for _, index, _ in found], unusable

    def write(self, key: PlaneKey, shapes: Sequence[DrawnShape]) -> None:
        """Let a plane hold these shapes; other planes stay as they are.

        Unusable shapes go with the last of the others.
        """
        layer = self.layer
        self.show_rubber_band(key, None)
        found, indices, unusable = self._read(key)
        polarity = polarity_of(layer)
        layer.selected_data = set()
        n_same = n_in_common(found, shapes)
        gone = [*indices[n_same:], *(() if shapes else unusable)]
        if gone:
            layer.remove(gone)
        for label, group in groupby(shapes[n_same:], key=lambda shape: shape.label):
            self._set_next(POSITIVE if label else NEGATIVE)
            made = tuple(group)
            data = [self._to_layer(key, shape.vertices_yx) for shape in made]
            layer.add(data, shape_type=[str(shape.kind) for shape in made])
        self._set_next(polarity)

    def _set_next(self, polarity: str) -> None:
        if polarity_of(self.layer) != polarity:
            self.set_next(polarity)

    def show_rubber_band(
        self, key: PlaneKey, box: tuple[float, float, float, float] | None
    ) -> None:
        """Show the box being dragged, (y0, x0, y1, x1) as drawn; None ends it."""
        if self._has_rubber_band:
            self.layer.remove([len(self.layer.data) - 1])
        self._has_rubber_band = box is not None
        if box is not None:
            y0, x0, y1, x1 = box
            corners = ((y0, x0), (y0, x1), (y1, x1), (y1, x0))
            self.layer.add(
                [self._to_layer(key, corners)],
                shape_type="rectangle",
                edge_color=COLORS[POSITIVE],
            )

    def follow_polarity(self) -> None:
        """Give every shape the colour of its polarity; only scribbles can be negative.

        The layer's own colour cycle takes colours in order of appearance, so that the
        first shape would be blue whatever it is.
        """
        layer = self.layer
        values = [str(v) for v in layer.features["polarity"].to_numpy()]
        if not values or len(values) != len(layer.data):
            return
        right = [
            value if ShapeKind(kind).is_scribble else POSITIVE
            for value, kind in zip(values, layer.shape_type, strict=True)
        ]
        if right != values:
            set_polarities(layer, 0, right)
        layer.edge_color = [COLORS.get(value, COLORS[POSITIVE]) for value in right]

    def _to_layer(
        self, key: PlaneKey, vertices_yx: Sequence[tuple[float, float]]
    ) -> Coordinates:
        pixels = [[float(v) for v in key.locate(y, x)] for y, x in vertices_yx]
        return pixels_to_layer(self._map, self.layer, pixels)

    def _on(self, key: PlaneKey) -> list[tuple[int, Any]]:
        """Index and (n, 2) vertices of every shape on a plane."""
        found = []
        data = self.layer.data[:-1] if self._has_rubber_band else self.layer.data
        for index, vertices in enumerate(data):
            pixels = layer_to_pixels(self._map, self.layer, vertices)
            is_on, yx = self._map.on_plane(key, pixels)
            if is_on.all():
                found.append((index, yx))
        return found

    def _is_usable(self, key: PlaneKey, kind: ShapeKind, yx: Any) -> bool:
        """Whether a shape is large enough and touches the image."""
        height, width = self._map.plane_shape(key)
        (y0, x0), (y1, x1) = yx.min(axis=0), yx.max(axis=0)
        if y1 <= -0.5 or x1 <= -0.5 or y0 >= height - 0.5 or x0 >= width - 0.5:
            return False
        if kind.is_scribble:
            steps = np.diff(yx, axis=0)
            return bool(np.hypot(steps[:, 0], steps[:, 1]).sum() >= MIN_STROKE_PX)
        return bool(min(y1 - y0, x1 - x0) >= MIN_BOX_PX)

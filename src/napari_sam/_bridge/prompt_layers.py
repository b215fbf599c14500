# SPDX-License-Identifier: Apache-2.0
"""A Points and a Shapes layer as the prompts of one object."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from psygnal import Signal

from napari_sam._bridge.coordinates import edges_to_box
from napari_sam._bridge.preview_layer import PLUGIN_NAME
from napari_sam.structures.prompts import BoxPrompt, PointPrompt, PromptSet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel
    from napari.layers import Layer, Points, Shapes

    from napari_sam._bridge.coordinates import PlaneMap
    from napari_sam.annotation.ports import PlaneKey

POSITIVE = "positive"
NEGATIVE = "negative"
# Sky blue and vermilion of the Okabe-Ito palette: told apart with any colour vision.
COLORS = {POSITIVE: "#56b4e9", NEGATIVE: "#d55e00"}
SYMBOLS = {POSITIVE: "disc", NEGATIVE: "x"}
BOX_COLOR = "#f0e442"
MIN_BOX_PX = 3.0
"""A rectangle tool clicked without a drag leaves a box smaller than this."""


@dataclass(frozen=True, slots=True)
class CollectedPrompts:
    """What lies on one plane.

    Attributes
    ----------
    prompts : PromptSet
        Everything the model can use.
    n_outside : int
        Points beside the image, and boxes too small or beside it: left out.
    n_boxes : int
        Boxes on the plane; only the one touched last counts.
    """

    prompts: PromptSet
    n_outside: int = 0
    n_boxes: int = 0

    @property
    def is_only_negative(self) -> bool:
        """Whether all that is said is what the object is not."""
        points = self.prompts.points
        has_object = self.prompts.box is not None or any(p.label for p in points)
        return bool(points) and not has_object


class PromptLayers:
    """Makes the two layers, listens to them and reads them.

    Parameters
    ----------
    plane_map : PlaneMap
        The image to be prompted.

    Attributes
    ----------
    changed : Signal()
        A prompt was added, moved, removed, or changed its polarity.
    polarity_changed : Signal(str)
        What the next point will be.
    """

    changed: ClassVar[Signal] = Signal()
    polarity_changed: ClassVar[Signal] = Signal(str)

    def __init__(self, plane_map: PlaneMap) -> None:
        self._map = plane_map
        self._is_silent = False
        self._is_connected = False
        self._active_box = -1
        self.points: Points | None = None
        self.boxes: Shapes | None = None

    def add_to(self, viewer: ViewerModel) -> None:
        """Add both layers on top and make the points layer the active one."""
        self._add_boxes(viewer)
        self._add_points(viewer)
        self.use_tool(viewer, "point")

    def _add_boxes(self, viewer: ViewerModel) -> None:
        from napari.layers import Shapes

        self.boxes = Shapes(
            name="SAM boxes",
            edge_color=BOX_COLOR,
            edge_width=self._size / 5,
            face_color="transparent",
            **self._common(),
        )
        self._active_box = -1
        viewer.add_layer(self.boxes)

    def _add_points(self, viewer: ViewerModel) -> None:
        from napari.layers import Points

        self.points = Points(
            name="SAM points",
            size=self._size,
            property_choices={"polarity": [POSITIVE, NEGATIVE]},
            face_color="polarity",
            face_color_cycle=COLORS,
            border_color="white",
            border_width=0.1,
            **self._common(),
        )
        viewer.add_layer(self.points)
        self.set_polarity(POSITIVE)

    @property
    def _size(self) -> float:
        """Diameter of a point, in pixels of the image."""
        return max(3.0, 0.018 * max(self._map.shape[-2:]))

    def _common(self) -> dict[str, Any]:
        return {
            "ndim": self._map.ndim,
            "metadata": {PLUGIN_NAME: {"role": "prompts"}},
            **self._map.transforms(),
        }

    def remove_from(self, viewer: ViewerModel) -> None:
        """Take the layers out of the viewer."""
        self.disconnect()
        for layer in (self.points, self.boxes):
            if layer is not None and layer in viewer.layers:
                viewer.layers.remove(layer)
        self.points = self.boxes = None

    def forget(self, layer: Layer) -> bool:
        """Do without a layer that the user removed; whether it was one of ours."""
        is_ours = False
        if self.points is not None and layer == self.points:
            self.points, is_ours = None, True
        elif self.boxes is not None and layer == self.boxes:
            self.boxes, is_ours = None, True
        if is_ours and not self._is_silent:
            self.changed.emit()
        return is_ours

    @property
    def is_gone(self) -> bool:
        """Whether both layers were removed."""
        return self.points is None and self.boxes is None

    def drop_missing(self, viewer: ViewerModel) -> bool:
        """Forget layers removed while nobody listened; whether one is left."""
        if self.points is not None and self.points not in viewer.layers:
            self.points = None
        if self.boxes is not None and self.boxes not in viewer.layers:
            self.boxes = None
        return not self.is_gone

    def connect(self) -> None:
        """Begin to listen; harmless when connected."""
        if self._is_connected:
            return
        self._is_connected = True
        if self.points is not None:
            self.points.events.data.connect(self._on_points)
            self.points.events.features.connect(self._on_features)
            self.points.events.feature_defaults.connect(self._on_default)
        if self.boxes is not None:
            self.boxes.events.data.connect(self._on_boxes)

    def disconnect(self) -> None:
        """Stop listening; harmless when not connected."""
        self._is_connected = False
        if self.points is not None:
            self.points.events.data.disconnect(self._on_points)
            self.points.events.features.disconnect(self._on_features)
            self.points.events.feature_defaults.disconnect(self._on_default)
        if self.boxes is not None:
            self.boxes.events.data.disconnect(self._on_boxes)

    @property
    def polarity(self) -> str:
        """What the next point will be."""
        if self.points is None:
            return POSITIVE
        return str(self.points.feature_defaults["polarity"].iloc[0])

    def set_polarity(self, polarity: str) -> None:
        """Let the next points be positive or negative; existing ones stay."""
        points = self.points
        if points is None:
            return
        # With points selected, napari would change those as well.
        points.selected_data = set()
        points.current_symbol = SYMBOLS[polarity]
        points.feature_defaults = {"polarity": polarity}

    def use_tool(self, viewer: ViewerModel, tool: str) -> None:
        """Make the layer of a tool ("point" or "box") active and ready to draw.

        A layer that the user removed is made anew; its next points are positive.
        """
        if (self.points if tool == "point" else self.boxes) is None:
            was_connected = self._is_connected
            self.disconnect()
            add = self._add_points if tool == "point" else self._add_boxes
            add(viewer)
            if was_connected:
                self.connect()
        layer = self.points if tool == "point" else self.boxes
        if layer is None:  # pragma: no cover  it was just made
            return
        viewer.layers.selection.active = layer
        layer.mode = "add" if tool == "point" else "add_rectangle"

    def collect(self, key: PlaneKey) -> CollectedPrompts:
        """Read the prompts that lie on a plane."""
        points, n_outside = self._collect_points(key)
        box, n_boxes, n_bad = self._collect_box(key)
        prompts = PromptSet(points=tuple(points), box=box)
        return CollectedPrompts(prompts, n_outside + n_bad, n_boxes)

    def clear(self, key: PlaneKey) -> None:
        """Remove the prompts of a plane; those of other planes stay."""
        with self._silence():
            if self.points is not None and len(self.points.data):
                pixels = self._map.layer_to_pixels(self.points, self.points.data)
                is_on, _ = self._map.on_plane(key, pixels)
                self.points.remove(np.flatnonzero(is_on).tolist())
            if self.boxes is not None:
                indices = [index for index, _ in self._boxes_on(key)]
                self.boxes.remove(indices)
        self.changed.emit()

    def _collect_points(self, key: PlaneKey) -> tuple[list[PointPrompt], int]:
        layer = self.points
        if layer is None or len(layer.data) == 0:
            return [], 0
        is_on, yx = self._map.on_plane(
            key, self._map.layer_to_pixels(layer, layer.data)
        )
        shape = np.asarray(self._map.plane_shape(key))
        is_inside = ((yx >= -0.5) & (yx < shape - 0.5)).all(axis=1)
        labels = layer.features["polarity"].to_numpy() != NEGATIVE
        prompts = [
            PointPrompt((float(yx[i, 0]), float(yx[i, 1])), int(labels[i]))
            for i in np.flatnonzero(is_on & is_inside)
        ]
        return prompts, int((is_on & ~is_inside).sum())

    def _collect_box(self, key: PlaneKey) -> tuple[BoxPrompt | None, int, int]:
        found = self._boxes_on(key)
        height, width = self._map.plane_shape(key)
        usable: list[tuple[int, BoxPrompt]] = []
        for index, vertices in found:
            y0, x0, y1, x1 = edges_to_box(vertices)
            is_beside = y1 <= 0 or x1 <= 0 or y0 >= height or x0 >= width
            if min(y1 - y0, x1 - x0) >= MIN_BOX_PX and not is_beside:
                usable.append((index, BoxPrompt(y0, x0, y1, x1)))
        if not usable:
            return None, 0, len(found)
        chosen = dict(usable).get(self._active_box, usable[-1][1])
        return chosen, len(usable), len(found) - len(usable)

    def _boxes_on(self, key: PlaneKey) -> list[tuple[int, Any]]:
        """Index and (n, 2) vertices of every shape on a plane."""
        if self.boxes is None:
            return []
        found = []
        for index, vertices in enumerate(self.boxes.data):
            pixels = self._map.layer_to_pixels(self.boxes, vertices)
            is_on, yx = self._map.on_plane(key, pixels)
            if is_on.all():
                found.append((index, yx))
        return found

    @contextmanager
    def _silence(self) -> Iterator[None]:
        self._is_silent = True
        try:
            yield
        finally:
            self._is_silent = False

    def _on_points(self, event: Any) -> None:
        if _is_done(event):
            self._announce()

    def _on_boxes(self, event: Any) -> None:
        if not _is_done(event):
            return
        touched = tuple(event.data_indices)
        n_boxes = 0 if self.boxes is None else len(self.boxes.data)
        is_removal = str(getattr(event.action, "value", event.action)) == "removed"
        self._active_box = (
            -1 if is_removal or not touched else touched[-1] % max(n_boxes, 1)
        )
        self._announce()

    def _on_features(self, event: Any = None) -> None:
        """Let colours and symbols follow a point that changed sides."""
        if self._is_silent or self.points is None:
            return
        polarity = self.points.features["polarity"].to_numpy()
        if len(polarity) != len(self.points.data):
            return
        with self._silence():
            self.points.refresh_colors()
            if len(polarity):
                self.points.symbol = [SYMBOLS.get(str(p), "disc") for p in polarity]
        self._announce()

    def _on_default(self, event: Any = None) -> None:
        self.polarity_changed.emit(self.polarity)

    def _announce(self) -> None:
        if not self._is_silent:
            self.changed.emit()


def _is_done(event: Any) -> bool:
    """Whether a data event tells of a finished change."""
    action = getattr(event, "action", None)
    name = str(getattr(action, "value", action))
    return name in ("added", "removed", "changed")


def is_own_helper(layer: object) -> bool:
    """Whether a layer of ours only takes prompts or shows a preview."""
    about = getattr(layer, "metadata", {}).get(PLUGIN_NAME, {})
    return about.get("role") in ("prompts", "preview")

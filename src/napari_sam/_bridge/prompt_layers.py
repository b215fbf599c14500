# SPDX-License-Identifier: Apache-2.0
"""The prompts of one object as items of a Points and a Shapes layer, both ways."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal

from napari_sam._bridge import prompt_points
from napari_sam._bridge.prompt_matching import CollectedPrompts, snapped
from napari_sam._bridge.prompt_shapes import SHAPE_MODES, PromptShapes
from napari_sam._bridge.prompt_style import (
    COLORS,
    NEGATIVE,
    POSITIVE,
    is_own_helper,
    polarity_of,
)
from napari_sam.structures.drawn import DrawnPrompts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari.components import ViewerModel
    from napari.layers import Layer, Points, Shapes

    from napari_sam._bridge.coordinates import PlaneMap
    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.structures.drawn import DrawnShape
    from napari_sam.structures.prompts import PointPrompt

__all__ = [
    "COLORS",
    "NEGATIVE",
    "POSITIVE",
    "TOOLS",
    "CollectedPrompts",
    "PromptLayers",
    "is_own_helper",
]

TOOLS = ("point", *SHAPE_MODES)
"""What `PromptLayers.use_tool` understands."""


class PromptLayers:
    """Makes the two layers, listens to them, reads them and fills them.

    Parameters
    ----------
    plane_map : PlaneMap
        The image to be prompted.
    later : callable, optional
        Calls a function once the present event has been dealt with.

    Attributes
    ----------
    points, shapes : napari layers or None
        None after the user removed one.
    changed : Signal()
        A prompt was added, moved, removed, or changed its polarity.
    polarity_changed : Signal(str)
        What the next point or scribble will be.
    tool_changed : Signal(str)
        One of `TOOLS` was taken up, here or in napari's own controls.
    """

    changed: ClassVar[Signal] = Signal()
    polarity_changed: ClassVar[Signal] = Signal(str)
    tool_changed: ClassVar[Signal] = Signal(str)

    def __init__(
        self,
        plane_map: PlaneMap,
        later: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._map = plane_map
        self._later = later
        self._is_silent = False
        self._is_connected = False
        self._is_in_event = False
        self._waiting: dict[PlaneKey, DrawnPrompts] = {}
        self._known: dict[PlaneKey, DrawnPrompts] = {}
        self._polarities: dict[str, tuple[str, ...]] = {}
        self._shapes: PromptShapes | None = None
        self.points: Points | None = None

    @property
    def shapes(self) -> Shapes | None:
        """The Shapes layer."""
        return None if self._shapes is None else self._shapes.layer

    def add_to(self, viewer: ViewerModel) -> None:
        """Add both layers on top and make the points layer the active one."""
        self._add_shapes(viewer)
        self._add_points(viewer)
        self.use_tool(viewer, "point")

    def _add_shapes(self, viewer: ViewerModel) -> None:
        self._shapes = PromptShapes(self._map)
        viewer.add_layer(self._shapes.layer)

    def _add_points(self, viewer: ViewerModel) -> None:
        self.points = prompt_points.make_points(self._map)
        viewer.add_layer(self.points)

    def fit_to(self, step: float) -> None:
        """Let edges of shapes suit a view; see `PromptShapes.fit_to`."""
        if self._shapes is not None:
            with self._silence():
                self._shapes.fit_to(step)

    def remove_from(self, viewer: ViewerModel) -> None:
        """Take the layers out of the viewer."""
        self.disconnect()
        for layer in (self.points, self.shapes):
            if layer is not None and layer in viewer.layers:
                viewer.layers.remove(layer)
        self.points = self._shapes = None
        self._known.clear()

    def forget(self, layer: Layer) -> bool:
        """Do without a layer that the user removed; whether it was one of ours.

        That is told later: a viewer that is closing removes all layers, which is no
        wish to remove prompts.
        """
        is_ours = False
        if self.points is not None and layer == self.points:
            self.points, is_ours = None, True
        elif self.shapes is not None and layer == self.shapes:
            self._shapes, is_ours = None, True
        if is_ours and self._later is not None:
            self._later(self._announce)
        elif is_ours:
            self._announce()
        return is_ours

    @property
    def is_gone(self) -> bool:
        """Whether both layers were removed."""
        return self.points is None and self._shapes is None

    def drop_missing(self, viewer: ViewerModel) -> bool:
        """Forget layers removed while nobody listened; whether one is left."""
        if self.points is not None and self.points not in viewer.layers:
            self.points = None
        if self.shapes is not None and self.shapes not in viewer.layers:
            self._shapes = None
        return not self.is_gone

    def connect(self) -> None:
        """Begin to listen; harmless when connected."""
        if self._is_connected:
            return
        self._is_connected = True
        for event, slot in self._connections():
            event.connect(slot)

    def disconnect(self) -> None:
        """Stop listening; harmless when not connected."""
        self._is_connected = False
        for event, slot in self._connections():
            event.disconnect(slot)

    def _connections(self) -> list[tuple[Any, Any]]:
        pairs: list[tuple[Any, Any]] = []
        if self.points is not None:
            events = self.points.events
            pairs += [
                (events.data, self._on_points),
                (events.features, self._on_point_features),
                (events.feature_defaults, self._on_point_default),
                (events.mode, self._on_mode),
            ]
        if self.shapes is not None:
            events = self.shapes.events
            pairs += [
                (events.data, self._on_shapes),
                (events.features, self._on_shape_features),
                (events.feature_defaults, self._on_shape_default),
                (events.mode, self._on_mode),
            ]
        return pairs

    @property
    def polarity(self) -> str:
        """What the next point or scribble will be."""
        layer = self.shapes if self.points is None else self.points
        return POSITIVE if layer is None else polarity_of(layer)

    def set_polarity(self, polarity: str) -> None:
        """Let the next prompts be positive or negative; existing ones stay."""
        with self._silence():
            if self.points is not None:
                prompt_points.set_next_point(self.points, polarity)
            if self._shapes is not None:
                self._shapes.set_next(polarity)
        self.polarity_changed.emit(self.polarity)

    def use_tool(self, viewer: ViewerModel, tool: str) -> None:
        """Make the layer of one of `TOOLS` active and ready to draw.

        A layer that the user removed is made anew; its next points are positive.
        """
        is_point = tool == "point"
        if (self.points if is_point else self.shapes) is None:
            was_connected = self._is_connected
            self.disconnect()
            add = self._add_points if is_point else self._add_shapes
            add(viewer)
            if was_connected:
                self.connect()
        layer = self.points if is_point else self.shapes
        if layer is None:  # pragma: no cover  it was just made
            return
        viewer.layers.selection.active = layer
        layer.mode = "add" if is_point else SHAPE_MODES[tool]

    def is_point_tool(self, viewer: ViewerModel) -> bool:
        """Whether clicks on the canvas are to become points."""
        points = self.points
        return (
            points is not None
            and viewer.layers.selection.active == points
            and str(points.mode) == "add"
        )

    def collect(self, key: PlaneKey) -> CollectedPrompts:
        """Read the prompts that lie on a plane."""
        self._settle()
        points: list[PointPrompt] = []
        shapes: list[DrawnShape] = []
        n_outside = n_bad = 0
        if self.points is not None:
            points, n_outside = prompt_points.read_points(self.points, self._map, key)
        if self._shapes is not None:
            shapes, n_bad = self._shapes.read(key)
        known = self._known.get(key, DrawnPrompts())
        drawn = snapped(DrawnPrompts(tuple(points), tuple(shapes), known.mask), known)
        self._remember(key, drawn)
        n_boxes = sum(not shape.kind.is_scribble for shape in drawn.shapes)
        return CollectedPrompts(drawn, n_outside + n_bad, n_boxes)

    def show(self, key: PlaneKey, drawn: DrawnPrompts) -> None:
        """Let a plane hold exactly these prompts, without a `changed`.

        Nothing is touched if they are there already, so that an answer to `changed`
        does not come back. Prompts that cannot be used stay until there are no others.
        """
        if self._is_in_event:
            # napari is in the middle of its own change of the layer.
            self._waiting[key] = drawn
            if self._later is not None:
                self._later(self._settle)
            return
        self._waiting.pop(key, None)
        found = self.collect(key)
        now = snapped(found.drawn, drawn)
        has_waste = drawn.is_empty and found.n_outside > 0
        with self._silence():
            if self.points is not None and (now.points != drawn.points or has_waste):
                prompt_points.write_points(self.points, self._map, key, drawn.points)
            if self._shapes is not None and (now.shapes != drawn.shapes or has_waste):
                self._shapes.write(key, drawn.shapes)
        self._remember(key, drawn)

    def clear(self, key: PlaneKey) -> None:
        """Remove the prompts of a plane; those of other planes stay."""
        self.show(key, DrawnPrompts())
        self.changed.emit()

    def show_rubber_band(
        self, key: PlaneKey, box: tuple[float, float, float, float] | None
    ) -> None:
        """Show the box being dragged, (y0, x0, y1, x1) as drawn; None ends it."""
        if self._shapes is not None:
            with self._silence():
                self._shapes.show_rubber_band(key, box)

    def _settle(self) -> None:
        """Show what had to wait for the end of an event."""
        if self._is_in_event:
            return
        waiting, self._waiting = self._waiting, {}
        for key, drawn in waiting.items():
            self.show(key, drawn)

    def _remember(self, key: PlaneKey, drawn: DrawnPrompts) -> None:
        if drawn.is_empty:
            self._known.pop(key, None)
        else:
            self._known[key] = drawn

    @contextmanager
    def _silence(self) -> Iterator[None]:
        was_silent, self._is_silent = self._is_silent, True
        try:
            yield
        finally:
            self._is_silent = was_silent

    def _on_points(self, event: Any) -> None:
        if _is_done(event) and self.points is not None:
            self._polarities["points"] = _column(self.points)
            self._announce()

    def _on_shapes(self, event: Any) -> None:
        if not _is_done(event) or self._shapes is None:
            return
        is_silent = self._is_silent
        with self._silence():
            self._shapes.note_event(event)
            if not is_silent:
                self._shapes.follow_polarity()
        self._polarities["shapes"] = _column(self._shapes.layer)
        self._announce()

    def _on_point_features(self, event: Any = None) -> None:
        if self.points is not None and self._is_news("points", self.points):
            with self._silence():
                prompt_points.follow_polarity(self.points)
            self._announce()

    def _on_shape_features(self, event: Any = None) -> None:
        if self._shapes is not None and self._is_news("shapes", self._shapes.layer):
            with self._silence():
                self._shapes.follow_polarity()
            self._announce()

    def _is_news(self, name: str, layer: Any) -> bool:
        """Whether polarities changed, and not only with points coming and going."""
        column = _column(layer)
        if self._is_silent or column == self._polarities.get(name):
            return False
        self._polarities[name] = column
        return len(column) == len(layer.data)

    def _on_point_default(self, event: Any = None) -> None:
        if not self._is_silent and self.points is not None:
            with self._silence():
                if self._shapes is not None:
                    self._shapes.set_next(polarity_of(self.points))
            self.polarity_changed.emit(self.polarity)

    def _on_shape_default(self, event: Any = None) -> None:
        if not self._is_silent and self.shapes is not None:
            with self._silence():
                if self.points is not None:
                    prompt_points.set_next_point(self.points, polarity_of(self.shapes))
            self.polarity_changed.emit(self.polarity)

    def _on_mode(self, event: Any) -> None:
        mode = str(event.mode)
        tools = {"add": "point"} | {mode: tool for tool, mode in SHAPE_MODES.items()}
        if mode in tools:
            self.tool_changed.emit(tools[mode])

    def _announce(self) -> None:
        if self._is_silent:
            return
        was_in_event, self._is_in_event = self._is_in_event, True
        try:
            self.changed.emit()
        finally:
            self._is_in_event = was_in_event


def _column(layer: Points | Shapes) -> tuple[str, ...]:
    return tuple(str(value) for value in layer.features["polarity"].to_numpy())


def _is_done(event: Any) -> bool:
    """Whether a data event tells of a finished change."""
    action = getattr(event, "action", None)
    name = str(getattr(action, "value", action))
    return name in ("added", "removed", "changed")

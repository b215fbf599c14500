# SPDX-License-Identifier: Apache-2.0
"""Proposals of one plane in one small-typed Labels layer, coloured by their score."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from psygnal import Signal

from napari_sam._bridge.preview_layer import PLUGIN_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt
    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_sam._bridge.coordinates import PlaneMap
    from napari_sam.annotation.proposals import Proposals

N_SHADES = 32
"""Steps of the colours from the lowest to the highest predicted IoU."""
HIGHLIGHT = 2 * N_SHADES + 1
FILL_OPACITY, OUTLINE_OPACITY = 0.3, 0.95
COLORMAP = "plasma"
DARKEST = 0.3
"""Part of the colour map that is left out: too dark to be seen on an image."""
DRAG_PX = 4.0
"""A press that moves further than this on the canvas moves the view."""


class ProposalLayer:
    """Shows proposals and tells which one the pointer means.

    The layer holds one byte per pixel that was searched, whatever the number of
    proposals; a filter that moves is one painting of what is left.

    Parameters
    ----------
    plane_map : PlaneMap
        The image that the proposals belong to.

    Attributes
    ----------
    layer : napari.layers.Labels or None
    taken, dropped : Signal(int)
        A proposal was clicked; with Ctrl (Cmd) or the right button it is dropped.
    hovered : Signal(int or None)
        The proposal under the pointer.
    """

    taken: ClassVar[Signal] = Signal(int)
    dropped: ClassVar[Signal] = Signal(int)
    hovered: ClassVar[Signal] = Signal(object)

    def __init__(self, plane_map: PlaneMap) -> None:
        self._map = plane_map
        self._viewer: weakref.ref[ViewerModel] | None = None
        self._proposals: Proposals | None = None
        self._fills: npt.NDArray[np.uint8] = np.zeros(0, dtype=np.uint8)
        self._canvas: npt.NDArray[np.uint8] | None = None
        self._under: int | None = None
        self.layer: Labels | None = None

    @property
    def under_pointer(self) -> int | None:
        """Id of the proposal under the pointer."""
        return self._under

    def show(self, viewer: ViewerModel, proposals: Proposals) -> None:
        """Show what can be taken of some proposals; the layer is made when missing."""
        self._viewer = weakref.ref(viewer)
        if proposals is not self._proposals:
            self._proposals = proposals
            self._fills = shades(proposals)
            self._hover(None)
        if self.layer is None or self.layer not in viewer.layers:
            self._add_to(viewer)
        layer = self.layer
        if layer is None:  # pragma: no cover  it was just made
            return
        self._place(layer, proposals)
        self.refresh()
        layer.visible = True

    def refresh(self) -> None:
        """Paint anew: filters have moved, or proposals were taken or dropped."""
        proposals, canvas, layer = self._proposals, self._canvas, self.layer
        if proposals is None or canvas is None or layer is None:
            return
        if (
            self._under is not None
            and not proposals.is_visible[proposals.number(self._under)]
        ):
            self._hover(None)
        fills, outlines = self._fills, self._fills + N_SHADES
        if self._under is not None:
            outlines[proposals.number(self._under)] = HIGHLIGHT
        proposals.paint(canvas, fills, outlines)
        layer.refresh(thumbnail=False, highlight=False, extent=False)

    def clear(self) -> None:
        """Show nothing."""
        self._proposals = None
        self._hover(None)
        if self.layer is not None:
            self.layer.visible = False

    def remove_from(self, viewer: ViewerModel) -> None:
        """Take the layer out of the viewer."""
        self.clear()
        if self.layer is not None and self.layer in viewer.layers:
            viewer.layers.remove(self.layer)
        self.layer = self._canvas = None

    def activate(self, viewer: ViewerModel) -> None:
        """Let clicks mean proposals: napari gives them to the active layer."""
        if self.layer is not None and self.layer in viewer.layers:
            viewer.layers.selection.active = self.layer

    def _add_to(self, viewer: ViewerModel) -> None:
        """Make the layer on top of the others, without selecting it."""
        from napari.layers import Labels
        from napari.utils.colormaps import DirectLabelColormap

        selected = set(viewer.layers.selection)
        active = viewer.layers.selection.active
        self._canvas = None
        self.layer = Labels(
            np.zeros((1,) * self._map.ndim, dtype=np.uint8),
            name="SAM proposals",
            colormap=DirectLabelColormap(color_dict=colors()),
            opacity=1.0,
            metadata={PLUGIN_NAME: {"role": "preview", "shows": "proposals"}},
            **self._map.transforms(),
        )
        viewer.add_layer(self.layer)
        self.layer.editable = False
        self.layer.mouse_drag_callbacks.append(self._on_press)
        self.layer.mouse_move_callbacks.append(self._on_move)
        if selected:
            viewer.layers.selection = selected
            viewer.layers.selection.active = active

    def _place(self, layer: Labels, proposals: Proposals) -> None:
        """Let the layer lie on the proposals' part of their plane."""
        key = proposals.plane
        shape = self._map.crop_shape(key, proposals.size)
        if self._canvas is None or layer.data.shape != shape:
            # Columns lie together in memory, as in the proposals' own tables.
            self._canvas = np.zeros(proposals.size, dtype=np.uint8, order="F")
            layer.data = self._canvas.reshape(shape)
        place = self._map.transforms(self._map.crop_start(key, proposals.part))
        for name in ("scale", "rotate", "shear", "affine", "translate"):
            setattr(layer, name, place[name])

    def _hover(self, proposal_id: int | None) -> bool:
        if proposal_id == self._under:
            return False
        self._under = proposal_id
        self.hovered.emit(proposal_id)
        return True

    def _at(self, event: Any) -> int | None:
        viewer = None if self._viewer is None else self._viewer()
        proposals = self._proposals
        if viewer is None or proposals is None:
            return None
        found = self._map.pointer_yx(viewer.dims, event.position)
        if found is None or found[0] != proposals.plane:
            return None
        y, x = found[1]
        return proposals.at((round(y), round(x)))

    def _on_move(self, layer: Labels, event: Any) -> None:
        if self._hover(self._at(event)):
            self.refresh()

    def _on_press(self, layer: Labels, event: Any) -> Iterator[None]:
        proposal_id = self._at(event)
        start = np.asarray(event.pos, dtype=float)
        is_drop = event.button == 2 or "Control" in event.modifiers
        yield
        while event.type == "mouse_move":
            if np.abs(np.asarray(event.pos, dtype=float) - start).max() > DRAG_PX:
                return  # the view is being moved
            yield
        if proposal_id is not None:
            (self.dropped if is_drop else self.taken).emit(proposal_id)


def shades(proposals: Proposals) -> npt.NDArray[np.uint8]:
    """Value that each proposal is filled with, 1 to `N_SHADES`, by predicted IoU."""
    scores = proposals.statistics["predicted_iou"]
    low, high = proposals.extent("predicted_iou")
    part = (np.nan_to_num(scores, nan=low) - low) / max(high - low, 1e-9)
    steps = np.clip(np.floor(part * N_SHADES), 0, N_SHADES - 1)
    return np.asarray(1 + steps, dtype=np.uint8)


def colors() -> dict[int | None, Any]:
    """Colours of the values: light fills, their outlines, and the one highlighted."""
    from napari.utils.colormaps import ensure_colormap

    ramp = ensure_colormap(COLORMAP).map(np.linspace(DARKEST, 1.0, N_SHADES))
    result: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    for number, (r, g, b, _) in enumerate(ramp.tolist(), start=1):
        result[number] = (r, g, b, FILL_OPACITY)
        result[number + N_SHADES] = (r, g, b, OUTLINE_OPACITY)
    result[HIGHLIGHT] = (1.0, 1.0, 1.0, 1.0)
    return result

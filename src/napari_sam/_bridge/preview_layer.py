# SPDX-License-Identifier: Apache-2.0
"""How a mask is shown before it is accepted: an outline and a light fill."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import ImageError
from napari_sam.structures.mask_sketch import MaskSketch
from napari_sam.structures.mask_window import MaskWindow

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_sam._bridge.coordinates import PlaneMap
    from napari_sam.structures.arrays import BoolMask, HalfOpenBox

PLUGIN_NAME = "napari-sam-live"
FILL, OUTLINE = 1, 2
"""Values of the layer's pixels."""
NOTHING = MaskWindow(0, 0, np.zeros((0, 0), dtype=np.bool_))
MIN_STAGE_PX = 2048
"""Side of the layer: moving it costs the viewer far more than drawing in it."""
MAX_DRAWN_PX = 4096
"""A longer mask is drawn in pixels of several; what is written has all of them."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """Which part of a grid on a plane the layer holds.

    Attributes
    ----------
    key : PlaneKey
    corner_yx, step_yx : (float, float)
        The grid, as of `MaskSketch`.
    box : (y0, x0, y1, x1)
        Pixels of the grid.
    """

    key: PlaneKey
    corner_yx: tuple[float, float]
    step_yx: tuple[float, float]
    box: HalfOpenBox

    def holds(self, key: PlaneKey, sketch: MaskSketch) -> bool:
        grid = (key, sketch.corner_yx, sketch.step_yx)
        y0, x0, y1, x1 = self.box
        box = sketch.window.box
        return (
            grid == (self.key, self.corner_yx, self.step_yx)
            and y0 <= box[0]
            and x0 <= box[1]
            and box[2] <= y1
            and box[3] <= x1
        )


@dataclass(frozen=True, slots=True)
class PreviewStyle:
    """How one kind of preview looks.

    Attributes
    ----------
    name : str
        Name of the layer.
    color : (r, g, b)
        Saturated, so that it is told from grey images and from stains.
    fill, outline : float
        Opacity, 0 to 1.
    """

    name: str
    color: tuple[float, float, float]
    fill: float
    outline: float


OFFERED = PreviewStyle("SAM preview", (0.0, 0.95, 0.95), fill=0.3, outline=1.0)
HOVERED = PreviewStyle("SAM hover", (1.0, 0.9, 0.0), fill=0.15, outline=0.85)


class PreviewLayer:
    """A Labels layer that lies on a part of a plane and holds one mask at a time.

    The layer stays where it is while masks fit into it, and only the pixels of the mask
    before and of the new one are drawn: what showing a mask costs does not depend on
    the size of the image.

    Parameters
    ----------
    plane_map : PlaneMap
        The image that the masks belong to.
    style : PreviewStyle
        `OFFERED` or `HOVERED`.
    """

    def __init__(self, plane_map: PlaneMap, style: PreviewStyle = OFFERED) -> None:
        self._map = plane_map
        self._style = style
        self._stage: _Stage | None = None
        self._drawn: tuple[slice, slice] | None = None
        self.layer: Labels | None = None

    def show(
        self, viewer: ViewerModel, key: PlaneKey, mask: MaskWindow | MaskSketch
    ) -> None:
        """Show a mask on its plane; an empty one hides the layer."""
        sketch = mask if isinstance(mask, MaskSketch) else sketched(mask)
        if not sketch.window.crop.any():
            self.clear()
            return
        if self.layer is None or self.layer not in viewer.layers:
            self.add_to(viewer)
        layer = self.layer
        if layer is None:  # pragma: no cover  add_to always makes one
            return
        window = sketch.window
        drawn = outlined(window.crop, self._thickness(key, sketch))
        is_on_stage = self._stage is not None and self._stage.holds(key, sketch)
        if not layer.visible or not is_on_stage or not self._is_in_place(layer):
            layer.visible = False  # else each of the changes would be shown
            self._set_stage(layer, key, sketch)
            self._draw(layer, window, drawn)
            layer.visible = True
            return
        erased = self._erase(layer)
        place = self._draw(layer, window, drawn)
        if self._is_displayed(viewer, key):
            pixels = self._pixels(layer)
            rows, columns = viewer.dims.displayed
            is_transposed = rows > columns
            for where in (erased, place):
                if where is not None:
                    _show_pixels(layer, pixels, where, is_transposed=is_transposed)
        else:
            layer.refresh()

    def follow_image(self) -> None:
        """Put the layer where the image has been moved to."""
        layer = self.layer
        if layer is None:
            return
        place = self._place()
        for name in ("scale", "rotate", "shear", "affine", "translate"):
            setattr(layer, name, place[name])

    def add_to(self, viewer: ViewerModel) -> None:
        """Add the layer, empty and hidden, without changing what is selected."""
        from napari.layers import Labels
        from napari.utils.colormaps import DirectLabelColormap

        selected = set(viewer.layers.selection)
        active = viewer.layers.selection.active
        style = self._style
        colors: dict[int | None, Any] = {
            None: "transparent",
            0: "transparent",
            FILL: (*style.color, style.fill),
            OUTLINE: (*style.color, style.outline),
        }
        self.layer = Labels(
            np.zeros((1,) * self._map.ndim, dtype=np.uint8),
            name=style.name,
            colormap=DirectLabelColormap(color_dict=colors),
            opacity=1.0,
            metadata={PLUGIN_NAME: {"role": "preview"}},
            visible=False,
            **self._map.transforms(),
        )
        self._stage = self._drawn = None
        viewer.add_layer(self.layer)
        self.layer.editable = False
        if selected:
            viewer.layers.selection = selected
            viewer.layers.selection.active = active

    def clear(self) -> None:
        """Show nothing."""
        if self.layer is not None and self.layer.visible:
            self.layer.visible = False

    def remove_from(self, viewer: ViewerModel) -> None:
        """Take the layer out of the viewer."""
        if self.layer is not None and self.layer in viewer.layers:
            viewer.layers.remove(self.layer)
        self.layer = self._stage = self._drawn = None

    def _set_stage(self, layer: Labels, key: PlaneKey, sketch: MaskSketch) -> None:
        """Let the layer lie around a mask, clean and inside the plane."""
        self._erase(layer)
        if self._stage is None or not self._stage.holds(key, sketch):
            self._build_stage(layer, key, sketch)
        if not self._is_in_place(layer):
            place = self._place()
            layer.scale, layer.translate = place["scale"], place["translate"]

    def _build_stage(self, layer: Labels, key: PlaneKey, sketch: MaskSketch) -> None:
        box = sketch.window.box
        limits = [
            math.ceil((length - corner) / step)
            for length, corner, step in zip(
                self._map.plane_shape(key),
                sketch.corner_yx,
                sketch.step_yx,
                strict=True,
            )
        ]
        sides = [
            _interval(first, last, limit)
            for first, last, limit in zip(box[:2], box[2:], limits, strict=True)
        ]
        (y0, y1), (x0, x1) = sides
        self._stage = _Stage(key, sketch.corner_yx, sketch.step_yx, (y0, x0, y1, x1))
        shape = self._map.crop_shape(key, (y1 - y0, x1 - x0))
        if layer.data.shape != shape:
            layer.data = np.zeros(shape, dtype=np.uint8)
            layer.editable = False  # which new data has made it again

    def _is_in_place(self, layer: Labels) -> bool:
        """Whether nobody has moved the layer, as those do who move all our layers."""
        place = self._place()
        return bool(
            np.allclose(layer.translate, place["translate"])
            and np.allclose(layer.scale, place["scale"])
        )

    def _place(self) -> dict[str, Any]:
        """Return the transforms of the layer."""
        stage = self._stage
        if stage is None:
            return self._map.transforms()
        grid = MaskSketch(NOTHING, stage.corner_yx, stage.step_yx)
        y, x = grid.to_plane((float(stage.box[0]), float(stage.box[1])))
        place = self._map.transforms([float(v) for v in stage.key.locate(y, x)])
        flat = PlaneKey(stage.key.axes, (1,) * len(stage.key.index))
        steps = np.asarray(flat.locate(*stage.step_yx), dtype=float)
        place["scale"] = np.asarray(place["scale"]) * steps
        return place

    def _pixels(self, layer: Labels) -> npt.NDArray[np.uint8]:
        """Return the layer's data as (h, w), a view."""
        y0, x0, y1, x1 = (0, 0, 1, 1) if self._stage is None else self._stage.box
        return layer.data.reshape(y1 - y0, x1 - x0)

    def _erase(self, layer: Labels) -> tuple[slice, slice] | None:
        where, self._drawn = self._drawn, None
        if where is not None:
            self._pixels(layer)[where] = 0
        return where

    def _draw(self, layer: Labels, mask: MaskWindow, drawn: Any) -> tuple[slice, slice]:
        y, x = self._stage.box[:2] if self._stage is not None else (0, 0)
        y0, x0, y1, x1 = mask.box
        self._drawn = slice(y0 - y, y1 - y), slice(x0 - x, x1 - x)
        self._pixels(layer)[self._drawn] = drawn
        return self._drawn

    def _is_displayed(self, viewer: ViewerModel, key: PlaneKey) -> bool:
        try:
            return self._map.plane_key(viewer.dims) == key
        except ImageError:
            return False

    def _thickness(self, key: PlaneKey, sketch: MaskSketch) -> int:
        """Width of the outline in pixels: two at the usual size of a window.

        A plane that is far larger than a window is looked at from near, so there the
        outline goes by the mask.
        """
        length = max(self._map.plane_shape(key)) / max(sketch.step_yx)
        usual = max(1, round(length / 500))
        if length <= MAX_DRAWN_PX:
            return usual
        return min(usual, max(1, round(max(sketch.window.crop.shape) / 100)))


def sketched(mask: MaskWindow) -> MaskSketch:
    """Return a mask to be drawn: pixel by pixel, or every n-th of a very long one."""
    n = math.ceil(max(mask.crop.shape) / MAX_DRAWN_PX)
    if n <= 1:
        return MaskSketch(mask)
    thin = MaskWindow(0, 0, np.ascontiguousarray(mask.crop[::n, ::n]))
    corner = (float(mask.y0), float(mask.x0))
    return MaskSketch(thin, corner, (float(n), float(n)))


def outlined(mask: BoolMask, thickness: int) -> npt.NDArray[np.uint8]:
    """Draw a mask as `FILL` with an `OUTLINE` along its inner edge.

    Parameters
    ----------
    mask : (h, w) bool array
        The mask's window.
    thickness : int
        Width of the outline; never so wide that a small mask has no inside.

    Returns
    -------
    (h, w) uint8 array
    """
    h, w = mask.shape
    t = max(1, min(thickness, min(h, w) // 6))
    padded = np.pad(mask, t)
    inside = (
        padded[: -2 * t, t:-t]
        & padded[2 * t :, t:-t]
        & padded[t:-t, : -2 * t]
        & padded[t:-t, 2 * t :]
        & mask
    )
    drawn = np.zeros(mask.shape, dtype=np.uint8)
    drawn[mask] = OUTLINE
    drawn[inside] = FILL
    return drawn


def _interval(first: int, last: int, limit: int) -> tuple[int, int]:
    """Interval around [first, last), inside [0, limit), of one of few sizes."""
    size = min(limit, max(MIN_STAGE_PX, 1 << (last - first - 1).bit_length()))
    start = max(0, min((first + last - size) // 2, limit - size))
    return start, start + size


def _show_pixels(
    layer: Labels, pixels: Any, where: tuple[slice, slice], *, is_transposed: bool
) -> None:
    """Send a part of the pixels to the screen, as napari's own brush does.

    With this colormap, what is sent is what the array holds.
    """
    part, offset = pixels[where], [where[0].start, where[1].start]
    if is_transposed:
        part, offset = part.T, offset[::-1]
    layer.events.labels_update(data=np.ascontiguousarray(part), offset=offset)

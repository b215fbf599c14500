# SPDX-License-Identifier: Apache-2.0
"""What a window shows of labels with levels, after they were written to."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image

from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.label_layer import LayerLabelStore
from napari_sam.annotation.ports import PlaneKey
from napari_sam.structures.labels import LabelEdit

SIDE = 6000
KEY = PlaneKey()


@pytest.mark.render
@pytest.mark.parametrize("zoom", [0.08, 1.0, 4.0])
def test_a_written_object_appears_where_it_is(viewer, zoom):
    from qtpy.QtWidgets import QApplication

    model = viewer.__wrapped__
    plane_map = PlaneMap(
        Image(np.broadcast_to(np.uint8(0), (SIDE, SIDE))), (SIDE, SIDE), (1.0, 1.0)
    )
    levels = [np.zeros((SIDE // f, SIDE // f), np.uint32) for f in (1, 2, 4, 8)]
    layer = model.add_labels(levels, multiscale=True, opacity=1)
    model.scene.camera.center = (0, 3100, 2900)
    model.scene.camera.zoom = zoom
    for _ in range(3):
        QApplication.processEvents()
    store = LayerLabelStore(layer, plane_map, is_empty=True)
    half = int(40 / zoom)
    box = (3100 - half, 2900 - half, 3100 + half, 2900 + half)
    new = np.full((2 * half, 2 * half), 7, np.uint32)
    edit = LabelEdit(box, np.zeros_like(new), new)

    def colour_at(y: float, x: float) -> tuple[int, ...]:
        QApplication.processEvents()
        picture = model.screenshot(canvas_only=True, flash=False)
        row = picture.shape[0] / 2 + (y - 3100) * zoom
        column = picture.shape[1] / 2 + (x - 2900) * zoom
        return tuple(picture[round(row), round(column), :3].tolist())

    ground = colour_at(3100, 2900)
    store.write(KEY, edit)
    inside = [(0, 0), (-0.8, -0.8), (0.8, 0.8)]
    outside = [(-1.3, 0), (1.3, 0), (0, -1.3), (0, 1.3)]
    shown = {colour_at(3100 + dy * half, 2900 + dx * half) for dy, dx in inside}
    assert len(shown) == 1
    assert ground not in shown
    for dy, dx in outside:
        assert colour_at(3100 + dy * half, 2900 + dx * half) == ground
    store.write(KEY, edit.inverse())
    assert colour_at(3100, 2900) == ground

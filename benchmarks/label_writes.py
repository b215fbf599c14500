# SPDX-License-Identifier: Apache-2.0
"""What writing an object into labels and taking it back costs, by size of the layer.

    xvfb-run -a -s "-screen 0 1600x1200x24" python benchmarks/label_writes.py
             [--sides 1024 8192 32768] [--out FILE]

Objects are discs of 40 pixels, written at random places of what is on screen in a real
viewer; the window is drawn before the clock stops.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image
from paired import Row, machine, save
from qtpy.QtCore import QEventLoop, QTimer
from viewer_tools import open_viewer, report, settle

from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.label_layer import LayerLabelStore, make_label_layer
from napari_sam.annotation.ports import PlaneKey
from napari_sam.structures.labels import LabelEdit

if TYPE_CHECKING:
    import napari

DISC = np.hypot(*np.mgrid[-20:20, -20:20]) < 20
KEY = PlaneKey()
GIVE_UP_MS = 2000


def main() -> None:
    """Parse the options, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 8192, 32768])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    viewer = open_viewer()
    about, rows = machine(1), []
    for side in options.sides:
        row = Row(f"write an object and take it back, labels of {side} x {side}", "ms")
        row.ours = measure(viewer, side, options.repeats)
        row.n, row.note = options.repeats, "drawing included"
        report(f"{row.what}: {row.ours:.1f} ms")
        rows.append(row)
    save(options.out, about, rows)
    viewer.close()


def measure(viewer: napari.Viewer, side: int, n: int) -> float:
    """Return the median time of one object in ms."""
    # The image takes no part: one pixel that fills the plane is enough.
    image = Image(np.broadcast_to(np.uint8(0), (side, side)))
    plane_map = PlaneMap(image, (side, side), (1.0, 1.0))
    layer = make_label_layer(plane_map, "image")
    viewer.add_layer(layer)
    viewer.camera.center, viewer.camera.zoom = (side / 2, side / 2), 1.0
    settle(0.5)
    store = LayerLabelStore(layer, plane_map, is_empty=True)
    rng = np.random.default_rng(0)
    seconds = []
    for number in range(n):
        y, x = (side // 2 + rng.integers(-250, 210, 2)).tolist()
        box = (y, x, y + DISC.shape[0], x + DISC.shape[1])
        at = time.perf_counter()
        old = store.read(KEY, box)
        edit = LabelEdit(box, old, np.where(DISC, np.uint32(number + 1), old))
        store.write(KEY, edit)
        until_drawn(viewer)
        store.write(KEY, edit.inverse())
        until_drawn(viewer)
        seconds.append(time.perf_counter() - at)
        store.write(KEY, edit)
    store.disconnect()
    viewer.layers.remove(layer)
    settle(0.2)
    return statistics.median(seconds) * 1e3


def until_drawn(viewer: napari.Viewer) -> None:
    """Let Qt live until the canvas has shown another frame."""
    canvas = viewer.window._qt_viewer.canvas.native  # noqa: SLF001
    loop = QEventLoop()
    canvas.frameSwapped.connect(loop.quit)
    QTimer.singleShot(GIVE_UP_MS, loop.quit)
    loop.exec()
    canvas.frameSwapped.disconnect(loop.quit)


if __name__ == "__main__":
    main()

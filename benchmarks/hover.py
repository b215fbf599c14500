# SPDX-License-Identifier: Apache-2.0
"""How long the mask under the pointer takes, in the real viewer.

The pointer is moved by real Qt mouse events to positions of a 512 x 512 image that the
embedded model has looked at. Measured is the time from just before the event until the
preview layer holds the mask, and until the frame that shows it is on the screen. Needs
a display: ``xvfb-run -a -s "-screen 0 1600x1200x24" python benchmarks/hover.py``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject
from viewer_tools import (
    Pointer,
    environment,
    open_viewer,
    positions,
    report,
    sample_image,
    save,
    settle,
    start_prompts,
    summary,
    wait,
)

if TYPE_CHECKING:
    from napari_sam._bridge.controller import PromptController

TARGET_DATA_MS = 60.0
TARGET_DRAWN_MS = 120.0
GIVE_UP_S = 3.0


class Stopwatch(QObject):
    """Notes when the preview is set, and when a frame with it was shown.

    Parameters
    ----------
    controller : PromptController
        Whose preview.
    canvas : QOpenGLWidget
        Where it is drawn.
    """

    def __init__(self, controller: PromptController, canvas: Any) -> None:
        super().__init__()
        self._controller = controller
        self.is_done = True
        self.is_empty = False
        self.data_at: float | None = None
        self.drawn_at: float | None = None
        self._is_painting = False
        # The controller connected before: its layer is set when we hear of it.
        controller.annotator.hovered.connect(self._on_hovered)
        canvas.installEventFilter(self)
        canvas.frameSwapped.connect(self._on_swapped)

    def begin(self) -> None:
        """Wait for the next preview."""
        self.data_at = self.drawn_at = None
        self.is_done = self.is_empty = self._is_painting = False

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Notice the paint event that follows the preview; nothing is kept from it."""
        if event.type() == QEvent.Type.Paint and self.data_at is not None:
            self._is_painting = True
        return False

    def _on_hovered(self, mask: Any, _plane: Any) -> None:
        if self.is_done or self.data_at is not None:
            return
        layer = self._controller.hover_layer
        if mask is None:
            self.is_empty = self.is_done = True
        elif layer is not None and layer.visible:
            self.data_at = time.perf_counter()

    def _on_swapped(self) -> None:
        if self._is_painting and not self.is_done:
            self.drawn_at = time.perf_counter()
            self.is_done = True


def main() -> None:
    """Move, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--positions", type=int, default=60)
    parser.add_argument("--out", type=Path, help="also write the numbers as JSON")
    arguments = parser.parse_args()
    viewer = open_viewer()
    viewer.add_image(sample_image(), name="nuclei")
    widget = start_prompts(viewer)
    controller = widget.session.controller
    if controller is None:
        report("Prompting could not be started: " + widget.message.text())
        raise SystemExit(1)
    results = measure(viewer, controller, arguments.positions)
    report(
        f"moves: {arguments.positions}, without a mask: {results['n_empty']}, "
        f"without an answer in {GIVE_UP_S:g} s: {results['n_missed']}"
    )
    report(f"the model alone: median {results['model'].get('median_ms')} ms")
    for name, target in (("data", TARGET_DATA_MS), ("drawn", TARGET_DRAWN_MS)):
        numbers = results[name]
        report(
            f"pointer to {name}: median {numbers.get('median_ms')} ms "
            f"(target {target:g}), p95 {numbers.get('p95_ms')} ms"
        )
    report(f"{environment()}")
    save(arguments.out, results)
    viewer.close()


def measure(
    viewer: Any, controller: PromptController, n_positions: int
) -> dict[str, Any]:
    """Rest at each position until the mask is seen; the first moves do not count."""
    pointer = Pointer(viewer)
    watch = Stopwatch(controller, pointer.canvas)
    to_data, to_drawn = [], []
    n_empty = n_missed = 0
    warm_up = positions(5, seed=2)
    for number, place in enumerate([*warm_up, *positions(n_positions)]):
        watch.begin()
        begin = pointer.move(place)
        wait(lambda: watch.is_done, GIVE_UP_S)
        settle(0.02)
        if number < len(warm_up):
            continue
        if watch.is_empty:
            n_empty += 1
        elif watch.data_at is None or watch.drawn_at is None:
            n_missed += 1
        else:
            to_data.append(watch.data_at - begin)
            to_drawn.append(watch.drawn_at - begin)
    return {
        "model": summary(model_alone(controller)),
        "data": summary(to_data),
        "drawn": summary(to_drawn),
        "targets_ms": {"data": TARGET_DATA_MS, "drawn": TARGET_DRAWN_MS},
        "n_empty": n_empty,
        "n_missed": n_missed,
    }


def model_alone(controller: PromptController) -> list[float]:
    """Seconds of previews without viewer and threads: what cannot be undercut."""
    annotator = controller.annotator
    embedding = annotator.desk.embedding_of(controller.plane)
    seconds = []
    for place in positions(20, seed=3):
        begin = time.perf_counter()
        annotator.phase.segmenter.preview(embedding, place)
        seconds.append(time.perf_counter() - begin)
    return seconds


if __name__ == "__main__":
    main()

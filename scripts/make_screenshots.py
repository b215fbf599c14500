# SPDX-License-Identifier: Apache-2.0
"""Draw the pictures of the README: both panels at work on a real image.

Needs a display, for instance ``xvfb-run -a -s "-screen 0 1600x1200x24" python
scripts/make_screenshots.py``. Look at the results before committing them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.settings import get_settings
from qtpy.QtWidgets import QApplication

from napari_sam._bridge.sample_data import sample_layers
from napari_sam._widgets.everything_widget import EverythingWidget
from napari_sam._widgets.prompt_widget import PromptWidget
from napari_sam.evaluation.prompts import centre_point

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam._widgets.dock import Dock

ROOT = Path(__file__).parents[1]
WINDOW_PX = (1280, 800)
N_ACCEPTED = 8
TIMEOUT_S = 300.0
DOCKS = {PromptWidget: "Segment with prompts", EverythingWidget: "Segment everything"}


def main() -> None:
    """Make both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--sample", default="nuclei")
    parser.add_argument(
        "--checkpoint", type=Path, help="instead of the package's model"
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    # Own settings, so that the pictures do not depend on the user's, nor change them.
    folder = tempfile.TemporaryDirectory()
    get_settings(Path(folder.name) / "settings.yaml").appearance.theme = "dark"
    for draw in (segment_with_prompts, segment_everything):
        viewer = napari.Viewer(show=True)
        viewer.window.resize(*WINDOW_PX)
        draw(viewer, arguments.sample, arguments.checkpoint)
        viewer.reset_view()
        path = arguments.out / f"{draw.__name__}.png"
        settle()
        viewer.screenshot(str(path), canvas_only=False, flash=False)
        print(f"wrote {path}")
        viewer.close()
        settle()


def segment_with_prompts(
    viewer: napari.Viewer, sample: str, checkpoint: Path | None
) -> None:
    """Accept some objects, then leave one with a mask, two points and no decision."""
    image, truth = open_sample(viewer, sample)
    widget = open_dock(viewer, PromptWidget, checkpoint)
    widget.start.click()
    wait(lambda: "Ready" in widget.message.text())
    controller = widget.session.controller
    places = [centre_point(truth == label) for label in largest(truth)]
    for place in places[:N_ACCEPTED]:
        add_point(image, controller, place)
        wait(lambda: widget.accept.isEnabled() and not widget.session.is_busy)
        widget.accept.click()
        wait(lambda: not widget.session.is_busy)
    # The most central of the others: well inside the picture.
    middle = np.asarray(truth.shape) / 2
    rest = places[N_ACCEPTED:]
    open_place = min(rest, key=lambda place: np.hypot(*(place - middle)))
    add_point(image, controller, open_place)
    wait(lambda: not widget.session.is_busy)
    widget.tools.negative.click()
    label = truth[tuple(np.round(open_place).astype(int))]
    rows = np.flatnonzero((truth == label).any(axis=1))
    add_point(image, controller, (max(rows[0] - 5, 0), open_place[1]))
    wait(lambda: not widget.session.is_busy)


def segment_everything(
    viewer: napari.Viewer, sample: str, checkpoint: Path | None
) -> None:
    """Run the grid on the whole image."""
    open_sample(viewer, sample)
    widget = open_dock(viewer, EverythingWidget, checkpoint)
    widget.run.click()
    wait(lambda: not widget.session.is_grid_running)


def open_sample(viewer: napari.Viewer, name: str) -> tuple[Any, np.ndarray]:
    """Show a sample; return its layer and its true objects."""
    (data, arguments, _), (truth, _, _) = sample_layers(name)
    image = viewer.add_image(data, **arguments)
    return image, truth


def open_dock(viewer: napari.Viewer, kind: type[Dock], checkpoint: Path | None) -> Any:
    """Dock one of our panels and wait for its model."""
    widget: Any = kind(viewer)
    viewer.window.add_dock_widget(widget, name=DOCKS[kind])
    if checkpoint is not None:
        widget.session.add_checkpoint(checkpoint)
        widget.model.models.setCurrentIndex(widget.model.models.count() - 1)
        widget.session.use_model(widget.model.spec)
    settle()
    wait(lambda: not widget.session.is_busy)
    return widget


def largest(truth: np.ndarray) -> list[int]:
    """Ids of the true objects, largest first."""
    ids, areas = np.unique(truth[truth > 0], return_counts=True)
    return ids[np.argsort(-areas)].tolist()


def add_point(image: Any, controller: Any, place: Any) -> None:
    """Add a point as a click on the image does."""
    points = controller.prompts.points
    points.add(points.world_to_data(image.data_to_world(place)))
    points.selected_data = set()


def wait(condition: Callable[[], object]) -> None:
    """Let Qt live until a condition holds."""
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > end:
            msg = "The panel did not get ready in time."
            raise TimeoutError(msg)
        QApplication.processEvents()
        time.sleep(0.01)


def settle(seconds: float = 0.5) -> None:
    """Let everything be drawn."""
    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() > end)


if __name__ == "__main__":
    main()

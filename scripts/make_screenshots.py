# SPDX-License-Identifier: Apache-2.0
"""Draw the pictures of README and docs: each state of the panels, on a real image.

Drives a real napari; ``driven_viewer.py`` says what it needs. Look at the results
before committing them.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from driven_viewer import CONTROL, DrivenViewer, forget_journals, own_settings
from PIL import Image
from qtpy.QtCore import Qt

from napari_sam._widgets.section import Section
from napari_sam.evaluation.prompts import centre_point
from napari_sam.io.sample_data import load_sample

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PANEL_PX = 370
PROMPTS, EVERYTHING = "Segment with prompts", "Segment everything"
N_ACCEPTED = 11
TALL_PX, LOW_PX = 640, 122
"""Heights of two panels, so that the upper one ends between two lines."""


class Scene:
    """The sample in a viewer, with the panel "Segment with prompts" at work."""

    def __init__(self, out: Path, sample: str = "nuclei") -> None:
        self.out = out
        self.driven = DrivenViewer()
        self.image, truth = self.driven.open_sample(sample)
        self.truth = np.asarray(truth.data)
        self.driven.viewer.layers.remove(truth)
        self.panel = self.driven.open_panel(PROMPTS, PANEL_PX)
        self.controller = self.driven.start(self.panel)
        self.driven.reset_view()

    def no_hints(self) -> None:
        """Press "No hints"."""
        self.panel.hints.never.click()

    def places(self) -> list[tuple[int, int]]:
        """Return the middles of the true objects, the largest first."""
        return middles(self.truth)

    def click(self, place: Any, **how: Any) -> None:
        """Click and wait for the answer."""
        self.driven.click(self.image, place, **how)
        self.wait_for_answer()

    def accept_some(self, n_objects: int = N_ACCEPTED) -> None:
        """Click and accept the largest objects."""
        for place in self.places()[:n_objects]:
            self.click(place)
            self.driven.press(Qt.Key.Key_W)
            self.wait_for_answer()

    def wait_for_answer(self) -> None:
        """Wait until nothing is under way."""
        self.driven.settle(0.1)
        self.driven.wait(lambda: not self.panel.session.is_busy)

    def show(self, *widgets: Any) -> None:
        """Scroll the panel so that widgets are seen; of several, from the first on."""
        self.driven.settle(0.2)
        for widget in (*widgets, widgets[0]):
            self.panel.ensureWidgetVisible(widget, 0, 0)
        self.driven.settle(0.2)

    def unfold(self, title: str, panel: Any = None) -> None:
        """Click the title of a section."""
        for section in (panel or self.panel).findChildren(Section):
            if section.text().endswith(title):
                section.expand(animate=False)
        self.driven.settle(0.2)

    def give_room(self, panel: Any) -> None:
        """Drag the border between this panel and another one down here."""
        give_room(self.driven, panel, self.panel)

    def picture(self, name: str, *parts: Any, **how: Any) -> None:
        """Save the window, or some widgets of it."""
        self.driven.picture(self.out / f"{name}.png", *parts, **how)


@contextlib.contextmanager
def scene(out: Path, sample: str = "nuclei") -> Iterator[Scene]:
    """Open a scene and close it in the end."""
    drawn = Scene(out, sample)
    try:
        yield drawn
    finally:
        drawn.driven.close()


def hover(out: Path) -> None:
    """Show hints, and a mask under the pointer."""
    with scene(out) as now:
        place = now.places()[3]
        now.driven.move(now.image, place)
        layer = now.controller.hover_layer
        now.driven.wait(lambda: layer.visible)
        now.picture("hover", now.driven.canvas, now.panel, pointer=(now.image, place))


def prompts(out: Path) -> None:
    """Show a mask on offer among objects; then what is around it."""
    with scene(out) as now:
        now.no_hints()
        now.accept_some()
        rest = now.places()[N_ACCEPTED:]
        middle = np.asarray(now.truth.shape) / 2
        place = min(rest, key=lambda yx: float(np.hypot(*(yx - middle))))
        now.click(place)
        now.picture(
            "candidates",
            now.panel.tools,
            now.panel.masks.candidates,
            now.panel.masks.commit,
        )
        rows = np.flatnonzero((now.truth == now.truth[place]).any(axis=1))
        now.click((max(rows[0] - 5, 0), place[1]), modifiers=CONTROL)
        now.picture("segment_with_prompts")
        now.driven.press(Qt.Key.Key_Q)
        now.click(now.places()[0])
        now.picture("advice", now.driven.canvas, now.panel)
        now.driven.press(Qt.Key.Key_Q)
        now.wait_for_answer()
        draw_objects(now)
        draw_view(now)


def draw_objects(now: Scene) -> None:
    """Show classes and an unsure object; two rows selected."""
    table, annotator = now.panel.table.objects, now.controller.annotator
    keys = [known.key for known in annotator.objects]
    annotator.change(keys[:5], class_name="nucleus")
    annotator.change(keys[5:6], class_name="mitosis")
    annotator.change(keys[3:4], status="unsure")
    table.select(keys[4:6])
    now.show(table)
    now.picture("objects", table)


def draw_view(now: Scene) -> None:
    """Show the section that says what the model sees."""
    now.unfold("What the model sees")
    now.show(now.panel.seen.view)
    now.picture("what_the_model_sees", now.panel.seen.view)


def proposals(out: Path) -> None:
    """Show the semi-automatic way: two filters, a proposal under the pointer."""
    with scene(out) as now:
        now.no_hints()
        panel = now.driven.open_panel(EVERYTHING, PANEL_PX)
        now.give_room(panel)
        panel.way.semi.click()
        panel.run.click()
        now.driven.wait(lambda: panel.run.isEnabled() and not panel.session.is_busy)
        rows, desk = panel.many.proposals.rows, panel.many.desk
        for name, low in (("area", 100), ("mean_intensity", 8)):
            slider = rows[name].slider
            slider.setValue((low, slider.value()[1]))
        best = desk.proposals.visible_ids()[0]
        place = centre_point(desk.proposals.mask(best).inside((0, 0, *now.truth.shape)))
        now.driven.reset_view()
        now.driven.move(now.image, place)
        now.picture("proposals", pointer=(now.image, place))


def review(out: Path) -> None:
    """Review the objects that points of a detector became."""
    with scene(out) as now:
        now.no_hints()
        panel = now.driven.open_panel(EVERYTHING, PANEL_PX)
        points = now.driven.viewer.add_points(
            now.places()[:25], name="detector", size=5, face_color="#f0e442"
        )
        panel.many.batch.layer.value = points
        now.unfold("Prompts from a layer", panel)
        now.unfold("Review", panel)
        panel.many.batch.run.click()
        now.wait_for_answer()
        points.visible = False
        now.give_room(panel)
        now.driven.settle()
        panel.ensureWidgetVisible(panel.many.review, 0, 0)
        y0, x0, y1, x1 = panel.many.desk.review.current.box
        pointer = (now.image, ((y0 + y1) / 2, (x0 + x1) / 2))
        now.picture("review", now.driven.canvas, panel, pointer=pointer)


def segment_everything(out: Path) -> None:
    """Show the fully automatic way."""
    driven = DrivenViewer()
    _, truth = driven.open_sample("nuclei")
    driven.viewer.layers.remove(truth)
    panel = driven.open_panel(EVERYTHING, PANEL_PX)
    driven.wait(panel.run.isEnabled)
    driven.wait(lambda: not panel.session.is_busy)
    panel.run.click()
    driven.wait(lambda: panel.run.isEnabled() and not panel.session.is_busy)
    driven.reset_view()
    driven.picture(out / "segment_everything.png")
    driven.close()


def train(out: Path) -> None:
    """Show the end of a short training on two halves of the sample."""
    driven = DrivenViewer(height_px=960)
    sample = load_sample("nuclei")
    middle = sample.image.shape[1] // 2
    for number, part in enumerate((np.s_[:, :middle], np.s_[:, middle:]), start=1):
        driven.viewer.add_image(sample.image[part], name=f"field {number}")
        driven.viewer.add_labels(sample.labels[part], name=f"field {number} masks")
    panel = driven.open_panel("Train on my masks", PANEL_PX)
    driven.reset_view()
    # What takes long is left short: this is a picture of the panel, not of a gain.
    panel.settings.steps.setValue(8)
    panel.settings.recipe_changes = {
        "prompts": {"objects_per_image": 3, "point_rounds": 1},
        "frames": {"variants": 1, "validation_objects": 12},
        "loop": {"eval_every": 2, "ema_decay": 0.0},
    }
    panel.train.click()
    driven.wait(lambda: any(panel.loss.points.values()))
    driven.wait(lambda: not panel.run.is_busy)
    driven.settle(0.3)
    driven.picture(out / "train.png")
    driven.close()


def folder(out: Path) -> None:
    """Show a folder of which one image is done and another one begun."""
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        Path("cells").mkdir()
        for number, name in enumerate(("nuclei", "tissue", "axons", "drawn"), start=1):
            picture = Image.fromarray(load_sample(name).image)
            picture.save(f"cells/plate1_well{number}.png")
        driven = DrivenViewer()
        prompting = driven.open_panel(PROMPTS, PANEL_PX)
        panel = driven.open_panel("Annotate a folder", PANEL_PX)
        panel.folder.setText("cells")
        panel.start.click()
        driven.wait(lambda: panel.done.isEnabled() and not panel.session.is_busy)
        panel.done.click()
        driven.wait(lambda: panel.done.isEnabled() and not panel.session.is_busy)
        prompting.source.collapse(animate=False)
        give_room(driven, panel, prompting)
        driven.reset_view()
        for place in middles(load_sample("tissue").labels)[:6]:
            driven.click(driven.viewer.layers["plate1_well2.png"], place)
            driven.wait(lambda: not panel.session.is_busy)
            driven.press(Qt.Key.Key_W)
        panel.save.click()
        driven.wait(lambda: panel.done.isEnabled() and not panel.session.is_busy)
        driven.picture(out / "folder.png")
        driven.close()


def restore(out: Path) -> None:
    """Show the offer of what a session that ended early has left."""
    with scene(out) as now:
        now.no_hints()
        now.accept_some(3)
    with scene(out) as now:
        now.picture("restore", now.panel.start, now.panel.restore, now.panel.message)


def huge_image(out: Path) -> None:
    """Show a large pyramid, the region the model has looked at, a mask in it."""
    driven = DrivenViewer()
    try:
        sample = load_sample("nuclei").image
        piece = np.pad(sample, ((0, sample.shape[0]), (0, sample.shape[1])), "reflect")
        levels = [np.tile(piece, (20, 20))]
        while max(levels[-1].shape) > 1500:
            levels.append(levels[-1][::2, ::2])
        image = driven.viewer.add_image(levels, multiscale=True, name="slide")
        panel = driven.open_panel(PROMPTS, PANEL_PX)
        panel.image.value = image
        controller = driven.start(panel)
        panel.hints.never.click()
        camera = driven.viewer.scene.camera
        camera.center, camera.zoom = (0, 5000, 6100), 0.8
        driven.settle(1.0)
        driven.wait(lambda: not panel.session.is_busy)
        # The middle of the largest nucleus, in the copy that lies nearest.
        y, x = middles(load_sample("nuclei").labels)[0]
        side = piece.shape[0]
        place = (5000 // side * side + y, 6100 // side * side + x)
        controller.annotator.add_point(controller.plane, place)
        driven.wait(lambda: controller.annotator.shown is not None)
        driven.wait(lambda: not panel.session.is_busy)
        driven.settle(0.3)
        driven.picture(out / "huge_image.png")
    finally:
        driven.close()


def middles(truth: np.ndarray) -> list[tuple[int, int]]:
    """Return the middles of labelled objects, the largest first."""
    ids, areas = np.unique(truth[truth > 0], return_counts=True)
    return [centre_point(truth == i) for i in ids[np.argsort(-areas)]]


def give_room(driven: DrivenViewer, tall: Any, low: Any) -> None:
    """Drag the border between two panels."""
    docks = [tall.parent(), low.parent()]
    driven.main.resizeDocks(docks, [TALL_PX, LOW_PX], Qt.Orientation.Vertical)
    driven.settle()


FUNCTIONS = (
    hover,
    prompts,
    proposals,
    review,
    segment_everything,
    train,
    folder,
    restore,
    huge_image,
)
PICTURES = {function.__name__: function for function in FUNCTIONS}


def main() -> None:
    """Make the pictures that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*PICTURES, []], default=[])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with own_settings():
        for name in arguments.names or PICTURES:
            PICTURES[name](out)
            forget_journals()


if __name__ == "__main__":
    main()

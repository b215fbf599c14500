# SPDX-License-Identifier: Apache-2.0
"""Do what the page "Annotate 50 nuclei in five minutes" says, and print what comes out.

Presses the buttons and keys of the page in a real napari, on the packaged sample. Where
the page leaves something to the eye, the true objects of the sample stand in for it.
Needs a display, as ``driven_viewer.py`` says.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from driven_viewer import CONTROL, PLAIN, SHIFT, DrivenViewer, own_settings
from qtpy.QtCore import Qt

from napari_sam._widgets.record_panel import RecordPanel
from napari_sam.evaluation.prompts import centre_point

if TYPE_CHECKING:
    from numpy.typing import NDArray

GOOD_IOU = 0.5
"""From here on a mask is taken for the nucleus."""
POOR_IOU = 0.75
"""Objects below are corrected."""
SEEN_FROM_PX = 40
"""Smaller nuclei are left out, as they are hard to see at this zoom."""
MAX_LOOKS = 3
"""Masks that are looked at before a nucleus is given up."""


class Walk:
    """The page, one method per section.

    Parameters
    ----------
    folder : Path
        Where files are saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.driven = DrivenViewer(1600, 1100)
        self.n_actions = 0
        self.begun = time.monotonic()

    def begin(self) -> None:
        """Open the sample and the panels, press Start."""
        self.image, truth = self.driven.open_sample("nuclei")
        self.truth = np.asarray(truth.data)
        self.prompts = self.driven.open_panel("Segment with prompts")
        self.controller = self.driven.start(self.prompts)
        self.annotator = self.controller.annotator
        self.everything = self.driven.open_panel("Segment everything")
        self.driven.reset_view()
        self.tell("opened", 5)

    def fill_in(self) -> None:
        """Let the model fill in what it is sure of."""
        panel = self.everything
        panel.way.semi.click()
        panel.run.click()
        self.driven.wait(lambda: panel.run.isEnabled() and not panel.session.is_busy)
        self.tell(panel.message.text(), 2)

    def sort_proposals(self) -> None:
        """Click the proposals that are nuclei; drop the others."""
        desk, panel = self.everything.many.desk, self.everything.many.proposals
        n_clicks = 1
        for number in desk.proposals.visible_ids():
            mask = self.whole(desk.proposals.mask(number))
            is_open = number in desk.proposals.visible_ids()
            if is_open and self.best_iou(mask) > GOOD_IOU:
                self.driven.click(desk.layer.layer, centre_point(mask))
                n_clicks += 1
        panel.drop.click()
        self.tell(panel.figures.text(), n_clicks)
        self.driven.close_panel(self.everything)
        self.driven.reset_view()

    def add_missed(self) -> None:
        """Click the nuclei that were missed, and accept with W."""
        self.prompts.tools.tools["point"].click()
        n_actions = 1 + sum(self.prompt(label) for label in self.missed())
        self.tell("missed ones clicked", n_actions)

    def correct(self) -> None:
        """Delete objects that cover several nuclei, and click those instead."""
        panel, driven = self.prompts.table.objects, self.driven
        driven.type_into(panel.filter, "locked")
        driven.click_row(panel.table, 0)
        driven.press(Qt.Key.Key_A, CONTROL)
        panel.buttons["lock"].click()
        panel.filter.clear()
        driven.click_row(panel.table, 0)
        driven.reset_view()
        n_actions = 12
        for label in self.missed():
            place = centre_point(self.truth == label)
            if self.labels[place]:
                driven.move(self.image, place)
                driven.press(Qt.Key.Key_D, SHIFT)
                n_actions += 1
        n_actions += sum(self.prompt(label) for label in self.missed())
        self.tell("wrong ones replaced", n_actions)
        n_actions = sum(self.reopen(label) for label in self.poor())
        self.tell("poor ones corrected", n_actions)

    def reopen(self, label: int) -> int:
        """Open an object with G, click the part that is missing, accept or discard."""
        true, driven = self.truth == label, self.driven
        before = self.found_iou(label)
        driven.move(self.image, centre_point(true & (self.labels > 0)))
        driven.press(Qt.Key.Key_G)
        driven.wait(lambda: not self.prompts.session.is_busy)
        shown = self.annotator.shown
        mask = self.whole(shown.mask)
        is_larger = (mask & ~true).sum() > (true & ~mask).sum()
        wrong = mask & ~true if is_larger else true & ~mask
        modifiers = CONTROL if is_larger else PLAIN
        driven.click(self.image, centre_point(wrong), modifiers=modifiers)
        driven.wait(lambda: not self.prompts.session.is_busy)
        shown = self.annotator.shown
        is_better = shown is not None and iou(self.whole(shown.mask), true) > before
        driven.press(Qt.Key.Key_W if is_better else Qt.Key.Key_Q)
        return 3

    def undo(self) -> None:
        """Take the last two steps back, and do them again."""
        before = self.labels.copy()
        for modifiers in (CONTROL, CONTROL, CONTROL | SHIFT, CONTROL | SHIFT):
            self.driven.press(Qt.Key.Key_Z, modifiers)
        is_same = np.array_equal(self.labels, before)
        self.tell(f"undone and redone, labels the same: {is_same}", 4)

    def save(self) -> None:
        """Save labels, annotation and measurements."""
        labels = self.controller.labels_layer
        labels.save(str(self.folder / "nuclei_labels.tif"))
        record = self.prompts.findChild(RecordPanel)
        record.save_to(self.folder / "nuclei.sam.json")
        table = self.prompts.table.measurements
        table.measure.click()
        self.driven.wait(table.export.isEnabled)
        table.export_wanted.emit(self.folder / "objects.csv")
        files = sorted(path.name for path in self.folder.iterdir())
        self.tell(f"saved {', '.join(files)}", 8)

    def judge(self) -> None:
        """Compare with the true objects."""
        ids = np.unique(self.truth[self.truth > 0]).tolist()
        missed = [label for label in ids if self.found_iou(label) <= GOOD_IOU]
        n_small = sum((self.truth == label).sum() < SEEN_FROM_PX for label in missed)
        print(
            f"{len(ids) - len(missed)} of {len(ids)} nuclei found (IoU above "
            f"{GOOD_IOU}); {n_small} of the others have fewer than {SEEN_FROM_PX} "
            "pixels"
        )

    @property
    def labels(self) -> NDArray[np.integer[Any]]:
        """What was written so far."""
        return self.controller.labels_layer.data

    def prompt(self, label: int) -> int:
        """Click one nucleus, choose among its masks, accept; return the actions."""
        true, driven = self.truth == label, self.driven
        driven.click(self.image, centre_point(true))
        for n_looks in range(MAX_LOOKS):
            driven.wait(lambda: not self.prompts.session.is_busy)
            shown = self.annotator.shown
            if shown is not None and iou(self.whole(shown.mask), true) > GOOD_IOU:
                driven.press(Qt.Key.Key_W)
                return n_looks + 2
            driven.press(Qt.Key.Key_N)
        driven.press(Qt.Key.Key_Q)
        return MAX_LOOKS + 2 + self.box(true)

    def box(self, true: NDArray[np.bool_]) -> int:
        """Drag a box around a nucleus, accept what fits; return the actions."""
        driven = self.driven
        rows, columns = np.nonzero(true)
        corner, other = (rows.min(), columns.min()), (rows.max(), columns.max())
        driven.drag(self.image, corner, other)
        driven.wait(lambda: not self.prompts.session.is_busy)
        shown = self.annotator.shown
        fits = shown is not None and iou(self.whole(shown.mask), true) > GOOD_IOU
        driven.press(Qt.Key.Key_W if fits else Qt.Key.Key_Q)
        return 2

    def missed(self) -> list[int]:
        """Return true nuclei that can be seen and have no object."""
        ids, areas = np.unique(self.truth[self.truth > 0], return_counts=True)
        seen = ids[areas >= SEEN_FROM_PX].tolist()
        return [label for label in seen if self.found_iou(label) <= GOOD_IOU]

    def poor(self) -> list[int]:
        """Return true nuclei whose object fits badly."""
        ids = np.unique(self.truth[self.truth > 0]).tolist()
        return [i for i in ids if GOOD_IOU < self.found_iou(i) <= POOR_IOU]

    def found_iou(self, label: int) -> float:
        """IoU of a true nucleus with the object that fits it best."""
        true = self.truth == label
        ids = np.unique(self.labels[true])
        return max((iou(self.labels == i, true) for i in ids if i), default=0.0)

    def best_iou(self, mask: NDArray[np.bool_]) -> float:
        """IoU of a mask with the true nucleus that fits it best."""
        ids = np.unique(self.truth[mask])
        return max((iou(self.truth == i, mask) for i in ids if i), default=0.0)

    def whole(self, window: Any) -> NDArray[np.bool_]:
        """Return a mask as large as the image."""
        return window.inside((0, 0, *self.truth.shape))

    def tell(self, text: str, n_actions: int) -> None:
        """Print how far it is."""
        self.driven.settle(0.2)
        self.n_actions += n_actions
        print(
            f"{time.monotonic() - self.begun:5.0f} s, {self.n_actions:3d} clicks and "
            f"keys, {len(self.annotator.objects):2d} objects: {text}",
            flush=True,
        )


def iou(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    """Return the intersection of two masks over their union."""
    return float((one & two).sum() / (one | two).sum())


def main() -> None:
    """Walk through the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path, help="PNG of the window at the end")
    picture = parser.parse_args().picture
    with own_settings(), tempfile.TemporaryDirectory() as folder:
        walk = Walk(Path(folder))
        walk.begin()
        walk.fill_in()
        walk.sort_proposals()
        walk.add_missed()
        walk.correct()
        walk.undo()
        walk.save()
        walk.judge()
        if picture is not None:
            walk.driven.picture(picture)
        walk.driven.close()


if __name__ == "__main__":
    main()

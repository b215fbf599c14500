# SPDX-License-Identifier: Apache-2.0
"""Objects, drafts and labels under one history.

Everything that can be undone is changed here and only here: `do` applies a step and
remembers it, `undo` and `redo` apply what the history hands out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from psygnal import Signal

from napari_sam.annotation.history import DraftChange, History, Step
from napari_sam.annotation.objects import ObjectTable, Origin
from napari_sam.errors import LabelsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam.annotation.draft import Draft
    from napari_sam.annotation.history import PlaneEdit
    from napari_sam.annotation.objects import ObjectChange
    from napari_sam.annotation.ports import LabelStore, PlaneKey

CHANGED_ELSEWHERE = (
    "The labels were changed by something else since, so this cannot be taken back "
    "without damage. The history begins anew; labels and objects stay as they are."
)


class Ledger:
    """What one image holds in one label store.

    Parameters
    ----------
    labels : LabelStore
        Where masks are written.

    Attributes
    ----------
    labels : LabelStore
    objects : ObjectTable
    history : History
    drafts : dict of PlaneKey to Draft
        What is being prompted, at most one object on each plane.
    stepped : Signal(Step, str)
        A step was applied, and whether to "do", "undo" or "redo".
    """

    stepped: ClassVar[Signal] = Signal(object, str)

    def __init__(self, labels: LabelStore) -> None:
        self.labels = labels
        self.objects = ObjectTable()
        self.history = History()
        self.drafts: dict[PlaneKey, Draft] = {}

    def do(self, step: Step, *, is_written: bool = False) -> None:
        """Apply a step and remember it.

        Parameters
        ----------
        step : Step
            What to change.
        is_written : bool
            Whether the labels have been changed already, by the user's own tools.

        Raises
        ------
        LabelsError
            If the labels cannot be written; nothing has changed then.
        """
        if not is_written:
            self._write(step.edits)
        self._apply(step)
        self.history.push(step)
        self.stepped.emit(step, "do")

    def undo(self) -> Step:
        """Take the last step back; returns the step that was applied.

        Raises
        ------
        PhaseError
            If there is none.
        LabelsError
            If the labels have been changed by others, or cannot be written.
        """
        step = self.history.peek_undo()
        self._check(step)
        self._write(step.edits)
        self.history.mark_undone()
        self._apply(step)
        self.stepped.emit(step, "undo")
        return step

    def redo(self) -> Step:
        """Do the last step again that was taken back; errors as in `undo`."""
        step = self.history.peek_redo()
        self._check(step)
        self._write(step.edits)
        self.history.mark_redone()
        self._apply(step)
        self.stepped.emit(step, "redo")
        return step

    def note(self, changes: Sequence[ObjectChange]) -> None:
        """Take over what is known of objects without making it a step."""
        self.objects.apply(changes)

    def replace_labels(self, labels: LabelStore) -> None:
        """Write elsewhere from now on: objects and history were of the other labels."""
        self.labels = labels
        self.objects = ObjectTable()
        self.history.clear()
        # Prompts stay, but as those of a new object: the id that they were opened
        # from may be anything in the other labels.
        for plane, draft in self.drafts.items():
            self.drafts[plane] = replace(draft, object_id=None)

    def _write(self, edits: Sequence[PlaneEdit]) -> None:
        """Write all edits or none."""
        for i, plane_edit in enumerate(edits):
            try:
                self.labels.write(plane_edit.plane, plane_edit.edit)
            except Exception:
                for written in reversed(edits[:i]):
                    inverse = written.inverse()
                    self.labels.write(inverse.plane, inverse.edit)
                raise

    def _apply(self, step: Step) -> None:
        self.objects.apply(step.objects)
        self._free_ids(step)
        if step.draft is not None:
            self.take_draft(step.draft)

    def _free_ids(self, step: Step) -> None:
        """Let ids that were made here and are gone be given again.

        Not those of painted objects: planes that nobody has looked at may have them.
        """
        gone = {
            change.before.object_id
            for change in step.objects
            if change.before is not None
            and change.after is None
            and change.before.origin is not Origin.PAINTED
        }
        if gone:
            gone -= {known.object_id for known in self.objects}
        for object_id in sorted(gone, reverse=True):
            self.labels.forget_id(object_id)

    def take_draft(self, change: DraftChange) -> None:
        """Exchange what is being prompted on a plane, without making it a step."""
        if change.before is not None:
            self.drafts.pop(change.before.plane, None)
        if change.after is not None:
            self.drafts[change.after.plane] = change.after

    def _check(self, step: Step) -> None:
        """Refuse to put pixels back where something else has written since."""
        for plane_edit in step.edits:
            edit = plane_edit.edit
            is_touched = edit.old != edit.new
            now = self.labels.read(plane_edit.plane, edit.box)
            if not np.array_equal(now[is_touched], edit.old[is_touched]):
                self.history.clear()
                raise LabelsError(CHANGED_ELSEWHERE)

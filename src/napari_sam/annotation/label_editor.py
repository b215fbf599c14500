# SPDX-License-Identifier: Apache-2.0
"""Editing objects in labels, with everything undoable; no model is needed for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal

from napari_sam.annotation import object_edits
from napari_sam.annotation.commit_policy import CommitSettings
from napari_sam.annotation.history import DraftChange, Step
from napari_sam.annotation.ledger import Ledger
from napari_sam.annotation.many import write_step
from napari_sam.annotation.object_changes import unknown_objects
from napari_sam.errors import LabelsError
from napari_sam.structures.drawn import DrawnPrompts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_sam.annotation.draft import Draft
    from napari_sam.annotation.history import PlaneEdit
    from napari_sam.annotation.objects import AnnotatedObject, ObjectKey, ObjectTable
    from napari_sam.annotation.ports import LabelStore, PlaneKey
    from napari_sam.structures.mask_window import MaskWindow


class LabelEditor:
    """Objects of one label store, and what can be done to them.

    Parameters
    ----------
    labels : LabelStore
        Where objects are written.

    Attributes
    ----------
    ledger : Ledger
        Objects, labels and history.
    draft_changed : Signal(PlaneKey, Draft or None)
        Prompts of a plane as they are now, after any call, undo and redo included.
    objects_changed : Signal(tuple of ObjectChange)
        Empty if the whole table is another one.
    history_changed : Signal()
    stepped : Signal(Step, str)
        A step was applied: "do", "undo" or "redo".
    settings_changed : Signal(CommitSettings)
    """

    draft_changed: ClassVar[Signal] = Signal(object, object)
    objects_changed: ClassVar[Signal] = Signal(tuple)
    history_changed: ClassVar[Signal] = Signal()
    stepped: ClassVar[Signal] = Signal(object, str)
    settings_changed: ClassVar[Signal] = Signal(object)

    def __init__(self, labels: LabelStore) -> None:
        self._settings = CommitSettings()
        self._plane: PlaneKey | None = None
        self.ledger = Ledger(labels)
        self.ledger.stepped.connect(self._on_step)

    @property
    def objects(self) -> ObjectTable:
        """All objects of the image."""
        return self.ledger.objects

    @property
    def labels(self) -> LabelStore:
        """Where accepted masks go."""
        return self.ledger.labels

    @property
    def plane(self) -> PlaneKey | None:
        """The plane looked at."""
        return self._plane

    @property
    def draft(self) -> Draft | None:
        """What is being prompted on the plane looked at."""
        return None if self._plane is None else self.ledger.drafts.get(self._plane)

    @property
    def settings(self) -> CommitSettings:
        """The commit rule."""
        return self._settings

    @settings.setter
    def settings(self, settings: CommitSettings) -> None:
        if settings != self._settings:
            self._settings = settings
            self._ask()
            self.settings_changed.emit(settings)

    def replace_labels(self, labels: LabelStore) -> None:
        """Write to another store from now on; the history is not taken along."""
        self.ledger.replace_labels(labels)
        self._ask()
        self.objects_changed.emit(())
        self.history_changed.emit()

    def labels_replaced(self) -> None:
        """Take note that the store holds other pixels: nothing is undone into them."""
        self.replace_labels(self.labels)

    def discard(self) -> None:
        """Drop the prompts and the mask on offer; labels stay as they are."""
        self._change_draft("Discard prompts", None)

    def take_draft(self, change: DraftChange) -> None:
        """Take over prompts that were saved before, without making it a step."""
        self.ledger.take_draft(change)
        draft = change.after or change.before
        if draft is not None:
            self.draft_changed.emit(draft.plane, change.after)
        self._ask()

    def delete(self, keys: Sequence[ObjectKey]) -> None:
        """Make background of objects; raises LabelsError for a locked one."""
        self.ledger.do(object_edits.delete_step(self.objects, self.labels, keys))

    def merge(self, keys: Sequence[ObjectKey]) -> None:
        """Make one object of several of a plane; the first one's id stays."""
        self.ledger.do(object_edits.merge_step(self.objects, self.labels, keys))

    def split(self, key: ObjectKey, line_yx: Sequence[tuple[float, float]]) -> None:
        """Cut an object along a line of (y, x) positions."""
        self.ledger.do(object_edits.split_step(self.objects, self.labels, key, line_yx))

    def change(self, keys: Sequence[ObjectKey], **fields: Any) -> None:
        """Change ``class_name``, ``status`` or ``is_locked`` of objects."""
        step = object_edits.change_step(self.objects, keys, **fields)
        if step.objects:
            self.ledger.do(step)

    def record_painting(self, edits: Sequence[PlaneEdit]) -> None:
        """Take over what the user painted; at most one edit of each plane."""
        step = object_edits.painting_step(self.objects, self.labels, edits)
        if step.edits:
            self.ledger.do(step, is_written=True)

    def write_objects(
        self, text: str, items: Sequence[tuple[MaskWindow, AnnotatedObject]]
    ) -> list[AnnotatedObject]:
        """Write many masks as one step; where they overlap, the better one keeps.

        Parameters
        ----------
        text : str
            What the step is called.
        items : sequence of (MaskWindow, AnnotatedObject)
            Masks with what is known of them; id, box and area are set here.

        Returns
        -------
        list of AnnotatedObject
            Those written, by falling predicted IoU; masks without a free pixel are not.
        """
        step, made = write_step(self.ledger, self._settings, text, items)
        if made:
            self.ledger.do(step)
        return made

    def adopt(self, plane: PlaneKey, shape: tuple[int, int]) -> None:
        """Take labels of a plane of a shape that nobody knows into the table."""
        changes = unknown_objects(self.objects, self.labels, plane, shape)
        self.ledger.note(changes)
        if changes:
            self.objects_changed.emit(tuple(changes))

    def undo(self) -> None:
        """Take the last step back.

        Raises
        ------
        PhaseError
            If there is none.
        LabelsError
            If the labels cannot be written, or were changed by something else since:
            then the history begins anew, and labels and objects stay.
        """
        self._step_through(self.ledger.undo)

    def redo(self) -> None:
        """Do the last step again that was taken back; errors as in `undo`."""
        self._step_through(self.ledger.redo)

    def _step_through(self, move: Callable[[], object]) -> None:
        try:
            move()
        except LabelsError:  # the history may have been cleared
            self.history_changed.emit()
            raise

    def drawn_on(self, plane: PlaneKey) -> DrawnPrompts:
        """Return the prompts of a plane."""
        draft = self.ledger.drafts.get(plane)
        return DrawnPrompts() if draft is None else draft.drawn

    def _change_draft(self, text: str, after: Draft | None) -> None:
        plane = self._plane if after is None else after.plane
        before = None if plane is None else self.ledger.drafts.get(plane)
        if before != after:
            self.ledger.do(Step(text, draft=DraftChange(before, after)))

    def _on_step(self, step: Step, kind: str) -> None:
        """Let everybody know what a step changed."""
        if step.draft is not None:
            draft = step.draft.after or step.draft.before
            if draft is not None:
                self._plane = draft.plane
                self.draft_changed.emit(draft.plane, step.draft.after)
        if step.objects:
            self.objects_changed.emit(step.objects)
        self.stepped.emit(step, kind)
        self.history_changed.emit()
        # Last, as an answer that comes at once may be accepted at once: the next step.
        if step.draft is not None:
            self._ask()
        elif step.edits or step.objects:  # a lock decides on the mask on offer, too
            self.announce()

    def announce(self) -> None:
        """Say what is on offer; called as labels change. Without a model, nothing."""

    def _ask(self, scale: int | None = None) -> None:
        """Follow a change of what is being prompted, or of the commit rule.

        With a scale, what is being prompted is to be seen in so much detail.
        """

# SPDX-License-Identifier: Apache-2.0
"""One history over everything: each step carries what it changed, before and after.

There is one kind of step rather than a class per command: a command is a function that
builds a step, and applying, taking back, saving and restoring exist once. A step never
computes anything when it is applied, so redo after undo restores every bit.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_sam.errors import PhaseError

if TYPE_CHECKING:
    from napari_sam.annotation.draft import Draft
    from napari_sam.annotation.objects import ObjectChange
    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.structures.labels import LabelEdit

MAX_STEPS = 1000
MAX_BYTES = 512 * 2**20
"""Label pixels kept for undo; the newest step is kept whatever its size."""


@dataclass(frozen=True, slots=True)
class PlaneEdit:
    """Changed labels of one plane."""

    plane: PlaneKey
    edit: LabelEdit

    def inverse(self) -> PlaneEdit:
        """Return the edit that takes this one back."""
        return PlaneEdit(self.plane, self.edit.inverse())


@dataclass(frozen=True, slots=True)
class DraftChange:
    """The object being prompted, before and after; None is none."""

    before: Draft | None
    after: Draft | None

    def inverse(self) -> DraftChange:
        """Return the change that takes this one back."""
        return DraftChange(self.after, self.before)


@dataclass(frozen=True, slots=True)
class ProposalChange:
    """Whether a proposal was open, taken or dropped, before and after."""

    proposal_id: int
    before: str
    after: str

    def inverse(self) -> ProposalChange:
        """Return the change that takes this one back."""
        return ProposalChange(self.proposal_id, self.after, self.before)


@dataclass(frozen=True, slots=True)
class Step:
    """What one action of the user changed.

    Attributes
    ----------
    text : str
        What was done, as a menu shows it: "Add prompt", "Accept object 12".
    edits : tuple of PlaneEdit
    objects : tuple of ObjectChange
    draft : DraftChange or None
        None leaves the draft alone.
    proposals : tuple of ProposalChange
    """

    text: str
    edits: tuple[PlaneEdit, ...] = ()
    objects: tuple[ObjectChange, ...] = ()
    draft: DraftChange | None = None
    proposals: tuple[ProposalChange, ...] = ()

    def inverse(self) -> Step:
        """Return the step that takes this one back."""
        return Step(
            text=self.text,
            edits=tuple(edit.inverse() for edit in reversed(self.edits)),
            objects=tuple(change.inverse() for change in reversed(self.objects)),
            draft=None if self.draft is None else self.draft.inverse(),
            proposals=tuple(change.inverse() for change in self.proposals),
        )

    @property
    def n_bytes(self) -> int:
        """Memory of the label pixels."""
        return sum(e.edit.old.nbytes + e.edit.new.nbytes for e in self.edits)


class History:
    """Steps that were done and steps that were taken back.

    The history only remembers; its owner applies the steps it hands out.
    """

    def __init__(self) -> None:
        self._done: deque[Step] = deque()
        self._undone: list[Step] = []
        self._n_bytes = 0

    @property
    def undo_text(self) -> str:
        """What `undo` would take back, empty if nothing."""
        return self._done[-1].text if self._done else ""

    @property
    def redo_text(self) -> str:
        """What `redo` would do again, empty if nothing."""
        return self._undone[-1].text if self._undone else ""

    def push(self, step: Step) -> None:
        """Remember a step that was applied; what was undone is forgotten."""
        self._undone.clear()
        self._done.append(step)
        self._n_bytes += step.n_bytes
        while len(self._done) > 1 and (
            len(self._done) > MAX_STEPS or self._n_bytes > MAX_BYTES
        ):
            self._n_bytes -= self._done.popleft().n_bytes

    def peek_undo(self) -> Step:
        """Return the step to apply in order to take the last one back.

        Raises
        ------
        PhaseError
            If there is none.
        """
        if not self._done:
            msg = "There is nothing to undo."
            raise PhaseError(msg)
        return self._done[-1].inverse()

    def peek_redo(self) -> Step:
        """Return the step to apply in order to do it again.

        Raises
        ------
        PhaseError
            If there is none.
        """
        if not self._undone:
            msg = "There is nothing to redo."
            raise PhaseError(msg)
        return self._undone[-1]

    def mark_undone(self) -> None:
        """Note that the step of `peek_undo` was applied."""
        step = self._done.pop()
        self._n_bytes -= step.n_bytes
        self._undone.append(step)

    def mark_redone(self) -> None:
        """Note that the step of `peek_redo` was applied."""
        step = self._undone.pop()
        self._n_bytes += step.n_bytes
        self._done.append(step)

    def join_last_two(self) -> None:
        """Let a first prompt and what ended its draft be taken back as one step.

        Nothing is joined if something else was done in between, or if the earlier
        step is forgotten already.
        """
        if len(self._done) < 2:
            return
        earlier, later = self._done[-2], self._done[-1]
        came, went = earlier.draft, later.draft
        if came is None or came.before is not None or came.after is None:
            return
        if went is None or went.before is None or went.after is not None:
            return
        if came.after.plane == went.before.plane:
            # The draft came and went: nothing of it is left to restore.
            self._done.pop()
            self._done[-1] = replace(later, draft=None)

    def clear(self) -> None:
        """Forget everything: the labels are no longer those of the steps."""
        self._done.clear()
        self._undone.clear()
        self._n_bytes = 0

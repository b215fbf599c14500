# SPDX-License-Identifier: Apache-2.0
"""The review queue: objects that somebody should look at, the worst first."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from psygnal import Signal

from napari_sam.annotation.objects import Status
from napari_sam.errors import PhaseError

if TYPE_CHECKING:
    from napari_sam.annotation.annotator import Annotator
    from napari_sam.annotation.objects import (
        AnnotatedObject,
        ObjectChange,
        ObjectKey,
    )

TO_REVIEW = (Status.PROPOSED, Status.UNSURE)
NO_RANK = (-1.0, 0)
"""Before every score."""


class ReviewQueue:
    """Walks through proposed and unsure objects by predicted IoU, worst first.

    The queue holds no list of its own: it is read from the objects, so it is right
    after undo, redo, deleting and painting. When the current object leaves the queue
    the next one becomes current; when undo brings back one that was just settled here,
    that one does.

    Parameters
    ----------
    annotator : Annotator
        Whose objects.

    Attributes
    ----------
    changed : Signal(AnnotatedObject or None, int)
        The current object and how many are left, the current one included.
    """

    changed: ClassVar[Signal] = Signal(object, int)

    def __init__(self, annotator: Annotator) -> None:
        self._annotator = annotator
        self._current: ObjectKey | None = None
        self._rank = NO_RANK
        self._settled: list[ObjectKey] = []
        self._last_told: tuple[AnnotatedObject | None, int] = (None, 0)
        annotator.objects_changed.connect(self._follow)
        self._settle_on(None)

    def close(self) -> None:
        """Stop following the objects."""
        self._annotator.objects_changed.disconnect(self._follow)

    def __len__(self) -> int:
        return len(self.queue())

    def queue(self) -> list[AnnotatedObject]:
        """Return what is to be reviewed: worst predicted IoU first, unknown ones last.

        Ties keep the order in which the objects were made.
        """
        waiting = [o for o in self._annotator.objects if o.status in TO_REVIEW]
        return sorted(waiting, key=_score)

    @property
    def current(self) -> AnnotatedObject | None:
        """The object under review, None if nothing is left."""
        if self._current is None:
            return None
        known = self._annotator.objects.get(self._current)
        return known if known is not None and known.status in TO_REVIEW else None

    def accept(self) -> None:
        """Accept the current object and go to the next.

        Raises
        ------
        PhaseError
            If nothing is left.
        """
        key = self._require()
        self._annotator.change([key], status=Status.ACCEPTED)
        self._settled.append(key)

    def reject(self) -> None:
        """Delete the current object and go to the next; errors as in `accept`."""
        key = self._require()
        self._annotator.delete([key])
        self._settled.append(key)

    def mark_unsure(self) -> None:
        """Leave the current object for later and go to the next."""
        key = self._require()
        self._annotator.change([key], status=Status.UNSURE)
        self.step(1)

    def refine(self) -> None:
        """Open the prompts of the current object again; it stays current."""
        plane, object_id = self._require()
        self._annotator.reopen(plane, object_id)

    def step(self, n: int) -> None:
        """Go `n` objects on, or back if negative; the ends meet."""
        queue = [known.key for known in self.queue()]
        if not queue:
            self._settle_on(None)
            return
        place = queue.index(self._current) if self._current in queue else -(n > 0)
        self._settle_on(queue[(place + n) % len(queue)])

    def next(self) -> None:
        """Go to the next object."""
        self.step(1)

    def previous(self) -> None:
        """Go to the object before."""
        self.step(-1)

    def go_to(self, key: ObjectKey) -> bool:
        """Make an object current if it waits for review; returns whether it does."""
        is_waiting = any(known.key == key for known in self.queue())
        if is_waiting:
            self._settle_on(key)
        return is_waiting

    def _require(self) -> ObjectKey:
        current = self.current
        if current is None:
            msg = "There is nothing left to review."
            raise PhaseError(msg)
        return current.key

    def _follow(self, changes: tuple[ObjectChange, ...]) -> None:
        for change in changes:
            after = change.after
            if after is None or after.status not in TO_REVIEW:
                continue
            if after.key in self._settled:  # an undo: back to what was settled wrongly
                self._settled.remove(after.key)
                self._current = after.key
        self._refresh()

    def _refresh(self) -> None:
        """Stay where we are, or go to what follows the object that is gone."""
        if self.current is not None:
            self._settle_on(self._current)
            return
        queue = self.queue()
        following = [known for known in queue if _score(known) >= self._rank]
        candidates = following or queue
        self._settle_on(candidates[0].key if candidates else None)

    def _settle_on(self, key: ObjectKey | None) -> None:
        queue = self.queue()
        if key is None and queue:
            key = queue[0].key
        self._current = key
        current = self.current
        self._rank = NO_RANK if current is None else _score(current)
        told = (current, len(queue))
        if told != self._last_told:
            self._last_told = told
            self.changed.emit(*told)


def _score(known: AnnotatedObject) -> tuple[float, int]:
    """Return what the queue is sorted by; an object without a score comes last."""
    score = known.predicted_iou
    return (2.0 if score is None else score, known.object_id)

# SPDX-License-Identifier: Apache-2.0
"""What a journal held: its steps, applied one after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.annotation.objects import ObjectChange, ObjectTable
from napari_sam.errors import AnnotationFileError, LabelsError
from napari_sam.io.journal_lines import Line, read_lines
from napari_sam.io.journal_reader import read_head
from napari_sam.io.json_fields import JsonObject, take
from napari_sam.io.state_json import (
    check_plane,
    label_plane_from_json,
    state_from_json,
)
from napari_sam.io.step_json import step_from_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam.annotation.history import Step
    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.annotation.state import AnnotationState, LabelPlane

_STEPS = ("do", "undo", "redo")


@dataclass(frozen=True)
class Recovery:
    """What a journal held.

    Attributes
    ----------
    state : AnnotationState
        As it was after the last step that could be read.
    n_steps : int
    notices : tuple of str
        What the user should know: lines that were damaged.
    """

    state: AnnotationState
    n_steps: int
    notices: tuple[str, ...] = ()


def recover(path: Path) -> Recovery:
    """Replay a journal up to its end or to the first line that is damaged.

    Returns
    -------
    Recovery

    Raises
    ------
    AnnotationFileError
        If not even its beginning can be read, or a newer version wrote it.
    """
    path = Path(path)
    try:
        head = read_head(path)
        lines = islice(read_lines(path), 1, None)
        replay = _Replay(next(lines, None), path)
        notices = replay.run(lines)
    except OSError as error:
        msg = f"Cannot read {path}: {error.strerror or error}."
        raise AnnotationFileError(msg) from error
    name = take(take(head, "image", dict), "name", str, "")
    notices = [f"Journal of {name!r}: {notice}" for notice in notices]
    return Recovery(replay.state(), replay.n_steps, tuple(notices))


class _Replay:
    """An annotation that follows the lines of a journal."""

    def __init__(self, line: Line | None, path: Path) -> None:
        content = None if line is None else line.content
        if content is None or content.get("kind") != "state":
            msg = f"{path} ends before its first step; there is nothing to restore."
            raise AnnotationFileError(msg)
        try:
            self._start = state_from_json(take(content, "state", dict))
            shape, dtype = self._start.shape, np.dtype(self._start.dtype)
            # Memory is only taken for pixels that are written.
            self._labels: LabelPlane = np.zeros(shape, dtype)
        except (AnnotationFileError, MemoryError) as error:
            msg = f"{path} cannot be used: {error}"
            raise AnnotationFileError(msg) from error
        self._objects = ObjectTable()
        self._objects.apply(ObjectChange(None, item) for item in self._start.objects)
        self._drafts = {
            draft.plane: draft
            for draft in (*self._start.other_drafts, self._start.draft)
            if draft is not None
        }
        # Where the user is: its draft is the one that is being prompted.
        self._plane = None if self._start.draft is None else self._start.draft.plane
        self._touched: set[PlaneKey] = set()
        self._is_whole = False
        self.n_steps = 0

    def run(self, lines: Iterator[Line]) -> list[str]:
        """Follow the lines; returns what was wrong."""
        problems: list[str] = []
        for line in lines:
            problem = self._follow(line)
            if problem:
                problems.append(problem)
                break
        if not self._is_whole:
            problems.append(
                "it ends before all labels were written that were there at the "
                "beginning; on planes that were not changed they may be missing."
            )
        return problems

    def state(self) -> AnnotationState:
        """Return the annotation as it stands."""
        others = (d for d in self._drafts.values() if d.plane != self._plane)
        return replace(
            self._start,
            objects=tuple(self._objects),
            draft=None if self._plane is None else self._drafts.get(self._plane),
            other_drafts=tuple(others),
            labels=dict(self._planes()),
        )

    def _follow(self, line: Line) -> str:
        """Apply one line; returns what is wrong with it, or nothing."""
        if line.content is None:
            lost = f"it is damaged after step {self.n_steps}; later ones are lost."
            return "" if line.is_torn else lost
        try:
            self._apply(line.content)
        except (AnnotationFileError, LabelsError) as error:
            return f"step {self.n_steps + 1} and later ones cannot be used: {error}"
        return ""

    def _apply(self, content: JsonObject) -> None:
        kind = take(content, "kind", str)
        if kind == "labels":
            plane, labels = label_plane_from_json(content, self._start.shape)
            self._write(plane, (0, 0, *labels.shape), labels)
        elif kind == "whole":
            self._is_whole = True
        elif kind in _STEPS:
            self._apply_step(step_from_json(take(content, "step", dict)))
            self.n_steps += 1

    def _apply_step(self, step: Step) -> None:
        for edit in step.edits:
            height, width = check_plane(edit.plane, self._start.shape)
            y0, x0, y1, x1 = edit.edit.box
            if not (0 <= y0 <= y1 <= height and 0 <= x0 <= x1 <= width):
                msg = f"The box {edit.edit.box} leaves a plane of {height} x {width}."
                raise AnnotationFileError(msg)
        for edit in step.edits:
            self._write(edit.plane, edit.edit.box, edit.edit.new)
        self._objects.apply(step.objects)
        if step.draft is not None:
            before, after = step.draft.before, step.draft.after
            if before is not None:
                self._plane = before.plane
                self._drafts.pop(before.plane, None)
            if after is not None:
                self._plane = after.plane
                self._drafts[after.plane] = after

    def _write(self, plane: PlaneKey, box: tuple[int, ...], labels: LabelPlane) -> None:
        y0, x0, y1, x1 = box
        self._labels[plane.locate(slice(y0, y1), slice(x0, x1))] = labels
        self._touched.add(plane)

    def _planes(self) -> Iterator[tuple[PlaneKey, LabelPlane]]:
        """Give the planes that hold labels, all along the same two axes."""
        touched = sorted(self._touched, key=lambda plane: (plane.axes, plane.index))
        axes = {plane.axes for plane in touched}
        if len(axes) > 1:
            first = touched[0]
            others = [
                side
                for axis, side in enumerate(self._start.shape)
                if axis not in first.axes
            ]
            touched = [replace(first, index=i) for i in np.ndindex(*others)]
        for plane in touched:
            labels = self._labels[plane.locate(slice(None), slice(None))]
            if labels.any():
                yield plane, labels.copy()

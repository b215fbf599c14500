# SPDX-License-Identifier: Apache-2.0
"""What is known of labels layers that are not annotated at the moment.

A labels layer that the user leaves for another one keeps its journal on disk, so that a
crash takes nothing of it. When it is annotated again, its objects get their prompts
back and its journal is continued.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_sam.annotation.snapshot import recall
from napari_sam.errors import NapariSamError
from napari_sam.io.journal_reader import discard_journal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_sam._bridge.autosave import Autosave
    from napari_sam._bridge.controller import PromptController
    from napari_sam.annotation.objects import AnnotatedObject


@dataclass(frozen=True)
class _Left:
    """Objects of one layer, and the journal that holds what is in no file."""

    layer: weakref.ref[Any]
    objects: tuple[AnnotatedObject, ...]
    journal: Path | None


class LeftWork:
    """Remembers labels layers that were left, as long as they exist.

    Parameters
    ----------
    report : callable
        Takes an exception to the user.
    """

    def __init__(self, report: Callable[[Exception], None]) -> None:
        self._report = report
        self._left: list[_Left] = []

    def leave(self, autosave: Autosave | None) -> None:
        """Remember the labels of a journal and close it; None is nothing."""
        if autosave is None:
            return
        objects = tuple(autosave.objects)
        journal = autosave.close()
        if objects or journal is not None:
            self._left.append(_Left(weakref.ref(autosave.labels), objects, journal))

    def come_back(self, controller: PromptController, autosave: Autosave) -> None:
        """Tell an annotator what is known of its labels, and continue their journal."""
        layer = controller.labels_layer
        back = [left for left in self._left if left.layer() == layer]
        self._left = [left for left in self._left if left not in back]
        for left in back:
            recall(controller.annotator, left.objects)
        journals = [left.journal for left in back if left.journal is not None]
        if not journals:
            return
        try:
            autosave.write_whole()
            for journal in journals:
                discard_journal(journal)
        except NapariSamError as error:  # both are on disk then, which loses nothing
            self._report(error)

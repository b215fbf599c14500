# SPDX-License-Identifier: Apache-2.0
"""The mask on offer: candidates, advice, commit rule, history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_sam._widgets.binder import Binder
from napari_sam._widgets.candidate_panel import CandidatePanel
from napari_sam._widgets.commit_panel import CommitPanel
from napari_sam._widgets.pixel_size import pixel_size_um
from napari_sam.annotation.phases import Editing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qtpy.QtCore import QObject

    from napari_sam._bridge.controller import PromptController
    from napari_sam.annotation.advice import Advice
    from napari_sam.annotation.choices import Size
    from napari_sam.annotation.commit_policy import CommitSettings
    from napari_sam.annotation.objects import AnnotatedObject, ObjectChange
    from napari_sam.annotation.offer import Shown


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the panels say while there is no annotator to be told."""

    settings: CommitSettings
    preference: Size | None
    class_name: str
    is_turbo: bool


class MaskBinder(Binder):
    """Connects the panels around the mask on offer.

    Parameters
    ----------
    parent : QObject
        Ends the binder with it.
    attempt : callable
        Calls a function for the user and reports an error of ours.
    """

    def __init__(self, parent: QObject, attempt: Callable[..., bool]) -> None:
        super().__init__(parent, attempt)
        self.candidates = CandidatePanel()
        self.commit = CommitPanel()
        self._class_names: set[str] = set()
        candidates, commit = self.candidates, self.commit
        for signal, slot in (
            (candidates.chosen, self._choose),
            (candidates.preference_chosen, self._prefer),
            (candidates.advice_taken, self._follow_advice),
            (commit.accepted, self._accept),
            (commit.discarded, self._discard),
            (commit.undone, self._undo),
            (commit.redone, self._redo),
            (commit.settings_chosen, self._use_settings),
            (commit.class_chosen, self._use_class),
            (commit.turbo_chosen, self._use_turbo),
        ):
            signal.connect(slot)
        self.refresh()

    @property
    def wishes(self) -> Wishes:
        """What the panels say."""
        return Wishes(
            settings=self.commit.rule.settings,
            preference=self.candidates.preference.currentData(),
            class_name=self.commit.class_name.currentText().strip(),
            is_turbo=self.commit.turbo.isChecked(),
        )

    def fulfil(self, wishes: Wishes) -> None:
        """Tell a new annotator what the panels said before it was there."""
        if self.controller is None:
            return
        annotator = self.controller.annotator
        annotator.preference = wishes.preference
        annotator.class_name = wishes.class_name
        annotator.is_turbo = wishes.is_turbo
        annotator.settings = wishes.settings
        annotator.options_changed.emit()

    def connections(self, controller: PromptController) -> list[tuple[Any, Any]]:
        """List what to listen to."""
        annotator = controller.annotator
        return [
            (annotator.phase_changed, self._show_usable),
            (annotator.draft_changed, self._show_usable),
            (annotator.answer_changed, self._show_answer),
            (annotator.advised, self._show_advice),
            (annotator.history_changed, self._show_history),
            (annotator.settings_changed, self.commit.show_settings),
            (annotator.options_changed, self._show_options),
            (annotator.objects_changed, self._show_classes),
        ]

    def refresh(self) -> None:
        """Show how the annotator stands."""
        controller = self.controller
        for widget in (self.commit.undo, self.commit.redo):
            widget.setEnabled(False)
        self._show_usable()
        if controller is None:
            self._show_answer(None)
            self._show_advice(None)
            self._show_history()
            return
        annotator = controller.annotator
        self.commit.show_settings(annotator.settings)
        self._show_options()
        self._show_answer(annotator.shown)
        self._show_advice(annotator.advice)
        self._show_history()
        self._show_classes()

    def _show_options(self) -> None:
        if self.controller is not None:
            annotator = self.controller.annotator
            self.candidates.show_preference(annotator.preference)
            self.commit.show_turbo(annotator.is_turbo)
            self.commit.show_class(annotator.class_name)

    def _show_answer(self, shown: Shown | None) -> None:
        controller = self.controller
        if shown is None or controller is None:
            self.candidates.show_answer(None)
        else:
            self._show_unit(controller)
            self.candidates.show_answer(shown.answer, shown.index)
        self._show_usable()

    def _show_unit(self, controller: PromptController) -> None:
        plane = controller.annotator.plane
        size = None
        if plane is not None:
            size = pixel_size_um(controller.image, controller.labels_layer, plane)
        self.candidates.set_pixel_area(None if size is None else size[0] * size[1])

    def _show_advice(self, advice: Advice | None) -> None:
        if advice is None:
            self.candidates.show_advice()
        else:
            self.candidates.show_advice(advice.kind, advice.text, advice.object_id)

    def _show_history(self) -> None:
        if self.controller is None:
            self.commit.show_history("", "")
        else:
            history = self.controller.annotator.ledger.history
            self.commit.show_history(history.undo_text, history.redo_text)

    def _show_classes(self, changes: Iterable[ObjectChange] = ()) -> None:
        """Offer every class that an object has had."""
        if self.controller is None:
            return
        made = [change.after for change in changes if change.after is not None]
        objects: Iterable[AnnotatedObject] = made or self.controller.annotator.objects
        self._class_names.update(one.class_name for one in objects)
        self.commit.set_class_names(self._class_names)

    def _show_usable(self, *_: Any) -> None:
        controller = self.controller
        if controller is None:
            self.commit.set_usable(can_accept=False, can_discard=False)
            return
        annotator = controller.annotator
        phase = annotator.phase
        can_accept = isinstance(phase, Editing) and (
            phase.is_pending or phase.answered is not None
        )
        has_prompts = annotator.draft is not None
        self.commit.set_usable(can_accept=can_accept, can_discard=has_prompts)

    def _accept(self) -> None:
        if self.controller is not None:
            self.attempt(self.controller.accept)

    def _discard(self) -> None:
        if self.controller is not None:
            self.attempt(self.controller.discard)

    def _choose(self, index: int) -> None:
        if self.controller is not None:
            self.attempt(self.controller.annotator.choose, index)

    def _undo(self) -> None:
        if self.controller is not None:
            self.attempt(self.controller.annotator.undo)

    def _redo(self) -> None:
        if self.controller is not None:
            self.attempt(self.controller.annotator.redo)

    def _follow_advice(self) -> None:
        if self.controller is not None:
            self.attempt(self.controller.actions.follow_advice)

    def _prefer(self, size: Size | None) -> None:
        self._use_option("preference", size)

    def _use_class(self, name: str) -> None:
        self._use_option("class_name", name)

    def _use_turbo(self, is_on: bool) -> None:  # noqa: FBT001  a signal's payload
        self._use_option("is_turbo", is_on)

    def _use_option(self, name: str, value: Any) -> None:
        if self.controller is not None:
            setattr(self.controller.annotator, name, value)
            self.controller.annotator.options_changed.emit()

    def _use_settings(self, settings: CommitSettings) -> None:
        if self.controller is not None:
            self.controller.annotator.settings = settings

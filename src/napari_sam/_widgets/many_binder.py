# SPDX-License-Identifier: Apache-2.0
"""Proposals, batches and review of the image being prompted, and their panels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_sam._bridge.many_desk import ManyDesk, desk_of
from napari_sam._widgets.batch_panel import BatchPanel
from napari_sam._widgets.binder import Binder
from napari_sam._widgets.proposals_panel import ProposalsPanel
from napari_sam._widgets.review_panel import ReviewPanel
from napari_sam._widgets.section import Section

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Layer
    from qtpy.QtWidgets import QWidget

    from napari_sam._bridge.controller import PromptController
    from napari_sam._bridge.sessions import ViewerSession
    from napari_sam.annotation.scope import Scope

NEEDS_PROMPTING = (
    "Press Start in the panel 'Segment with prompts' first: objects go into the labels "
    "that are prompted."
)


class ManyBinder(Binder):
    """Connects three panels with the desk of the controller of the moment.

    Parameters
    ----------
    parent : QWidget
        Ends the binder with it.
    attempt : callable
        Calls a function for the user and reports an error of ours.
    session : ViewerSession
    viewer : ViewerModel
        Whose layers can be prompts.
    """

    def __init__(
        self,
        parent: QWidget,
        attempt: Callable[..., bool],
        session: ViewerSession,
        viewer: ViewerModel,
    ) -> None:
        super().__init__(parent, attempt)
        self._session = session
        self.desk: ManyDesk | None = None
        self.proposals = ProposalsPanel()
        self.batch = BatchPanel(viewer)
        self.review = ReviewPanel()
        self.proposals_section = Section(
            "Proposals",
            self.proposals,
            tooltip="What the semi-automatic way found and was not sure of.",
        )
        for signal, slot in (
            (self.proposals.filter_changed, self._filter),
            (self.proposals.background_toggled, self._filter_background),
            (self.proposals.take_wanted, self._take_all),
            (self.proposals.drop_wanted, self._drop_all),
            (self.proposals.undo_wanted, self._undo),
            (self.batch.run_wanted, self._start_batch),
            (self.batch.cancel_wanted, self._cancel_batch),
            (self.review.accept_wanted, lambda: self._decide("accept")),
            (self.review.reject_wanted, lambda: self._decide("reject")),
            (self.review.unsure_wanted, lambda: self._decide("mark_unsure")),
            (self.review.step_wanted, self._step),
            (self.review.refine_wanted, self._refine),
            (self.review.show_wanted, self._show_current),
        ):
            signal.connect(slot)
        self.refresh()

    def sections(self) -> list[Section]:
        """Return the three panels under their titles, folded."""
        return [
            self.proposals_section,
            Section(
                "Prompts from a layer",
                self.batch,
                tooltip="Make an object of every point, shape or label of a layer.",
            ),
            Section(
                "Review",
                self.review,
                tooltip="Look at objects of a batch and unsure ones, the worst first.",
            ),
        ]

    def connections(self, controller: PromptController) -> list[tuple[Any, Any]]:
        """List what is listened to of the controller's desk."""
        desk = desk_of(self._session)
        if desk is None:
            return []
        return [
            (desk.proposals_changed, self._show_proposals),
            (desk.hovered, self.proposals.show_hovered),
            (desk.batch_progressed, self.batch.show_progress),
            (desk.batch_finished, self._on_batch),
            (desk.review.changed, self.review.show_object),
            (controller.annotator.objects_changed, self._show_proposals),
        ]

    def refresh(self) -> None:
        """Show how the desk stands, or that there is none."""
        desk = self.desk = None if self.controller is None else desk_of(self._session)
        self.batch.set_can_run(desk is not None)
        if desk is None:
            self.batch.show_result(NEEDS_PROMPTING)
            self.review.show_object(None, 0)
        elif desk.is_batch_running:
            self.batch.show_running()
        else:
            self.batch.show_result("")
        if desk is not None:
            self.review.show_object(desk.review.current, len(desk.review))
        self._show_proposals()

    def _show_proposals(self, *_: Any) -> None:
        desk = self.desk
        if desk is None:
            self.proposals.show_proposals(None, {})
        else:
            advance = desk.advance
            self.proposals.show_proposals(desk.proposals, desk.filters, advance)

    def _filter(self, statistic: str, low: float, high: float) -> None:
        if self.desk is not None:
            self.desk.set_filter(statistic, low, high)

    def _filter_background(self, is_on: bool) -> None:  # noqa: FBT001  a Qt slot
        if self.desk is not None:
            self.desk.set_drops_background(is_on)

    def _take_all(self) -> None:
        if self.desk is not None:
            self.desk.take()

    def _drop_all(self) -> None:
        if self.desk is not None:
            self.desk.drop()

    def _undo(self) -> None:
        if self.desk is not None:
            self.desk.undo()

    def _start_batch(self, layer: Layer, scope: Scope) -> None:
        desk = self.desk
        if desk is None:
            return
        self.batch.show_running("Segmenting ...")
        if not self.attempt(desk.start_batch, layer, scope):
            self.batch.show_result("")

    def _cancel_batch(self) -> None:
        if self.desk is not None:
            self.desk.cancel_batch()

    def _on_batch(self, text: str) -> None:
        self.batch.show_result(text)
        if self.desk is not None:
            self.desk.show_current()

    def _decide(self, name: str) -> None:
        if self.desk is not None:
            self.attempt(getattr(self.desk.review, name))
            self.desk.show_current()

    def _step(self, n: int) -> None:
        if self.desk is not None:
            self.desk.review.step(n)
            self.desk.show_current()

    def _refine(self) -> None:
        if self.desk is not None:
            self.desk.show_current()
            self.attempt(self.desk.refine)

    def _show_current(self) -> None:
        if self.desk is not None:
            self.desk.show_current()

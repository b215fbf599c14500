# SPDX-License-Identifier: Apache-2.0
"""Many objects at once on the image being prompted: proposals, batches, review."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal

from napari_sam._bridge.prompt_sources import read_prompts
from napari_sam._bridge.proposal_layer import ProposalLayer
from napari_sam.annotation.batch_run import BatchRun, batch_items, batch_text
from napari_sam.annotation.desk import model_name
from napari_sam.annotation.phases import Loading
from napari_sam.annotation.review import ReviewQueue
from napari_sam.annotation.scope import Scope, planes_in
from napari_sam.annotation.semi_automatic import ProposalBook
from napari_sam.errors import Cancelled, NapariSamError, PhaseError, PromptError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Layer

    from napari_sam._bridge.controller import PromptController
    from napari_sam._bridge.sessions import ViewerSession
    from napari_sam.annotation.batch_run import BatchResult
    from napari_sam.annotation.ports import Encoded, PlaneKey, Segmenter
    from napari_sam.annotation.proposals import Proposals
    from napari_sam.annotation.scope import PlaneContext
    from napari_sam.annotation.semi_automatic import Advance

NOT_IN_FRONT = (
    "Prompts can be changed while the panel 'Segment with prompts' is in front. Bring "
    "it to the front, then refine."
)


class ManyDesk:
    """What a controller's annotator can be given in numbers.

    Parameters
    ----------
    controller : PromptController
        Of the image; held weakly.
    session : ViewerSession
        Its thread and its way to report errors are used; held weakly.

    Attributes
    ----------
    book : ProposalBook
    review : ReviewQueue
    layer : ProposalLayer
    filters : dict of str to (low, high)
        Hold on every plane.
    proposals_changed : Signal()
        What can be taken on the plane shown is different, or another plane is shown.
    hovered : Signal(dict or None)
        Statistics of the proposal under the pointer.
    batch_progressed : Signal(int, int)
    batch_finished : Signal(str)
        What became of the prompts, or why there is nothing.
    """

    proposals_changed: ClassVar[Signal] = Signal()
    hovered: ClassVar[Signal] = Signal(object)
    batch_progressed: ClassVar[Signal] = Signal(int, int)
    batch_finished: ClassVar[Signal] = Signal(str)

    def __init__(self, controller: PromptController, session: ViewerSession) -> None:
        self._controller = weakref.ref(controller)
        self._session = weakref.ref(session)
        annotator = controller.annotator
        self.book = ProposalBook(annotator)
        self.review = ReviewQueue(annotator)
        self.layer = ProposalLayer(controller.plane_map)
        self.filters: dict[str, tuple[float, float]] = {}
        self.drops_background = True
        self._batch = BatchRun(session.runner)
        self._batch_model = ""
        viewer = controller.viewer
        dims = None if viewer is None else viewer.dims.events
        self._connections: list[tuple[Any, Any]] = [
            (self.book.changed, self._on_proposals),
            (self.layer.taken, self.take),
            (self.layer.dropped, self.drop),
            (self.layer.hovered, self._on_hovered),
            (self._batch.progressed, self.batch_progressed.emit),
            (self._batch.finished, self._on_batch),
            (self._batch.failed, self._on_batch_failed),
            (controller.stopped, self.close),
        ]
        if dims is not None:
            self._connections += [(dims.point, self.show), (dims.order, self.show)]
        for signal, slot in self._connections:
            signal.connect(slot)

    def close(self) -> None:
        """Let go of the annotator and take the proposals' layer out."""
        self._batch.cancel()
        for signal, slot in self._connections:
            signal.disconnect(slot)
        self._connections = []
        self.book.close()
        self.review.close()
        controller = self._controller()
        viewer = None if controller is None else controller.viewer
        if viewer is not None:
            self.layer.remove_from(viewer)

    @property
    def controller(self) -> PromptController:
        """Of the image; raises PhaseError when it is gone."""
        controller = self._controller()
        if controller is None:
            msg = "The image is no longer being prompted."
            raise PhaseError(msg)
        return controller

    # Proposals

    @property
    def proposals(self) -> Proposals | None:
        """Proposals of the plane shown."""
        plane = self.controller.plane
        return None if plane is None else self.book.on_plane(plane)

    @property
    def advance(self) -> Advance | None:
        """How far the plane shown is."""
        plane = self.controller.plane
        if plane is None:
            return None
        return self.book.advance(plane, self.controller.plane_map.plane_shape(plane))

    def put(self, proposals: Proposals) -> None:
        """Offer proposals, filtered as the others are."""
        proposals.drops_background = self.drops_background
        for statistic, (low, high) in self.filters.items():
            proposals.set_filter(statistic, low, high)
        self.book.put(proposals)

    def show(self, event: Any = None) -> None:
        """Show what can be taken on the plane shown."""
        viewer, proposals = self.controller.viewer, self.proposals
        if viewer is None:
            return
        if proposals is None:
            self.layer.clear()
        else:
            self.layer.show(viewer, proposals)
        self.proposals_changed.emit()

    def set_filter(self, statistic: str, low: float, high: float) -> None:
        """Let only proposals of [low, high] through, on every plane."""
        self.filters[statistic] = (low, high)
        for proposals in self.book:
            proposals.set_filter(statistic, low, high)
        self._repaint()

    def set_drops_background(self, is_on: bool) -> None:  # noqa: FBT001  a Qt slot
        """Drop what looks like background, or offer it."""
        self.drops_background = is_on
        for proposals in self.book:
            proposals.drops_background = is_on
        self._repaint()

    def take(self, *ids: int) -> None:
        """Make objects of proposals of the plane shown; all if no id is given."""
        self._change(self.book.take, ids)

    def drop(self, *ids: int) -> None:
        """Put proposals of the plane shown aside; all if no id is given."""
        self._change(self.book.drop, ids)

    def split_confident(self, min_iou: float, min_stability: float) -> None:
        """Fill in the sure proposals of the plane shown as locked objects."""
        plane = self.controller.plane
        if plane is not None and self.attempt(self.controller.renew_labels):
            self.attempt(self.book.split_confident, plane, min_iou, min_stability)

    def activate_layer(self) -> None:
        """Let clicks in the viewer mean proposals."""
        viewer = self.controller.viewer
        if viewer is not None:
            self.layer.activate(viewer)

    def undo(self) -> None:
        """Take the last step back, whatever it was."""
        self.attempt(self.controller.annotator.undo)

    # Batches

    @property
    def is_batch_running(self) -> bool:
        """Whether a batch is under way."""
        return self._batch.is_running

    def start_batch(self, layer: Layer, scope: Scope) -> int:
        """Make one object of every item of a layer; `batch_finished` follows.

        Returns
        -------
        int
            Items that cannot be used: beside the image, too small, across planes.

        Raises
        ------
        NapariSamError
            If there is no model or no item, or a batch is under way.
        """
        annotator, plane = self.controller.annotator, self.controller.plane
        phase = annotator.phase
        if isinstance(phase, Loading) or plane is None:
            msg = "The model is still loading, or the view shows no plane of the image."
            raise PhaseError(msg)
        segmenter, source = phase.segmenter, annotator.source
        plane_map = self.controller.plane_map
        read = read_prompts(layer, plane_map, planes_in(scope, plane_map.shape, plane))
        if not read.n_prompts:
            where = "any plane" if scope is Scope.ALL else "the plane shown"
            msg = f"The layer {layer.name!r} has nothing usable on {where}."
            raise PromptError(msg)
        self.controller.renew_labels()
        self._batch_model = model_name(segmenter)
        self._batch.start(
            segmenter,
            source,
            read.prompts,
            annotator.settings,
            self._embedder(segmenter),
        )
        return read.n_unusable

    def cancel_batch(self) -> None:
        """Stop soon; what was answered by then becomes objects."""
        self._batch.cancel()

    def _embedder(self, segmenter: Segmenter) -> Callable[..., Encoded]:
        """Use the annotator's embedding of a plane if there is one."""
        annotator = self.controller.annotator
        desk, source = annotator.desk, annotator.source

        def embed(plane: PlaneKey, context: PlaneContext) -> Encoded:
            embedding = desk.embedding_of(plane)
            if embedding is not None:
                return embedding
            return segmenter.embed(source.plane_pixels(plane), cancel=context.cancel)

        return embed

    def _on_batch(self, result: BatchResult) -> None:
        if self._controller() is None:
            return
        items = batch_items(result, self._batch_model)
        text = f"Batch of {len(items)} objects"
        if self.attempt(self.controller.annotator.write_objects, text, items):
            self.batch_finished.emit(batch_text(result))
        else:
            self.batch_finished.emit("Nothing was written.")
        if result.error is not None:
            self._report(result.error)

    def _on_batch_failed(self, error: Exception) -> None:
        self._report(error)
        is_cancel = isinstance(error, Cancelled)
        reason = str(error) or type(error).__name__
        self.batch_finished.emit("Cancelled." if is_cancel else f"No result: {reason}")

    # Review

    def refine(self) -> None:
        """Open the prompts of the object under review.

        Raises
        ------
        PhaseError
            If nothing is left, or prompts cannot be changed now.
        """
        if not self.controller.is_active:
            raise PhaseError(NOT_IN_FRONT)
        self.review.refine()

    def show_current(self) -> None:
        """Move the view to the object under review and select its label."""
        current = self.review.current
        if current is not None:
            self.controller.fly_to(current.key)
            self.controller.labels_layer.selected_label = current.object_id

    def attempt(self, action: Callable[..., object], *arguments: Any) -> bool:
        """Do something for the user; an error of ours becomes a notification."""
        try:
            action(*arguments)
        except NapariSamError as error:
            self._report(error)
            return False
        return True

    def _report(self, error: Exception) -> None:
        session = self._session()
        if session is not None:
            session.report(error)

    def _change(self, action: Callable[..., None], ids: tuple[int, ...]) -> None:
        plane, proposals = self.controller.plane, self.proposals
        if plane is None or proposals is None:
            return
        if self.attempt(self.controller.renew_labels):
            self.attempt(action, plane, ids or proposals.visible_ids())

    def _repaint(self) -> None:
        self.layer.refresh()
        self.proposals_changed.emit()

    def _on_proposals(self, plane: PlaneKey) -> None:
        if plane == self.controller.plane:
            self.show()

    def _on_hovered(self, proposal_id: int | None) -> None:
        proposals = self.proposals
        if proposal_id is None or proposals is None:
            self.hovered.emit(None)
        else:
            self.hovered.emit(proposals.describe(proposal_id))


_DESKS: weakref.WeakKeyDictionary[PromptController, ManyDesk] = (
    weakref.WeakKeyDictionary()
)


def desk_of(session: ViewerSession) -> ManyDesk | None:
    """Return the desk of the image that a session prompts, making it if needed."""
    controller = session.controller
    if controller is None:
        return None
    desk = _DESKS.get(controller)
    if desk is None:
        desk = _DESKS[controller] = ManyDesk(controller, session)
    return desk

# SPDX-License-Identifier: Apache-2.0
"""The automatic mode on a region, a plane or all planes: as labels or as proposals."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal

from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.image_source import LayerImageSource
from napari_sam._bridge.large_result import LargeLabels
from napari_sam._bridge.result_layer import make_stack_layer
from napari_sam._bridge.search_part import (
    is_large_plane,
    part_on_screen,
    region_mask,
)
from napari_sam.annotation.desk import model_name
from napari_sam.annotation.grid_run import GridResult, GridRun
from napari_sam.annotation.scope import PlanesResult, planes_in
from napari_sam.annotation.semi_automatic import (
    loosened,
    proposals_of,
    sure_thresholds,
)
from napari_sam.errors import Cancelled, PhaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Shapes

    from napari_sam._bridge.many_desk import ManyDesk
    from napari_sam._bridge.model_segmenter import ModelSpec
    from napari_sam._bridge.sessions import ViewerSession
    from napari_sam.annotation.ports import PlaneKey, Segmenter
    from napari_sam.annotation.proposals import Proposals
    from napari_sam.annotation.scope import PlaneContext, Scope
    from napari_sam.structures.mask_window import MaskWindow

NO_OBJECTS = (
    "No objects found: lower the thresholds of predicted IoU or stability, or take "
    "more points."
)
NO_PROMPTING = (
    "The semi-automatic way fills in the labels that are being prompted. Press Start "
    "in the panel 'Segment with prompts' on this image first."
)


@dataclass(eq=False)
class _Order:
    """What was asked for, and where the result goes."""

    image_name: str
    plane_map: PlaneMap
    source: LayerImageSource
    planes: tuple[PlaneKey, ...]
    region: MaskWindow | None
    settings: dict[str, Any]
    desk: ManyDesk | None
    sure: tuple[float, float]
    large: LargeLabels | None = None
    about: dict[str, Any] = field(default_factory=dict)


class EverythingRun:
    """One automatic run at a time, of a viewer.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Held weakly.
    session : ViewerSession
        Of the viewer.

    Attributes
    ----------
    progressed : Signal(int, int)
        Steps done and steps in all, all planes together.
    finished : Signal(str)
        What came out of it, or why there is nothing.
    """

    progressed: ClassVar[Signal] = Signal(int, int)
    finished: ClassVar[Signal] = Signal(str)

    def __init__(self, viewer: ViewerModel, session: ViewerSession) -> None:
        self._viewer = weakref.ref(viewer)
        self._session = session
        self._order: _Order | None = None
        self._grid = GridRun(session.runner)
        self._grid.progressed.connect(self.progressed.emit)
        self._grid.planes_finished.connect(self._on_finished)
        self._grid.failed.connect(self._on_failed)
        session.models.failed.connect(self._on_model_failed)

    @property
    def is_running(self) -> bool:
        """Whether a run was started and has not ended."""
        return self._order is not None

    @property
    def is_cancelled(self) -> bool:
        """Whether the run was asked to stop and has not ended yet."""
        return self._grid.is_cancelled

    def start(
        self,
        image: Image,
        spec: ModelSpec,
        settings: Mapping[str, Any],
        scope: Scope,
        region: Shapes | None = None,
        desk: ManyDesk | None = None,
        sure: tuple[float, float] | None = None,
    ) -> None:
        """Begin; `finished` follows.

        Parameters
        ----------
        image : napari.layers.Image
            What to segment.
        spec : ModelSpec
            The model.
        settings : mapping
            Automatic settings that differ from the model's defaults.
        scope : Scope
            Which planes.
        region : napari.layers.Shapes, optional
            Limits the search, on every plane to what is drawn on the plane shown.
        desk : ManyDesk, optional
            Of the image: the run is semi-automatic and its result goes there; of a
            large plane it takes what is on screen. Without it, a new labels layer is
            made.
        sure : (min_iou, min_stability), optional
            From where on masks are filled in; the model's own thresholds by default.

        Raises
        ------
        NapariSamError
            If the image cannot be used, the region is empty or too large, or a run is
            under way.
        """
        if self._order is not None:
            msg = "A run is under way. Wait for its end or cancel it first."
            raise PhaseError(msg)
        viewer = self._viewer()
        if viewer is None:
            msg = "The viewer was closed."
            raise PhaseError(msg)
        if desk is not None and desk.controller.image != image:
            raise PhaseError(NO_PROMPTING)
        source = self._source(image, desk)
        plane_map = PlaneMap.of(image, source)
        shown = plane_map.plane_key(viewer.dims)
        is_large = is_large_plane(plane_map, shown)
        mask = None if region is None else region_mask(region, plane_map, shown)
        if mask is None and desk is not None and is_large:
            mask = part_on_screen(viewer, plane_map, shown)
        order = _Order(
            image.name,
            plane_map,
            source,
            planes_in(scope, plane_map.shape, shown),
            mask,
            dict(settings),
            desk,
            sure or (-1.0, -1.0),
            LargeLabels(plane_map, image.name) if is_large and desk is None else None,
        )
        self._order = order

        def begin(segmenter: Segmenter) -> None:
            if self._order is order:  # not cancelled while the model was loading
                self._begin(order, segmenter, own_thresholds=sure is None)

        self._session.models.request(spec, begin)

    def is_large(self, image: Image) -> bool:
        """Tell whether the plane shown is searched tile by tile.

        Raises
        ------
        NapariSamError
            If the image cannot be used.
        """
        viewer = self._viewer()
        if viewer is None:
            return False
        plane_map = PlaneMap.of(image, self._source(image, None))
        return is_large_plane(plane_map, plane_map.plane_key(viewer.dims))

    def cancel(self) -> None:
        """End soon; what was found by then is kept."""
        if self._grid.is_running:
            self._grid.cancel()
        elif self._order is not None:
            self._end("Cancelled before the first mask.")

    def close(self) -> None:
        """Let go of the session."""
        self._grid.cancel()
        self._session.models.failed.disconnect(self._on_model_failed)

    def _source(self, image: Image, desk: ManyDesk | None) -> LayerImageSource:
        """Return the pixels as prompts see them, if they are given on this image."""
        controller = self._session.controller if desk is None else desk.controller
        if controller is not None and controller.image == image:
            return controller.source
        return LayerImageSource(image)

    def _begin(
        self, order: _Order, segmenter: Segmenter, *, own_thresholds: bool
    ) -> None:
        order.about = dict(segmenter.describe())
        settings = dict(order.settings)
        finish: Callable[[Any, PlaneContext], Any] | None = None
        if order.large is not None:
            finish = order.large.add
        if order.desk is not None:
            defaults = segmenter.auto_defaults
            settings = loosened(order.settings, defaults)
            finish = self._finisher(order, order.desk.book.next_id)
            order.desk.book.model = model_name(segmenter)
            if own_thresholds:
                order.sure = sure_thresholds(defaults)
        self._grid.start_planes(
            segmenter,
            order.source,
            order.planes,
            settings,
            order.region,
            finish,
            is_large=order.large is not None,
        )

    @staticmethod
    def _finisher(
        order: _Order, first_id: int
    ) -> Callable[[GridResult, PlaneContext], Proposals]:
        """Measure masks in the model thread; ids go on from plane to plane."""
        next_id = first_id

        def finish(result: GridResult, context: PlaneContext) -> Proposals:
            nonlocal next_id
            plane = order.source.plane_pixels(result.plane)
            pixels = plane.read(result.box)

            def give_way() -> None:
                # Looking at the flag lets clicks go first. What was found is measured
                # even after a cancel: it is the partial result.
                context.cancel.is_set()

            proposals = proposals_of(result, pixels, next_id, give_way, plane.shape)
            next_id = proposals.ids.stop
            return proposals

        return finish

    def _on_finished(self, result: PlanesResult[Any]) -> None:
        order = self._order
        if order is None:
            return
        if order.desk is None:
            text = self._make_layer(order, result)
        else:
            text = self._offer(order, order.desk, result)
        if result.error is not None:
            self._session.report(result.error)
            text += f" Then it failed: {result.error}"
        elif result.is_partial:
            text += f" Cancelled on plane {len(result.planes)} of {result.n_asked}."
        self._end(text)

    def _make_layer(self, order: _Order, result: PlanesResult[GridResult]) -> str:
        viewer = self._viewer()
        if viewer is None:
            return "No result: the viewer was closed."
        name = f"{order.image_name} objects"
        about = {**order.about, "settings": order.settings}
        if order.large is not None:
            layer = order.large.make_layer(name, about)
            n_objects = order.large.n_objects
        else:
            layer = make_stack_layer(result.planes, order.plane_map, name, about)
            n_objects = sum(len(found.records) for found in result.planes)
        viewer.add_layer(layer)
        if not n_objects:
            return NO_OBJECTS
        return f"{n_objects} objects in the layer {layer.name!r}."

    @staticmethod
    def _offer(order: _Order, desk: ManyDesk, result: PlanesResult[Proposals]) -> str:
        n_sure = n_open = n_background = 0
        for proposals in result.planes:
            desk.put(proposals)
            n_sure += desk.book.split_confident(proposals.plane, *order.sure)
            n_open += len(proposals.visible_ids())
            n_background += proposals.n_background
        if not n_sure + n_open + n_background:
            return NO_OBJECTS
        desk.show()
        desk.activate_layer()
        text = f"{n_sure} sure objects filled in and locked, {n_open} proposed."
        if n_background:
            text += f" {n_background} look like background."
        return text

    def _on_failed(self, error: Exception) -> None:
        self._session.report(error)
        is_cancel = isinstance(error, Cancelled)
        reason = str(error) or type(error).__name__
        self._end(
            "Cancelled before the first mask." if is_cancel else f"No result: {reason}"
        )

    def _on_model_failed(self, error: Exception) -> None:
        if self._order is not None and not self._grid.is_running:
            self._end(f"No result: {error}")

    def _end(self, text: str) -> None:
        self._order = None
        self.finished.emit(text)


def result_text(layer: Labels | None, result: GridResult | None, reason: str) -> str:
    """Say what came out of a run on one plane, or why there is nothing."""
    if reason or layer is None or result is None:
        return reason or "No result: the viewer was closed."
    if not result.records:
        return NO_OBJECTS
    text = f"{len(result.records)} objects in the layer {layer.name!r}"
    return text + (" so far: the run was cancelled." if result.is_partial else ".")

# SPDX-License-Identifier: Apache-2.0
"""One session per viewer: its model, its thread, its annotator, its automatic run.

All docks of a viewer share the session; two viewers share nothing. A session does not
keep its viewer alive. It ends when the last dock that holds it is gone.
"""

from __future__ import annotations

import traceback
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal

from napari_sam._bridge.autosave import Autosave
from napari_sam._bridge.controller import PromptController
from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.embeddings import planes_ahead_of
from napari_sam._bridge.image_source import LayerImageSource
from napari_sam._bridge.left_work import LeftWork
from napari_sam._bridge.model_holder import LoadedModel, ModelHolder
from napari_sam._bridge.model_segmenter import ModelSpec, load_segmenter
from napari_sam._bridge.preferences import (
    begins_with_hover,
    commit_rule,
    keeps_journal,
)
from napari_sam._bridge.result_layer import make_result_layer
from napari_sam._bridge.search_part import region_mask
from napari_sam.annotation.grid_run import GridResult, GridRun
from napari_sam.annotation.jobs import ModelThread
from napari_sam.errors import Cancelled, NapariSamError, PhaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Shapes

    from napari_sam._bridge.model_holder import ModelStatus
    from napari_sam.annotation.plane_ahead import PlanesAhead
    from napari_sam.annotation.ports import JobRunner, Segmenter
    from napari_sam.structures.view_settings import ViewSettings


CANCELLED_EARLY = "Cancelled before the first mask."


class ViewerSession:
    """What all docks of one viewer share.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Held weakly.
    runner : JobRunner, optional
        Where the model runs; a `ModelThread` by default.
    load : callable, optional
        Makes a segmenter from a `ModelSpec`; called in the model thread.

    Attributes
    ----------
    runner : JobRunner
        The thread that owns the model.
    errands : ModelThread
        Another thread for downloads and hashes, which would keep a click waiting.
    models : ModelHolder
        The one model of this viewer.
    controller : PromptController or None
        Present while an image is being prompted.
    autosave : Autosave or None
        The journal of what was prompted last.
    last_error : str
        The last error that was reported, with its traceback.
    controller_changed : Signal(PromptController or None)
    grid_progressed : Signal(int, int)
    grid_finished : Signal(Labels or None, GridResult or None, str)
        The new layer and its result; if the run failed, nothing, and the reason.
    weights_changed : Signal()
        Weights were downloaded, deleted, or a file was chosen.
    checkpoints : list of Path
        Weights files that the user chose.
    """

    controller_changed: ClassVar[Signal] = Signal(object)
    grid_progressed: ClassVar[Signal] = Signal(int, int)
    grid_finished: ClassVar[Signal] = Signal(object, object, str)
    weights_changed: ClassVar[Signal] = Signal()

    def __init__(
        self,
        viewer: ViewerModel,
        runner: JobRunner | None = None,
        load: Callable[[ModelSpec], Segmenter] = load_segmenter,
    ) -> None:
        self._viewer = weakref.ref(viewer)
        self.runner: JobRunner = ModelThread() if runner is None else runner
        self.errands = ModelThread("napari-sam-errands")
        self.models = ModelHolder(self.runner, load)
        self.models.changed.connect(self._on_model_changed)
        self.models.failed.connect(self._on_model_failed)
        self._deferred: deque[Callable[[], None]] = deque()
        self._grid = GridRun(self.runner)
        self._grid.progressed.connect(self.grid_progressed.emit)
        self._grid.finished.connect(self._on_grid_finished)
        self._grid.failed.connect(self._on_grid_failed)
        self._grid_order: _GridOrder | None = None
        self.controller: PromptController | None = None
        self.autosave: Autosave | None = None
        self._ahead: PlanesAhead | None = None
        self._left = LeftWork(self.report)
        self.checkpoints: list[Path] = []
        self.last_error = ""
        self._n_holders = 0
        self.is_closed = False

    @property
    def on_ready(self) -> Callable[[], None] | None:
        """Called from a thread whenever something waits to be pumped."""
        return self.runner.on_ready

    @on_ready.setter
    def on_ready(self, call: Callable[[], None] | None) -> None:
        self.runner.on_ready = self.errands.on_ready = call

    @property
    def is_busy(self) -> bool:
        """Whether something is still to be delivered."""
        return self.runner.is_busy or self.errands.is_busy or bool(self._deferred)

    @property
    def is_grid_running(self) -> bool:
        """Whether an automatic run was started and has not ended."""
        return self._grid_order is not None

    @property
    def is_grid_cancelled(self) -> bool:
        """Whether the automatic run was asked to stop and has not ended yet."""
        return self._grid.is_cancelled

    def pump(self) -> None:
        """Deliver what the model thread has finished; called in the main thread."""
        while self._deferred:
            self._deferred.popleft()()
        self.runner.drain()
        self.errands.drain()

    def hold(self) -> None:
        """Count one more dock."""
        self._n_holders += 1

    def release(self) -> None:
        """Count one dock less; the last one closes the session."""
        self._n_holders -= 1
        if self._n_holders <= 0:
            self.close()

    def close(self) -> None:
        """End the thread and let go of the viewer."""
        if self.is_closed:
            return
        self.is_closed = True
        if self.controller is not None:
            # The viewer may be half gone already: its layers are left alone.
            self.controller.release()
        if self.autosave is not None:
            self.autosave.close()
            self.autosave = None
        self.runner.close()
        self.errands.close()
        viewer = self._viewer()
        if viewer is not None and _SESSIONS.get(viewer) is self:
            del _SESSIONS[viewer]

    def report(self, error: Exception) -> None:
        """Tell the user of an error: ours in plain words, others with traceback."""
        from napari.utils.notifications import notification_manager, show_warning

        if isinstance(error, Cancelled):
            return
        self.last_error = "".join(traceback.format_exception(error)).strip()
        if isinstance(error, NapariSamError):
            show_warning(str(error))
        else:
            notification_manager.receive_error(type(error), error, error.__traceback__)

    def start_prompts(
        self,
        image: Image,
        spec: ModelSpec,
        labels: Labels | None = None,
        view: ViewSettings | None = None,
        others: Sequence[Image] = (),
    ) -> PromptController:
        """Begin to prompt an image; a controller of another image is stopped.

        Parameters
        ----------
        image : napari.layers.Image
            What is annotated.
        spec : ModelSpec
            The model.
        labels : napari.layers.Labels, optional
            Where objects are written; a new layer by default.
        view : ViewSettings, optional
            How the model is shown the image.
        others : sequence of napari.layers.Image
            Images that `view` may name as channels.

        Raises
        ------
        NapariSamError
            If image or labels layer cannot be used.
        """
        self.stop_prompts()
        controller = PromptController(
            self._require_viewer(),
            image,
            self.runner,
            self.report,
            self._deferred.append,
            labels,
            view,
            others,
        )
        controller.annotator.settings = commit_rule()
        controller.annotator.is_hover_on = begins_with_hover()
        self._ahead = planes_ahead_of(controller, self.runner, self.errands)
        controller.stopped.connect(self._on_controller_stopped)
        controller.labels_changing.connect(self._leave_labels)
        controller.labels_changed.connect(self._begin_autosave)
        self.controller = controller
        self._begin_autosave()
        self.controller_changed.emit(controller)
        if self.models.has(spec):
            self._on_model_changed(self.models.status)
        else:
            self.use_model(spec)
        return controller

    def use_model(self, spec: ModelSpec) -> None:
        """Work with this model from now on; layers stay as they are."""
        self.models.request(spec)

    def add_checkpoint(self, path: Path) -> ModelSpec:
        """Offer a weights file of the user's as a model."""
        if path not in self.checkpoints:
            self.checkpoints.append(path)
        self.weights_changed.emit()
        return ModelSpec(path.stem, str(path))

    def stop_prompts(self) -> None:
        """Stop the present controller, if there is one."""
        if self.controller is not None:
            self.controller.stop()

    def start_grid(
        self,
        image: Image,
        spec: ModelSpec,
        settings: Mapping[str, Any],
        region: Shapes | None = None,
    ) -> None:
        """Segment everything on the plane shown; `grid_finished` follows.

        Raises
        ------
        NapariSamError
            If the image cannot be used, the region is empty, or a run is under way.
        """
        if self._grid_order is not None:
            msg = "A run is under way. Wait for its end or cancel it first."
            raise PhaseError(msg)
        source = LayerImageSource(image)
        if self.controller is not None and self.controller.image == image:
            source = self.controller.source  # seen in the same way as by prompts
        plane_map = PlaneMap.of(image, source)
        plane = plane_map.plane_key(self._require_viewer().dims)
        mask = None if region is None else region_mask(region, plane_map, plane)
        order = _GridOrder(plane_map, image.name, dict(settings))
        self._grid_order = order

        def begin(segmenter: Segmenter) -> None:
            if self._grid_order is order:  # not cancelled while the model was loading
                order.about.update(segmenter.describe())
                self._grid.start(segmenter, source, plane, settings, mask)

        self.models.request(spec, begin)

    def cancel_grid(self) -> None:
        """End the automatic run soon; what was found by then is kept."""
        if self._grid.is_running:
            self._grid.cancel()
        elif self._grid_order is not None:
            self._grid_order = None
            self.grid_finished.emit(None, None, CANCELLED_EARLY)

    def _require_viewer(self) -> ViewerModel:
        viewer = self._viewer()
        if viewer is None or self.is_closed:
            msg = "The viewer was closed."
            raise PhaseError(msg)
        return viewer

    def _on_model_changed(self, status: ModelStatus) -> None:
        if self.controller is None:
            return
        if isinstance(status, LoadedModel):
            self.controller.attach(status.segmenter)
        else:
            self.controller.annotator.detach()

    def _on_model_failed(self, error: Exception) -> None:
        self.report(error)
        if self._grid_order is not None and not self._grid.is_running:
            self._grid_order = None
            self.grid_finished.emit(None, None, _reason(error))

    def _begin_autosave(self) -> None:
        """Write a journal of the labels that are annotated from now on."""
        self._leave_labels()
        if self.controller is not None:
            self.autosave = Autosave(
                self.controller, self.report, is_written=keeps_journal()
            )
            self._left.come_back(self.controller, self.autosave)

    def _leave_labels(self) -> None:
        """Remember the labels annotated so far; they may be taken up again."""
        self._left.leave(self.autosave)
        self.autosave = None

    def _on_controller_stopped(self) -> None:
        self.controller = None
        self.controller_changed.emit(None)

    def _on_grid_finished(self, result: GridResult) -> None:
        order, self._grid_order = self._grid_order, None
        layer, viewer = None, self._viewer()
        if order is not None and viewer is not None:
            layer = make_result_layer(
                result,
                order.plane_map,
                f"{order.image_name} objects",
                {**order.about, "settings": order.settings},
            )
            viewer.add_layer(layer)
        is_cut_short = result.is_partial and not result.records
        reason = CANCELLED_EARLY if is_cut_short else ""
        self.grid_finished.emit(layer, result, reason)

    def _on_grid_failed(self, error: Exception) -> None:
        self._grid_order = None
        self.report(error)
        self.grid_finished.emit(None, None, _reason(error))


class _GridOrder:
    """What the result of an automatic run is to be labelled with."""

    def __init__(
        self, plane_map: PlaneMap, image_name: str, settings: dict[str, Any]
    ) -> None:
        self.plane_map = plane_map
        self.image_name = image_name
        self.settings = settings
        self.about: dict[str, Any] = {}


_SESSIONS: weakref.WeakKeyDictionary[ViewerModel, ViewerSession] = (
    weakref.WeakKeyDictionary()
)


def _reason(error: Exception) -> str:
    """Why a run ended without a result, in one line."""
    if isinstance(error, Cancelled):
        return CANCELLED_EARLY
    return f"No result: {str(error) or type(error).__name__}"


def session_of(viewer: ViewerModel) -> ViewerSession:
    """Return the session of a viewer, making it if there is none.

    napari hands its plugins a proxy of the viewer; proxy and viewer have one session.
    """
    viewer = unwrap(viewer)
    session = _SESSIONS.get(viewer)
    if session is None or session.is_closed:
        session = _SESSIONS[viewer] = ViewerSession(viewer)
    return session


def unwrap(proxy: Any) -> Any:
    """Return the object behind napari's plugin proxy, or the object itself."""
    return getattr(proxy, "__wrapped__", proxy)

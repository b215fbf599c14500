# SPDX-License-Identifier: Apache-2.0
"""What the model sees, and what it knows of it: view panel and status line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.image_source import LayerImageSource
from napari_sam._bridge.model_holder import LoadedModel, LoadingModel
from napari_sam._bridge.view_settings import layers_on_same_pixels
from napari_sam._widgets.binder import Binder
from napari_sam._widgets.status_line import EmbeddingState, StatusLine
from napari_sam._widgets.view_panel import ViewPanel
from napari_sam.errors import NapariSamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Image
    from qtpy.QtCore import QObject

    from napari_sam._bridge.controller import PromptController
    from napari_sam._bridge.sessions import ViewerSession
    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.structures.view_settings import ViewSettings


class ViewBinder(Binder):
    """Connects the view panel and the status line.

    Parameters
    ----------
    parent : QObject
        Ends the binder with it.
    attempt : callable
        Calls a function for the user and reports an error of ours.
    viewer : napari.components.ViewerModel
        Whose images there are.
    session : ViewerSession
        Whose model.
    restart : callable
        Starts prompting anew: the image has other planes now.
    """

    def __init__(
        self,
        parent: QObject,
        attempt: Callable[..., bool],
        viewer: ViewerModel,
        session: ViewerSession,
        restart: Callable[[], None],
    ) -> None:
        super().__init__(parent, attempt)
        self._viewer = viewer
        self._session = session
        self._restart = restart
        self._is_out_of_date = False
        self.image: Image | None = None
        self.view = ViewPanel(session.errands)
        self.status = StatusLine()
        self.view.changed.connect(self._use_view)
        self.view.embed_wanted.connect(self._embed)
        self.refresh()

    @property
    def others(self) -> tuple[Image, ...]:
        """Images on the same pixels, which may be channels."""
        if self.image is None:
            return ()
        return tuple(layers_on_same_pixels(self.image, self._viewer.layers))

    def open(self) -> None:
        """Begin to follow sliders and model."""
        for event in self._dims_events():
            event.connect(self._show_plane)
        self._session.models.changed.connect(self._show_status)
        self.refresh()

    def close(self) -> None:
        """Let go of sliders and model."""
        for event in self._dims_events():
            event.disconnect(self._show_plane)
        self._session.models.changed.disconnect(self._show_status)

    def show_image(self, image: Image | None) -> None:
        """Offer the channels and contrast of another image."""
        self.image = image
        self._show_plane()

    def connections(self, controller: PromptController) -> list[tuple[Any, Any]]:
        """List what to listen to."""
        annotator = controller.annotator
        return [
            (annotator.embedding_changed, self._on_embedding),
            (annotator.answer_changed, self._show_status),
            (annotator.phase_changed, self._show_status),
        ]

    def refresh(self) -> None:
        """Show how everything stands."""
        self._is_out_of_date = False
        self._show_plane()
        self._show_status()

    def _dims_events(self) -> tuple[Any, ...]:
        events = self._viewer.dims.events
        return events.point, events.order, events.ndisplay

    def _plane(self) -> PlaneKey | None:
        """Return the plane shown of the image chosen."""
        if self.controller is not None and self.controller.image == self.image:
            return self.controller.plane
        if self.image is None or self.image not in self._viewer.layers:
            return None  # it is being removed, and the sliders know it already
        try:
            source = LayerImageSource(self.image, self.view.settings, self.others)
            return PlaneMap.of(self.image, source).plane_key(self._viewer.dims)
        except NapariSamError:
            return None  # the view shows no plane of it, or its settings are wrong

    def _show_plane(self, event: Any = None) -> None:
        self.view.set_source(self.image, self._plane(), self.others)

    def _use_view(self, settings: ViewSettings) -> None:
        controller = self.controller
        if controller is None or controller.image != self.image:
            return
        self._is_out_of_date = True
        if not self.attempt(self._show_differently, controller, settings):
            return
        self._show_status()

    def _show_differently(
        self, controller: PromptController, settings: ViewSettings
    ) -> None:
        if not controller.show_differently(settings):
            self._restart()

    def _embed(self) -> None:
        if self.controller is not None:
            self.attempt(self.controller.embed_now)

    def _on_embedding(self, _: PlaneKey, is_ready: bool) -> None:  # noqa: FBT001  a signal's payload
        if is_ready:
            self._is_out_of_date = False
        elif self.controller is not None and not self.controller.annotator.is_embedding:
            self._is_out_of_date = True
        self._show_status()

    def _show_status(self, _: Any = None) -> None:
        status, line = self._session.models.status, self.status
        if isinstance(status, LoadedModel):
            facts = status.segmenter.describe()
            about = "\n".join(f"{name}: {fact}" for name, fact in facts.items())
            line.show_model(status.spec.name, facts.get("device", ""), about)
        elif isinstance(status, LoadingModel):
            line.show_model(f"loading {status.spec.name} ...", "")
        else:
            line.show_model("", "")
        state = self._embedding_state()
        line.show_embedding(state)
        self.view.set_state(str(state).capitalize())
        annotator = None if self.controller is None else self.controller.annotator
        seconds = 0.0 if annotator is None else annotator.last_seconds
        line.show_seconds(seconds or None)

    def _embedding_state(self) -> EmbeddingState:
        controller = self.controller
        if controller is None or controller.plane is None:
            return EmbeddingState.NONE
        annotator = controller.annotator
        if annotator.desk.is_ready(controller.plane):
            return EmbeddingState.READY
        if annotator.is_embedding:
            return EmbeddingState.COMPUTING
        return (
            EmbeddingState.OUT_OF_DATE if self._is_out_of_date else EmbeddingState.NONE
        )

# SPDX-License-Identifier: Apache-2.0
"""Connects one annotator to the layers of one viewer, and undoes that.

The controller listens while it is active: prompts that change, the slider that moves,
layers that the user removes. `pause` and `resume` follow the visibility of the panel;
`stop` takes the prompt layers out again and leaves the user's layers and labels alone.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from psygnal import Signal

from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.image_source import LayerImageSource
from napari_sam._bridge.label_layer import (
    LayerLabelStore,
    is_own_result,
    make_label_layer,
)
from napari_sam._bridge.preview_layer import PreviewLayer
from napari_sam._bridge.prompt_layers import POSITIVE, CollectedPrompts, PromptLayers
from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.commit_policy import ALL_TAKEN
from napari_sam.annotation.phases import Editing, Loading
from napari_sam.errors import ImageError, NapariSamError, PhaseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from napari_sam.annotation.objects import AcceptedObject
    from napari_sam.annotation.ports import JobRunner, PlaneKey, Segmenter
    from napari_sam.structures.arrays import BoolMask

READY_TEXT = "Ready: click on an object, or draw a box around it."
TRANSFORM_EVENTS = ("scale", "translate", "rotate", "shear", "affine")


class PromptController:
    """Prompting one image of one viewer.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Held weakly.
    image : napari.layers.Image
        The image; read, never changed.
    runner : JobRunner
        Where the model runs.
    report : callable
        Takes an exception to the user.
    later : callable
        Calls a function once the present event has been dealt with.
    labels : napari.layers.Labels, optional
        Where accepted masks go; a new layer by default.

    Attributes
    ----------
    annotator : Annotator
    prompts : PromptLayers
    message_changed : Signal(str)
        One line on what is going on.
    labels_changed : Signal()
        Accepted masks go to another layer now.
    stopped : Signal()
        The controller has let go of the viewer.
    """

    message_changed: ClassVar[Signal] = Signal(str)
    labels_changed: ClassVar[Signal] = Signal()
    stopped: ClassVar[Signal] = Signal()

    def __init__(
        self,
        viewer: ViewerModel,
        image: Image,
        runner: JobRunner,
        report: Callable[[Exception], None],
        later: Callable[[Callable[[], None]], None],
        labels: Labels | None = None,
    ) -> None:
        self._viewer = weakref.ref(viewer)
        self.image = image
        self._report = report
        self._later = later
        self._source = LayerImageSource(image)
        self._map = PlaneMap(image, self._source.shape, self._source.factors)
        self._map.plane_key(viewer.dims)  # refuse 3-D display before adding anything
        self._store = (
            self._new_store() if labels is None else LayerLabelStore(labels, self._map)
        )
        self._preview = PreviewLayer(self._map)
        self.prompts = PromptLayers(self._map)
        self.annotator = Annotator(self._source, self._store, runner)
        self._store.changed.connect(self.annotator.announce)
        self._plane: PlaneKey | None = None
        self._is_active = False
        self._is_stopped = False
        self._preview.add_to(viewer)
        self.prompts.add_to(viewer)
        self.resume()

    @property
    def is_active(self) -> bool:
        """Whether the controller listens."""
        return self._is_active

    @property
    def plane(self) -> PlaneKey | None:
        """The plane shown, None while the view cannot be segmented."""
        return self._plane

    @property
    def labels_layer(self) -> Labels:
        """Where accepted masks go."""
        return self._store.layer

    @property
    def preview_layer(self) -> Labels | None:
        """Where the candidate mask is shown."""
        return self._preview.layer

    def attach(self, segmenter: Segmenter) -> None:
        """Use a model; prompts that are there already are answered."""
        self.annotator.attach(segmenter)
        self._plane = None
        if self._is_active:
            self._follow_plane()

    def resume(self) -> None:
        """Begin to listen; harmless when active or stopped."""
        viewer = self._viewer()
        if self._is_active or self._is_stopped or viewer is None:
            return
        if self.image not in viewer.layers or not self.prompts.drop_missing(viewer):
            self._later(self.stop)
            return
        self._is_active = True
        for signal, slot in self._connections(viewer):
            signal.connect(slot)
        self.prompts.connect()
        self._on_transform()
        self._plane = None
        self._follow_plane()

    def pause(self) -> None:
        """Stop listening and show nothing; layers and prompts stay."""
        if not self._is_active:
            return
        self.annotator.discard()
        self._preview.clear()
        self._is_active = False
        for signal, slot in self._connections(self._viewer()):
            signal.disconnect(slot)
        self.prompts.disconnect()

    def stop(self) -> None:
        """Let go of the viewer: prompt and preview layers go, labels stay."""
        if self._is_stopped:
            return
        self.release()
        viewer = self._viewer()
        if viewer is not None:
            self.prompts.remove_from(viewer)
            self._preview.remove_from(viewer)
        self.stopped.emit()

    def release(self) -> None:
        """Stop for good without touching any layer."""
        self.pause()
        self._is_stopped = True
        self._store.disconnect()
        self.annotator.close()

    def refresh(self) -> None:
        """Read the prompts of the plane shown and ask for their mask."""
        if self._plane is None or isinstance(self.annotator.phase, Loading):
            return
        found = self.prompts.collect(self._plane)
        if found.is_only_negative:
            self.annotator.discard()  # the answer would be the background
        else:
            self.annotator.set_prompts(self._plane, found.prompts)
        self._tell(found)

    def accept(self) -> None:
        """Write the mask shown as a new object and remove its prompts.

        Raises
        ------
        NapariSamError
            If there is nothing to accept, or it cannot be written.
        """
        self._require_active()
        if self._is_gone(self._store.layer):
            self.use_labels(None)
        self.annotator.commit()

    def discard(self) -> None:
        """Remove the prompts of the plane shown, and the mask with them."""
        self._require_active()
        if self._plane is not None:
            self.prompts.clear(self._plane)

    def choose(self, index: int) -> None:
        """Show another candidate."""
        self.annotator.choose(index)

    def use_labels(self, layer: Labels | None) -> None:
        """Write to another labels layer from now on; None makes a new one.

        Raises
        ------
        LabelsError
            If the layer does not fit the image.
        """
        if layer is not None and layer == self._store.layer:
            return
        store = (
            self._new_store() if layer is None else LayerLabelStore(layer, self._map)
        )
        self._store.disconnect()
        self._store = store
        store.changed.connect(self.annotator.announce)
        self.annotator.replace_labels(store)
        self.labels_changed.emit()

    def _connections(self, viewer: ViewerModel | None) -> list[tuple[Any, Any]]:
        """List what is listened to while active, and who listens."""
        events = self.image.events
        pairs: list[tuple[Any, Any]] = [
            (self.annotator.candidates_changed, self._show_mask),
            (self.annotator.embedding_changed, self._on_embedding),
            (self.annotator.accepted, self._on_accepted),
            (self.annotator.failed, self._report),
            (self.prompts.changed, self.refresh),
            (events.data, self._on_image_data),
            *((getattr(events, name), self._on_transform) for name in TRANSFORM_EVENTS),
        ]
        if viewer is not None:
            dims = viewer.dims.events
            pairs += [
                *((event, self._follow_plane) for event in (dims.point, dims.order)),
                (dims.ndisplay, self._follow_plane),
                (viewer.layers.events.removed, self._on_removed),
            ]
        return pairs

    def _require_active(self) -> None:
        if not self._is_active:
            msg = (
                "Prompting is at rest while its panel is hidden. Bring the panel "
                "'Segment with prompts' to the front."
            )
            raise PhaseError(msg)

    def _new_store(self) -> LayerLabelStore:
        layer = make_label_layer(self._map, self.image.name)
        viewer = self._viewer()
        if viewer is not None:
            active = viewer.layers.selection.active
            viewer.add_layer(layer)
            if active is not None:
                viewer.layers.selection.active = active
        return LayerLabelStore(layer, self._map)

    def _follow_plane(self, event: Any = None) -> None:
        viewer = self._viewer()
        if viewer is None:
            return
        try:
            plane = self._map.plane_key(viewer.dims)
        except ImageError as error:
            self._plane = None
            self.annotator.discard()
            self.message_changed.emit(str(error))
            return
        if plane == self._plane:
            return
        self._plane = plane
        if isinstance(self.annotator.phase, Loading):
            return
        self.annotator.prepare(plane)
        self.refresh()

    def _show_mask(self) -> None:
        """Show the pixels that would be written now."""
        viewer, phase = self._viewer(), self.annotator.phase
        mask = self.annotator.planned_mask()
        if mask is None or viewer is None or not isinstance(phase, Editing):
            self._preview.clear()
            return
        self._preview.show(viewer, phase.plane, mask)
        self.message_changed.emit(_describe(mask, phase))

    def _on_embedding(self, plane: PlaneKey, is_ready: bool) -> None:  # noqa: FBT001  a signal's payload
        if isinstance(self.annotator.phase, Editing):
            return
        if is_ready:
            self._tell(self.prompts.collect(plane))
        else:
            self.message_changed.emit("Looking at the image ...")

    def _on_accepted(self, accepted: AcceptedObject) -> None:
        self.prompts.clear(accepted.plane)
        # An object begins with a point on it, whatever corrected the one before.
        self.prompts.set_polarity(POSITIVE)
        self.message_changed.emit(
            f"Object {accepted.object_id} written. Prompt the next one."
        )

    def _on_removed(self, event: Any) -> None:
        # The layer list is being changed right now: take our layers out afterwards.
        if event.value == self.image:
            self.message_changed.emit("The image was removed.")
            self._later(self.stop)
        elif self.prompts.forget(event.value) and self.prompts.is_gone:
            self.message_changed.emit("The prompt layers were removed.")
            self._later(self.stop)

    def _on_image_data(self, event: Any = None) -> None:
        """Other pixels under the same layer: what was computed is out of date."""
        try:
            source = LayerImageSource(self.image)
        except NapariSamError as error:
            self._report(error)
            return
        if source.shape != self._source.shape:
            self.message_changed.emit("The image changed its shape: press Start again.")
            self.stop()
            return
        self._source = source
        self.annotator.replace_source(source)
        self._plane = None
        self._follow_plane()

    def _on_transform(self, event: Any = None) -> None:
        """Let our own layers follow an image that was scaled or moved."""
        place = self._map.transforms()
        own = [self.prompts.points, self.prompts.boxes, self._preview.layer]
        if is_own_result(self._store.layer):
            own.append(self._store.layer)
        for layer in own:
            for name in TRANSFORM_EVENTS if layer is not None else ():
                setattr(layer, name, place[name])
        self._show_mask()

    def _is_gone(self, layer: Labels) -> bool:
        viewer = self._viewer()
        return viewer is not None and layer not in viewer.layers

    def _tell(self, found: CollectedPrompts) -> None:
        if found.is_only_negative:
            self.message_changed.emit("Add a point on the object as well.")
        elif found.n_outside:
            self.message_changed.emit(
                f"{found.n_outside} prompt(s) beside the image or too small: left out."
            )
        elif found.n_boxes > 1:
            self.message_changed.emit(
                f"{found.n_boxes} boxes on this plane: the one touched last counts."
            )
        elif found.prompts.is_empty and not self.annotator.is_embedding:
            self.message_changed.emit(READY_TEXT)


def _describe(mask: BoolMask, phase: Editing) -> str:
    """One line on a mask that would be written and the answer it comes from."""
    if phase.candidates is None or not phase.candidates.masks[phase.chosen].any():
        return "The model found nothing there. Move the prompt or add another."
    if not mask.any():
        return ALL_TAKEN
    area = np.count_nonzero(mask)
    score = float(phase.candidates.predicted_iou[phase.chosen])
    return f"Mask of {area} pixels, predicted IoU {score:.2f}. Accept or correct it."

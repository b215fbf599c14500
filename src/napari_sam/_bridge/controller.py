# SPDX-License-Identifier: Apache-2.0
"""Gives one image of one viewer an annotator, and takes it away again.

The controller listens while it is active: prompts that change, the slider that moves,
layers that the user removes. `pause` and `resume` follow the visibility of the panel;
`stop` takes the prompt layers out again and leaves the user's layers and labels alone.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal

from napari_sam._bridge.actions import Actions
from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.image_source import LayerImageSource
from napari_sam._bridge.keybindings import KeyBindings
from napari_sam._bridge.label_target import LabelTarget
from napari_sam._bridge.layer_link import LayerLink
from napari_sam._bridge.mouse import Pointer
from napari_sam._bridge.navigation import fly_to
from napari_sam._bridge.own_layers import TRANSFORM_EVENTS, OwnLayers
from napari_sam._bridge.prompt_layers import is_own_helper
from napari_sam.annotation.annotator import Annotator
from napari_sam.errors import ImageError, NapariSamError, PhaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from napari_sam.annotation.objects import ObjectKey
    from napari_sam.annotation.ports import JobRunner, PlaneKey, Segmenter
    from napari_sam.structures.view_settings import ViewSettings


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
    view : ViewSettings, optional
        How the model is shown the image.
    others : sequence of napari.layers.Image
        Images that `view` may name as channels.

    Attributes
    ----------
    annotator : Annotator
    prompts : PromptLayers
    actions : Actions
        What keys, buttons and menus can do.
    message_changed : Signal(str)
        One line on what is going on.
    labels_changing, labels_changed : Signal()
        Accepted masks are about to go to another layer, and do so now.
    stopped : Signal()
        The controller has let go of the viewer.
    """

    message_changed: ClassVar[Signal] = Signal(str)
    labels_changing: ClassVar[Signal] = Signal()
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
        view: ViewSettings | None = None,
        others: Sequence[Image] = (),
    ) -> None:
        self._viewer = weakref.ref(viewer)
        self.image = image
        self._report = report
        self._later = later
        self._others = tuple(others)
        self._source = LayerImageSource(image, view, others)
        self.plane_map = PlaneMap.of(image, self._source)
        self.plane_map.plane_key(viewer.dims)  # refuses 3-D before anything is added
        self._target = LabelTarget(viewer, image, self.plane_map, labels)
        self.annotator = Annotator(self._source, self._target.store, runner)
        self._own = OwnLayers(self.plane_map, later)
        self.prompts = self._own.prompts
        self.pointer = Pointer(viewer, self.plane_map, self.prompts)
        self._link = LayerLink(
            self._viewer,
            self.plane_map,
            self.annotator,
            self._own,
            self.pointer,
            runner,
            report,
            later,
        )
        self._link.message_changed.connect(self.message_changed.emit)
        self._link.plane_wanted.connect(self.fly_to_plane)
        self._link.labels_needed.connect(self.renew_labels)
        self._target.lost.connect(self._on_labels_lost)
        for signal, slot in self._link.lasting_pairs(self._target):
            signal.connect(slot)
        self.actions = Actions(self, self._link)
        self._keys = KeyBindings(self.act)
        self._is_active = self._is_stopped = False
        self._panels: set[int] = set()
        self._own.add_to(viewer)
        self.resume()
        self._panels.clear()

    @property
    def is_active(self) -> bool:
        """Whether the controller listens."""
        return self._is_active

    @property
    def plane(self) -> PlaneKey | None:
        """The plane shown, None while the view cannot be segmented."""
        return self._link.plane

    @property
    def viewer(self) -> ViewerModel | None:
        """The viewer; None once it is gone."""
        return self._viewer()

    @property
    def source(self) -> LayerImageSource:
        """What the model is shown."""
        return self._source

    @property
    def labels_layer(self) -> Labels:
        """Where accepted masks go."""
        return self._target.store.layer

    @property
    def preview_layer(self) -> Labels | None:
        """Where the mask on offer is shown."""
        return self._own.offered.layer

    @property
    def hover_layer(self) -> Labels | None:
        """Where the mask under the pointer is shown."""
        return self._own.hovered.layer

    def attach(self, segmenter: Segmenter) -> None:
        """Use a model; prompts that are there already are answered."""
        self.annotator.attach(segmenter)
        if self._is_active:
            self._follow_plane()
            self._link.refresh()

    def resume(self, panel: object = None) -> None:
        """Listen to the user, for a panel; harmless when active or stopped."""
        viewer = self._viewer()
        self._panels.add(id(panel))
        if self._is_active or self._is_stopped or viewer is None:
            return
        if self.image not in viewer.layers or not self.prompts.drop_missing(viewer):
            self._later(self.stop)
            return
        self._is_active = True
        for signal, slot in self._connections(viewer):
            signal.connect(slot)
        self.prompts.connect()
        self.pointer.connect()
        self._bind_keys()
        self._on_transform()
        self._link.plane = None
        self._follow_plane()

    def pause(self, panel: object = None) -> None:
        """Stop listening unless another panel is shown; layers and prompts stay."""
        self._panels.discard(id(panel))
        if self._is_active and not self._panels:
            self._rest()

    def _rest(self) -> None:
        if self.plane is not None:
            self.annotator.hover(self.plane, None)
        self._is_active = False
        for signal, slot in self._connections(self._viewer()):
            signal.disconnect(slot)
        self._link.clear()
        self.prompts.disconnect()
        self.pointer.disconnect()
        self._keys.unbind()

    def stop(self) -> None:
        """Let go of the viewer: prompt and preview layers go, labels stay."""
        if self._is_stopped:
            return
        self.release()
        viewer = self._viewer()
        if viewer is not None:
            self._own.remove_from(viewer)
        self.stopped.emit()

    def release(self) -> None:
        """Stop for good without touching any layer."""
        if self._is_active:
            self._rest()
        if self._is_stopped:
            return
        self._is_stopped = True
        for signal, slot in self._link.lasting_pairs(self._target):
            signal.disconnect(slot)
        self._target.release()
        self.annotator.detach()

    def act(self, action_id: str) -> None:
        """Do what a key, a button or a menu asks for; errors are reported."""
        if self._link.attempt(self._require_active):
            self._link.attempt(self.actions.run, action_id)

    def accept(self) -> None:
        """Write the mask on offer as an object and remove its prompts.

        Raises
        ------
        NapariSamError
            If there is nothing to accept, or it cannot be written.
        """
        self._require_active()
        self.renew_labels()
        self.annotator.commit()

    def discard(self) -> None:
        """Remove the prompts of the plane shown, and the mask with them."""
        self._require_active()
        self.annotator.discard()

    def embed_now(self) -> None:
        """Embed the plane shown if that was not done yet."""
        self._link.look_again()

    def show_differently(self, view: ViewSettings) -> bool:
        """Show the model the image in another way, from the next prompt on.

        Returns
        -------
        bool
            False if the image has other planes then: prompting has to start anew.

        Raises
        ------
        ImageError
            If the image lacks a channel or an axis that is named.
        """
        source = LayerImageSource(self.image, view, self._others)
        if source.shape != self._source.shape:
            return False
        self._source = source
        self.annotator.replace_source(source)
        return True

    def fly_to(self, key: ObjectKey) -> None:
        """Show the plane of an object, with the object in the middle."""
        known = self.annotator.objects[key]
        y0, x0, y1, x1 = known.box
        self.fly_to_plane(known.plane, ((y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2))

    def fly_to_plane(
        self, plane: PlaneKey, yx: tuple[float, float] | None = None
    ) -> None:
        """Move the sliders to a plane, and the camera to a position on it."""
        viewer = self._viewer()
        if viewer is not None:
            fly_to(viewer, self.plane_map, plane, yx)

    def use_labels(self, layer: Labels | None) -> None:
        """Write to another labels layer from now on; None makes a new one.

        Raises
        ------
        LabelsError
            If the layer does not fit the image.
        """
        viewer = self._viewer()
        if viewer is None or layer == self.labels_layer:
            return
        store = self._target.store_on(viewer, layer)
        self.labels_changing.emit()
        self._target.put(store)
        self.annotator.replace_labels(store)
        if self._is_active:
            self._bind_keys()
        self._link.adopt_anew()
        self.labels_changed.emit()

    def renew_labels(self) -> None:
        """Write to a new layer if the user removed the one at hand."""
        if self._target.is_gone:
            self.use_labels(None)

    def _on_labels_lost(self) -> None:
        self.message_changed.emit(
            "The labels layer has another shape now: a new layer takes its place."
        )
        self._later(lambda: self.use_labels(None))

    def _connections(self, viewer: ViewerModel | None) -> list[tuple[Any, Any]]:
        """List what is listened to while active, and who listens."""
        events = self.image.events
        pairs: list[tuple[Any, Any]] = [
            *self._link.pairs(),
            (events.data, self._on_image_data),
            *((getattr(events, name), self._on_transform) for name in TRANSFORM_EVENTS),
        ]
        if viewer is not None:
            dims = viewer.dims.events
            pairs += [
                *((event, self._follow_plane) for event in (dims.point, dims.order)),
                (dims.ndisplay, self._follow_plane),
                (viewer.layers.events.removed, self._on_removed),
                (viewer.layers.events.inserted, self._on_inserted),
            ]
        return pairs

    def _bind_keys(self) -> None:
        """Bind our keys on the viewer and on all layers a user may have active."""
        viewer = self._viewer()
        if viewer is not None:
            helpers = [layer for layer in viewer.layers if is_own_helper(layer)]
            self._keys.bind(viewer, [self.image, *helpers, self.labels_layer])

    def _require_active(self) -> None:
        if not self._is_active:
            msg = (
                "Prompting is at rest while its panel is hidden. Bring the panel "
                "'Segment with prompts' to the front."
            )
            raise PhaseError(msg)

    def _follow_plane(self, event: Any = None) -> None:
        viewer = self._viewer()
        if viewer is None:
            return
        try:
            plane = self.plane_map.plane_key(viewer.dims)
        except ImageError as error:
            self._link.plane = None
            self._link.clear()
            self.message_changed.emit(str(error))
            return
        if plane != self._link.plane:
            self._target.axes = plane.axes
            self._link.turn_to(plane)

    def _on_removed(self, event: Any) -> None:
        # The layer list is being changed right now: take our layers out afterwards.
        if event.value == self.image:
            self.message_changed.emit("The image was removed.")
            self._later(self.stop)
        elif self.prompts.forget(event.value) and self.prompts.is_gone:
            self.message_changed.emit("The prompt layers were removed.")
            self._later(self.stop)

    def _on_inserted(self, event: Any) -> None:
        if is_own_helper(event.value):  # of proposals, or one that is made anew
            self._bind_keys()

    def _on_image_data(self, event: Any = None) -> None:
        """Other pixels under the same layer: what was computed is out of date."""
        try:
            has_same_planes = self.show_differently(self._source.settings)
        except NapariSamError as error:
            self._report(error)
            return
        if not has_same_planes:
            self.message_changed.emit("The image changed its shape: press Start again.")
            self.stop()
            return
        self._link.plane = None
        self._follow_plane()

    def _on_transform(self, event: Any = None) -> None:
        """Let our own layers follow an image that was scaled or moved."""
        self._own.follow_image(self.labels_layer)
        self._link.attempt(self._target.check)

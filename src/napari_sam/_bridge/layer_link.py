# SPDX-License-Identifier: Apache-2.0
"""What an annotator says goes into the layers; what is done to the layers, to it.

Both ways meet here: prompts that the user draws reach the annotator, prompts that undo
brings back reach the layers. Nothing echoes, because the layers only speak of what the
user did and the annotator ignores what it knows.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal

from napari_sam._bridge.prompt_layers import POSITIVE
from napari_sam._bridge.view_region import ViewRegion
from napari_sam.annotation.commit_policy import ALL_TAKEN
from napari_sam.annotation.phases import Editing, Loading, Ready
from napari_sam.errors import NapariSamError
from napari_sam.structures.drawn import DrawnPrompts, DrawnShape, ShapeKind

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable

    from napari.components import ViewerModel

    from napari_sam._bridge.coordinates import PlaneMap
    from napari_sam._bridge.label_target import LabelTarget
    from napari_sam._bridge.mouse import Pointer
    from napari_sam._bridge.own_layers import OwnLayers
    from napari_sam._bridge.prompt_layers import CollectedPrompts
    from napari_sam.annotation.annotator import Annotator
    from napari_sam.annotation.draft import Draft
    from napari_sam.annotation.objects import AnnotatedObject
    from napari_sam.annotation.offer import Shown
    from napari_sam.annotation.ports import JobRunner, PlaneKey
    from napari_sam.structures.mask_sketch import MaskSketch
    from napari_sam.structures.plane_view import Region

MAX_ADOPTED_PX = 16_000_000
"""Planes up to this size are searched for objects when they are first shown."""
READY_TEXT = "Ready: click on an object, or draw a box around it."
CORNERS = ((0, 1), (0, 3), (2, 3), (2, 1))
"""Which of (y0, x0, y1, x1) make the corners of a box, going round."""


class LayerLink:
    """Connects one annotator with its layers.

    Parameters
    ----------
    viewer : weak reference to napari.components.ViewerModel
    plane_map : PlaneMap
    annotator : Annotator
    own : OwnLayers
        Prompts and previews.
    pointer : Pointer
    runner : JobRunner
        Where the model runs.
    report : callable
        Takes an exception to the user.
    later : callable
        Calls a function once the present event has been dealt with.

    Attributes
    ----------
    message_changed : Signal(str)
        One line on what is going on.
    plane_wanted : Signal(PlaneKey)
        Something happened on a plane that is not shown.
    labels_needed : Signal()
        An object begins, which has to be written somewhere.
    """

    message_changed: ClassVar[Signal] = Signal(str)
    plane_wanted: ClassVar[Signal] = Signal(object)
    labels_needed: ClassVar[Signal] = Signal()

    def __init__(
        self,
        viewer: weakref.ref[ViewerModel],
        plane_map: PlaneMap,
        annotator: Annotator,
        own: OwnLayers,
        pointer: Pointer,
        runner: JobRunner,
        report: Callable[[Exception], None],
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        self._viewer = viewer
        self._map = plane_map
        self._annotator = annotator
        self._prompts = own.prompts
        self._offered, self._hovered, self._frame = own.offered, own.hovered, own.frame
        self._view = ViewRegion(viewer, plane_map, runner, self._on_view)
        self._pointer = pointer
        self._report = report
        self._later = later
        self._waiting: deque[tuple[PlaneKey, tuple[float, float], int]] = deque()
        self._adopted: set[PlaneKey] = set()
        self.plane: PlaneKey | None = None

    def pairs(self) -> list[tuple[Any, Any]]:
        """List what is listened to while the panel is shown, and who listens."""
        annotator, pointer = self._annotator, self._pointer
        return [
            (annotator.answer_changed, self._show_offer),
            (annotator.hovered, self._show_hovered),
            (annotator.embedding_changed, self._on_embedding),
            (self._prompts.changed, self.refresh),
            (pointer.hovered, self._hover),
            (pointer.left, self._leave),
            (pointer.clicked, self._click),
            (pointer.boxed, self._box),
            (pointer.picked, self._pick),
            *self._view.pairs(),
        ]

    def lasting_pairs(self, target: LabelTarget) -> list[tuple[Any, Any]]:
        """List what is listened to as long as there is an annotator, and who listens.

        Nothing may be missed while the panel is hidden: a brush stroke that nobody
        noted could not be undone, and prompts that another panel's undo brings back
        have to be in the layers.
        """
        annotator = self._annotator
        return [
            (annotator.draft_changed, self._show_draft),
            (annotator.accepted, self._on_accepted),
            (annotator.failed, self._on_failed),
            (target.changed, annotator.announce),
            (target.painted, self._on_painted),
            (target.replaced, self._on_replaced),
        ]

    def turn_to(self, plane: PlaneKey) -> None:
        """Follow the view to a plane."""
        self.plane = plane
        self._waiting.clear()
        self._frame.clear()
        view = self._view.of(plane)
        if view is not None:
            self._prompts.fit_to(view.step)
        self._annotator.look_at(plane, view)
        self.refresh()
        self.adopt()

    def look_again(self) -> None:
        """Embed what is on screen if that was not done yet."""
        if self.plane is not None:
            self._annotator.look_at(self.plane, self._view.of(self.plane))

    def adopt(self) -> None:
        """Take objects that are in the labels already into the table."""
        if self.plane is None or self.plane in self._adopted:
            return
        self._adopted.add(self.plane)
        shape = self._map.plane_shape(self.plane)
        if shape[0] * shape[1] <= MAX_ADOPTED_PX:
            self._annotator.adopt(self.plane, shape)

    def adopt_anew(self) -> None:
        """Take objects into the table: the labels are others now."""
        self._adopted.clear()
        self.adopt()

    def refresh(self) -> None:
        """Read the prompts of the plane shown and ask for their mask."""
        if self.plane is None or isinstance(self._annotator.phase, Loading):
            return
        found = self._prompts.collect(self.plane)
        self._annotator.set_drawn(self.plane, found.drawn)
        self._tell(found)

    def clear(self) -> None:
        """Show no mask."""
        self._view.stop()
        self._offered.clear()
        self._hovered.clear()
        self._frame.clear()

    def attempt(self, action: Callable[..., object], *arguments: Any) -> bool:
        """Do something for the user; an error of ours is reported."""
        try:
            action(*arguments)
        except NapariSamError as error:
            self._report(error)
            return False
        return True

    def _click(self, plane: PlaneKey, yx: tuple[float, float], label: int) -> None:
        if isinstance(self._annotator.phase, Loading):
            self.message_changed.emit("The model is still loading.")
            return
        phase = self._annotator.phase
        is_answering = isinstance(phase, Editing) and phase.is_pending
        if self._annotator.is_turbo and is_answering:
            # Each click is an object of its own: this one waits for its turn.
            self._waiting.append((plane, yx, label))
            return
        self.labels_needed.emit()
        self._annotator.add_point(plane, yx, label)
        self._tell(self._prompts.collect(plane))

    def _box(self, plane: PlaneKey, box: tuple[float, float, float, float]) -> None:
        if isinstance(self._annotator.phase, Loading):
            return
        vertices = tuple((box[i], box[j]) for i, j in CORNERS)
        drawn = self._annotator.drawn_on(plane)
        box_shape = DrawnShape(ShapeKind.RECTANGLE, vertices)
        shapes = (*drawn.shapes, box_shape)
        self._annotator.set_drawn(plane, replace(drawn, shapes=shapes))

    def _pick(self, plane: PlaneKey, yx: tuple[float, float]) -> None:
        self.attempt(self.reopen_at, plane, yx)

    def reopen_at(self, plane: PlaneKey, yx: tuple[float, float]) -> None:
        """Edit the object under a position again."""
        object_id = self.object_at(plane, yx)
        if object_id:
            self._annotator.reopen(plane, object_id)
        else:
            self.message_changed.emit("There is no object under the pointer.")

    def object_at(self, plane: PlaneKey, yx: tuple[float, float]) -> int:
        """Return the id under a position, 0 for background; it is in the table then."""
        y, x = round(yx[0]), round(yx[1])
        box = (y, x, y + 1, x + 1)
        object_id = int(self._annotator.labels.read(plane, box)[0, 0])
        if object_id and (plane, object_id) not in self._annotator.objects:
            self._annotator.adopt(plane, self._map.plane_shape(plane))
        return object_id

    def _hover(self, world: Any) -> None:
        viewer = self._viewer()
        found = None if viewer is None else self._map.pointer_yx(viewer.dims, world)
        if found is None:
            self._leave()
        else:
            # Whole pixels: a model cannot tell finer positions apart.
            plane, (y, x) = found
            self._annotator.hover(plane, (float(round(y)), float(round(x))))

    def _on_view(self) -> None:
        """Let the model look at what the camera shows now."""
        view = None if self.plane is None else self._view.of(self.plane)
        if self.plane is not None and view is not None:
            self._prompts.fit_to(view.step)
            self._annotator.look(self.plane, view)

    def _leave(self) -> None:
        if self.plane is not None:
            self._annotator.hover(self.plane, None)

    def _show_draft(self, plane: PlaneKey, draft: Draft | None) -> None:
        # First, because turning to the plane reads the prompts that lie there.
        self._prompts.show(plane, DrawnPrompts() if draft is None else draft.drawn)
        if plane != self.plane:
            self.plane_wanted.emit(plane)

    def _show_offer(self, shown: Shown | None) -> None:
        """Show the pixels that would be written now."""
        viewer, phase = self._viewer(), self._annotator.phase
        if shown is None or viewer is None or not isinstance(phase, Editing):
            self._offered.clear()
            if isinstance(phase, Ready) and not self._annotator.is_embedding:
                self.message_changed.emit(ready_text(self._annotator.ready_region))
            return
        self._hovered.clear()
        self._offered.show(viewer, phase.plane, shown.mask)
        self.message_changed.emit(describe(shown))

    def _show_hovered(self, mask: MaskSketch | None, plane: PlaneKey | None) -> None:
        viewer = self._viewer()
        if mask is None or plane is None or viewer is None:
            self._hovered.clear()
        else:
            self._hovered.show(viewer, plane, mask)

    def _on_embedding(self, plane: PlaneKey, is_ready: bool) -> None:  # noqa: FBT001  a signal's payload
        viewer, looking = self._viewer(), self._annotator.desk.looking
        if viewer is not None and plane == self.plane:
            self._frame.show(
                viewer, plane, looking.ready, is_another_coming=looking.is_busy
            )
        if isinstance(self._annotator.phase, Editing):
            return
        if is_ready:
            self._tell(self._prompts.collect(plane))
        elif self._annotator.is_embedding:
            self.message_changed.emit(looking_text(looking.coming))
        else:
            self.message_changed.emit("What the model sees has changed.")

    def _on_accepted(self, accepted: AnnotatedObject) -> None:
        # An object begins with a point on it, whatever corrected the one before.
        self._prompts.set_polarity(POSITIVE)
        self.message_changed.emit(
            f"Object {accepted.object_id} written. Prompt the next one."
        )

        if self._waiting:
            self._later(self._click_next)

    def _click_next(self) -> None:
        if self._waiting:
            self._click(*self._waiting.popleft())

    def _on_failed(self, error: Exception) -> None:
        self._waiting.clear()
        self._report(error)

    def _on_painted(self, edits: tuple[Any, ...]) -> None:
        self.attempt(self._annotator.record_painting, edits)

    def _on_replaced(self) -> None:
        self._annotator.labels_replaced()
        self.adopt_anew()

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
        elif found.drawn.is_empty and not self._annotator.is_embedding:
            self.message_changed.emit(ready_text(self._annotator.ready_region))


def ready_text(region: Region | None) -> str:
    """Say that prompts are answered, of a large plane also where and how finely."""
    if region is None:
        return READY_TEXT
    return f"{READY_TEXT} The framed region is seen {_at(region)}."


def looking_text(region: Region | None) -> str:
    """Say what the model looks at."""
    if region is None:
        return "Looking at the image ..."
    return f"Looking at the region on screen {_at(region)} ..."


def _at(region: Region) -> str:
    return "at full resolution" if region.scale == 1 else f"at 1:{region.scale}"


def describe(shown: Shown) -> str:
    """One line on the mask on offer."""
    if not shown.answer.masks[shown.index].area:
        return "The model found nothing there. Move the prompt or add another."
    if not shown.mask.area:
        return ALL_TAKEN
    name = f"{shown.name} mask".strip().capitalize()
    return (
        f"{name} of {shown.mask.area} pixels, predicted IoU "
        f"{shown.predicted_iou:.2f}. Accept or correct it."
    )

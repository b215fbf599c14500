# SPDX-License-Identifier: Apache-2.0
"""What keys, buttons and menu commands do while an image is being prompted.

The ids are those of `key_table`, which gives each its title, key and tooltip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam._bridge.prompt_layers import NEGATIVE, POSITIVE
from napari_sam.annotation.advice import AdviceKind
from napari_sam.annotation.objects import Status
from napari_sam.errors import LabelsError, PhaseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam._bridge.controller import PromptController
    from napari_sam._bridge.layer_link import LayerLink
    from napari_sam.annotation.objects import ObjectKey


class Actions:
    """All actions of one controller, by id.

    Parameters
    ----------
    controller : PromptController
    link : LayerLink
    """

    def __init__(self, controller: PromptController, link: LayerLink) -> None:
        self._controller = controller
        self._link = link
        self._by_id: dict[str, Callable[[], object]] = {
            "accept": controller.accept,
            "discard": controller.discard,
            "undo": controller.annotator.undo,
            "redo": controller.annotator.redo,
            "next_candidate": controller.annotator.next_candidate,
            "previous_candidate": self._previous_candidate,
            "step_back": self.step_back,
            "follow_advice": self.follow_advice,
            "reopen": self.reopen,
            "delete": self.delete,
            "mark_unsure": self.mark_unsure,
            "next_object": self.next_object,
            "toggle_polarity": self.toggle_polarity,
            "toggle_hover": self.toggle_hover,
            "toggle_turbo": self.toggle_turbo,
        }

    @property
    def ids(self) -> tuple[str, ...]:
        """Everything that `run` knows."""
        return tuple(self._by_id)

    def run(self, action_id: str) -> None:
        """Do one of them.

        Raises
        ------
        NapariSamError
            If it has no meaning now.
        """
        self._by_id[action_id]()

    def step_back(self) -> None:
        """Take the last prompt back, and nothing else.

        Raises
        ------
        PhaseError
            If nothing is being prompted.
        """
        annotator = self._controller.annotator
        draft = annotator.draft
        if draft is None:
            msg = "There is no prompt to take back."
            raise PhaseError(msg)
        if len(draft.turns) > 1:
            annotator.set_drawn(draft.plane, draft.turns[-2].drawn)
        else:
            annotator.discard()

    def follow_advice(self) -> None:
        """Do what the annotator offers: go back a prompt, or refine an object."""
        annotator = self._controller.annotator
        advice, plane = annotator.advice, annotator.plane
        if advice is None or plane is None:
            msg = "There is no advice to follow at the moment."
            raise PhaseError(msg)
        if advice.kind in (AdviceKind.WORSE, AdviceKind.JUMPED):
            self.step_back()
        elif advice.object_id is not None:
            annotator.reopen(plane, advice.object_id)

    def reopen(self) -> None:
        """Edit the object under the pointer, else the selected one, again."""
        plane, object_id = self._meant()
        self._controller.annotator.reopen(plane, object_id)

    def delete(self) -> None:
        """Delete the object under the pointer, else the selected one."""
        self._controller.annotator.delete([self._meant()])

    def mark_unsure(self) -> None:
        """Mark the object under the pointer, else the selected one, as unsure."""
        self._controller.annotator.change([self._meant()], status=Status.UNSURE)

    def next_object(self) -> None:
        """Accept the mask on offer, if there is one, and begin the next object."""
        if self._controller.annotator.draft is not None:
            self._controller.accept()
        viewer = self._controller.viewer
        if viewer is not None:
            self._controller.prompts.use_tool(viewer, "point")
        self._controller.prompts.set_polarity(POSITIVE)

    def toggle_polarity(self) -> None:
        """Let the next point or scribble mean the opposite."""
        prompts = self._controller.prompts
        prompts.set_polarity(POSITIVE if prompts.polarity == NEGATIVE else NEGATIVE)

    def toggle_hover(self) -> None:
        """Show masks under the pointer, or stop that."""
        annotator = self._controller.annotator
        annotator.is_hover_on = not annotator.is_hover_on
        if annotator.plane is not None:
            annotator.hover(annotator.plane, None)
        annotator.options_changed.emit()

    def toggle_turbo(self) -> None:
        """Accept first prompts at once, or stop that."""
        annotator = self._controller.annotator
        annotator.is_turbo = not annotator.is_turbo
        annotator.options_changed.emit()

    def _previous_candidate(self) -> None:
        self._controller.annotator.next_candidate(-1)

    def _meant(self) -> ObjectKey:
        """Return the object under the pointer, else the one selected in the layer.

        Raises
        ------
        LabelsError
            If there is neither.
        """
        viewer, plane = self._controller.viewer, self._controller.plane
        if viewer is None or plane is None:
            msg = "The view shows no plane of the image."
            raise PhaseError(msg)
        position = viewer.cursor.position
        found = self._controller.plane_map.pointer_yx(viewer.dims, position)
        if found is not None:
            object_id = self._link.object_at(*found)
            if object_id:
                return found[0], object_id
        selected = int(self._controller.labels_layer.selected_label)
        if (plane, selected) in self._controller.annotator.objects:
            return plane, selected
        msg = (
            "No object is under the pointer, and none of this plane is selected in the "
            "labels layer."
        )
        raise LabelsError(msg)

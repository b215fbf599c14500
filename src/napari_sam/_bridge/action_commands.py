# SPDX-License-Identifier: Apache-2.0
"""A menu command for every action of the key table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam._bridge.key_table import find_action
from napari_sam._bridge.sessions import session_of
from napari_sam.errors import PhaseError

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari


def run_action(viewer: napari.Viewer, action_id: str) -> None:
    """Do what a key would do; without a controller the user is told how to get one."""
    session = session_of(viewer)
    if session.controller is None:
        msg = (
            "Nothing is being prompted. Open Plugins > Segment Anything > Segment with "
            "prompts, choose an image and press Start."
        )
        session.report(PhaseError(msg))
        return
    session.controller.act(action_id)


def _command(action_id: str) -> Callable[[napari.Viewer], None]:
    def command(viewer: napari.Viewer) -> None:
        run_action(viewer, action_id)

    command.__name__ = command.__qualname__ = action_id
    command.__doc__ = find_action(action_id).tooltip
    return command


next_candidate = _command("next_candidate")
previous_candidate = _command("previous_candidate")
accept = _command("accept")
next_object = _command("next_object")
discard = _command("discard")
follow_advice = _command("follow_advice")
toggle_polarity = _command("toggle_polarity")
step_back = _command("step_back")
toggle_hover = _command("toggle_hover")
toggle_turbo = _command("toggle_turbo")
reopen = _command("reopen")
delete = _command("delete")
mark_unsure = _command("mark_unsure")
undo = _command("undo")
redo = _command("redo")

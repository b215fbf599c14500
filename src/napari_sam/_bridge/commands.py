# SPDX-License-Identifier: Apache-2.0
"""Menu commands: each calls the annotator of its viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam._bridge.sessions import session_of
from napari_sam.errors import NapariSamError, PhaseError

if TYPE_CHECKING:
    import napari

    from napari_sam._bridge.controller import PromptController
    from napari_sam._bridge.sessions import ViewerSession


def accept(viewer: napari.Viewer) -> None:
    """Write the mask shown as a new object."""
    session = session_of(viewer)
    try:
        _controller(session).accept()
    except NapariSamError as error:
        session.report(error)


def clear(viewer: napari.Viewer) -> None:
    """Remove the prompts of the object being edited."""
    session = session_of(viewer)
    try:
        _controller(session).discard()
    except NapariSamError as error:
        session.report(error)


def _controller(session: ViewerSession) -> PromptController:
    if session.controller is None:
        msg = (
            "Nothing is being prompted. Open Plugins > Segment Anything > Segment with "
            "prompts, choose an image and press Start."
        )
        raise PhaseError(msg)
    return session.controller

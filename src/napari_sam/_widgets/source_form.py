# SPDX-License-Identifier: Apache-2.0
"""Which image is prompted, where objects go, and which model answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Image, Labels
from qtpy.QtWidgets import QFormLayout, QWidget

from napari_sam._widgets.layer_choice import layer_choice
from napari_sam._widgets.model_choice import ModelChoice
from napari_sam._widgets.section import Section

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_sam._bridge.sessions import ViewerSession


class SourceForm(Section):
    """The choices made before prompting begins; folded away afterwards.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Whose layers.
    session : ViewerSession
        Whose model.
    """

    def __init__(self, viewer: ViewerModel, session: ViewerSession) -> None:
        content = QWidget()
        super().__init__("Image and model", content, is_open=True)
        self.image = layer_choice(
            viewer, Image, tooltip="The image to segment; of a stack, its plane."
        )
        self.labels = layer_choice(
            viewer,
            Labels,
            none="new layer",
            tooltip="Where accepted masks are written.",
        )
        self.model = ModelChoice(session)
        form = QFormLayout(content)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Image", self.image.native)
        form.addRow("Objects in", self.labels.native)
        self.model.add_to(form)

    def reset_choices(self) -> None:
        """Follow the layer list."""
        self.image.reset_choices()
        self.labels.reset_choices()

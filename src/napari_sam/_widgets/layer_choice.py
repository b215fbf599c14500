# SPDX-License-Identifier: Apache-2.0
"""Combo boxes that list layers of one kind, without those we only show things in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox

from napari_sam._bridge.prompt_layers import is_own_helper

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

NO_IMAGE_TEXT = "Open an image to begin."


def layer_choice(
    viewer: ViewerModel, kind: type[Layer], *, none: str = "", tooltip: str = ""
) -> ComboBox:
    """Make a combo box of the layers of a kind.

    Parameters
    ----------
    viewer : ViewerModel
        Whose layers.
    kind : type
        Image, Labels or Shapes.
    none : str
        Text of an entry for "no layer"; without it a layer has to be chosen.
    tooltip : str
        What the choice is for.

    Returns
    -------
    magicgui.widgets.ComboBox
        Call its ``reset_choices`` when layers come and go.
    """

    def choices(_: Any = None) -> list[tuple[str, Layer | None]]:
        layers = [
            (layer.name, layer)
            for layer in viewer.layers
            if isinstance(layer, kind) and not is_own_helper(layer)
        ]
        return [(none, None), *layers] if none else layers

    box = ComboBox(choices=choices, tooltip=tooltip)
    box.native.setToolTip(tooltip)
    return box

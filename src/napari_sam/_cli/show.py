# SPDX-License-Identifier: Apache-2.0
"""The one place of the command line that opens a window."""

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec

import numpy as np
import typer
from numpy.typing import NDArray

from napari_sam.errors import NapariSamError
from napari_sam.io.sample_data import Sample

_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
_PLUGIN, _WIDGET = "napari-sam-live", "Segment with prompts"


def check_gui() -> None:
    """Refuse, in words, where Qt would end the process or be missing.

    Raises
    ------
    NapariSamError
        If no Qt is installed or there is no display.
    """
    if not any(find_spec(name) for name in _BINDINGS):
        msg = (
            "--show needs napari with a window: pip install 'napari-sam-live[all]'. "
            "Without --show the demo runs as it is."
        )
        raise NapariSamError(msg)
    has_display = any(
        os.environ.get(name)
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    )
    if sys.platform.startswith("linux") and not has_display:
        msg = (
            "--show needs a display, and none is set (DISPLAY, WAYLAND_DISPLAY). "
            "Without --show the demo runs as it is."
        )
        raise NapariSamError(msg)


def show_in_napari(sample: Sample, layers: Mapping[str, NDArray[np.integer]]) -> None:
    """Open a sample with its results and the prompt widget; return when it is closed.

    Parameters
    ----------
    sample : Sample
        The image and its truth.
    layers : mapping of str to (H, W) integer array
        Label images by layer name; the last one is shown, the others are hidden.
    """
    import napari

    viewer = napari.Viewer(title=f"napari-sam: {sample.title}")
    size = sample.pixel_size_um or (1.0, 1.0)
    viewer.add_image(sample.image, name=sample.title, scale=size)
    for name, labels in {"truth": sample.labels, **layers}.items():
        shown = name == list(layers)[-1]
        viewer.add_labels(labels, name=name, scale=size, visible=shown)
    try:
        viewer.window.add_plugin_dock_widget(_PLUGIN, _WIDGET)
    except (KeyError, ValueError) as error:
        # A source tree that was never installed has no plugin to find.
        typer.echo(f"The widget cannot be opened: {error}", err=True)
    napari.run()

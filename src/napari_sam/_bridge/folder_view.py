# SPDX-License-Identifier: Apache-2.0
"""How the next image of a folder is shown to the model: as the one before it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_sam.errors import SettingsError
from napari_sam.structures.view_settings import ViewSettings

if TYPE_CHECKING:
    from napari_sam._bridge.folder_image import OpenImage
    from napari_sam.annotation.state import AnnotationState
    from napari_sam.structures.view_settings import Channel


def stored_view(annotation: AnnotationState | None) -> ViewSettings | None:
    """Return the settings that an annotation was made with; None if it has none."""
    if annotation is None or not annotation.view:
        return None
    try:
        return ViewSettings.from_dict(annotation.view)
    except SettingsError:  # of a version that knew other settings
        return None


def carried_view(before: OpenImage | None) -> ViewSettings | None:
    """Return the settings of an image, to be used for another one.

    Contrast limits are read anew from the other image's layer, and channels are named
    by their place: names of layers contain those of files.
    """
    if before is None or before.controller is None:
        return None
    settings = before.controller.source.settings
    names = [image.name for image in before.images]

    def place(channel: Channel) -> Channel:
        return names.index(channel) if isinstance(channel, str) else channel

    channels = settings.channels
    if channels is not None:
        is_known = all(c in names for c in channels if isinstance(c, str))
        red, green, blue = channels
        channels = (place(red), place(green), place(blue)) if is_known else None
    limits = None if settings.contrast == "contrast limits" else settings.limits
    return replace(settings, channels=channels, limits=limits)

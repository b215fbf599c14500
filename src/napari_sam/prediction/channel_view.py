# SPDX-License-Identifier: Apache-2.0
"""Channels of a plane to the picture that view settings describe."""

from collections.abc import Sequence

import numpy as np

from napari_sam.errors import ImageError
from napari_sam.prediction.intensity import IntensityRule, to_rgb
from napari_sam.structures.arrays import Plane, RgbPlane
from napari_sam.structures.view_settings import ViewSettings


def show_channels(channels: Sequence[Plane | None], settings: ViewSettings) -> RgbPlane:
    """Show three microscope channels as red, green and blue.

    Parameters
    ----------
    channels : three of (H, W) array or None
        Of any real dtype; None is black. An array that is there three times is scaled
        once and shown as grey.
    settings : ViewSettings
        Contrast, gamma and inversion; each channel is scaled for itself.

    Returns
    -------
    (H, W, 3) uint8 array

    Raises
    ------
    ImageError
        If there is no channel, or they differ in shape.
    """
    shapes = {channel.shape for channel in channels if channel is not None}
    if len(shapes) != 1:
        found = ", ".join(str(shape) for shape in sorted(shapes)) or "none"
        msg = f"Channels shown together have one shape, not {found}."
        raise ImageError(msg)
    rgb = np.zeros((*shapes.pop(), 3), dtype=np.uint8)
    done: dict[tuple[int, IntensityRule], int] = {}
    for colour, channel in enumerate(channels):
        if channel is None:
            continue
        rule = _rule(settings, colour)
        twin = done.setdefault((id(channel), rule), colour)
        if twin == colour:
            rgb[:, :, colour] = to_rgb(channel, rule=rule)[:, :, 0]
        else:
            rgb[:, :, colour] = rgb[:, :, twin]
    return rgb


def show_colour_picture(
    plane: Plane,
    settings: ViewSettings,
    order: tuple[int | None, int | None, int | None] = (0, 1, 2),
) -> RgbPlane:
    """Show a colour picture with other contrast, or other colours.

    Parameters
    ----------
    plane : (H, W, 3) or (H, W, 4) array
        Any real dtype; a fourth channel is opacity and dropped.
    settings : ViewSettings
        Contrast, gamma and inversion. All colours are scaled alike, so that the hue
        stays; only three different limits scale them apart.
    order : three of int or None
        Which colour of the picture becomes red, green and blue; None is black.

    Returns
    -------
    (H, W, 3) uint8 array
    """
    rules = [_rule(settings, colour) for colour in range(3)]
    is_as_it_is = plane.dtype == np.uint8 and settings.contrast == "percentiles"
    if is_as_it_is and settings.percentiles == ViewSettings().percentiles:
        # What 8-bit colour is without settings, so that gamma 1 changes nothing.
        whole = IntensityRule(
            limits=(0, 255), gamma=settings.gamma, invert=settings.invert
        )
        rules = [whole] * 3
    shown = {rule: to_rgb(plane, rule=rule) for rule in set(rules)}
    rgb = np.zeros((*plane.shape[:2], 3), dtype=np.uint8)
    for colour, source in enumerate(order):
        if source is not None:
            rgb[:, :, colour] = shown[rules[colour]][:, :, source]
    return rgb


def _rule(settings: ViewSettings, colour: int) -> IntensityRule:
    """Return the rule for red (0), green (1) or blue (2)."""
    return IntensityRule(
        limits=settings.limits_of(colour),
        percentiles=settings.percentiles,
        gamma=settings.gamma,
        invert=settings.invert,
    )

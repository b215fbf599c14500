# SPDX-License-Identifier: Apache-2.0
"""Channels of a plane to the picture that view settings describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_sam.errors import ImageError
from napari_sam.prediction.intensity import IntensityRule
from napari_sam.prediction.shown_pixels import ShownPixels
from napari_sam.structures.plane_pixels import ArrayPixels
from napari_sam.structures.view_settings import ViewSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam.structures.arrays import HalfOpenBox, Plane, RgbPlane
    from napari_sam.structures.plane_pixels import PlanePixels

    _Order: TypeAlias = tuple[int | None, int | None, int | None]


class ShownChannels:
    """Three microscope channels as red, green and blue, read piece by piece.

    Each channel is scaled for itself, and alike everywhere on the plane; see
    `ShownPixels`. It is a `PlanePixels` whose pixels a model takes as they are.

    Parameters
    ----------
    channels : three of PlanePixels or None
        Of any real dtype, without an axis of channels; None is black. An object that
        is there three times is read once and shown as grey.
    settings : ViewSettings
        Contrast, gamma and inversion.

    Raises
    ------
    ImageError
        If there is no channel, or they differ in shape.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self, channels: Sequence[PlanePixels | None], settings: ViewSettings
    ) -> None:
        given = [channel for channel in channels if channel is not None]
        shapes = {channel.shape for channel in given}
        if len(shapes) != 1:
            found = ", ".join(str(shape) for shape in sorted(shapes)) or "none"
            msg = f"Channels shown together have one shape, not {found}."
            raise ImageError(msg)
        self.level_shapes = _common_levels(given)
        made: dict[tuple[int, IntensityRule], ShownPixels] = {}
        self._shown: list[ShownPixels | None] = []
        for colour, channel in enumerate(channels):
            if channel is None:
                self._shown.append(None)
                continue
            rule = _rule(settings, colour)
            key = (id(channel), rule)
            if key not in made:
                made[key] = ShownPixels(channel, intensity=rule)
            self._shown.append(made[key])

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels at full resolution."""
        return self.level_shapes[0]

    def read(self, box: HalfOpenBox, level: int = 0) -> RgbPlane:
        """Read a box of a level, (h, w, 3) uint8; see `PlanePixels.read`."""
        used = {id(shown): shown for shown in self._shown if shown is not None}
        grey = {name: shown.read(box, level)[:, :, 0] for name, shown in used.items()}
        y0, x0, y1, x1 = box
        rgb = np.zeros((y1 - y0, x1 - x0, 3), dtype=np.uint8)
        for colour, shown in enumerate(self._shown):
            if shown is not None:
                rgb[:, :, colour] = grey[id(shown)]
        return rgb


class ShownColours:
    """A colour picture with other contrast or other colours, read piece by piece.

    Parameters
    ----------
    pixels : PlanePixels
        Of 3 or 4 channels of any real dtype; a fourth is opacity and dropped.
    settings : ViewSettings
        Contrast, gamma and inversion. All colours are scaled alike, so that the hue
        stays; only three different limits scale them apart.
    order : three of int or None
        Which colour of the picture becomes red, green and blue; None is black.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self, pixels: PlanePixels, settings: ViewSettings, order: _Order = (0, 1, 2)
    ) -> None:
        self.level_shapes = pixels.level_shapes
        rules = [_rule(settings, colour) for colour in range(3)]
        is_as_it_is = pixels.dtype == np.uint8 and settings.contrast == "percentiles"
        if is_as_it_is and settings.percentiles == ViewSettings().percentiles:
            # What 8-bit colour is without settings, so that gamma 1 changes nothing.
            rule = IntensityRule(
                limits=(0, 255), gamma=settings.gamma, invert=settings.invert
            )
            rules = [rule] * 3
        made = {rule: ShownPixels(pixels, intensity=rule) for rule in set(rules)}
        self._shown = [made[rule] for rule in rules]
        self._order = order

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels at full resolution."""
        return self.level_shapes[0]

    def read(self, box: HalfOpenBox, level: int = 0) -> RgbPlane:
        """Read a box of a level, (h, w, 3) uint8; see `PlanePixels.read`."""
        used = {id(shown): shown for shown in self._shown}
        read = {name: shown.read(box, level) for name, shown in used.items()}
        y0, x0, y1, x1 = box
        rgb = np.zeros((y1 - y0, x1 - x0, 3), dtype=np.uint8)
        for colour, source in enumerate(self._order):
            if source is not None:
                rgb[:, :, colour] = read[id(self._shown[colour])][:, :, source]
        return rgb


def show_channels(channels: Sequence[Plane | None], settings: ViewSettings) -> RgbPlane:
    """Show three (H, W) arrays or None at once; see `ShownChannels`."""
    made: dict[int, ArrayPixels] = {
        id(channel): ArrayPixels((channel,), axes=(0, 1))
        for channel in channels
        if channel is not None
    }
    return _all_of(ShownChannels([made.get(id(c)) for c in channels], settings))


def show_colour_picture(
    plane: Plane, settings: ViewSettings, order: _Order = (0, 1, 2)
) -> RgbPlane:
    """Show a (H, W, 3) or (H, W, 4) array at once; see `ShownColours`."""
    pixels = ArrayPixels((plane,), axes=(0, 1), channel_axis=2)
    return _all_of(ShownColours(pixels, settings, order))


def _all_of(pixels: Any) -> RgbPlane:
    rgb: RgbPlane = pixels.read((0, 0, *pixels.shape))
    return rgb


def _common_levels(channels: Sequence[PlanePixels]) -> tuple[tuple[int, int], ...]:
    """Return the levels that all channels have."""
    levels = list(channels[0].level_shapes)
    for channel in channels[1:]:
        alike = [a == b for a, b in zip(levels, channel.level_shapes, strict=False)]
        levels = levels[: alike.index(False) if False in alike else len(alike)]
    return tuple(levels)


def _rule(settings: ViewSettings, colour: int) -> IntensityRule:
    """Return the rule for red (0), green (1) or blue (2)."""
    return IntensityRule(
        limits=settings.limits_of(colour),
        percentiles=settings.percentiles,
        gamma=settings.gamma,
        invert=settings.invert,
    )

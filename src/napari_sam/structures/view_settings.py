# SPDX-License-Identifier: Apache-2.0
"""What of an image the model is shown: channels, contrast, gamma."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, TypeAlias

import numpy as np

from napari_sam.errors import SettingsError

Contrast: TypeAlias = Literal["percentiles", "contrast limits", "fixed range"]
CONTRASTS: tuple[Contrast, ...] = ("percentiles", "contrast limits", "fixed range")

Channel: TypeAlias = int | str | None
"""Index or name of a channel; None is black."""

Range: TypeAlias = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """How one image becomes the red, green and blue that a model sees.

    Without arguments, an image is seen as everywhere else in the package: grey or
    colour as it is, black and white at the default percentiles, 8-bit colour unchanged.

    Attributes
    ----------
    channel_axis : int or None
        Axis of the array that holds channels; it is no axis of a plane then. None: the
        image is grey, or a colour picture.
    channels : (red, green, blue) or None
        Index or name of the channel to be shown in each colour, None for black. The
        same channel three times is grey. None takes the first three, or the only one
        as grey. Without `channel_axis`, names are those of layers of the same shape.
    contrast : {"percentiles", "contrast limits", "fixed range"}
        Where black and white lie: at `percentiles` of each plane, or at `limits`,
        which were taken from the layers or typed in.
    percentiles : (low, high)
        From 0 to 100. The default leaves colour pictures of 8 bits as they are.
    limits : tuple of (low, high), or None
        In units of the image: one pair for all channels or one each for red, green and
        blue; a single pair may be given as ``(low, high)``. None is legal unless the
        range is fixed: contrast limits are then read from the layers.
    gamma : float
        Brightness from 0 to 1 is raised to this power; above 0.
    invert : bool
        Whether black and white change places.

    Raises
    ------
    SettingsError
        If a value is out of range or of the wrong type.
    """

    channel_axis: int | None = None
    channels: tuple[Channel, Channel, Channel] | None = None
    contrast: Contrast = "percentiles"
    percentiles: Range = (0.1, 99.9)
    limits: tuple[Range, ...] | Range | None = None
    gamma: float = 1.0
    invert: bool = False

    def __post_init__(self) -> None:
        """Check every value and give equal settings equal text."""
        put = object.__setattr__
        if self.channel_axis is not None:
            put(self, "channel_axis", _as_index("channel_axis", self.channel_axis))
        if self.channels is not None:
            put(self, "channels", _as_channels(self.channels))
        if self.contrast not in CONTRASTS:
            msg = (
                f"Unknown contrast {self.contrast!r}. Choose one of: "
                f"{', '.join(CONTRASTS)}."
            )
            raise SettingsError(msg)
        percentiles = as_pair("percentiles", self.percentiles)
        if not 0 <= percentiles[0] < percentiles[1] <= 100:
            msg = f"percentiles are 0 <= low < high <= 100, not {self.percentiles}."
            raise SettingsError(msg)
        put(self, "percentiles", percentiles)
        if self.limits is not None:
            put(self, "limits", _as_limits(self.limits))
        elif self.contrast == "fixed range":
            msg = "A fixed range needs limits: the values shown as black and as white."
            raise SettingsError(msg)
        put(self, "gamma", as_gamma(self.gamma))
        put(self, "invert", _as_flag("invert", self.invert))

    @property
    def is_default(self) -> bool:
        """Whether the image is shown as it is without settings."""
        return self == ViewSettings()

    def limits_of(self, colour: int) -> Range | None:
        """Values shown as black and white in red (0), green (1) or blue (2).

        Returns
        -------
        (low, high) or None
            None where percentiles decide, or contrast limits are yet to be read.
        """
        if self.contrast == "percentiles" or self.limits is None:
            return None
        pairs: Any = self.limits
        low, high = pairs[colour % len(pairs)]
        return low, high

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        values = asdict(self)
        for name in ("channels", "percentiles"):
            if values[name] is not None:
                values[name] = list(values[name])
        if values["limits"] is not None:
            values["limits"] = [list(pair) for pair in values["limits"]]
        return values

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """Read what `to_dict` wrote; what is missing takes its default.

        Raises
        ------
        SettingsError
            If it is no mapping, holds an unknown name, or a value makes no sense.
        """
        if not isinstance(values, Mapping):
            msg = (
                "View settings are a mapping of names to values, not "
                f"{type(values).__name__}."
            )
            raise SettingsError(msg)
        names = [field.name for field in fields(cls)]
        unknown = sorted(str(name) for name in set(values) - set(names))
        if unknown:
            msg = (
                f"Unknown view setting {unknown[0]!r}. Choose among: "
                f"{', '.join(names)}."
            )
            raise SettingsError(msg)
        return cls(**values)


def as_pair(name: str, values: Any) -> Range:
    """Return two finite numbers, low < high, as floats.

    Raises
    ------
    SettingsError
        If they are something else; `name` says in its text what they were for.
    """
    pair = tuple(values) if isinstance(values, (tuple, list, np.ndarray)) else ()
    if (
        len(pair) == 2
        and all(_is_finite(value) for value in pair)
        and float(pair[0]) < float(pair[1])
    ):
        return float(pair[0]), float(pair[1])
    msg = f"{name} are two finite numbers, low < high, not {values}."
    raise SettingsError(msg)


def as_gamma(value: Any) -> float:
    """Return a power of brightness as a float.

    Raises
    ------
    SettingsError
        If it is no finite number above 0.
    """
    if not _is_finite(value) or value <= 0:
        msg = f"gamma must be a finite number above 0, not {value!r}."
        raise SettingsError(msg)
    return float(value)


def _as_limits(values: Any) -> tuple[Range, ...]:
    """Return one pair or three of them; a bare pair is wrapped."""
    given = tuple(values) if isinstance(values, (tuple, list, np.ndarray)) else ()
    if len(given) == 2 and all(_is_finite(value) for value in given):
        given = (given,)
    if len(given) not in (1, 3):
        msg = (
            "limits are one pair (low, high) or three, for red, green and blue, not "
            f"{values!r}."
        )
        raise SettingsError(msg)
    return tuple(as_pair("limits", pair) for pair in given)


def _as_channels(values: Any) -> tuple[Channel, ...]:
    given = tuple(values) if isinstance(values, (tuple, list)) else ()
    if len(given) != 3 or all(channel is None for channel in given):
        msg = (
            "channels are three: the index or name of the one shown in red, in green "
            f"and in blue, None for black, and one of them at least; not {values!r}."
        )
        raise SettingsError(msg)
    return tuple(
        channel
        if channel is None or isinstance(channel, str)
        else _as_index("A channel", channel)
        for channel in given
    )


def _as_index(name: str, value: Any) -> int:
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_whole or value < 0:
        msg = f"{name} must be a whole number, 0 or more, not {value!r}."
        raise SettingsError(msg)
    return int(value)


def _as_flag(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        msg = f"{name} must be True or False, not {value!r}."
        raise SettingsError(msg)
    return bool(value)


def _is_finite(value: Any) -> bool:
    is_number = isinstance(value, (int, float, np.number)) and not isinstance(
        value, (bool, complex)
    )
    return is_number and math.isfinite(value)

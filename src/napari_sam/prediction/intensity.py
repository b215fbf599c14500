# SPDX-License-Identifier: Apache-2.0
"""Any image to the 8-bit RGB picture that a SAM is shown.

An 8-bit RGB image passes unchanged. For everything else a rule says which channels
become red, green and blue and which values become black and white.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from napari_sam.errors import ImageError, SettingsError
from napari_sam.structures.arrays import Plane, RgbPlane
from napari_sam.structures.view_settings import Range, as_gamma, as_pair

Limits: TypeAlias = tuple[Range, ...]
"""Values shown as black and as white, one pair for each channel shown."""

# Percentiles of more pixels than this are taken from every n-th one.
_MAX_PERCENTILE_PIXELS = 1 << 22


@dataclass(frozen=True, kw_only=True)
class IntensityRule:
    """How values become brightness.

    Attributes
    ----------
    limits : (low, high) or None
        Values shown as black and as white; None takes them from `percentiles`.
    percentiles : (low, high)
        Percentiles of the finite pixels shown as black and white. The default spares a
        thousandth at either end, so that a hot pixel does not darken everything and a
        few small bright objects are not saturated.
    channels : tuple of int or None
        One, two or three channels for grey, red-green or red-green-blue. None takes the
        only channel as grey, or else the first ones up to three.
    per_channel : bool or None
        Whether each channel has limits of its own. None: yes for channels of a
        microscope (given by ``channel_axis``), no for a colour picture, whose hue would
        change.
    gamma : float
        Brightness between black (0) and white (1) is raised to this power: below 1
        lights up what is dim, above 1 darkens it.
    invert : bool
        Whether black and white change places, after `gamma`: for dark objects on a
        bright ground. Constant images and NaN stay black.
    """

    limits: tuple[float, float] | None = None
    percentiles: tuple[float, float] = (0.1, 99.9)
    channels: tuple[int, ...] | None = None
    per_channel: bool | None = None
    gamma: float = 1.0
    invert: bool = False

    def __post_init__(self) -> None:
        """Check every value; equal rules come out with equal hash and text."""
        if self.limits is not None:
            object.__setattr__(self, "limits", as_pair("limits", self.limits))
        pair = as_pair("percentiles", self.percentiles)
        if not 0 <= pair[0] < pair[1] <= 100:
            msg = f"percentiles are 0 <= low < high <= 100, not {self.percentiles}."
            raise SettingsError(msg)
        object.__setattr__(self, "percentiles", pair)
        if self.channels is not None:
            channels = tuple(int(channel) for channel in self.channels)
            if not 1 <= len(channels) <= 3:
                msg = f"Choose one to three channels, not {len(channels)}."
                raise SettingsError(msg)
            object.__setattr__(self, "channels", channels)
        object.__setattr__(self, "gamma", as_gamma(self.gamma))
        object.__setattr__(self, "invert", bool(self.invert))


def to_rgb(
    image: Plane,
    channel_axis: int | None = None,
    rule: IntensityRule | None = None,
    *,
    limits: Limits | None = None,
) -> RgbPlane:
    """Turn one plane into what the model is shown.

    Parameters
    ----------
    image : (H, W), (H, W, 3), (H, W, 4) array, or 3-D with `channel_axis`
        Any real dtype. Without `channel_axis` a fourth channel is opacity and dropped.
        NaN is shown as black, infinity as black or white.
    channel_axis : int or None
        Axis of the channels; None means that the image is grey or, with a last axis of
        3 or 4, a colour picture.
    rule : IntensityRule or None
        None leaves 8-bit images of three channels unchanged and uses the default rule
        for all others.
    limits : tuple of (low, high), or None
        What `find_limits` returned for the image that this one is a part of. None finds
        them here.

    Returns
    -------
    (H, W, 3) uint8 array
        C-contiguous. A constant image is black.

    Raises
    ------
    ImageError
        If the array is empty, complex, no number at all, or of another shape.
    """
    planes = as_channels(image, channel_axis)
    if rule is None and planes.dtype == np.uint8 and planes.shape[-1] == 3:
        return np.ascontiguousarray(planes)
    rule = rule or IntensityRule()
    planes = _choose_channels(planes, rule.channels)
    if planes.dtype == np.bool_:
        shown = (planes ^ rule.invert).astype(np.uint8) * np.uint8(255)
    else:
        if limits is None:
            limits = _limits(planes, rule, is_microscope=channel_axis is not None)
        shown = _scale(planes, rule, limits)
    return _to_three_channels(shown)


def find_limits(
    image: Plane,
    channel_axis: int | None = None,
    rule: IntensityRule | None = None,
) -> Limits | None:
    """Find the values that `to_rgb` shows as black and as white.

    Parameters
    ----------
    image, channel_axis, rule
        As for `to_rgb`.

    Returns
    -------
    tuple of (low, high), or None
        One pair for each channel shown; equal values for a constant one. None if the
        image passes unchanged or holds truth values.

    Raises
    ------
    ImageError
        As `to_rgb`.
    """
    planes = as_channels(image, channel_axis)
    if rule is None and planes.dtype == np.uint8 and planes.shape[-1] == 3:
        return None
    rule = rule or IntensityRule()
    planes = _choose_channels(planes, rule.channels)
    if planes.dtype == np.bool_:
        return None
    return _limits(planes, rule, is_microscope=channel_axis is not None)


def as_channels(image: Plane, channel_axis: int | None) -> Plane:
    """Return an image as (H, W, C), a view of it.

    Raises
    ------
    ImageError
        If the array is empty, complex, no number at all, or of another shape.
    """
    array = np.asarray(image)
    if array.dtype.kind not in "buif":
        msg = (
            f"An image needs real numbers, but its dtype is {array.dtype}. "
            "Take for instance its absolute value or its real part."
        )
        raise ImageError(msg)
    if array.size == 0:
        msg = f"The image is empty: its shape is {array.shape}."
        raise ImageError(msg)
    if channel_axis is not None:
        if array.ndim != 3 or not -3 <= channel_axis < 3:
            msg = (
                f"With channel_axis={channel_axis} an image has three axes, not the "
                f"shape {array.shape}."
            )
            raise ImageError(msg)
        return np.moveaxis(array, channel_axis, -1)
    if array.ndim == 2:
        return array[:, :, None]
    if array.ndim == 3 and array.shape[-1] in (3, 4):
        return array[:, :, :3]
    msg = (
        f"An image is (H, W), (H, W, 3) or (H, W, 4), not {array.shape}. For other "
        "channels give channel_axis; of a stack give one plane at a time."
    )
    raise ImageError(msg)


def is_blank(image: Plane) -> bool:
    """Tell whether an image shows nothing: one value, one colour, or none at all.

    Parameters
    ----------
    image : array
        Any real dtype and shape; values that are not finite count as nothing. The last
        of three axes may be that of colours.

    Returns
    -------
    bool
    """
    values = np.asarray(image)
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if values.size == 0 or bool((values == values.flat[0]).all()):
        return True
    is_colour = values.ndim == 3 and values.shape[-1] in (3, 4)
    return is_colour and bool((values == values[:1, :1]).all())


def _choose_channels(planes: Plane, channels: tuple[int, ...] | None) -> Plane:
    """Return the wanted channels of (H, W, C), at most three."""
    n_channels = planes.shape[-1]
    if channels is None:
        return planes[:, :, :3]
    wrong = [c for c in channels if not -n_channels <= c < n_channels]
    if wrong:
        msg = f"Channel {wrong[0]} was chosen, but the image has {n_channels} channels."
        raise ImageError(msg)
    return planes[:, :, list(channels)]


def _limits(planes: Plane, rule: IntensityRule, *, is_microscope: bool) -> Limits:
    """Return the values shown as black and white for each channel of (H, W, C)."""
    channels = range(planes.shape[-1])
    is_apart = is_microscope if rule.per_channel is None else rule.per_channel
    if rule.limits is not None:
        return (rule.limits,) * len(channels)
    if not is_apart:
        return (_percentile_limits(planes, rule.percentiles),) * len(channels)
    return tuple(
        _percentile_limits(planes[:, :, c], rule.percentiles) for c in channels
    )


def _scale(planes: Plane, rule: IntensityRule, limits: Limits) -> RgbPlane:
    """Map (H, W, C) values linearly to 0..255."""
    shown = np.zeros(planes.shape, dtype=np.uint8)
    # One channel at a time: a float copy of a whole image may not fit beside it.
    for channel, (low, high) in enumerate(limits):
        values = planes[:, :, channel]
        if high <= low:
            continue
        if _is_short(values):
            shown[:, :, channel] = _looked_up(values, rule, low, high)
        else:
            shown[:, :, channel] = _brightness(values, rule, low, high)
    return shown


def _looked_up(values: Plane, rule: IntensityRule, low: float, high: float) -> RgbPlane:
    """Map integers of 8 or 16 bits by a table, if there are more than its entries."""
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    bits = np.dtype(f"u{native.dtype.itemsize}")
    n_entries = 1 << (8 * bits.itemsize)
    if values.size <= n_entries:
        return _brightness(native, rule, low, high)
    # Entry n belongs to the number with the bits of n, signed or not.
    every_value = np.arange(n_entries, dtype=bits).view(native.dtype)
    table = _brightness(every_value, rule, low, high)
    return np.asarray(table[native.view(bits)])


def _brightness(
    values: Plane, rule: IntensityRule, low: float, high: float
) -> npt.NDArray[np.uint8]:
    """Map values of any shape to 0..255."""
    exact: type[np.floating] = np.float32 if values.dtype.itemsize <= 2 else np.float64
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = (values.astype(exact) - low) * (255 / (high - low))
    bent = _bend(np.clip(scaled, 0, 255), rule)
    shown: npt.NDArray[np.uint8] = np.rint(np.nan_to_num(bent, nan=0.0)).astype("u1")
    return shown


def _bend(
    scaled: npt.NDArray[np.floating], rule: IntensityRule
) -> npt.NDArray[np.floating]:
    """Apply gamma and inversion to brightness from 0 to 255."""
    if rule.gamma != 1:
        scaled = 255 * (scaled / 255) ** rule.gamma
    return 255 - scaled if rule.invert else scaled


def _percentile_limits(
    values: npt.NDArray[np.generic], percentiles: tuple[float, float]
) -> tuple[float, float]:
    """Return two percentiles of the finite values; equal ones if all are the same."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if finite.size == 0:
        return 0.0, 0.0
    sample = finite.reshape(-1)[:: max(1, finite.size // _MAX_PERCENTILE_PIXELS)]
    low, high = _percentiles(sample, percentiles)
    if low == high:
        # A few pixels differ from all the rest: they are what there is to see.
        low, high = finite.min(), finite.max()
    return float(low), float(high)


def _percentiles(
    values: npt.NDArray[np.generic], percentiles: tuple[float, float]
) -> tuple[float, float]:
    """Return what ``np.percentile`` does of (n,) finite values."""
    if not _is_short(values):
        low, high = np.percentile(values.astype(np.float64), percentiles)
        return float(low), float(high)
    # Numbers of 8 and 16 bits are sorted by their digits: eight times as fast.
    ordered = np.sort(values.astype(values.dtype.newbyteorder("="), copy=False))
    found = []
    for percent in percentiles:
        place = percent / 100 * (len(ordered) - 1)
        first = int(place)
        low = float(ordered[first])
        high = float(ordered[min(first + 1, len(ordered) - 1)])
        part = place - first
        step = high - low
        found.append(low + step * part if part < 0.5 else high - step * (1 - part))
    return found[0], found[1]


def _is_short(values: npt.NDArray[np.generic]) -> bool:
    """Whether values are integers of at most 16 bits."""
    return values.dtype.kind in "ui" and values.dtype.itemsize <= 2


def _to_three_channels(shown: RgbPlane) -> RgbPlane:
    """Make grey or red-green into red-green-blue."""
    n_channels = shown.shape[-1]
    if n_channels == 1:
        grey = np.empty((*shown.shape[:2], 3), dtype=np.uint8)
        for colour in range(3):  # faster than repeating every pixel
            grey[:, :, colour] = shown[:, :, 0]
        return grey
    if n_channels == 2:
        return np.concatenate([shown, np.zeros_like(shown[:, :, :1])], axis=-1)
    return np.ascontiguousarray(shown)

# SPDX-License-Identifier: Apache-2.0
"""Parameters of the automatic mode, checked when they are set."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from napari_sam.errors import SettingsError
from napari_sam.structures.arrays import Coordinates
from napari_sam.structures.candidates import OUTPUT_MODES, OutputMode

Method = Literal["grid", "fast", "fastest"]
METHODS: tuple[Method, ...] = ("grid", "fast", "fastest")

GRID_NUMBERS = ("points_per_side", "point_grids", "crop_n_layers")
"""Settings that say how the method "grid" is to be done."""

_PointGrid = tuple[tuple[float, float], ...]


class _Settings:
    """What both settings classes share: building from layers of defaults."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all parameters, in order."""
        return tuple(field.name for field in fields(cls))  # type: ignore[arg-type]

    @classmethod
    def from_defaults(cls, *layers: Mapping[str, Any]) -> Self:
        """Build settings from mappings; a later one wins over an earlier one.

        Parameters
        ----------
        *layers : mapping of str
            For instance a model's own defaults, then the user's choice.

        Raises
        ------
        SettingsError
            If a name is unknown or a value is out of range.
        """
        merged: dict[str, Any] = {}
        for layer in layers:
            merged.update(layer)
        unknown = sorted(set(merged) - set(cls.names()))
        if unknown:
            msg = (
                f"Unknown setting {unknown[0]!r}. Choose among: "
                f"{', '.join(cls.names())}."
            )
            raise SettingsError(msg)
        return cls(**merged)


@dataclass(frozen=True, kw_only=True)
class AutoSettings(_Settings):
    """Automatic mask generation (Kirillov et al. 2023), or a faster way to the same.

    Names and defaults are those of the reference implementation, `method` apart.

    Attributes
    ----------
    method : {"grid", "fast", "fastest"}
        "grid": every point of a grid is a prompt. "fast": prompts are proposed by the
        model's object maps, or where it has none, by what a part of the grid has found.
        "fastest": object maps alone, without the decoder. Neither knows crops.
    points_per_side : int or None
        Points of the grid along each side of the image; None if `point_grids` is given.
    points_per_batch : int
        Points decoded at once; costs memory, changes nothing in the result.
    pred_iou_thresh : float
        Masks must have a predicted IoU above it; 0 switches the filter off.
    stability_score_thresh : float
        The masks at a raised and a lowered threshold must have at least this IoU; 0
        switches the filter off.
    stability_score_offset : float
        How far the threshold is raised and lowered, in logits.
    mask_threshold : float
        Logit above which a pixel belongs to the mask.
    box_nms_thresh : float
        Of two masks whose boxes overlap by more than this IoU, the better one stays.
    crop_n_layers : int
        Layers of crops that are searched as well; layer i has ``2**i`` per side.
    crop_nms_thresh : float
        The same as `box_nms_thresh` between masks of different crops.
    crop_overlap_ratio : float
        Overlap of the crops of the first layer as a part of the short side.
    crop_n_points_downscale_factor : int
        Layer i uses ``points_per_side / factor**i`` points a side.
    point_grids : tuple of point tuples or None
        Own grids, one for each layer: ``(y, x)`` as parts of the image's sides.
    min_mask_region_area : int
        Holes and islands smaller than this many pixels are removed; 0 leaves them.
    output_mode : {"binary_mask", "uncompressed_rle", "coco_rle"}
        Form of ``segmentation`` when records are written as dictionaries.
    """

    @classmethod
    def from_defaults(cls, *layers: Mapping[str, Any]) -> Self:
        """Build settings from mappings; a later one wins over an earlier one.

        Who gives the numbers of a grid and no method means the grid, whatever the model
        would do by itself. Otherwise as for all settings.

        Parameters
        ----------
        *layers : mapping of str
            For instance a model's own defaults, then the user's choice.

        Raises
        ------
        SettingsError
            If a name is unknown or a value is out of range.
        """
        return super().from_defaults(*(_with_method(layer) for layer in layers))

    method: Method = "grid"
    points_per_side: int | None = 32
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    mask_threshold: float = 0.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    point_grids: tuple[_PointGrid, ...] | None = None
    min_mask_region_area: int = 0
    output_mode: OutputMode = "binary_mask"

    def __post_init__(self) -> None:
        """Check every value."""
        _check_number(self, "pred_iou_thresh", low=0, high=1)
        _check_number(self, "stability_score_thresh", low=0, high=1)
        _check_number(self, "stability_score_offset", low=0)
        _check_number(self, "mask_threshold", low=-math.inf)
        _check_number(self, "box_nms_thresh", low=0, high=1)
        _check_number(self, "crop_nms_thresh", low=0, high=1)
        _check_number(self, "crop_overlap_ratio", low=0, high=1)
        _check_count(self, "points_per_batch", low=1)
        _check_count(self, "crop_n_layers", low=0, high=8)
        _check_count(self, "crop_n_points_downscale_factor", low=1)
        _check_count(self, "min_mask_region_area", low=0)
        if self.output_mode not in OUTPUT_MODES:
            msg = (
                f"Unknown output mode {self.output_mode!r}. Choose one of: "
                f"{', '.join(OUTPUT_MODES)}."
            )
            raise SettingsError(msg)
        self._check_method()
        if self.point_grids is None:
            if self.points_per_side is None:
                msg = "Give points_per_side or point_grids: neither came."
                raise SettingsError(msg)
            _check_count(self, "points_per_side", low=1, high=1024)
        else:
            self._check_point_grids()

    def grid_yx(self, layer: int) -> Coordinates:
        """Return the points of a crop layer as parts of the crop's sides.

        Parameters
        ----------
        layer : int
            0 is the whole image.

        Returns
        -------
        (n, 2) float64 array
            ``(y, x)`` between 0 and 1, x running fastest.
        """
        if self.point_grids is not None:
            return np.array(self.point_grids[layer], dtype=np.float64).reshape(-1, 2)
        side = int(
            (self.points_per_side or 0) / self.crop_n_points_downscale_factor**layer
        )
        ticks = (np.arange(side, dtype=np.float64) + 0.5) / max(side, 1)
        y, x = np.meshgrid(ticks, ticks, indexing="ij")
        return np.stack([y.ravel(), x.ravel()], axis=-1)

    def _check_method(self) -> None:
        """Refuse unknown ways to search, and crops where there are none."""
        if self.method not in METHODS:
            msg = (
                f"Unknown method {self.method!r}. Choose one of: {', '.join(METHODS)}."
            )
            raise SettingsError(msg)
        if self.method != "grid" and (self.crop_n_layers or self.point_grids):
            name = "crop_n_layers" if self.crop_n_layers else "point_grids"
            msg = (
                f"{name} belongs to the method 'grid', but the method is "
                f"{self.method!r}: leave one of the two out."
            )
            raise SettingsError(msg)

    def _check_point_grids(self) -> None:
        """Turn own grids into tuples of the right number, inside the image."""
        if self.points_per_side is not None:
            msg = "Give points_per_side=None together with point_grids."
            raise SettingsError(msg)
        grids = tuple(_point_grid(grid) for grid in self.point_grids or ())
        if len(grids) != self.crop_n_layers + 1:
            msg = (
                f"point_grids needs one grid for the image and one for each of the "
                f"{self.crop_n_layers} crop layers, not {len(grids)} grids."
            )
            raise SettingsError(msg)
        object.__setattr__(self, "point_grids", grids)


@dataclass(frozen=True, kw_only=True)
class LabelSettings(_Settings):
    """From the masks of the automatic mode to a label image.

    Attributes
    ----------
    tile : "auto", int or None
        Side in pixels of the tiles that a large image is cut into; "auto" takes the
        model's frame for images more than one and a half times as long, None never
        cuts.
    tile_overlap : float
        Overlap of neighbouring tiles as a part of a tile. Objects smaller than the
        overlap are seen whole in one tile; larger ones are joined.
    min_area : int
        Objects with fewer pixels are dropped.
    max_taken : float
        A mask is dropped if more than this part of it belongs to better masks already.
    absorb_parts : bool
        Whether a mask takes over better ones that lie within it (a nucleus its
        nucleoli). Masks that are mostly made of better ones are dropped by `max_taken`.
    fill_holes : bool
        Whether holes of an object become part of it.
    background_fraction : float
        A mask that touches three sides of what the model was shown and covers at least
        this part of it is background, no object. 1 switches the rule off.
    skip_empty : bool
        Whether tiles that show almost no contrast are left out: the 0.1 and the 99.9
        percentile of their brightness differ by less than a tenth of the range from
        black to white. Faster on sparse images; may overlook small or dim objects.
    """

    tile: int | Literal["auto"] | None = "auto"
    tile_overlap: float = 0.25
    min_area: int = 25
    max_taken: float = 0.5
    absorb_parts: bool = True
    fill_holes: bool = True
    background_fraction: float = 0.25
    skip_empty: bool = False

    def __post_init__(self) -> None:
        """Check every value."""
        if self.tile not in ("auto", None):
            _check_count(self, "tile", low=16)
        _check_number(self, "tile_overlap", low=0, high=0.5)
        _check_count(self, "min_area", low=0)
        _check_number(self, "max_taken", low=0, high=1)
        _check_flag(self, "absorb_parts")
        _check_flag(self, "fill_holes")
        _check_number(self, "background_fraction", low=0, high=1)
        _check_flag(self, "skip_empty")


def _point_grid(grid: npt.ArrayLike) -> _PointGrid:
    """Check one grid of points."""
    points = np.asarray(grid, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        msg = f"A point grid is (n, 2) rows of y, x, not of shape {points.shape}."
        raise SettingsError(msg)
    if not bool(((points >= 0) & (points <= 1)).all()):
        msg = "Grid points are parts of the image's sides, between 0 and 1."
        raise SettingsError(msg)
    return tuple((float(y), float(x)) for y, x in points)


def _check_number(
    settings: object, name: str, *, low: float, high: float = math.inf
) -> None:
    """Refuse a value that is no finite number within its range."""
    value = getattr(settings, name)
    is_number = isinstance(value, (int, float, np.number)) and not isinstance(
        value, bool
    )
    if not is_number or not math.isfinite(value) or not low <= value <= high:
        msg = f"{name} must be {_range(low, high)}, not {value!r}."
        raise SettingsError(msg)


def _check_count(
    settings: object, name: str, *, low: int, high: float = math.inf
) -> None:
    """Refuse a value that is no whole number within its range."""
    value = getattr(settings, name)
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_whole or not low <= value <= high:
        msg = f"{name} must be a whole number, {_range(low, high)}, not {value!r}."
        raise SettingsError(msg)


def _check_flag(settings: object, name: str) -> None:
    """Refuse a value that is neither yes nor no."""
    value = getattr(settings, name)
    if not isinstance(value, (bool, np.bool_)):
        msg = f"{name} must be True or False, not {value!r}."
        raise SettingsError(msg)


def _range(low: float, high: float) -> str:
    """Describe a range of values in words."""
    if math.isinf(low):
        return "a finite number"
    return f"{low:g} or more" if math.isinf(high) else f"from {low:g} to {high:g}"


def _with_method(layer: Mapping[str, Any]) -> dict[str, Any]:
    """Name the method in settings that only make sense with it."""
    means_grid = any(layer.get(name) for name in GRID_NUMBERS)
    return {"method": "grid"} | dict(layer) if means_grid else dict(layer)

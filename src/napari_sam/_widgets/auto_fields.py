# SPDX-License-Identifier: Apache-2.0
"""Names, ranges and help texts of the automatic settings, as people read them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from napari_sam.structures.settings import AutoSettings, LabelSettings

NOT_SHOWN = ("point_grids", "output_mode")
"""For scripts only: own grids of points, and the form of exported records."""


@dataclass(frozen=True, slots=True)
class SettingField:
    """How one setting is shown.

    Attributes
    ----------
    name : str
        Name in `AutoSettings` or `LabelSettings`.
    label, help : str
        Words for the user.
    kind : {"int", "float", "bool", "choice"}
    low, high, step : float
        Range and step of a number.
    choices : dict
        Text to value, for a choice.
    """

    name: str
    label: str
    help: str
    kind: Literal["int", "float", "bool", "choice"] = "float"
    low: float = 0.0
    high: float = 1.0
    step: float = 0.01
    choices: dict[str, Any] = field(default_factory=dict)


GRID_ONLY = (
    "crop_n_layers",
    "crop_n_points_downscale_factor",
    "crop_overlap_ratio",
    "crop_nms_thresh",
)
"""Settings that only the method "grid" knows."""

GROUPS: dict[str, tuple[SettingField, ...]] = {
    "Search": (
        SettingField(
            "method",
            "Method",
            "Grid: every point of a grid is a prompt. Automatic (fast): prompts follow "
            "from what the model sees, or from what a part of the grid has found. "
            "Object maps only: the fastest, for models that have such maps.",
            "choice",
            choices={
                "Grid": "grid",
                "Automatic (fast)": "fast",
                "Object maps only (fastest)": "fastest",
            },
        ),
        SettingField(
            "points_per_side",
            "Points per side",
            "The grid has this many points along each side. More points find smaller "
            "objects and take longer (time grows with the square). Models with object "
            "maps need none for the fast methods.",
            "int",
            1,
            1024,
            4,
        ),
        SettingField(
            "points_per_batch",
            "Points at once",
            "Points decoded together. Changes speed and memory, not the result. On a "
            "CPU small batches are used anyway, so that clicks are answered meanwhile.",
            "int",
            1,
            1024,
            8,
        ),
    ),
    "Which masks to keep": (
        SettingField(
            "pred_iou_thresh",
            "Predicted IoU above",
            "The model's own estimate of a mask's quality. Lower it to get more "
            "objects, raise it to get surer ones. 0 switches the filter off.",
        ),
        SettingField(
            "stability_score_thresh",
            "Stability at least",
            "How little a mask changes when its threshold moves. Lower it for soft or "
            "blurred borders. 0 switches the filter off.",
        ),
        SettingField(
            "stability_score_offset",
            "Stability offset",
            "How far the threshold is moved up and down for the stability, in logits.",
            high=20.0,
            step=0.1,
        ),
        SettingField(
            "mask_threshold",
            "Mask threshold",
            "Logit above which a pixel belongs to a mask. Higher gives tighter masks.",
            low=-20.0,
            high=20.0,
            step=0.1,
        ),
        SettingField(
            "box_nms_thresh",
            "Duplicates above IoU",
            "Of two masks whose boxes overlap by more than this, the better one stays.",
        ),
        SettingField(
            "min_mask_region_area",
            "Clean specks below",
            "Holes and islands of a mask with fewer pixels are removed. 0 leaves them.",
            "int",
            0,
            1_000_000,
            10,
        ),
    ),
    "Crops": (
        SettingField(
            "crop_n_layers",
            "Layers of crops",
            "Search enlarged crops of the image as well: finds small objects, takes "
            "much longer. Layer i has 2^i crops per side.",
            "int",
            0,
            8,
            1,
        ),
        SettingField(
            "crop_n_points_downscale_factor",
            "Fewer points by",
            "Each layer of crops has this many times fewer points per side.",
            "int",
            1,
            16,
            1,
        ),
        SettingField(
            "crop_overlap_ratio",
            "Overlap of crops",
            "Overlap of the first layer's crops, as a part of the image's short side.",
        ),
        SettingField(
            "crop_nms_thresh",
            "Duplicates between crops",
            "Like duplicates above, for masks of different crops.",
        ),
    ),
    "Objects": (
        SettingField(
            "min_area",
            "Smallest object",
            "Objects with fewer pixels are dropped.",
            "int",
            0,
            1_000_000,
            5,
        ),
        SettingField(
            "max_taken",
            "Already taken at most",
            "A mask is dropped if more than this part of it belongs to better masks.",
        ),
        SettingField(
            "absorb_parts",
            "Absorb parts",
            "A mask takes over better ones that lie within it, as a nucleus does its "
            "nucleoli.",
            "bool",
        ),
        SettingField(
            "fill_holes", "Fill holes", "Holes become part of their object.", "bool"
        ),
        SettingField(
            "background_fraction",
            "Background from",
            "A mask that touches three sides of the picture and covers at least this "
            "part of it is background, no object. 1 switches the rule off.",
        ),
        SettingField(
            "tile",
            "Tiles",
            "Large images are cut into overlapping tiles of this many pixels, so that "
            "small objects stay large enough to be seen.",
            "choice",
            choices={
                "automatic": "auto",
                "never": None,
                **{f"{side} px": side for side in (256, 512, 768, 1024, 1536, 2048)},
            },
        ),
        SettingField(
            "tile_overlap",
            "Overlap of tiles",
            "Overlap of neighbouring tiles, as a part of a tile. It should be larger "
            "than the objects.",
            high=0.5,
        ),
        SettingField(
            "skip_empty",
            "Leave out empty tiles",
            "Tiles that show almost no contrast are not searched: faster on sparse "
            "images, but small or dim objects may be overlooked.",
            "bool",
        ),
    ),
}


def plain_defaults() -> dict[str, Any]:
    """Value of every shown setting when neither model nor user says otherwise."""
    values: dict[str, Any] = {}
    for settings in (AutoSettings(), LabelSettings()):
        for name in settings.names():
            if name not in NOT_SHOWN:
                values[name] = getattr(settings, name)
    return values

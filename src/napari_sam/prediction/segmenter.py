# SPDX-License-Identifier: Apache-2.0
"""One call from an image to instance labels."""

import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from threading import Event
from typing import Any, Literal, overload

import numpy as np

from napari_sam.errors import SettingsError
from napari_sam.modeling.sam import Sam
from napari_sam.prediction.automatic_mask_generator import AutomaticMaskGenerator
from napari_sam.prediction.grid_search import Progress, count_points
from napari_sam.prediction.intensity import IntensityRule, is_blank, to_rgb
from napari_sam.prediction.label_painting import is_background, paint_objects
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.prediction.tiling import (
    TILE_FROM,
    TiledRecord,
    is_cut_by_tile,
    join_tiles,
    leaves_tile_only,
    tile_boxes,
)
from napari_sam.structures.arrays import HalfOpenBox, LabelImage, Plane, RgbPlane
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.settings import AutoSettings, LabelSettings
from napari_sam.weights.load import load_model


class BlankImageWarning(UserWarning):
    """An image shows nothing, so that there is nothing to segment."""


@overload
def segment_image(
    image: Plane,
    model: Sam | SamPredictor | None = ...,
    *,
    channel_axis: int | None = ...,
    intensity: IntensityRule | None = ...,
    progress: Progress | None = ...,
    cancel: Event | None = ...,
    return_records: Literal[False] = ...,
    **settings: Any,
) -> LabelImage: ...


@overload
def segment_image(
    image: Plane,
    model: Sam | SamPredictor | None = ...,
    *,
    channel_axis: int | None = ...,
    intensity: IntensityRule | None = ...,
    progress: Progress | None = ...,
    cancel: Event | None = ...,
    return_records: Literal[True],
    **settings: Any,
) -> tuple[LabelImage, list[MaskRecord]]: ...


def segment_image(
    image: Plane,
    model: Sam | SamPredictor | None = None,
    *,
    channel_axis: int | None = None,
    intensity: IntensityRule | None = None,
    progress: Progress | None = None,
    cancel: Event | None = None,
    return_records: bool = False,
    **settings: Any,
) -> LabelImage | tuple[LabelImage, list[MaskRecord]]:
    """Segment every object in one plane.

    Where masks overlap, the one with the higher predicted IoU keeps the pixel; what is
    left of the others is reduced to its largest connected piece or dropped. Background
    is never an object.

    Parameters
    ----------
    image : (H, W), (H, W, 3), (H, W, 4) array, or 3-D with `channel_axis`
        Any real dtype; see `to_rgb`.
    model : Sam, SamPredictor or None
        None takes the model that is part of the package.
    channel_axis : int or None
        Axis of the channels of a microscope image.
    intensity : IntensityRule or None
        How values become brightness.
    progress : callable or None
        Called with ``(points done, points in all)``.
    cancel : threading.Event or None
        When set, what has been found so far is returned after the present batch.
    return_records : bool
        Whether to return what is known of each object as well.
    **settings
        Names and values of `AutoSettings` and `LabelSettings`; what is not given comes
        from the model's own defaults.

    Returns
    -------
    labels : (H, W) uint32 array
        0 is background; 1 is the object with the highest predicted IoU, and so on. Of
        an image cut into tiles, objects that a tile cut off and that no other tile
        continues come last.
    records : list of MaskRecord
        With `return_records`: record ``i`` describes label ``i + 1``.

    Raises
    ------
    ImageError
        If the array is no image.
    SettingsError
        If a setting is unknown or out of range.
    ModelTypeError
        If `model` is something else, such as the name of a model.

    Warns
    -----
    BlankImageWarning
        If the image is constant or has no finite value; the labels are all 0 then.
    """
    predictor = _as_predictor(model)
    label_settings, grid_settings = _split(predictor.model.auto_defaults, settings)
    generator = AutomaticMaskGenerator(predictor, **grid_settings)
    rgb = to_rgb(image, channel_axis, intensity)
    if is_blank(rgb):
        msg = "The image shows one value everywhere or none: it holds no objects."
        warnings.warn(msg, BlankImageWarning, stacklevel=2)
        labels = np.zeros(rgb.shape[:2], dtype=np.uint32)
        return (labels, []) if return_records else labels
    found = _search_tiles(rgb, generator, label_settings, progress, cancel)
    whole = (0, 0, rgb.shape[0], rgb.shape[1])
    joined = [
        item
        for item in join_tiles(found)
        if not item.is_doubtful
        or not is_background(item.record, whole, label_settings.background_fraction)
    ]
    # A mask that a tile cut off and no other tile continues gives way to all others.
    ranks = [item.record.predicted_iou - item.is_cut for item in joined]
    labels, records = paint_objects(
        [item.record for item in joined],
        (rgb.shape[0], rgb.shape[1]),
        label_settings,
        ranks,
    )
    return (labels, records) if return_records else labels


def split_settings(
    settings: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tell the settings of the grid search from those of the labels.

    Parameters
    ----------
    settings : mapping
        Names of `AutoSettings` and `LabelSettings`.

    Returns
    -------
    for_grid, for_labels : dict

    Raises
    ------
    SettingsError
        If a name is in neither.
    """
    label_names, grid_names = LabelSettings.names(), AutoSettings.names()
    unknown = sorted(set(settings) - set(label_names) - set(grid_names))
    if unknown:
        msg = (
            f"Unknown setting {unknown[0]!r}. Choose among: "
            f"{', '.join((*grid_names, *label_names))}."
        )
        raise SettingsError(msg)
    for_grid = {name: settings[name] for name in settings if name in grid_names}
    for_labels = {name: settings[name] for name in settings if name in label_names}
    return for_grid, for_labels


def _split(
    defaults: Mapping[str, Any], settings: Mapping[str, Any]
) -> tuple[LabelSettings, dict[str, Any]]:
    """Return checked label settings, and the user's grid settings."""
    for_grid, for_labels = split_settings(settings)
    own = split_settings(defaults)[1]
    return LabelSettings.from_defaults(own, for_labels), for_grid


def _as_predictor(model: Sam | SamPredictor | None) -> SamPredictor:
    """Return a predictor around a model, the package's own one if there is none."""
    if model is None:
        return _default_predictor()
    return model if isinstance(model, SamPredictor) else SamPredictor(model)


@lru_cache(maxsize=1)
def _default_predictor() -> SamPredictor:
    """Load the package's own model once."""
    return SamPredictor(load_model())


def _tiles(
    shape: tuple[int, int], settings: LabelSettings, frame: int
) -> list[HalfOpenBox]:
    """Return the tiles of an image, or the whole of it as one."""
    side = settings.tile
    if side == "auto":
        side = frame if max(shape) > TILE_FROM * frame else None
    if side is None:
        return [(0, 0, *shape)]
    return tile_boxes(shape, side, int(settings.tile_overlap * side))


def _search_tiles(
    rgb: RgbPlane,
    generator: AutomaticMaskGenerator,
    settings: LabelSettings,
    progress: Progress | None,
    cancel: Event | None,
) -> list[TiledRecord]:
    """Find objects tile by tile; those of one tile do not overlap."""
    shape = (rgb.shape[0], rgb.shape[1])
    tiles = _tiles(shape, settings, generator.predictor.model.image_size)
    n_points = count_points(_size(tiles[0]), generator.settings)  # all are of one size
    found: list[TiledRecord] = []
    for number, tile in enumerate(tiles):
        if cancel is not None and cancel.is_set():
            break
        y0, x0, y1, x1 = tile
        part = rgb[y0:y1, x0:x1]
        if is_blank(part):
            if progress is not None:
                progress((number + 1) * n_points, len(tiles) * n_points)
            continue
        records = generator.generate(
            part,
            progress=_shifted(progress, number, len(tiles)),
            cancel=cancel,
        )
        found += _objects_of_tile(records, tile, shape, settings)
    return found


def _objects_of_tile(
    records: Sequence[MaskRecord],
    tile: HalfOpenBox,
    shape: tuple[int, int],
    settings: LabelSettings,
) -> list[TiledRecord]:
    """Make objects of the masks of one tile, which do not overlap.

    What looks like background of a tile where nothing else is may be the middle of a
    large object: it is handed on as doubtful.
    """
    y0, x0 = tile[:2]
    size = _size(tile)
    fraction = settings.background_fraction
    is_behind = [is_background(record, (0, 0, *size), fraction) for record in records]
    chosen = [r for r, behind in zip(records, is_behind, strict=True) if not behind]
    _, objects = paint_objects(chosen, size, settings)
    is_doubtful = not objects
    if is_doubtful:
        behind = [r for r, behind in zip(records, is_behind, strict=True) if behind]
        _, objects = paint_objects(behind, size, settings)
    moved = [record.moved(y0, x0, shape) for record in objects]
    return [
        TiledRecord(record, tile, is_cut_by_tile(record.bbox, tile, shape), is_doubtful)
        for record in moved
        if not is_doubtful or leaves_tile_only(record.bbox, tile, shape)
    ]


def _size(box: HalfOpenBox) -> tuple[int, int]:
    """Return height and width of a half-open box."""
    return box[2] - box[0], box[3] - box[1]


def _shifted(progress: Progress | None, number: int, n_tiles: int) -> Progress | None:
    """Return what reports the progress on one tile as that on the image."""
    if progress is None:
        return None

    def report(done: int, total: int) -> None:
        progress(number * total + done, n_tiles * total)

    return report

# SPDX-License-Identifier: Apache-2.0
"""One call from an image to instance labels."""

import warnings
from collections.abc import Mapping
from functools import lru_cache
from threading import Event
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from napari_sam.errors import SettingsError
from napari_sam.modeling.sam import Sam
from napari_sam.prediction.automatic_mask_generator import AutomaticMaskGenerator
from napari_sam.prediction.grid_search import Progress
from napari_sam.prediction.intensity import IntensityRule, is_blank, to_rgb
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.prediction.shown_pixels import ShownPixels
from napari_sam.prediction.tile_painting import TilePainting
from napari_sam.prediction.tile_run import join_tiles
from napari_sam.prediction.tile_work import ShownTiles, segment_tile
from napari_sam.prediction.tiling import plan_for
from napari_sam.structures.arrays import LabelImage, Plane
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.settings import AutoSettings, LabelSettings
from napari_sam.weights.load import load_model

if TYPE_CHECKING:
    from napari_sam.structures.tile_result import TileResult


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
        Called with ``(steps done, steps in all)``: points of the grid, per cents of
        other methods.
    cancel : threading.Event or None
        When set, what has been found so far is returned after the present batch.
    return_records : bool
        Whether to return what is known of each object as well.
    **settings
        Names and values of `AutoSettings` and `LabelSettings`; what is not given comes
        from the model's own defaults. ``method="fast"`` takes seconds where the grid
        of points takes a minute.

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
    shown = ShownPixels(rgb)
    painting = _find(shown, generator, label_settings, progress, cancel)
    labels = painting.labels_in((0, 0, *shown.shape))
    if not return_records:
        return labels
    return labels, [painting.record(label) for label in range(1, len(painting) + 1)]


def find_objects(
    shown: ShownTiles,
    model: Sam | SamPredictor | None = None,
    *,
    progress: Progress | None = None,
    cancel: Event | None = None,
    **settings: Any,
) -> TilePainting:
    """Segment every object of an image that need not fit into memory.

    Pixels are read tile by tile; what stays in memory are the objects, in about a
    kilobyte each.

    Parameters
    ----------
    shown : ShownTiles
        The image, for instance a `ShownPixels`.
    model, progress, cancel, **settings
        As for `segment_image`, whose result this is.

    Returns
    -------
    TilePainting
        Labels by box, masks by label.

    Raises
    ------
    SettingsError, ModelTypeError
        As `segment_image`.
    """
    predictor = _as_predictor(model)
    label_settings, grid_settings = _split(predictor.model.auto_defaults, settings)
    generator = AutomaticMaskGenerator(predictor, **grid_settings)
    return _find(shown, generator, label_settings, progress, cancel)


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


def _find(
    shown: ShownTiles,
    generator: AutomaticMaskGenerator,
    settings: LabelSettings,
    progress: Progress | None,
    cancel: Event | None,
) -> TilePainting:
    """Find objects tile by tile, in those tiles that there is time for."""
    plan = plan_for(shown.shape, settings, generator.predictor.model.image_size)
    n_steps = generator.count_steps(plan.tile_size)
    found: dict[int, TileResult] = {}
    at_once = generator.predictor.frames_at_once
    for number in range(len(plan)):
        if cancel is not None and cancel.is_set():
            break
        if at_once > 1 and number % at_once == 0:
            ahead = range(number, min(number + at_once, len(plan)))
            pictures = [shown.read(plan.box(n)) for n in ahead]
            generator.predictor.embed_ahead(p for p in pictures if not is_blank(p))
        report = _Report(progress, number, len(plan))
        found[number] = segment_tile(
            shown,
            plan.box(number),
            generator,
            settings,
            progress=report,
            cancel=cancel,
        )
        if not report.was_called:
            report(n_steps, n_steps)
    return join_tiles(plan, found, settings)


class _Report:
    """The progress on one tile as that on the image."""

    def __init__(self, progress: Progress | None, number: int, n_tiles: int) -> None:
        self._progress = progress
        self._number = number
        self._n_tiles = n_tiles
        self.was_called = False

    def __call__(self, done: int, total: int) -> None:
        self.was_called = True
        if self._progress is not None:
            self._progress(self._number * total + done, self._n_tiles * total)

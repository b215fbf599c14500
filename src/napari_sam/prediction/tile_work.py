# SPDX-License-Identifier: Apache-2.0
"""The objects of one tile of a large image; tiles know nothing of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_sam.prediction.intensity import is_blank
from napari_sam.prediction.label_painting import is_background, paint_objects
from napari_sam.prediction.tiling import is_cut_by_tile, leaves_tile_only
from napari_sam.structures.tile_result import TileResult

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Event

    from napari_sam.prediction.grid_search import Progress
    from napari_sam.structures.arrays import HalfOpenBox, RgbPlane
    from napari_sam.structures.candidates import MaskRecord
    from napari_sam.structures.settings import LabelSettings

EMPTY_PERCENTILES = (0.1, 99.9)
EMPTY_RANGE = 0.1
"""A tile is empty if these percentiles of its brightness differ by less than this part
of the range from black to white."""


class ShownTiles(Protocol):
    """An image as the model sees it, read by box; brightness is that of the whole."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        ...

    def read(self, box: HalfOpenBox) -> RgbPlane:
        """Return the pixels of a box, (h, w, 3) uint8."""
        ...


class MaskGenerator(Protocol):
    """What finds masks in a picture: `AutomaticMaskGenerator`."""

    def generate(
        self,
        image: RgbPlane,
        *,
        progress: Progress | None = None,
        cancel: Event | None = None,
    ) -> list[MaskRecord]:
        """Return masks of a picture; they may overlap."""
        ...


def segment_tile(
    shown: ShownTiles,
    tile: HalfOpenBox,
    generator: MaskGenerator,
    settings: LabelSettings,
    *,
    progress: Progress | None = None,
    cancel: Event | None = None,
) -> TileResult:
    """Find the objects of one tile.

    Parameters
    ----------
    shown : ShownTiles
        The image.
    tile : (y0, x0, y1, x1)
        Half-open box of the tile.
    generator : MaskGenerator
        The model with the settings of its grid.
    settings : LabelSettings
        What is an object.
    progress : callable or None
        Called with ``(points done, points in all)``; not if the tile is left out.
    cancel : threading.Event or None
        When set, what has been found so far is returned after the present batch.

    Returns
    -------
    TileResult
        Without records if the tile is blank, or empty and those are to be left out.
    """
    rgb = shown.read(tile)
    if is_blank(rgb) or (settings.skip_empty and is_empty(rgb)):
        return TileResult(tile)
    records = generator.generate(rgb, progress=progress, cancel=cancel)
    is_partial = cancel is not None and cancel.is_set()
    return objects_of_tile(records, tile, shown.shape, settings, is_partial=is_partial)


def is_empty(rgb: RgbPlane) -> bool:
    """Tell whether a tile shows too little contrast to hold an object.

    The 0.1 and the 99.9 percentile of every colour differ by less than a tenth of the
    range from black to white. What covers less than a thousandth of the tile may be
    overlooked, so this is for settings to ask for.

    Parameters
    ----------
    rgb : (h, w, 3) uint8 array
        A tile, shown with the brightness of the whole image.

    Returns
    -------
    bool
    """
    low, high = np.percentile(rgb.reshape(-1, 3), EMPTY_PERCENTILES, axis=0)
    return bool((high - low < EMPTY_RANGE * 255).all())


def objects_of_tile(
    records: Sequence[MaskRecord],
    tile: HalfOpenBox,
    shape: tuple[int, int],
    settings: LabelSettings,
    *,
    is_partial: bool = False,
) -> TileResult:
    """Make objects of the masks of one tile, which do not overlap.

    What looks like background of a tile where nothing else is may be the middle of a
    large object: it is handed on as doubtful.

    Parameters
    ----------
    records : sequence of MaskRecord
        Masks in the frame of the tile; they may overlap.
    tile : (y0, x0, y1, x1)
        Half-open box of the tile in the image.
    shape : (H, W)
        Size of the image.
    settings : LabelSettings
        What is an object.
    is_partial : bool
        Whether the search was cancelled on the way.

    Returns
    -------
    TileResult
    """
    y0, x0, y1, x1 = tile
    size = (y1 - y0, x1 - x0)
    fraction = settings.background_fraction
    is_behind = [is_background(record, (0, 0, *size), fraction) for record in records]
    chosen = [r for r, behind in zip(records, is_behind, strict=True) if not behind]
    _, objects = paint_objects(chosen, size, settings)
    is_doubtful = not objects
    if is_doubtful:
        behind = [r for r, behind in zip(records, is_behind, strict=True) if behind]
        _, objects = paint_objects(behind, size, settings)
        objects = [
            r for r in objects if leaves_tile_only(_in_image(r, tile), tile, shape)
        ]
    return TileResult(
        tile,
        tuple(objects),
        tuple(is_cut_by_tile(_in_image(r, tile), tile, shape) for r in objects),
        (is_doubtful,) * len(objects),
        is_partial,
    )


def _in_image(record: MaskRecord, tile: HalfOpenBox) -> HalfOpenBox:
    """Return the box of a tile's mask in pixels of the image."""
    y, x = tile[:2]
    y0, x0, y1, x1 = record.bbox
    return y0 + y, x0 + x, y1 + y, x1 + x

# SPDX-License-Identifier: Apache-2.0
"""From the results of tiles to the objects of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam.prediction.label_painting import looks_like_background
from napari_sam.prediction.tile_joining import JoinedTiles
from napari_sam.prediction.tile_painting import TilePainting

if TYPE_CHECKING:
    from napari_sam.prediction.tiling import TilePlan
    from napari_sam.structures.settings import LabelSettings
    from napari_sam.structures.tile_result import TileResults


def join_tiles(
    plan: TilePlan, results: TileResults, settings: LabelSettings
) -> TilePainting:
    """Make the objects of an image out of those of its tiles.

    Parameters
    ----------
    plan : TilePlan
        Where the tiles lie.
    results : TileResults
        What was found in them; tiles without a result count as empty.
    settings : LabelSettings
        What is an object.

    Returns
    -------
    TilePainting
        Labels by box, masks by label. It depends on the results only, not on the order
        in which they were found.
    """
    joined = JoinedTiles(plan, results)
    objects, whole = joined.objects, (0, 0, *plan.shape)
    is_kept = np.ones(len(objects), dtype=np.bool_)
    for number in np.flatnonzero(objects.is_doubtful).tolist():
        is_kept[number] = not looks_like_background(
            joined.box(number),
            int(objects.area[number]),
            whole,
            settings.background_fraction,
        )
    joined.keep(is_kept)
    # A mask that a tile cut off and no other tile continues gives way to all others.
    ranks = joined.objects.scores[:, 0] - joined.objects.is_cut
    return TilePainting(joined, ranks, settings)

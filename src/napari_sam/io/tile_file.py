# SPDX-License-Identifier: Apache-2.0
"""The objects of one tile as a small file: a NumPy archive (``.npz``) without pickles.

Arrays for n masks in a tile of (h, w) pixels; boxes are half-open (y0, x0, y1, x1):

===================  ==================  ===============================================
``tile``             (4,) int64          box of the tile in the image
``bbox``             (n, 4) int32        boxes of the masks in the tile
``scores``           (n, 2) float64      predicted IoU and stability score
``point_yx``         (n, 2) float64      grid point that prompted the mask, in the tile
``crop_box``         (n, 4) int32        crop that the model was shown, in the tile
``is_cut``           (n,) bool           ends at a border of the tile inside the image
``is_doubtful``      (n,) bool           looks like background in its tile
``n_runs``           (n,) int32          runs of each mask
``runs``             (sum n_runs,) int32 lengths of runs, down the columns of the tile,
                                         background and object in turn (COCO's order)
===================  ==================  ===============================================
"""

import io
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import ImageError
from napari_sam.structures.arrays import HalfOpenBox
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.rle import Rle
from napari_sam.structures.tile_result import TileResult

# What NumPy and zipfile raise on damaged archives.
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
)


def encode_tile(result: TileResult) -> bytes:
    """Write the objects of a tile as bytes.

    Parameters
    ----------
    result : TileResult
        Of a search that was not cancelled.

    Returns
    -------
    bytes
        Content of a ``.npz`` file.
    """
    records = result.records
    n = len(records)
    counts = [record.rle.counts for record in records]
    arrays: dict[str, Any] = {
        "tile": np.array(result.box, dtype=np.int64),
        "bbox": np.array([r.bbox for r in records], np.int32).reshape(n, 4),
        "scores": np.array(
            [(r.predicted_iou, r.stability_score) for r in records], np.float64
        ).reshape(n, 2),
        "point_yx": np.array([r.point_yx for r in records], np.float64).reshape(n, 2),
        "crop_box": np.array([r.crop_box for r in records], np.int32).reshape(n, 4),
        "is_cut": np.array(result.is_cut, np.bool_),
        "is_doubtful": np.array(result.is_doubtful, np.bool_),
        "n_runs": np.array([len(runs) for runs in counts], np.int32),
        "runs": np.concatenate([np.zeros(0, np.int64), *counts]).astype(np.int32),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def decode_tile(content: bytes) -> TileResult:
    """Read what `encode_tile` wrote.

    Parameters
    ----------
    content : bytes
        Of a ``.npz`` file. Nothing in it is unpickled.

    Returns
    -------
    TileResult

    Raises
    ------
    ImageError
        If the bytes are damaged or something else.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        return _to_result(found)
    except _DAMAGE as error:
        msg = f"The objects of a tile cannot be read ({error})."
        raise ImageError(msg) from error


def _to_result(found: dict[str, NDArray[Any]]) -> TileResult:
    tile = _as_box(found["tile"])
    size = (tile[2] - tile[0], tile[3] - tile[1])
    ends = np.cumsum(found["n_runs"])[:-1]
    all_runs = np.split(found["runs"].astype(np.int64), ends)
    records = []
    for index in range(len(found["n_runs"])):
        encoded = Rle(size, all_runs[index])
        y, x = found["point_yx"][index].tolist()
        iou, stability = found["scores"][index].tolist()
        records.append(
            MaskRecord(
                rle=encoded,
                bbox=_as_box(found["bbox"][index]),
                area=encoded.area,
                predicted_iou=iou,
                stability_score=stability,
                point_yx=(y, x),
                crop_box=_as_box(found["crop_box"][index]),
            )
        )
    return TileResult(
        tile,
        tuple(records),
        tuple(found["is_cut"].tolist()),
        tuple(found["is_doubtful"].tolist()),
    )


def _as_box(sides: NDArray[Any]) -> HalfOpenBox:
    y0, x0, y1, x1 = sides.tolist()
    return y0, x0, y1, x1

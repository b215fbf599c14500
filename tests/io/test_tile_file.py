# SPDX-License-Identifier: Apache-2.0
import io
import zipfile

import numpy as np
import pytest

from napari_sam.errors import ImageError
from napari_sam.io.tile_file import decode_tile, encode_tile
from napari_sam.structures import rle
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.tile_result import TileResult

TILE = (100_000, 7, 100_040, 57)


def some_result(n_records=3):
    rng = np.random.default_rng(n_records)
    records = []
    for _ in range(n_records):
        encoded = rle.encode(rng.random((40, 50)) > 0.8)
        records.append(
            MaskRecord(
                rle=encoded,
                bbox=encoded.bounding_box(),
                area=encoded.area,
                predicted_iou=float(np.float32(rng.random())),
                stability_score=float(rng.random()),
                point_yx=(3.25, 8.5),
                crop_box=(0, 0, 40, 50),
            )
        )
    cut = tuple(bool(k % 2) for k in range(n_records))
    return TileResult(TILE, tuple(records), cut, (False,) * n_records)


@pytest.mark.parametrize("n_records", [0, 1, 7])
def test_what_is_written_is_read(n_records):
    result = some_result(n_records)
    again = decode_tile(encode_tile(result))
    assert again.box == TILE
    assert again.records == result.records
    assert again.is_cut == result.is_cut
    assert again.is_doubtful == result.is_doubtful
    assert not again.is_partial


def test_the_same_objects_are_the_same_bytes():
    assert encode_tile(some_result()) == encode_tile(some_result())


def test_files_are_plain_numpy_archives():
    result = some_result(2)
    with np.load(io.BytesIO(encode_tile(result)), allow_pickle=False) as arrays:
        assert arrays["tile"].tolist() == list(TILE)
        runs = arrays["runs"][: arrays["n_runs"][0]]
        np.testing.assert_array_equal(runs, result.records[0].rle.counts)


def test_pickles_are_not_opened():
    buffer = io.BytesIO()
    np.savez(buffer, tile=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ImageError, match="cannot be read"):
        decode_tile(buffer.getvalue())


@pytest.mark.parametrize("change", ["cut", "empty", "text", "without a name", "bits"])
def test_damaged_files_are_refused(change):
    content = encode_tile(some_result())
    if change == "cut":
        content = content[: len(content) // 2]
    elif change == "empty":
        content = b""
    elif change == "text":
        content = b"no archive"
    elif change == "without a name":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("other.npy", b"")
        content = buffer.getvalue()
    else:
        middle = len(content) // 3
        content = content[:middle] + bytes(20) + content[middle + 20 :]
    with pytest.raises(ImageError):
        decode_tile(content)

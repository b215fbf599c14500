# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import tifffile
import zarr

from napari_sam._cli import tiled_file
from napari_sam._cli.inputs import Work
from napari_sam._cli.tile_task import ModelReference
from napari_sam._cli.tiled_file import TiledFile, TiledOptions
from napari_sam.errors import OutputError, SettingsError
from napari_sam.io.images import read_image
from napari_sam.io.tile_file import encode_tile
from napari_sam.structures.tile_result import TileResult


@pytest.fixture
def grey():
    return np.random.default_rng(4).integers(0, 255, (300, 500)).astype(np.uint8)


@pytest.fixture
def options(tiny_sam):
    reference = ModelReference("tiny", None, tiny_sam.digest or "")
    return TiledOptions.for_model(tiny_sam, reference, {"points_per_side": 2})


def work_on(path):
    stem = path.stem
    return Work(
        path,
        path.with_name(f"{stem}_labels.tif"),
        path.with_name(f"{stem}_objects.csv"),
    )


def fill(file):
    """Finish all tiles with nothing in them."""
    for task in file.tasks():
        file.put(task.key[1], encode_tile(TileResult(task.tile)))


@pytest.fixture
def work(tmp_path, grey):
    tifffile.imwrite(tmp_path / "a.tif", grey)
    return work_on(tmp_path / "a.tif")


def test_tiles_that_vanish_are_no_empty_tiles(work, options):
    work.labels.write_bytes(b"a good result")
    file = TiledFile(0, work, options)
    fill(file)
    for path in file._store.folder.glob("*/*.npz"):
        path.unlink()
    with pytest.raises(OutputError, match="finished and is gone"):
        file.finish()
    file.close()
    assert work.labels.read_bytes() == b"a good result"
    assert not work.table.exists()


def test_two_processes_do_not_write_one_result(work, options):
    first = TiledFile(0, work, options)
    fill(first)
    with pytest.raises(OutputError, match="another process"):
        TiledFile(0, work, options)
    first.finish()
    assert read_image(work.labels).data.shape == (300, 500)
    assert not work.tiles.exists()


def keep_one(work, options):
    """Finish one tile of a run that is ended then."""
    file = TiledFile(0, work, options)
    tile = next(iter(file.tasks()))
    file.put(tile.key[1], encode_tile(TileResult(tile.tile)))
    file.close()


def n_kept(work, options):
    file = TiledFile(0, work, options)
    file.close()
    return file.n_done


def test_rewritten_pixels_of_a_zarr_array_are_another_image(tmp_path, grey, options):
    array = zarr.create_array(tmp_path / "a.zarr", data=grey, chunks=(100, 100))
    work = work_on(tmp_path / "a.zarr")
    keep_one(work, options)
    assert n_kept(work, options) == 1
    array[:] = 255 - grey
    with pytest.raises(SettingsError, match="sample"):
        TiledFile(0, work, options)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_array_made_anew_in_a_zarr_group_is_another_image(
    tmp_path, grey, options, zarr_format
):
    path = tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    group.create_array("raw/0", data=grey, chunks=(100, 100))
    work = work_on(path)
    keep_one(work, options)
    assert n_kept(work, options) == 1
    # Equal where the sample looks, and nothing of the group itself has changed.
    changed = grey.copy()
    changed[1::2] = 0
    stride = -(-500 // 64)
    changed[:: -(-300 // 64), ::stride] = grey[:: -(-300 // 64), ::stride]
    group.create_array("raw/0", data=changed, chunks=(60, 60), overwrite=True)
    with pytest.raises(SettingsError, match="image was"):
        TiledFile(0, work, options)


def test_tiles_of_another_version_do_not_mix(work, options, monkeypatch):
    keep_one(work, options)
    monkeypatch.setattr(tiled_file, "__version__", "99.0")
    with pytest.raises(SettingsError, match=r"version was .* and is '99.0'"):
        TiledFile(0, work, options)

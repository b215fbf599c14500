# SPDX-License-Identifier: Apache-2.0
"""``napari-sam segment`` in tiles, and runs that are cut off."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
import zarr

from napari_sam._cli import tile_task
from napari_sam.io.images import read_image
from napari_sam.io.labels_zarr import open_labels

GRID = [
    *("--points-per-side", "6"),
    *("--pred-iou-thresh", "0.6"),
    *("--stability-score-thresh", "0.6"),
]
N_TILES = 6


@pytest.fixture
def grey(blobs):
    """(416, 512) uint16: six tiles for the tiny model."""
    piece = blobs.image.mean(axis=2).astype(np.uint16) * 9
    return np.block([[piece, piece[::-1]], [piece[:, ::-1], piece]])


@pytest.fixture
def big(tmp_path, grey):
    array = zarr.create_array(
        tmp_path / "big.zarr", shape=grey.shape, dtype=grey.dtype, chunks=(128, 128)
    )
    array[:] = grey
    return tmp_path / "big.zarr"


@pytest.fixture
def expected(grey, tiny_sam):
    from napari_sam import segment_image

    return segment_image(
        grey,
        tiny_sam,
        points_per_side=6,
        pred_iou_thresh=0.6,
        stability_score_thresh=0.6,
    )


def zarr_labels(out):
    return open_labels(out / "big_labels.zarr").array[:]


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_zarr_image_gives_zarr_labels_and_a_table(
    run, mini, big, tmp_path, grey, expected
):
    out = tmp_path / "out"
    outcome = run("segment", big, "-o", out, *mini, *GRID)
    assert outcome.code == 0, outcome.err
    labels = zarr_labels(out)
    np.testing.assert_array_equal(labels, expected)
    assert labels.max() >= 10
    rows = rows_of(out / "big_objects.csv")
    assert [int(row["label"]) for row in rows] == list(range(1, labels.max() + 1))
    for row in rows:
        mask = labels == int(row["label"])
        assert int(row["area_px"]) == mask.sum()
        assert float(row["mean_intensity"]) == pytest.approx(grey[mask].mean())
    assert f"{labels.max()} objects -> {out / 'big_labels.zarr'}" in outcome.out
    names = sorted(path.name for path in out.iterdir())
    assert names == ["big_labels.zarr", "big_objects.csv"]


def test_a_tiff_of_several_tiles_gives_the_same_as_tiff(
    run, mini, tmp_path, grey, expected
):
    stack = np.stack([grey, grey[::-1]])
    path = tmp_path / "big.tif"
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "ZYX"})
    out = tmp_path / "out"
    outcome = run("segment", path, "-o", out, *mini, *GRID)
    assert outcome.code == 0, outcome.err
    labels = read_image(out / "big_labels.tif").data
    np.testing.assert_array_equal(labels[0], expected)
    n_objects = expected.max()
    assert labels[1][labels[1] > 0].min() == n_objects + 1
    rows = rows_of(out / "big_objects.csv")
    assert len(rows) == labels.max()
    assert {row["z"] for row in rows} == {"0", "1"}


def stop_after(monkeypatch, n_tiles, error=KeyboardInterrupt):
    """End the run when some tiles are finished."""
    from napari_sam._cli.tiled_file import TiledFile

    real = TiledFile.put

    def put(self, number, content):
        if self.n_done == n_tiles:
            raise error
        real(self, number, content)

    monkeypatch.setattr(TiledFile, "put", put)


def count_tiles_worked_on(monkeypatch):
    worked = []
    real = tile_task.ModelHost.segment

    def segment(self, task):
        worked.append(task.key)
        return real(self, task)

    monkeypatch.setattr(tile_task.ModelHost, "segment", segment)
    return worked


def test_after_ctrl_c_the_same_command_goes_on(
    run, mini, big, tmp_path, monkeypatch, expected
):
    out = tmp_path / "out"
    command = ["segment", big, "-o", out, *mini, *GRID]
    with monkeypatch.context() as patch:
        stop_after(patch, 4)
        outcome = run(*command)
    assert outcome.code == 130
    assert f"4 of {N_TILES} tiles of big.zarr are finished" in outcome.err
    assert [path.name for path in out.iterdir()] == ["big_tiles"]
    worked = count_tiles_worked_on(monkeypatch)
    outcome = run(*command)
    assert outcome.code == 0, outcome.err
    assert f"4 of {N_TILES} tiles were finished earlier" in outcome.err
    assert len(worked) == N_TILES - 4
    np.testing.assert_array_equal(zarr_labels(out), expected)
    assert not (out / "big_tiles").exists()


def test_another_setting_does_not_mix_with_finished_tiles(
    run, mini, big, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        assert run("segment", big, "-o", out, *mini, *GRID).code == 130
    more = ["segment", big, "-o", out, *mini, *GRID, "--min-area", "60"]
    outcome = run(*more)
    assert outcome.code == 2
    assert "min_area was 25 and is 60" in outcome.err
    worked = count_tiles_worked_on(monkeypatch)
    outcome = run(*more, "--existing", "overwrite")
    assert outcome.code == 0, outcome.err
    assert len(worked) == N_TILES


def test_results_that_could_not_be_written_cost_no_tiles(
    run, mini, big, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    (out / "big_objects.csv.d").mkdir(parents=True)
    from napari_sam._cli import tiled_result
    from napari_sam.errors import OutputError

    def full(*_args, **_options):
        msg = "Cannot write: no space."
        raise OutputError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(tiled_result, "write_table", full)
        outcome = run("segment", big, "-o", out, *mini, *GRID)
    assert outcome.code == 2
    assert "no space" in outcome.err
    worked = count_tiles_worked_on(monkeypatch)
    words = [*mini, *GRID, "--existing", "overwrite"]
    assert run("segment", big, "-o", out, *words).code == 0
    assert worked == []


@pytest.mark.slow
def test_a_killed_run_goes_on(run, mini, big, tmp_path, expected):
    out = tmp_path / "out"
    command = ["segment", str(big), "-o", str(out), *mini, *GRID]
    code = f"from napari_sam._cli.main import main; main({command!r})"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        tiles = out / "big_tiles"
        end = time.monotonic() + 100
        while time.monotonic() < end and len(list(tiles.glob("*/*.npz"))) < 2:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert 2 <= len(list(tiles.glob("*/*.npz"))) <= N_TILES
    outcome = run(*command)
    assert outcome.code == 0, outcome.err
    assert "were finished earlier" in outcome.err
    np.testing.assert_array_equal(zarr_labels(out), expected)


@pytest.mark.parametrize("zarr_result", [True, False])
def test_a_run_killed_between_its_results_goes_on(
    run, mini, big, tmp_path, grey, monkeypatch, expected, zarr_result
):
    from napari_sam._cli import tiled_result

    out = tmp_path / "out"
    image = big
    if not zarr_result:
        image = tmp_path / "big.tif"
        tifffile.imwrite(image, grey)
    command = ["segment", image, "-o", out, *mini, *GRID]

    def killed(*_args, **_options):
        raise KeyboardInterrupt

    target = tiled_result._ZarrTarget if zarr_result else tiled_result._TiffTarget
    with monkeypatch.context() as patch:
        patch.setattr(target, "finish", killed)
        assert run(*command).code == 130
    assert [p.name for p in out.iterdir() if p.is_file()] == ["big_objects.csv"]
    worked = count_tiles_worked_on(monkeypatch)
    outcome = run(*command)
    assert outcome.code == 0, outcome.err
    assert worked == []
    labels = (
        zarr_labels(out) if zarr_result else read_image(out / "big_labels.tif").data
    )
    np.testing.assert_array_equal(labels, expected)
    assert len(rows_of(out / "big_objects.csv")) == labels.max()
    assert not (out / "big_tiles").exists()


def test_labels_without_a_table_are_made_again_if_asked_for(
    run, mini, big, tmp_path, expected
):
    out = tmp_path / "out"
    command = ["segment", big, "-o", out, *mini, *GRID]
    assert run(*command).code == 0
    (out / "big_objects.csv").unlink()
    assert "is there already" in run(*command).err
    outcome = run(*command, "--existing", "skip")
    assert outcome.code == 0, outcome.err
    np.testing.assert_array_equal(zarr_labels(out), expected)
    assert len(rows_of(out / "big_objects.csv")) == expected.max()


def test_one_process_at_a_time(run, mini, big, tmp_path, monkeypatch, expected):
    """While a run is at work, the same command is refused and changes nothing."""
    from napari_sam._cli.tiled_file import TiledFile

    out = tmp_path / "out"
    command = ["segment", big, "-o", out, *mini, *GRID]
    real, outcomes = TiledFile.put, []

    def put(self, number, content):
        real(self, number, content)
        if not outcomes:
            outcomes.append(run(*command))

    with monkeypatch.context() as patch:
        patch.setattr(TiledFile, "put", put)
        assert run(*command).code == 0
    assert outcomes[0].code == 2
    assert "another process works on the same result" in outcomes[0].err
    np.testing.assert_array_equal(zarr_labels(out), expected)


def test_a_tile_that_cannot_be_read_fails_its_file_only(
    run, mini, big, tmp_path, grey, monkeypatch
):
    broken = tmp_path / "a_broken.zarr"
    array = zarr.create_array(
        broken, shape=grey.shape, dtype=grey.dtype, chunks=(128, 128)
    )
    array[:] = grey
    real = tile_task.ModelHost.segment

    def segment(self, task):
        for chunk in (broken / "c" / "2").glob("*"):
            chunk.write_bytes(b"no pixels")
        return real(self, task)

    monkeypatch.setattr(tile_task.ModelHost, "segment", segment)
    out = tmp_path / "out"
    outcome = run("segment", broken, big, "-o", out, *mini, *GRID, "--limits=0,2000")
    assert outcome.code == 2
    assert "1 of 2 inputs failed" in outcome.err
    assert "a_broken.zarr" in outcome.err
    assert zarr_labels(out).max() >= 10


def test_empty_tiles_are_left_out_if_asked_for(run, mini, tmp_path, grey, monkeypatch):
    noise = np.random.default_rng(1).integers(0, 40, grey.shape).astype(np.uint16)
    noise[:200, :200] = grey[:200, :200]
    tifffile.imwrite(tmp_path / "a.tif", noise)
    searched = []
    real = tile_task.ModelHost.generate

    def generate(self, grid, rgb, **options):
        searched.append(rgb.shape)
        return real(self, grid, rgb, **options)

    monkeypatch.setattr(tile_task.ModelHost, "generate", generate)
    command = ["segment", tmp_path / "a.tif", "-o", tmp_path / "out", *mini, *GRID]
    assert run(*command).code == 0
    assert len(searched) == N_TILES
    searched.clear()
    assert run(*command, "--existing=overwrite", "--skip-empty").code == 0
    assert len(searched) == 4  # those that show a part of the corner


def test_an_image_that_shows_nothing_is_no_error(run, mini, tmp_path):
    array = zarr.create_array(
        tmp_path / "big.zarr", shape=(300, 500), dtype="u2", chunks=(100, 100)
    )
    array[:] = 7
    out = tmp_path / "out"
    outcome = run("segment", tmp_path / "big.zarr", "-o", out, *mini, *GRID)
    assert outcome.code == 0, outcome.err
    assert "no objects were found" in outcome.err
    assert not zarr_labels(out).any()
    assert rows_of(out / "big_objects.csv") == []

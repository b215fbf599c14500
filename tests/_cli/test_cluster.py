# SPDX-License-Identifier: Apache-2.0
"""``napari-sam segment --scheduler`` with workers in processes of their own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_sam._cli.tiled_file import TiledFile
from napari_sam.io.images import read_image
from napari_sam.io.labels_zarr import open_labels

distributed = pytest.importorskip("distributed")
offload = pytest.importorskip("distributed.utils").offload

GRID = [
    *("--points-per-side", "5"),
    *("--pred-iou-thresh", "0.6"),
    *("--stability-score-thresh", "0.6"),
]
SETTINGS = {
    "points_per_side": 5,
    "pred_iou_thresh": 0.6,
    "stability_score_thresh": 0.6,
}


CLUSTER = """
import sys
from distributed import LocalCluster

if __name__ == "__main__":
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        memory_limit=0,
    ) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Two workers of one thread each, under a scheduler in a process of its own."""
    # The library starts this thread once and keeps it.
    asyncio.run(offload(int))
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "cluster.py").write_text(CLUSTER)
    with subprocess.Popen(
        [sys.executable, "cluster.py"],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process.stdout.readline().strip()
        process.stdin.close()


@pytest.fixture
def grey(blobs):
    piece = blobs.image.mean(axis=2).astype(np.uint8)
    return np.block([[piece, piece[::-1]], [piece[:, ::-1], piece]])


@pytest.fixture
def big(tmp_path, grey):
    array = zarr.create_array(
        tmp_path / "big.zarr", shape=grey.shape, dtype=grey.dtype, chunks=(128, 128)
    )
    array[:] = grey
    return tmp_path / "big.zarr"


def whole(image, tiny_sam):
    from napari_sam import segment_image

    return segment_image(image, tiny_sam, **SETTINGS)


def test_a_cluster_gives_the_same_labels(
    run, mini, big, tmp_path, address, grey, blobs, tiny_sam
):
    """A large image, a small one and weights that the workers have to be sent."""
    Image.fromarray(blobs.image).save(tmp_path / "small.png")
    (tmp_path / "no.png").write_text("no pixels")
    weights = tmp_path / "mine.safetensors"
    shutil.copy(mini[1], weights)
    out = tmp_path / "out"
    inputs = [big, tmp_path / "small.png", tmp_path / "no.png"]
    words = ["--checkpoint", weights, "--device", "cpu", *GRID]
    outcome = run("segment", *inputs, "-o", out, *words, "--scheduler", address)
    assert outcome.code == 2
    assert "1 of 3 inputs failed" in outcome.err
    assert "no.png" in outcome.err
    labels = open_labels(out / "big_labels.zarr").array[:]
    np.testing.assert_array_equal(labels, whole(grey, tiny_sam))
    small = read_image(out / "small_labels.tif").data
    np.testing.assert_array_equal(small, whole(blobs.image, tiny_sam))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_a_worker_may_die(
    run, mini, big, tmp_path, address, grey, tiny_sam, monkeypatch
):
    killed = []
    real = TiledFile.put

    def put(self, number, content):
        real(self, number, content)
        if not killed:
            with distributed.Client(address, set_as_default=False) as client:
                killed.extend(client.run(os.getpid).values())
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(TiledFile, "put", put)
    out = tmp_path / "out"
    words = ["segment", big, "-o", out, *mini, *GRID, "--scheduler", address]
    outcome = run(*words)
    assert outcome.code == 0, outcome.err
    assert killed
    labels = open_labels(out / "big_labels.zarr").array[:]
    np.testing.assert_array_equal(labels, whole(grey, tiny_sam))


@pytest.mark.slow
def test_a_run_on_a_cluster_goes_on_without_it(
    run, mini, big, tmp_path, address, grey, tiny_sam, monkeypatch
):
    real = TiledFile.put

    def put(self, number, content):
        if self.n_done == 3:
            raise KeyboardInterrupt
        real(self, number, content)

    out = tmp_path / "out"
    words = ["segment", big, "-o", out, *mini, *GRID]
    with monkeypatch.context() as patch:
        patch.setattr(TiledFile, "put", put)
        outcome = run(*words, "--scheduler", address)
    assert outcome.code == 130
    assert "3 of 6 tiles of big.zarr are finished" in outcome.err
    outcome = run(*words)
    assert outcome.code == 0, outcome.err
    labels = open_labels(out / "big_labels.zarr").array[:]
    np.testing.assert_array_equal(labels, whole(grey, tiny_sam))


def test_the_help_says_whose_device_is_taken(run):
    text = " ".join(run("segment", "--help").out.replace("│", " ").split())
    assert "each worker takes the best device of its machine" in text


def test_nobody_answers(run, mini, tmp_path, grey, monkeypatch):
    from napari_sam._cli import tile_graph

    monkeypatch.setattr(tile_graph, "_CONNECT_S", 1)
    tifffile.imwrite(tmp_path / "a.tif", grey)
    words = ["segment", tmp_path / "a.tif", "-o", tmp_path / "out", *mini]
    outcome = run(*words, "--scheduler", "tcp://127.0.0.1:9")
    assert outcome.code == 2
    assert "No dask scheduler answers at tcp://127.0.0.1:9" in outcome.err


def test_the_missing_package_is_named(run, mini, tmp_path, grey, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    tifffile.imwrite(tmp_path / "a.tif", grey)
    words = ["segment", tmp_path / "a.tif", "-o", tmp_path / "out", *mini]
    outcome = run(*words, "--scheduler", "tcp://127.0.0.1:9")
    assert outcome.code == 2
    assert "pip install 'napari-sam-live[cluster]'" in outcome.err

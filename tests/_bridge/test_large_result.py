# SPDX-License-Identifier: Apache-2.0
"""The automatic mode on images too large for one texture."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_sam._bridge.everything_run import EverythingRun
from napari_sam._bridge.model_segmenter import ModelSpec
from napari_sam.annotation.scope import Scope

SETTINGS = {
    "points_per_side": 6,
    "pred_iou_thresh": 0.6,
    "stability_score_thresh": 0.6,
}
SPEC = ModelSpec("tiny")


class CountingArray:
    """An array like those of zarr; remembers the largest part that was read."""

    def __init__(self, array):
        self._array = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self.largest = 0

    def __getitem__(self, key):
        part = self._array[key]
        self.largest = max(self.largest, part.size)
        return part

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[...], dtype)


@pytest.fixture
def grey(blobs):
    """(415, 512) uint16: six tiles for the tiny model."""
    piece = blobs.image.mean(axis=2).astype(np.uint16) * 9
    return np.block([[piece, piece[::-1]], [piece[:, ::-1], piece]])[:415]


@pytest.fixture
def small_is_large(monkeypatch):
    monkeypatch.setattr("napari_sam._bridge.label_pyramid.LARGE_SIDE_PX", 300)
    monkeypatch.setattr("napari_sam._bridge.label_pyramid.COARSEST_SIDE_PX", 150)


@pytest.fixture
def everything(viewer, session):
    run = EverythingRun(viewer, session)
    yield run
    run.close()


def run(everything, image, scope=Scope.PLANE):
    texts, steps = [], []
    everything.finished.connect(texts.append)
    everything.progressed.connect(lambda *step: steps.append(step))
    everything.start(image, SPEC, SETTINGS, scope)
    return texts[0], steps


@pytest.mark.usefixtures("small_is_large")
def test_labels_are_those_of_the_whole_image(viewer, everything, grey, tiny_sam):
    from napari_sam import segment_image

    image = viewer.add_image(grey, name="cells")
    assert everything.is_large(image)
    text, steps = run(everything, image)
    layer = viewer.layers["cells objects"]
    expected = segment_image(grey, tiny_sam, **SETTINGS)
    assert layer.multiscale
    np.testing.assert_array_equal(layer.data[0], expected)
    assert text == f"{expected.max()} objects in the layer 'cells objects'."
    assert steps[-1] == (6 * 36, 6 * 36)
    table = layer.features
    assert table["index"].tolist() == list(range(1, expected.max() + 1))
    areas = np.bincount(expected.ravel())[1:]
    assert table["area"].tolist() == areas.tolist()
    y0, x0, y1, x1 = (table[f"box_{side}"][0] for side in ("y0", "x0", "y1", "x1"))
    assert (expected[y0:y1, x0:x1] == 1).sum() == areas[0]


@pytest.mark.usefixtures("small_is_large")
def test_coarser_levels_show_the_labels_in_their_middle(viewer, everything, grey):
    run(everything, viewer.add_image(grey, name="cells"))
    fine, *coarser = viewer.layers["cells objects"].data
    for level in coarser:
        rows, columns = (
            [min(int((i + 0.5) * n / m), n - 1) for i in range(m)]
            for n, m in zip(fine.shape, level.shape, strict=True)
        )
        np.testing.assert_array_equal(level, fine[np.ix_(rows, columns)])
        fine = level
    assert max(fine.shape) <= 150
    assert fine.any()


@pytest.mark.usefixtures("small_is_large")
def test_planes_are_numbered_on(viewer, everything, grey):
    image = viewer.add_image(np.stack([grey, grey[::-1]]), name="stack")
    run(everything, image, Scope.ALL)
    layer = viewer.layers["stack objects"]
    first, second = layer.data[0]
    assert first.max() < second[second > 0].min()
    table = layer.features
    assert len(table) == second.max()
    assert set(table["axis_0"]) == {0, 1}


@pytest.mark.usefixtures("small_is_large")
def test_lazy_images_are_read_in_small_parts(viewer, everything, grey, monkeypatch):
    # So that brightness is looked up on a sample, as of images that are really large.
    monkeypatch.setattr("napari_sam.prediction.brightness_sample.MAX_WHOLE_PX", 1 << 16)
    lazy = CountingArray(grey)
    image = viewer.add_image(lazy, name="lazy", contrast_limits=(0, 2000))
    lazy.largest = 0
    run(everything, image)
    assert viewer.layers["lazy objects"].data[0].any()
    assert lazy.largest <= 256 * 256


@pytest.mark.usefixtures("small_is_large")
def test_cancelling_keeps_finished_tiles(viewer, everything, grey, segmenter):
    def find(pixels, settings, *, progress, cancel):
        stop = threading.Event()

        def watch(done, total):
            if done >= total / 2:
                stop.set()

        return real(pixels, settings, progress=watch, cancel=stop)

    image = viewer.add_image(grey, name="cells")
    real = segmenter.find_everything
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segmenter, "find_everything", find)
        run(everything, image)
    labels = viewer.layers["cells objects"].data[0]
    assert labels[:150].any()
    assert not labels[260:].any()


def test_images_that_fit_have_one_level(viewer, everything, grey):
    image = viewer.add_image(grey, name="cells")
    assert not everything.is_large(image)
    run(everything, image)
    assert not viewer.layers["cells objects"].multiscale

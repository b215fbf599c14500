# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.prediction.brightness_sample import brightness_sample
from napari_sam.structures.plane_pixels import ArrayPixels


class Ramp:
    """An array that is as large as one likes, and remembers what was read."""

    dtype = np.dtype(np.uint32)

    def __init__(self, *shape):
        self.shape = shape
        self.read = []

    def __getitem__(self, key):
        rows, columns = key
        self.read.append((rows.start, columns.start, rows.stop, columns.stop))
        y = np.arange(rows.start, rows.stop, dtype=np.uint32)
        x = np.arange(columns.start, columns.stop, dtype=np.uint32)
        return y[:, None] + x


def test_small_planes_are_read_in_full():
    fine, coarse = Ramp(900, 1000), Ramp(450, 500)
    assert brightness_sample(ArrayPixels((fine, coarse))).shape == (900, 1000)
    assert fine.read == [(0, 0, 900, 1000)]


def test_of_a_pyramid_the_coarsest_level_of_a_million_pixels_is_read():
    levels = [Ramp(40_000 >> n, 30_000 >> n) for n in range(8)]
    sample = brightness_sample(ArrayPixels(levels))
    assert sample.shape == (1250, 937)
    assert [len(level.read) for level in levels] == [0, 0, 0, 0, 0, 1, 0, 0]


@pytest.mark.parametrize(
    "shapes",
    [
        [(100_000, 80_000)],
        # A jump over all levels of a fitting size; the finer one is not touched.
        [(400_000, 320_000), (100_000, 80_000), (500, 400)],
    ],
)
def test_without_a_fitting_level_blocks_are_spread_evenly(shapes):
    levels = [Ramp(*shape) for shape in shapes]
    sample = brightness_sample(ArrayPixels(levels))
    large = levels[shapes.index((100_000, 80_000))]
    assert sample.shape == (64 * 256, 256)
    assert sum(len(level.read) for level in levels) == len(large.read) == 64
    assert all(box[2] - box[0] == box[3] - box[1] == 256 for box in large.read)
    middles = np.array(large.read)[:, :2] + 128
    np.testing.assert_allclose(middles.mean(axis=0), (50_000, 40_000), rtol=0.01)
    np.testing.assert_allclose(np.percentile(sample, [5, 95]), [28e3, 152e3], rtol=0.15)
    again = brightness_sample(ArrayPixels([Ramp(*shape) for shape in shapes]))
    np.testing.assert_array_equal(again, sample)


@pytest.mark.parametrize("shape", [(100, 2_000_000), (300, 1_000_000), (70_000_000, 1)])
def test_strips_give_as_many_blocks_as_fit(shape):
    strip = Ramp(*shape)
    sample = brightness_sample(ArrayPixels((strip,)))
    assert sample.size <= 64 * 256 * 256
    assert all(y1 <= shape[0] and x1 <= shape[1] for _, _, y1, x1 in strip.read)
    assert len(set(strip.read)) == len(strip.read) == 8

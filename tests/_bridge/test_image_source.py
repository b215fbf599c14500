# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image

from napari_sam._bridge.image_source import LayerImageSource
from napari_sam.annotation.ports import PlaneKey

STACK = np.random.default_rng(0).integers(0, 255, (3, 4, 20, 30), dtype=np.uint8)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (PlaneKey((2, 3), (1, 2)), STACK[1, 2]),
        (PlaneKey((0, 3), (2, 5)), STACK[:, 2, 5]),
        (PlaneKey((0, 1), (5, 6)), STACK[:, :, 5, 6]),
    ],
)
def test_planes_of_a_stack(key, expected):
    source = LayerImageSource(Image(STACK))
    np.testing.assert_array_equal(source.read_plane(key), expected)
    assert source.plane_shape(key) == expected.shape


def test_rgb_keeps_its_colours():
    pixels = np.random.default_rng(1).integers(0, 255, (3, 20, 30, 3), dtype=np.uint8)
    source = LayerImageSource(Image(pixels, rgb=True))
    assert source.shape == (3, 20, 30)
    plane = source.read_plane(PlaneKey((1, 2), (2,)))
    np.testing.assert_array_equal(plane, pixels[2])


def test_lazy_array_is_sliced_before_it_is_computed():
    computed = []

    def load(block_info=None):
        computed.append(block_info[None]["chunk-location"][0])
        return np.full((1, 20, 30), len(computed), np.uint8)

    lazy = da.map_blocks(load, chunks=((1,) * 5, (20,), (30,)), dtype=np.uint8)
    source = LayerImageSource(Image(lazy, contrast_limits=(0, 255)))
    computed.clear()
    assert source.read_plane(PlaneKey((1, 2), (3,))).shape == (20, 30)
    assert computed == [3]


def test_reading_does_not_touch_the_layer_again():
    layer = Image(np.zeros((20, 30)))
    source = LayerImageSource(layer)
    layer.data = np.ones((20, 30))
    assert source.read_plane(PlaneKey()).max() == 0

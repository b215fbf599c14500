# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_sam._bridge.coordinates import PlaneMap, edges_to_box
from napari_sam._bridge.image_source import LayerImageSource
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import ImageError

TRANSFORMS = {
    "plain": {},
    "scale": {"scale": (0.5, 2.0)},
    "translate": {"translate": (100, -30)},
    "rotate": {"rotate": 30},
    "shear": {"shear": [0.4]},
    "affine": {"affine": [[0.9, 0.3, 5], [-0.2, 1.1, 7], [0, 0, 1]]},
    "all": {
        "scale": (0.5, 2.0),
        "translate": (100, -30),
        "rotate": 30,
        "shear": [0.4],
        "affine": [[0.9, 0.3, 5], [-0.2, 1.1, 7], [0, 0, 1]],
    },
}


def map_of(layer: Image) -> PlaneMap:
    source = LayerImageSource(layer)
    return PlaneMap(layer, source.shape, source.factors)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("n_leading", [0, 1, 2])
def test_new_layers_lie_on_the_pixels_of_the_image(name, n_leading):
    arguments = dict(TRANSFORMS[name])
    ndim = 2 + n_leading
    for key, filler in [("scale", 3.0), ("translate", 4.0)]:
        if key in arguments:
            arguments[key] = (filler,) * n_leading + arguments[key]
    if n_leading:  # in-plane transforms inside the larger matrix
        if "rotate" in arguments:
            matrix = np.eye(ndim)
            c, s = np.cos(0.5), np.sin(0.5)
            matrix[-2:, -2:] = [[c, -s], [s, c]]
            arguments["rotate"] = matrix
        if "shear" in arguments:
            shear = np.eye(ndim)
            shear[-2, -1] = 0.4
            arguments["shear"] = shear
        if "affine" in arguments:
            affine = np.eye(ndim + 1)
            affine[-3:, -3:] = arguments["affine"]
            arguments["affine"] = affine
    shape = (3,) * n_leading + (20, 30)
    image = Image(np.zeros(shape), **arguments)
    plane_map = map_of(image)
    start = np.arange(1, ndim + 1)
    whole = Labels(np.zeros(shape, np.uint8), **plane_map.transforms())
    crop = Labels(np.zeros((1,) * ndim, np.uint8), **plane_map.transforms(start))
    for pixel in np.random.default_rng(0).uniform(0, 20, (5, ndim)):
        world = image.data_to_world(pixel)
        np.testing.assert_allclose(whole.world_to_data(world), pixel, atol=1e-6)
        np.testing.assert_allclose(crop.world_to_data(world), pixel - start, atol=1e-6)
        np.testing.assert_allclose(plane_map.world_to_pixel(world), pixel, atol=1e-6)
        np.testing.assert_allclose(plane_map.pixel_to_world(pixel), world, atol=1e-6)


def test_multiscale_images_are_met_at_full_resolution():
    full = np.zeros((500, 800), np.uint8)
    image = Image([full, full[::2, ::2], full[::4, ::4]], scale=(0.1, 0.1))
    source = LayerImageSource(image)
    assert source.shape == (500, 800)
    plane_map = map_of(image)
    labels = Labels(np.zeros(source.shape, np.uint8), **plane_map.transforms())
    world = image.data_to_world((20.5, 41.5))
    np.testing.assert_allclose(labels.world_to_data(world), (20.5, 41.5))
    np.testing.assert_allclose(plane_map.world_to_pixel(world), (20.5, 41.5))


@pytest.mark.parametrize(
    ("order", "axes", "index"),
    [
        ((0, 1, 2), (1, 2), (2,)),
        ((0, 2, 1), (1, 2), (2,)),  # transposed: the same plane
        ((1, 0, 2), (0, 2), (5,)),
        ((2, 1, 0), (0, 1), (7,)),
    ],
)
def test_plane_follows_sliders_and_order(order, axes, index):
    viewer = ViewerModel()
    image = viewer.add_image(
        np.zeros((4, 20, 30)), scale=(2, 1, 0.5), translate=(10, 0, 0)
    )
    viewer.dims.order = order
    viewer.dims.point = image.data_to_world((2, 5, 7))
    assert map_of(image).plane_key(viewer.dims) == PlaneKey(axes, index)


def test_plane_of_a_flat_image_among_stacks():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((3, 4, 20, 30)))
    flat = viewer.add_image(np.zeros((20, 30)))
    rgb = viewer.add_image(np.zeros((4, 20, 30, 3), np.uint8), rgb=True)
    viewer.dims.current_step = (1, 2, 0, 0)
    assert map_of(flat).plane_key(viewer.dims) == PlaneKey((0, 1), ())
    assert map_of(rgb).plane_key(viewer.dims) == PlaneKey((1, 2), (2,))


def test_views_that_show_no_plane_are_refused():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((4, 20, 30)))
    flat = viewer.add_image(np.zeros((20, 30)))
    viewer.dims.order = (1, 0, 2)
    with pytest.raises(ImageError, match="does not have"):
        map_of(flat).plane_key(viewer.dims)
    viewer.dims.ndisplay = 3
    with pytest.raises(ImageError, match="2-D display"):
        map_of(flat).plane_key(viewer.dims)


def test_drawn_edges_become_a_half_open_box():
    corners = np.array([[9.5, 4.5], [9.5, 20.5], [30.5, 20.5], [30.5, 4.5]])
    assert edges_to_box(corners) == (10, 5, 31, 21)


def test_plane_key_places_indices_between_fixed_axes():
    assert PlaneKey((1, 3), (8, 9)).locate("r", "c") == (8, "r", 9, "c")
    assert PlaneKey().locate(1, 2) == (1, 2)

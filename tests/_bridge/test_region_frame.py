# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.prompt_layers import is_own_helper
from napari_sam._bridge.region_frame import COMING_COLOR, READY_COLOR, RegionFrame
from napari_sam.annotation.ports import PlaneKey
from napari_sam.structures.plane_view import Region

FLAT = PlaneKey()
REGION = Region((100, 40, 356, 296), 4)


@pytest.fixture
def frame(viewer):
    image = viewer.add_image(
        np.zeros((600, 500), np.uint8), scale=(2, 3), translate=(5, -7), rotate=20
    )
    return RegionFrame(PlaneMap(image, (600, 500), (1.0, 1.0)))


def framed(viewer, frame):
    """Box around the frame in pixel edges of the image."""
    image, layer = viewer.layers[0], frame.layer
    size = np.asarray(layer.data.shape)
    corners = (np.full(len(size), -0.5), size - 0.5)
    low, high = (image.world_to_data(layer.data_to_world(c)) + 0.5 for c in corners)
    return (*low, *high)


def test_the_frame_lies_around_the_region(viewer, frame):
    frame.show(viewer, FLAT, REGION)
    np.testing.assert_allclose(framed(viewer, frame), REGION.box)
    assert frame.layer.visible
    assert frame.layer.bounding_box.visible
    assert not frame.layer.data.any()


def test_it_follows_regions_and_the_image(viewer, frame):
    frame.show(viewer, FLAT, REGION)
    other = Region((0, 0, 64, 500), 1)
    frame.show(viewer, FLAT, other)
    np.testing.assert_allclose(framed(viewer, frame), other.box, atol=1e-9)
    viewer.layers[0].translate = (50, 60)
    frame.follow_image()
    np.testing.assert_allclose(framed(viewer, frame), other.box, atol=1e-9)


def test_its_colour_tells_that_another_region_is_coming(viewer, frame):
    frame.show(viewer, FLAT, REGION)
    np.testing.assert_allclose(frame.layer.bounding_box.line_color, READY_COLOR)
    frame.show(viewer, FLAT, REGION, is_another_coming=True)
    np.testing.assert_allclose(frame.layer.bounding_box.line_color, COMING_COLOR)


def test_no_region_hides_it_and_makes_no_layer(viewer, frame):
    frame.show(viewer, FLAT, None)
    assert frame.layer is None
    frame.show(viewer, FLAT, REGION)
    frame.show(viewer, FLAT, None)
    assert not frame.layer.visible


def test_it_is_a_helper_that_takes_no_selection(viewer, frame):
    image = viewer.layers[0]
    viewer.layers.selection.active = image
    frame.show(viewer, FLAT, REGION)
    assert viewer.layers.selection.active is image
    assert is_own_helper(frame.layer)
    frame.remove_from(viewer)
    assert list(viewer.layers) == [image]
    frame.show(viewer, FLAT, REGION)  # as after the user removed it
    assert frame.layer in viewer.layers


@pytest.mark.parametrize("axes", [(1, 2), (0, 2)])
def test_planes_of_a_stack(viewer, axes):
    image = viewer.add_image(np.zeros((90, 400, 300), np.uint8))
    frame = RegionFrame(PlaneMap(image, image.data.shape, (1.0,) * 3))
    key = PlaneKey(axes, (7,))
    frame.show(viewer, key, Region((10, 20, 74, 148), 1))
    low = image.world_to_data(frame.layer.data_to_world((-0.5, -0.5, -0.5))) + 0.5
    high = image.world_to_data(frame.layer.data_to_world((0.5, 0.5, 0.5))) + 0.5
    np.testing.assert_allclose(low[list(axes)], (10, 20))
    np.testing.assert_allclose(high[list(axes)], (74, 148))
    fixed = 3 - sum(axes)
    assert (low[fixed], high[fixed]) == (7, 8)

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time

import numpy as np
import pytest

from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.preview_layer import (
    FILL,
    HOVERED,
    OUTLINE,
    PreviewLayer,
    outlined,
)
from napari_sam.annotation.ports import PlaneKey
from napari_sam.structures.mask_sketch import MaskSketch
from napari_sam.structures.mask_window import MaskWindow

FLAT = PlaneKey()


def disk(y, x, radius):
    side = np.arange(-radius, radius + 1)
    return MaskWindow(y - radius, x - radius, side[:, None] ** 2 + side**2 <= radius**2)


def make(viewer, shape, style=None, **place):
    image = viewer.add_image(np.zeros(shape, np.uint8), **place)
    plane_map = PlaneMap(image, shape, (1.0,) * len(shape))
    return PreviewLayer(plane_map) if style is None else PreviewLayer(plane_map, style)


def seen(viewer, preview):
    """Mask on the plane of the image that the layer's pixels stand for, by world."""
    layer, image = preview.layer, viewer.layers[0]
    assert layer.visible
    mask = np.zeros(image.data.shape, bool)
    for index in np.argwhere(layer.data):
        place = image.world_to_data(layer.data_to_world(index))
        np.testing.assert_allclose(place, np.round(place), atol=1e-6)
        mask[tuple(np.round(place).astype(int))] = True
    return mask


def drawn_on_screen(layer):
    """Replay what the layer announces into what a canvas would hold."""
    screen = {"pixels": None}

    def whole(event=None):
        screen["pixels"] = np.array(layer._slice.image.view)

    def part(event):
        y, x = event.offset
        h, w = event.data.shape
        screen["pixels"][y : y + h, x : x + w] = event.data

    layer.events.set_data.connect(whole)
    layer.events.labels_update.connect(part)
    return screen


def test_masks_follow_each_other_and_leave_nothing_behind(viewer):
    preview = make(viewer, (60, 80), scale=(2, 0.5), translate=(3, 4))
    preview.add_to(viewer)
    screen = drawn_on_screen(preview.layer)
    for mask in (disk(20, 30, 8), disk(40, 60, 12), disk(41, 61, 3), disk(50, 10, 9)):
        preview.show(viewer, FLAT, mask)
        np.testing.assert_array_equal(seen(viewer, preview), mask.on_plane((60, 80)))
        np.testing.assert_array_equal(screen["pixels"], preview.layer.data)


def test_transposed_view_gets_transposed_pixels(viewer):
    preview = make(viewer, (60, 80))
    preview.add_to(viewer)
    screen = drawn_on_screen(preview.layer)
    viewer.dims.order = (1, 0)
    for mask in (disk(20, 30, 8), disk(40, 60, 12)):
        preview.show(viewer, FLAT, mask)
    np.testing.assert_array_equal(
        screen["pixels"], mask.on_plane((60, 80)).T * 1 * (preview.layer.data.T)
    )
    assert (screen["pixels"] > 0).sum() == mask.area


def test_planes_of_a_stack(viewer):
    preview = make(viewer, (4, 60, 80), scale=(5, 1, 1))
    for z in (1, 3):
        mask = disk(20 + z, 30, 8)
        viewer.dims.set_point(0, 5.0 * z)
        preview.show(viewer, PlaneKey((1, 2), (z,)), mask)
        expected = np.zeros((4, 60, 80), bool)
        expected[z] = mask.on_plane((60, 80))
        np.testing.assert_array_equal(seen(viewer, preview), expected)
    # A plane that is not shown: the pixels are there when the slider gets there.
    preview.show(viewer, PlaneKey((1, 2), (3,)), disk(40, 40, 5))
    viewer.dims.set_point(0, 0.0)
    preview.show(viewer, PlaneKey((1, 2), (3,)), disk(10, 10, 4))
    assert preview.layer.data.astype(bool).sum() == disk(10, 10, 4).area


def test_a_plane_larger_than_the_layer(viewer, monkeypatch):
    monkeypatch.setattr("napari_sam._bridge.preview_layer.MIN_STAGE_PX", 32)
    preview = make(viewer, (300, 500))
    for mask in (disk(40, 50, 9), disk(290, 490, 9), disk(150, 250, 140)):
        preview.show(viewer, FLAT, mask)
        y0, x0 = np.argwhere(preview.layer.data).min(axis=0)
        corner = preview.layer.data_to_world((y0, x0))
        np.testing.assert_allclose(corner, mask.box[:2])
        assert preview.layer.data.astype(bool).sum() == mask.area
        extent = preview.layer.extent.world
        assert (extent[0] >= -0.5).all()
        assert (extent[1] <= (299.5, 499.5)).all()


def test_nothing_to_show_hides_it_and_the_next_mask_is_alone(viewer):
    preview = make(viewer, (60, 80))
    preview.show(viewer, FLAT, disk(20, 30, 8))
    preview.show(viewer, FLAT, MaskWindow(0, 0, np.zeros((0, 0), bool)))
    assert not preview.layer.visible
    preview.show(viewer, FLAT, disk(40, 50, 5))
    expected = disk(40, 50, 5).on_plane((60, 80))
    np.testing.assert_array_equal(seen(viewer, preview), expected)
    preview.clear()
    assert not preview.layer.visible


def test_an_image_that_was_moved_takes_the_preview_along(viewer):
    preview = make(viewer, (60, 80))
    preview.show(viewer, FLAT, disk(20, 30, 8))
    viewer.layers[0].scale = (3, 2)
    viewer.layers[0].translate = (7, 9)
    viewer.layers[0].rotate = 20
    preview.follow_image()
    expected = disk(20, 30, 8).on_plane((60, 80))
    np.testing.assert_array_equal(seen(viewer, preview), expected)


def test_a_layer_that_was_moved_comes_back_with_the_next_mask(viewer):
    preview = make(viewer, (4, 60, 80), scale=(5, 1, 1))
    viewer.dims.set_point(0, 15)
    key = PlaneKey((1, 2), (3,))
    preview.show(viewer, key, disk(20, 30, 8))
    preview.layer.translate = (0, 0, 0)
    preview.show(viewer, key, disk(21, 31, 8))
    assert seen(viewer, preview)[3].sum() == disk(21, 31, 8).area


def test_previews_steal_no_selection(viewer):
    candidate, hover = make(viewer, (60, 80)), make(viewer, (60, 80), HOVERED)
    points = viewer.add_points(ndim=2)
    labels = viewer.add_labels(np.zeros((60, 80), int))
    viewer.layers.selection = {points, labels}
    for preview in (candidate, hover):
        preview.show(viewer, FLAT, disk(20, 30, 8))
        preview.clear()
        preview.show(viewer, FLAT, disk(20, 30, 9))
        assert not preview.layer.editable
    assert viewer.layers.selection == {points, labels}
    assert candidate.layer.name != hover.layer.name


def test_a_layer_that_the_user_removed_is_made_anew(viewer):
    preview = make(viewer, (60, 80))
    preview.show(viewer, FLAT, disk(20, 30, 8))
    viewer.layers.remove(preview.layer)
    preview.show(viewer, FLAT, disk(21, 31, 8))
    expected = disk(21, 31, 8).on_plane((60, 80))
    np.testing.assert_array_equal(seen(viewer, preview), expected)


def test_outline_is_the_inner_edge_and_holes_have_one():
    mask = np.ones((20, 30), bool)
    mask[8:11, 14:17] = False
    drawn = outlined(mask, 1)
    assert ((drawn > 0) == mask).all()
    assert (drawn[0] == OUTLINE).all()
    assert (drawn[7, 14:17] == OUTLINE).all()
    assert drawn[3, 3] == FILL
    assert (outlined(mask, 3)[2, 2:28] == OUTLINE).all()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_tiny_masks_are_seen(size):
    assert (outlined(np.ones((size, size), bool), 5) == OUTLINE).sum() >= size


@pytest.mark.parametrize("background", [(0, 0, 0), (128, 128, 128), (255, 255, 255)])
def test_outlines_stand_out_from_any_grey(background):
    for preview in (make_layer_colors(0), make_layer_colors(1)):
        assert np.abs(preview - np.array(background) / 255).max() > 0.4


def make_layer_colors(which):
    from napari.components import ViewerModel

    viewer = ViewerModel()
    preview = make(viewer, (6, 8)) if which == 0 else make(viewer, (6, 8), HOVERED)
    preview.add_to(viewer)
    return preview.layer.colormap.map(OUTLINE)[:3]


def test_cost_of_showing_a_mask(viewer):
    preview = make(viewer, (2048, 2048))
    preview.show(viewer, FLAT, disk(400, 400, 50))
    times = []
    for shift in range(15):
        mask = disk(420 + shift, 400, 200)
        start = time.perf_counter()
        preview.show(viewer, FLAT, mask)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.01


def covered(viewer, preview):
    """Box of the image, in pixel edges, that the layer's pixels cover."""
    layer, image = preview.layer, viewer.layers[0]
    drawn = np.argwhere(layer.data)
    edges = [drawn.min(axis=0) - 0.5, drawn.max(axis=0) + 0.5]
    return [image.world_to_data(layer.data_to_world(edge)) + 0.5 for edge in edges]


@pytest.mark.parametrize("place", [{}, {"scale": (2, 3), "translate": (5, -7)}])
def test_a_sketch_covers_the_pixels_that_it_stands_for(viewer, place):
    preview = make(viewer, (9000, 9000), **place)
    window = MaskWindow(20, 10, np.ones((30, 50), bool))
    preview.show(viewer, FLAT, MaskSketch(window, (1000.0, 2000.0), (16.0, 8.0)))
    low, high = covered(viewer, preview)
    np.testing.assert_allclose(low, (1000 + 20 * 16, 2000 + 10 * 8))
    np.testing.assert_allclose(high, (1000 + 50 * 16, 2000 + 60 * 8))
    # And back to pixels of the image.
    preview.show(viewer, FLAT, disk(400, 300, 20))
    low, high = covered(viewer, preview)
    np.testing.assert_allclose(low, (380, 280))
    np.testing.assert_allclose(high, (421, 321))


def test_sketches_of_one_grid_stay_on_one_stage(viewer):
    preview = make(viewer, (9000, 9000))
    moved = []
    for y in (20, 60, 100):
        window = MaskWindow(y, 10, np.ones((30, 50), bool))
        preview.show(viewer, FLAT, MaskSketch(window, (1000.0, 2000.0), (8.0, 8.0)))
        if not moved:
            preview.layer.events.translate.connect(lambda _: moved.append(1))
            preview.layer.events.data.connect(lambda _: moved.append(1))
    assert moved == []
    low, _ = covered(viewer, preview)
    np.testing.assert_allclose(low, (1000 + 100 * 8, 2000 + 10 * 8))


def test_a_very_long_mask_is_drawn_with_fewer_pixels(viewer):
    preview = make(viewer, (20000, 20000))
    preview.show(viewer, FLAT, disk(9000, 8000, 5000))
    assert max(preview.layer.data.shape) <= 4096
    low, high = covered(viewer, preview)
    np.testing.assert_allclose(low, (4000, 3000), atol=3)
    np.testing.assert_allclose(high, (14001, 13001), atol=3)

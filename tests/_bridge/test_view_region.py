# SPDX-License-Identifier: Apache-2.0
"""What the camera shows is told in pixels of the plane."""

from __future__ import annotations

import time
import weakref

import numpy as np
import pytest

from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.model_segmenter import ModelSpec
from napari_sam._bridge.view_region import REST_S, ViewRegion, camera_of
from napari_sam.annotation.jobs import InlineRunner, ModelThread
from napari_sam.annotation.ports import PlaneKey

FLAT = PlaneKey()


def make(viewer, shape=(1000, 800), runner=None, on_rest=lambda: None, **place):
    image = viewer.add_image(np.zeros(shape, np.uint8), **place)
    plane_map = PlaneMap(image, shape, (1.0,) * len(shape))
    runner = InlineRunner() if runner is None else runner
    region = ViewRegion(weakref.ref(viewer), plane_map, runner, on_rest)
    return image, region


def look(viewer, centre, zoom, size=(600, 400)):
    viewer.canvas.size = size
    camera = camera_of(viewer)
    camera.center = (0.0, *centre)
    camera.zoom = zoom


@pytest.mark.parametrize("zoom", [0.25, 1.0, 4.0])
def test_the_box_and_the_step_go_by_the_zoom(viewer, zoom):
    _, region = make(viewer)
    look(viewer, (300.0, 200.0), zoom)
    view = region.of(FLAT)
    half = np.array([300, 200]) / zoom
    np.testing.assert_allclose(view.box[:2], np.array([300, 200]) - half)
    np.testing.assert_allclose(view.box[2:], np.array([300, 200]) + half)
    assert view.step == pytest.approx(1 / zoom)
    assert view.centre_yx == pytest.approx((300, 200))


PLACES = [
    {"scale": (0.5, 0.5), "translate": (100, -30)},
    {"rotate": 90},
    {"rotate": 30, "scale": (2, 2)},
    {"scale": (0.5, 2.0)},
]


@pytest.mark.parametrize("place", PLACES)
def test_the_middle_is_the_pixel_there_however_the_image_lies(viewer, place):
    image, region = make(viewer, **place)
    look(viewer, image.data_to_world((321.0, 123.0)), 2.0)
    view = region.of(FLAT)
    assert view.centre_yx == pytest.approx((321, 123))
    scale = np.sqrt(np.prod(np.abs(place.get("scale", (1, 1)))))
    assert view.step == pytest.approx(1 / (2 * scale))
    # The corner of the screen lies inside the box, and the box is no larger than so.
    corner = np.asarray(image.data_to_world((321.0, 123.0))) + np.array([150, 100])
    y, x = image.world_to_data(corner)
    y0, x0, y1, x1 = view.box
    assert y0 - 1e-6 <= y <= y1 + 1e-6
    assert x0 - 1e-6 <= x <= x1 + 1e-6


def test_a_transposed_view(viewer):
    _, region = make(viewer)
    viewer.dims.order = (1, 0)
    look(viewer, (200.0, 300.0), 1.0)  # column 200, row 300 are in the middle
    view = region.of(FLAT)
    assert view.centre_yx == pytest.approx((300, 200))
    assert view.box[2] - view.box[0] == pytest.approx(400)  # rows run across


def test_other_axes_of_a_stack(viewer):
    _, region = make(viewer, (50, 1000, 800))
    viewer.dims.order = (1, 0, 2)
    look(viewer, (20.0, 300.0), 10.0)
    assert region.of(PlaneKey((0, 2), (500,))).centre_yx == pytest.approx((20, 300))
    assert region.of(PlaneKey((1, 2), (5,))) is None  # another plane is shown


def test_a_canvas_without_extent_shows_nothing(viewer):
    _, region = make(viewer)
    look(viewer, (20.0, 30.0), 1.0, size=(0, 0))
    assert region.of(FLAT) is None


def test_a_moving_camera_is_told_of_when_it_rests(viewer):
    runner, rests = ModelThread("test-view"), []
    _, region = make(viewer, runner=runner, on_rest=lambda: rests.append(1))
    for signal, slot in region.pairs():
        signal.connect(slot)
    started = time.monotonic()
    for zoom in np.linspace(1, 3, 30):
        camera_of(viewer).zoom = float(zoom)
        time.sleep(0.005)
    assert rests == []
    while not rests and time.monotonic() - started < 10:
        runner.drain()
        time.sleep(0.01)
    assert rests == [1]
    assert time.monotonic() - started >= REST_S
    camera_of(viewer).zoom = 5.0
    region.stop()
    time.sleep(2 * REST_S)
    runner.drain()
    assert rests == [1]
    runner.close()


def test_the_model_looks_at_what_the_camera_shows(viewer, session, large_images):
    """A frame is drawn around it, and a prompt is answered in that resolution."""
    disc = (3000.0, 2600.0, 220.0)
    scene = large_images.Discs([disc], side=6144)
    viewer.canvas.size = (600, 800)
    image = viewer.add_image(np.asarray(scene[:, :]), rgb=True)
    controller = session.start_prompts(image, ModelSpec("tiny"))
    annotator = controller.annotator
    frame = controller._own.frame
    camera = camera_of(viewer)
    camera.zoom, camera.center = 0.25, (0.0, *disc[:2])
    assert annotator.ready_region.scale == 4
    np.testing.assert_array_less(annotator.ready_region.box[:2], disc[:2])
    assert frame.layer.visible
    camera.zoom = 2.0
    assert annotator.ready_region.scale == 1
    y0, x0, y1, x1 = annotator.ready_region.box
    assert y0 < disc[0] < y1
    assert x0 < disc[1] < x1
    controller.stop()
    assert frame.layer is None


def test_a_plane_that_fits_the_frame_has_no_frame(viewer, session, blobs):
    image = viewer.add_image(blobs.image, rgb=True)
    controller = session.start_prompts(image, ModelSpec("tiny"))
    camera_of(viewer).zoom = 7.0
    assert controller.annotator.ready_region is None
    assert controller._own.frame.layer is None

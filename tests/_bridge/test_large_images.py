# SPDX-License-Identifier: Apache-2.0
"""Prompts on layers larger than anything that may be read at once."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from napari_sam._bridge.view_region import camera_of
from napari_sam.annotation.jobs import InlineRunner
from napari_sam.prediction.model_segmenter import ModelSegmenter

SIDE = 9216  # more than a texture holds: the labels get levels
DISC = (5000.0, 3000.0, 300.0)


@pytest.fixture
def session(viewer, large_images, tiny_sam):
    from napari_sam._bridge.sessions import ViewerSession

    segmenter = ModelSegmenter(tiny_sam)
    segmenter._predictor = large_images.Filling(tiny_sam)
    session = ViewerSession(viewer, InlineRunner(), lambda spec: segmenter)
    yield session
    session.close()


def lazy(scene):
    return da.from_array(scene, chunks=(1024, 1024, 3), asarray=False, name=False)


PLACES = [
    ({}, (0, 1)),
    ({"scale": (0.5, 0.25), "translate": (100, -300)}, (1, 0)),
    ({"rotate": 30, "scale": (2, 2)}, (0, 1)),
]


@pytest.mark.parametrize(("place", "order"), PLACES)
def test_a_click_writes_the_object_at_full_resolution(
    viewer, session, large_images, place, order
):
    from napari_sam._bridge.model_segmenter import ModelSpec

    levels = large_images.Discs([DISC], side=SIDE).pyramid(6)
    image = viewer.add_image(
        [lazy(level) for level in levels], multiscale=True, rgb=True, **place
    )
    viewer.dims.order = order
    for level in levels:
        level.n_read = 0  # napari has drawn it
    controller = session.start_prompts(image, ModelSpec("tiny"))
    camera = camera_of(viewer)
    centre = np.asarray(image.data_to_world(DISC[:2]))
    camera.center, camera.zoom = (0.0, *centre[list(order)]), 0.2
    controller._link._click(controller.plane, DISC[:2], 1)
    mask = controller.annotator.shown.mask
    assert large_images.iou_with_disc(mask, DISC) > 0.93
    controller.accept()
    labels = controller.labels_layer
    full = labels.data[0] if labels.multiscale else labels.data
    y0, x0, y1, x1 = mask.box
    written = np.asarray(full[y0:y1, x0:x1])
    np.testing.assert_array_equal(written == 1, mask.crop)
    assert full.shape == (SIDE, SIDE)
    np.testing.assert_allclose(
        labels.data_to_world(DISC[:2]), image.data_to_world(DISC[:2])
    )
    # Chunks of 1024 are read whole; the image has 85 million pixels.
    assert sum(level.n_read for level in levels) < 20_000_000


def test_the_frame_follows_the_sliders(viewer, session, large_images):
    from napari_sam._bridge.model_segmenter import ModelSpec

    levels = large_images.Discs([DISC], side=SIDE).pyramid(6)
    stacks = [da.stack([lazy(level), lazy(level)]) for level in levels]
    image = viewer.add_image(stacks, multiscale=True, rgb=True)
    controller = session.start_prompts(image, ModelSpec("tiny"))
    camera_of(viewer).center = (0.0, *DISC[:2])
    viewer.dims.set_point(0, 1)
    assert controller.plane.index == (1,)
    y0, x0, y1, x1 = controller.annotator.ready_region.box
    assert y0 < DISC[0] < y1
    assert x0 < DISC[1] < x1
    layer = controller._own.frame.layer
    assert layer.visible
    assert image.world_to_data(layer.data_to_world((0, 0, 0)))[0] == 1

# SPDX-License-Identifier: Apache-2.0
"""Lessons from other annotators: where an image lies, and what its axes mean.

See `tests/test_lessons.py` for the list.
"""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam._bridge.model_segmenter import ModelSpec
from napari_sam.structures.view_settings import ViewSettings

SPEC = ModelSpec("tiny")

PLACES = {
    "scale": {"scale": (0.25, 3.0)},
    "translate": {"translate": (1000, -37)},
    "rotate": {"rotate": 40},
    "affine": {"affine": [[0.8, 0.3, 5], [-0.25, 1.2, 7], [0, 0, 1]]},
    "all": {
        "scale": (2.0, 0.5),
        "translate": (-9, 4),
        "rotate": -25,
        "affine": [[1.1, 0.2, 3], [0.1, 0.9, -8], [0, 0, 1]],
    },
}


@pytest.fixture(autouse=True)
def _journals(monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_SAM_DATA_DIR", str(tmp_path))


@pytest.fixture
def gray(blobs):
    return blobs.image.mean(axis=2).astype(np.uint8)


def click_pixel(viewer, gestures, controller, pixel):
    """Click where a pixel of the image is drawn."""
    world = controller.image.data_to_world(pixel)
    viewer.dims.set_point(range(len(world)), world)
    gestures.click([world[axis] for axis in viewer.dims.displayed])


@pytest.mark.parametrize("place", PLACES)
def test_pixels_are_found_wherever_the_layer_lies(
    viewer, session, gestures, blobs, centres, iou, place
):
    """Lesson 3: scale, translation, rotation and affine count, all four of them."""
    image = viewer.add_image(blobs.image, rgb=True, **PLACES[place])
    controller = session.start_prompts(image, SPEC)
    for y, x, _ in centres[:2]:
        click_pixel(viewer, gestures, controller, (y, x))
        controller.accept()
        y0, x0 = controller.labels_layer.world_to_data(image.data_to_world((y, x)))
        assert (round(y0), round(x0)) == (y, x)
    for number, (_, _, label) in enumerate(centres[:2], start=1):
        assert iou(controller.labels_layer.data == number, blobs.labels == label) > 0.7


@pytest.mark.parametrize("channels", ["rgb", "gray"])
def test_multiscale_images_have_labels_that_can_be_edited(
    viewer, session, gestures, blobs, gray, centres, iou, channels
):
    """Lesson 4: a pyramid is prompted, and its labels are of one level."""
    flat = blobs.image if channels == "rgb" else gray
    image = viewer.add_image(
        [flat, flat[::2, ::2], flat[::4, ::4]],
        rgb=channels == "rgb",
        multiscale=True,
        scale=(0.5, 0.5),
    )
    controller = session.start_prompts(image, SPEC)
    labels = controller.labels_layer
    assert not labels.multiscale
    assert labels.editable
    y, x, label = centres[1]
    click_pixel(viewer, gestures, controller, (y, x))
    controller.accept()
    assert iou(labels.data == 1, blobs.labels == label) > 0.7


AXES = ("(Z,Y,X)", "(T,Z,Y,X)", "(1,Y,X)", "(1,1,Y,X)", "(T,1,Y,X)", "(Y,X)")


def in_axes(gray, kind):
    """An image of some axes, and where its plane lies among them."""
    empty = np.zeros_like(gray)
    stacks = {
        "(Z,Y,X)": (np.stack([empty, gray, empty]), (1,)),
        "(T,Z,Y,X)": (np.stack([np.stack([empty, gray])] * 2), (1, 1)),
        "(1,Y,X)": (gray[None], (0,)),
        "(1,1,Y,X)": (gray[None, None], (0, 0)),
        "(T,1,Y,X)": (np.stack([gray[None], empty[None]]), (0, 0)),
        "(Y,X)": (gray, ()),
    }
    return stacks[kind]


@pytest.mark.parametrize("kind", AXES)
def test_stacks_are_annotated_plane_by_plane(
    viewer, session, gestures, blobs, gray, centres, iou, kind
):
    """Lesson 13: the second click works as the first, whatever axes there are."""
    data, index = in_axes(gray, kind)
    image = viewer.add_image(data, contrast_limits=(0, 255))
    controller = session.start_prompts(image, SPEC)
    for y, x, _ in centres[:3]:
        click_pixel(viewer, gestures, controller, (*index, y, x))
        assert controller.prompts.points.ndim == data.ndim
        controller.accept()
    written = controller.labels_layer.data
    assert written.shape == data.shape
    for number, (_, _, label) in enumerate(centres[:3], start=1):
        assert iou(written[index] == number, blobs.labels == label) > 0.6
    assert (written > 0).sum() == (written[index] > 0).sum()


def test_channels_are_no_planes(viewer, session, gestures, blobs, gray, centres, iou):
    """Lesson 13: which axis holds channels is said, not guessed."""
    data = np.moveaxis(blobs.image, 2, 0)
    image = viewer.add_image(np.ascontiguousarray(data), contrast_limits=(0, 255))
    controller = session.start_prompts(image, SPEC, view=ViewSettings(channel_axis=0))
    y, x, label = centres[2]
    click_pixel(viewer, gestures, controller, (1, y, x))
    controller.accept()
    (written,) = controller.labels_layer.data  # seen on every channel
    assert written.shape == gray.shape
    assert iou(written == 1, blobs.labels == label) > 0.7

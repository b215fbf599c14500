# SPDX-License-Identifier: Apache-2.0
"""Which layers can be trained on, and what training sees of them."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.image_source import LayerImageSource
from napari_sam._bridge.label_layer import make_label_layer
from napari_sam._bridge.training_data import (
    NO_IMAGE,
    NO_LABELS,
    find_layer_pairs,
    images_of_pairs,
)
from napari_sam.structures.view_settings import ViewSettings

RNG = np.random.default_rng(0)
EVERYTHING = (0, 0, 20, 30)


def labels_of(shape, **how):
    data = np.zeros(shape, np.int32)
    data[..., 2:9, 3:12] = 4
    return Labels(data, name="masks", **how)


def only_pair(image, labels):
    (pair,), reason = find_layer_pairs([image, labels])
    assert reason == ""
    assert pair.is_likely
    return pair


def planes_of(image, labels):
    (found,) = images_of_pairs([only_pair(image, labels)])
    return found.open()


def test_flat_scaled_image():
    data = RNG.integers(0, 4000, (20, 30), np.uint16)
    image = Image(data, scale=(0.3, 0.3))
    (plane,) = planes_of(image, labels_of((20, 30), scale=(0.3, 0.3)))
    pixels = plane.pixels.read(EVERYTHING)
    assert pixels.shape == (20, 30, 3)
    assert pixels.dtype == np.uint8
    assert pixels.max() == 255  # stretched, as the model is shown it
    brightest = np.unravel_index(pixels[..., 0].argmax(), (20, 30))
    assert data[brightest] > 3900
    assert np.unique(plane.labels.read(EVERYTHING)).tolist() == [0, 4]
    assert plane.where == ""


def test_stack_is_taken_plane_by_plane():
    data = RNG.integers(0, 255, (3, 20, 30), np.uint8)
    labels = labels_of((3, 20, 30))
    labels.data[1] = 0
    planes = planes_of(Image(data), labels)
    assert [plane.where for plane in planes] == ["0", "1", "2"]
    assert [int(p.labels.read(EVERYTHING).max()) for p in planes] == [4, 0, 4]
    assert not np.array_equal(*(p.pixels.read(EVERYTHING) for p in planes[:2]))


def test_colours_pass_unchanged():
    data = RNG.integers(0, 255, (20, 30, 3), np.uint8)
    (plane,) = planes_of(Image(data, rgb=True), labels_of((20, 30)))
    np.testing.assert_array_equal(plane.pixels.read(EVERYTHING), data)


@pytest.mark.parametrize("is_ours", [True, False])
def test_channels_become_colours(is_ours):
    """Our own labels have one entry along the channels; others lack that axis."""
    data = RNG.integers(0, 255, (2, 20, 30), np.uint8)
    image, labels = Image(data), labels_of((20, 30))
    if is_ours:
        source = LayerImageSource(image, ViewSettings(channel_axis=0))
        flat, labels = labels, make_label_layer(PlaneMap.of(image, source), "data")
        labels.data[0] = flat.data
    (plane,) = planes_of(image, labels)
    pixels = plane.pixels.read(EVERYTHING)
    np.testing.assert_allclose(pixels[..., 0], data[0], atol=3)
    np.testing.assert_allclose(pixels[..., 1], data[1], atol=3)
    assert pixels[..., 2].max() == 0
    assert plane.labels.read(EVERYTHING)[5, 5] == 4


def test_finest_level_of_a_pyramid():
    data = RNG.integers(0, 255, (20, 30), np.uint8)
    image = Image([data, data[::2, ::2]], multiscale=True)
    (plane,) = planes_of(image, labels_of((20, 30)))
    assert plane.pixels.shape == (20, 30)


def test_prompted_image_is_seen_as_it_is_prompted(viewer, session):
    image = viewer.add_image(RNG.integers(0, 255, (20, 30), np.uint8))
    view = ViewSettings(contrast="fixed range", limits=(0, 255), invert=True)
    from napari_sam._bridge.model_segmenter import ModelSpec

    controller = session.start_prompts(image, ModelSpec(), view=view)
    pairs, _ = find_layer_pairs(viewer.layers, controller)
    assert [p.labels for p in pairs] == [controller.labels_layer]
    ((plane,),) = [found.open() for found in images_of_pairs(pairs)]
    pixels = plane.pixels.read(EVERYTHING)
    np.testing.assert_allclose(pixels[..., 0], 255 - image.data, atol=1)


def test_what_is_annotated_is_meant_once_it_is_begun(viewer, session):
    from napari_sam._bridge.model_segmenter import ModelSpec

    image = viewer.add_image(np.zeros((20, 30), np.uint8), name="cells")
    opened = viewer.add_labels(labels_of((20, 30)).data, name="cells masks")
    controller = session.start_prompts(image, ModelSpec())

    def likely():
        pairs, _ = find_layer_pairs(viewer.layers, controller)
        return [pair.labels for pair in pairs if pair.is_likely]

    assert likely() == [opened]
    controller.labels_layer.data[3:5, 3:5] = 1
    assert likely() == [controller.labels_layer]


def test_labels_in_memory_are_copied():
    labels = labels_of((20, 30))
    pair = only_pair(Image(np.zeros((20, 30), np.uint8)), labels)
    (found,) = images_of_pairs([pair])
    labels.data[:] = 0
    (plane,) = found.open()
    assert plane.labels.read(EVERYTHING).max() == 4


def test_images_that_share_labels_stay_together():
    layers = [
        Image(np.zeros((20, 30), np.uint8), name="red"),
        Image(np.ones((20, 30), np.uint8), name="green"),
        labels_of((20, 30)),
    ]
    pairs, _ = find_layer_pairs(layers)
    assert [pair.is_likely for pair in pairs] == [False, False]
    assert [image.group for image in images_of_pairs(pairs)] == ["masks", "masks"]
    assert [image.group for image in images_of_pairs(pairs[:1])] == [""]


def test_why_nothing_fits():
    image = Image(np.zeros((20, 30), np.uint8), name="cells")
    assert find_layer_pairs([]) == ([], NO_IMAGE)
    assert find_layer_pairs([image]) == ([], NO_LABELS)
    _, reason = find_layer_pairs([image, labels_of((20, 31))])
    assert "(20 x 31)" in reason
    assert "(20 x 30)" in reason
    _, reason = find_layer_pairs([image, labels_of((20, 30), translate=(5, 0))])
    assert "do not lie on it" in reason

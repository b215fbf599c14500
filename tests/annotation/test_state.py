# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np

from napari_sam.annotation.ports import PlaneKey
from napari_sam.annotation.state import AnnotationState

FIRST, SECOND = PlaneKey((1, 2), (0,)), PlaneKey((1, 2), (1,))


def test_states_are_compared_pixel_by_pixel():
    labels = np.zeros((4, 6), np.uint8)
    labels[1, 2] = 3
    state = AnnotationState("a", (2, 4, 6), labels={FIRST: labels})
    assert state == replace(state, labels={FIRST: labels.copy()})
    assert state == replace(state, labels={FIRST: labels, SECOND: 0 * labels})
    assert state != replace(state, labels={SECOND: labels})
    assert state != replace(state, labels={FIRST: labels, SECOND: labels})
    assert state != replace(state, labels={FIRST: 2 * labels})
    assert state != replace(state, image_name="b")
    assert state != "a"


def test_label_image_has_every_plane_in_its_place():
    seen_from_the_side = np.arange(8, dtype=np.uint8).reshape(2, 4)
    state = AnnotationState(
        "a", (2, 4, 6), "uint8", labels={PlaneKey((0, 1), (5,)): seen_from_the_side}
    )
    image = state.label_image()
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image[:, :, 5], seen_from_the_side)
    assert not image[:, :, :5].any()

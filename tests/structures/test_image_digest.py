# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from napari_sam.structures.image_digest import image_digest

STACK = np.arange(5 * 40 * 300, dtype=np.uint16).reshape(5, 40, 300)


def test_a_digest_stays_the_same_everywhere():
    # Written down, because annotation files remember it.
    assert image_digest(STACK) == "f3ee1ddf141278424576553afe038939"
    assert image_digest(STACK.copy()) == image_digest(STACK)
    assert image_digest(STACK.astype(">u2")) == image_digest(STACK)
    assert image_digest(np.asfortranarray(STACK)) == image_digest(STACK)


def test_shape_dtype_and_pixels_tell_images_apart():
    other = STACK.copy()
    other[2, 0, 0] += 1  # a pixel of the middle plane
    images = [
        STACK,
        other,
        STACK.astype(np.uint32),
        STACK.reshape(5, 300, 40),
        STACK[:4],
        STACK[0],
        STACK[:0],
    ]
    assert len({image_digest(image) for image in images}) == len(images)


def test_only_two_planes_are_read():
    class Recorder:
        shape = (1000, 50, 60)
        dtype = np.dtype(np.uint8)
        read = ()

        def __getitem__(self, place):
            self.read += (place[0],)
            return np.zeros((50, 60), np.uint8)

    image = Recorder()
    image_digest(image)
    assert image.read == (0, 500)


def test_colours_are_no_plane():
    picture = np.zeros((40, 50, 3), np.uint8)
    other = picture.copy()
    other[0, 0, 2] = 1
    assert image_digest(picture, 3) != image_digest(other, 3)

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_sam.errors import ImageError
from napari_sam.io.array_choice import choose_array, guess_axes

PATH = Path("cells.h5")
IMAGE, SMALL = np.zeros((5, 6)), np.zeros((4, 5))


def test_the_only_image_among_other_arrays():
    arrays = {
        "list": np.zeros(99),
        "image": IMAGE,
        "names": np.zeros((9, 9), "S3"),
        "complex": np.zeros((9, 9), complex),
        "empty": np.zeros((9, 0)),
    }
    array, notices = choose_array(PATH, arrays)
    assert array is IMAGE
    assert notices == ()


def test_the_largest_of_several_is_read_and_the_others_are_named():
    array, (notice,) = choose_array(PATH, {"a/small": SMALL, "b": IMAGE})
    assert array is IMAGE
    assert "cells.h5::a/small" in notice


@pytest.mark.parametrize(
    ("arrays", "text"), [({}, "no array"), ({"x": np.zeros(9)}, r"x \(9,\) float64")]
)
def test_no_image_at_all(arrays, text):
    with pytest.raises(ImageError, match=text):
        choose_array(PATH, arrays)


@pytest.mark.parametrize(
    ("shape", "dtype", "axes"),
    [
        ((5, 6), np.uint8, "YX"),
        ((5, 6, 3), np.uint8, "YXS"),
        ((5, 6, 3), np.uint16, "QYX"),
        ((2, 5, 6, 4), np.uint8, "QYXS"),
        ((2, 3, 5, 6), np.uint8, "QRYX"),
        ((7,), np.uint8, "X"),
        ((), np.uint8, ""),
    ],
)
def test_axes_are_guessed(shape, dtype, axes):
    assert guess_axes(shape, dtype) == axes

# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_sam.structures import rle
from napari_sam.structures.geometry import mask_bounding_box

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))


def block(shape, y0, x0, y1, x1):
    mask = np.zeros(shape, bool)
    mask[y0:y1, x0:x1] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "counts"),
    [
        (block((4, 5), 1, 2, 3, 4), [9, 2, 2, 2, 5]),
        (block((4, 5), 0, 0, 1, 1), [0, 1, 19]),
        (np.ones((2, 3), bool), [0, 6]),
        (np.zeros((2, 3), bool), [6]),
    ],
)
def test_counts_run_down_the_columns_and_begin_with_background(mask, counts):
    assert rle.encode(mask).counts.tolist() == counts


@settings(deadline=None)
@given(masks)
def test_decoding_takes_encoding_back(mask):
    encoded = rle.encode(mask)
    np.testing.assert_array_equal(encoded.decode(), mask)
    assert encoded.area == mask.sum()
    assert encoded.bounding_box() == mask_bounding_box(mask)


@settings(deadline=None)
@given(
    masks, st.integers(0, 4), st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)
)
def test_a_window_encodes_like_the_whole_plane(mask, top, left, bottom, right):
    plane = np.pad(mask, ((top, bottom), (left, right)))
    encoded = rle.encode_window(mask, top, left, plane.shape)
    assert encoded == rle.encode(plane)
    h, w = mask.shape
    window = encoded.decode_window((top, left, top + h, left + w))
    np.testing.assert_array_equal(window, mask)


def test_windows_may_cut_through_runs():
    mask = np.ones((6, 7), bool)
    window = rle.encode(mask).decode_window((1, 2, 4, 5))
    assert window.shape == (3, 3)
    assert window.all()


def test_counts_with_empty_gaps_decode_as_one_run():
    encoded = rle.Rle((2, 3), np.array([1, 2, 0, 2, 1]))
    assert encoded.decode().T.ravel().tolist() == [False, *[True] * 4, False]


def test_a_window_outside_the_plane_is_refused():
    with pytest.raises(ValueError, match="does not lie in a plane"):
        rle.encode_window(np.ones((3, 3), bool), 2, 0, (4, 4))


def test_counts_of_another_size_are_refused():
    with pytest.raises(ValueError, match="7 pixels"):
        rle.Rle((2, 3), np.array([3, 4]))


# Texts written by pycocotools 2.0 for the same masks.
COCO = [
    (block((4, 5), 1, 2, 3, 4), "92203"),
    (np.ones((2, 3), bool), "06"),
    (np.zeros((70, 90), bool), "lT6"),
    (np.indices((70, 90)).sum(0) % 37 < 11, "0;j00LO41MN32NM23OL140K050K050K050K050K0"),
]


@pytest.mark.parametrize(("mask", "text"), COCO)
def test_compressed_text_is_that_of_coco(mask, text):
    written = rle.encode(mask).to_coco()
    assert written["size"] == list(mask.shape)
    assert written["counts"][: len(text)] == text


def test_plain_dictionaries_hold_plain_integers():
    written = rle.encode(block((4, 5), 1, 2, 3, 4)).to_dict()
    assert written == {"size": [4, 5], "counts": [9, 2, 2, 2, 5]}
    assert all(type(count) is int for count in written["counts"])


def test_equal_runs_hash_alike():
    first, second = (rle.encode(block((4, 5), 1, 2, 3, 4)) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert first != rle.encode(block((4, 5), 1, 2, 3, 5))

# SPDX-License-Identifier: Apache-2.0
from napari_sam.prediction.crops import crop_boxes

RATIO = 512 / 1500


def as_xyxy(crops):
    return [(x0, y0, x1, y1) for (y0, x0, y1, x1), _ in crops]


def test_the_layout_is_that_of_the_reference():
    crops = crop_boxes((1500, 2250), 2, RATIO)
    assert len(crops) == 21
    assert [crop.layer for crop in crops] == [0] + [1] * 4 + [2] * 16
    boxes = as_xyxy(crops)
    assert boxes[:5] == [
        (0, 0, 2250, 1500),
        (0, 0, 1381, 1006),
        (0, 494, 1381, 1500),
        (869, 0, 2250, 1006),
        (869, 494, 2250, 1500),
    ]
    assert boxes[5:8] == [(0, 0, 755, 567), (0, 311, 755, 878), (0, 622, 755, 1189)]


def test_columns_come_before_rows():
    assert as_xyxy(crop_boxes((520, 704), 1, RATIO))[1:] == [
        (0, 0, 441, 349),
        (0, 172, 441, 520),
        (264, 0, 704, 349),
        (264, 172, 704, 520),
    ]


def test_without_layers_there_is_the_image_only():
    assert crop_boxes((7, 9), 0, RATIO) == [((0, 0, 7, 9), 0)]


def test_crops_without_pixels_are_left_out():
    assert crop_boxes((1, 1), 1, RATIO) == [((0, 0, 1, 1), 0), ((0, 0, 1, 1), 1)]
    for shape in ((1, 5000), (3, 3), (2, 7)):
        crops = crop_boxes(shape, 3, RATIO)
        assert len(crops) > 1
        assert all(y0 < y1 and x0 < x1 for (y0, x0, y1, x1), _ in crops)

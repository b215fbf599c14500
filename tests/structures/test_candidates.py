# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from napari_sam.errors import SettingsError
from napari_sam.structures import rle
from napari_sam.structures.candidates import Candidates, MaskRecord


@pytest.fixture
def record():
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:7] = True
    mask[2, 3] = False
    return MaskRecord(
        rle=rle.encode(mask),
        bbox=(1, 2, 4, 7),
        area=14,
        predicted_iou=0.9,
        stability_score=0.8,
        point_yx=(2.5, 4.5),
        crop_box=(0, 1, 6, 8),
    )


def test_the_best_candidate_has_the_highest_predicted_iou():
    candidates = Candidates(
        masks=np.zeros((3, 2, 2), bool),
        predicted_iou=np.array([0.1, 0.9, 0.5], np.float32),
        low_res_logits=np.zeros((3, 4, 4), np.float32),
    )
    assert candidates.best == 1
    assert len(candidates) == 3


def test_a_crop_is_the_mask_in_its_box(record):
    crop, y0, x0 = record.crop()
    np.testing.assert_array_equal(crop, record.mask()[y0 : y0 + 3, x0 : x0 + 5])
    assert crop.sum() == record.area


def test_dictionaries_follow_the_reference(record):
    written = record.to_dict("uncompressed_rle")
    assert list(written) == [
        "segmentation",
        "area",
        "bbox",
        "predicted_iou",
        "point_coords",
        "stability_score",
        "crop_box",
    ]
    assert written["bbox"] == [2, 1, 4, 2]
    assert written["crop_box"] == [1, 0, 7, 6]
    assert written["point_coords"] == [[4.5, 2.5]]
    assert written["segmentation"] == record.rle.to_dict()


def test_the_mask_can_be_written_in_three_forms(record):
    np.testing.assert_array_equal(record.to_dict()["segmentation"], record.mask())
    text = record.to_dict("coco_rle")["segmentation"]["counts"]
    assert isinstance(text, str)
    with pytest.raises(SettingsError, match=r"'png'.*binary_mask"):
        record.to_dict("png")

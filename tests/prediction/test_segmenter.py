# SPDX-License-Identifier: Apache-2.0
import threading
from dataclasses import replace

import numpy as np
import pytest

from napari_sam.errors import ImageError, ModelTypeError, SettingsError
from napari_sam.prediction import segmenter
from napari_sam.prediction.mask_cleanup import label_pieces
from napari_sam.prediction.segmenter import (
    BlankImageWarning,
    find_objects,
    segment_image,
)
from napari_sam.structures import rle
from napari_sam.structures.candidates import MaskRecord

# The tiny model's scores run lower than a SAM's.
SETTINGS = {
    "points_per_side": 12,
    "pred_iou_thresh": 0.6,
    "stability_score_thresh": 0.7,
}


def ious(labels, truth):
    found = []
    for number in np.unique(truth)[1:]:
        mask = truth == number
        others = np.unique(labels[mask])
        found.append(
            max(
                (mask & (labels == k)).sum() / (mask | (labels == k)).sum()
                for k in others
            )
        )
    return np.array(found)


@pytest.fixture(scope="module")
def segmented(tiny_sam, blobs):
    return segment_image(blobs.image, tiny_sam, return_records=True, **SETTINGS)


def test_objects_are_found(segmented, blobs):
    labels, _ = segmented
    assert labels.dtype == np.uint32
    assert labels.shape == blobs.labels.shape
    assert (ious(labels, blobs.labels) > 0.7).sum() >= 9


def test_records_describe_the_labels(segmented):
    labels, records = segmented
    assert len(records) == labels.max()
    for number, record in enumerate(records, start=1):
        np.testing.assert_array_equal(record.mask(), labels == number)


def test_every_object_is_one_piece(segmented):
    labels, records = segmented
    for number in range(1, len(records) + 1):
        assert len(label_pieces(labels == number)[1]) == 2


def test_only_labels_come_unless_records_are_asked_for(tiny_sam, blobs, segmented):
    labels = segment_image(blobs.image, tiny_sam, **SETTINGS)
    np.testing.assert_array_equal(labels, segmented[0])


def test_background_is_no_object(tiny_sam, blobs):
    anything = {"points_per_side": 8, "pred_iou_thresh": 0, "stability_score_thresh": 0}
    labels = segment_image(blobs.image, tiny_sam, **anything)
    largest = np.bincount(labels.ravel())[1:].max()
    assert largest < 0.25 * labels.size


def test_a_large_image_is_cut_into_tiles(tiny_sam, blobs):
    image = np.tile(blobs.image, (1, 2, 1))
    steps = []
    labels, records = segment_image(
        image,
        tiny_sam,
        return_records=True,
        progress=lambda *step: steps.append(step),
        **SETTINGS,
    )
    assert steps[-1] == (3 * 144, 3 * 144)
    truth = np.concatenate([blobs.labels, blobs.labels], axis=1).astype(int)
    truth[:, 256:][truth[:, 256:] > 0] += blobs.labels.max()
    assert (ious(labels, truth) > 0.5).sum() >= 18
    assert all(record.rle.size == image.shape[:2] for record in records)


def test_tiles_can_be_set_and_switched_off(tiny_sam, blobs, monkeypatch):
    shapes = []
    generate = segmenter.AutomaticMaskGenerator.generate

    def watched(self, image, **options):
        shapes.append(image.shape[:2])
        return generate(self, image, **options)

    monkeypatch.setattr(segmenter.AutomaticMaskGenerator, "generate", watched)
    few = SETTINGS | {"points_per_side": 2}
    segment_image(blobs.image, tiny_sam, tile=128, tile_overlap=0.25, **few)
    assert shapes == [(128, 128)] * 6
    shapes.clear()
    segment_image(np.tile(blobs.image, (1, 2, 1)), tiny_sam, tile=None, **few)
    assert shapes == [(208, 512)]


def test_an_image_read_by_tiles_has_the_same_objects(tiny_sam, blobs):
    image = np.tile(blobs.image, (1, 2, 1))
    few = SETTINGS | {"points_per_side": 6}
    labels, records = segment_image(image, tiny_sam, return_records=True, **few)
    read = []

    class Shown:
        shape = image.shape[:2]

        def read(self, box):
            read.append(box)
            return image[box[0] : box[2], box[1] : box[3]]

    found = find_objects(Shown(), tiny_sam, **few)
    assert read == [(0, 0, 208, 256), (0, 128, 208, 384), (0, 256, 208, 512)]
    assert len(found) == len(records)
    np.testing.assert_array_equal(found.labels_in((0, 0, *Shown.shape)), labels)
    for label, record in enumerate(records, start=1):
        assert found.box(label) == record.bbox
        assert found.area(label) == record.area


def test_tiles_of_little_contrast_are_left_out_on_request(tiny_sam, blobs):
    image = np.full((208, 1024, 3), 100, np.uint8)
    image[..., 0] += np.random.default_rng(0).integers(0, 12, (208, 1024), np.uint8)
    image[:, :256] = blobs.image
    few = SETTINGS | {"points_per_side": 2}
    searched = []

    class Watched(segmenter.AutomaticMaskGenerator):
        def generate(self, image, **options):
            searched.append(image.shape)
            return super().generate(image, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segmenter, "AutomaticMaskGenerator", Watched)
        segment_image(image, tiny_sam, **few)
        assert len(searched) == 5
        searched.clear()
        segment_image(image, tiny_sam, skip_empty=True, **few)
    assert len(searched) == 2  # those that show the picture at the left


def _script_masks(monkeypatch, masks):
    """Let the model see these masks; each pixel of the image tells where it lies."""

    def generate(_self, part, **_options):
        (h, w), (y0, x0) = part.shape[:2], part[0, 0, :2].tolist()
        windows = [mask[y0 : y0 + h, x0 : x0 + w] for mask in masks]
        return [_record_of(window) for window in windows if window.any()]

    monkeypatch.setattr(segmenter.AutomaticMaskGenerator, "generate", generate)
    places = np.indices((160, 160), dtype=np.uint8)
    return np.stack([*places, np.zeros_like(places[0])], axis=-1)


def _record_of(mask):
    encoded = rle.encode(mask)
    box = encoded.bounding_box()
    return MaskRecord(encoded, box, encoded.area, 0.9, 1.0, (0.0, 0.0), box)


@pytest.mark.parametrize("box", [(30, 30, 130, 130), (40, 44, 120, 118)])
def test_an_object_larger_than_a_tile_has_a_middle(tiny_sam, monkeypatch, box):
    mask = np.zeros((160, 160), bool)
    mask[box[0] : box[2], box[1] : box[3]] = True
    image = _script_masks(monkeypatch, [mask])
    labels = segment_image(image, tiny_sam, tile=64, tile_overlap=0.25)
    np.testing.assert_array_equal(labels == 1, mask)
    assert labels.max() == 1


def test_tiles_of_nothing_but_background_hold_no_object(tiny_sam, monkeypatch):
    cell = np.zeros((160, 160), bool)
    cell[4:14, 4:14] = True
    image = _script_masks(monkeypatch, [cell, ~cell])
    labels = segment_image(image, tiny_sam, tile=64, tile_overlap=0.25)
    np.testing.assert_array_equal(labels, cell)


def test_blank_tiles_are_progress_too(tiny_sam, blobs):
    image = blobs.image.copy()
    image[:, 100:] = 0
    steps = []
    segment_image(
        image,
        tiny_sam,
        tile=96,
        progress=lambda *step: steps.append(step),
        **SETTINGS | {"points_per_side": 2},
    )
    assert steps[-1] == (12 * 4, 12 * 4)
    assert [done for done, _ in steps] == list(range(4, 49, 4))


def test_objects_that_a_tile_cut_off_come_last(tiny_sam, monkeypatch):
    cut, whole = np.zeros((2, 160, 160), bool)
    cut[60:64, 10:40] = True  # a neighbour would have to show it too
    whole[100:110, 100:110] = True
    image = _script_masks(monkeypatch, [])

    def generate(_self, part, **_options):
        y0, x0 = part[0, 0, :2].tolist()
        seen = {(0, 0): cut, (96, 96): whole}.get((y0, x0))
        if seen is None:
            return []
        record = _record_of(seen[y0 : y0 + 64, x0 : x0 + 64])
        return [replace(record, predicted_iou=0.95 if seen is cut else 0.7)]

    monkeypatch.setattr(segmenter.AutomaticMaskGenerator, "generate", generate)
    labels = segment_image(image, tiny_sam, tile=64, tile_overlap=0.25)
    np.testing.assert_array_equal(labels, whole + 2 * cut.astype(int))


def test_the_models_own_defaults_are_used(tiny_sam, blobs, monkeypatch, segmented):
    monkeypatch.setattr(tiny_sam, "auto_defaults", SETTINGS | {"min_area": 600})
    labels = segment_image(blobs.image, tiny_sam)
    areas = np.bincount(labels.ravel())[1:]
    assert 0 < len(areas) < len(segmented[1])
    assert (areas >= 600).all()


@pytest.mark.parametrize("value", [0, 7, np.nan, -np.inf])
def test_a_blank_image_has_no_objects_and_a_notice(tiny_sam, value):
    with pytest.warns(BlankImageWarning, match="no objects"):
        labels, records = segment_image(
            np.full((30, 40), value, float), tiny_sam, return_records=True
        )
    assert labels.shape == (30, 40)
    assert not labels.any()
    assert records == []


def test_a_single_pixel_has_no_objects(tiny_sam):
    with pytest.warns(BlankImageWarning):
        assert segment_image(np.ones((1, 1)), tiny_sam).shape == (1, 1)


def test_a_line_of_pixels_is_an_image(tiny_sam):
    line = np.arange(5000)[None] % 97
    few = SETTINGS | {"points_per_side": 2}
    assert segment_image(line, tiny_sam, **few).shape == (1, 5000)


def test_impossible_thresholds_find_nothing(tiny_sam, blobs):
    labels = segment_image(
        blobs.image, tiny_sam, points_per_side=2, pred_iou_thresh=1.0
    )
    assert not labels.any()


def test_cancelling_keeps_what_was_found(tiny_sam, blobs, segmented):
    cancel = threading.Event()

    def stop_at_half(done, total):
        if done >= total / 2:
            cancel.set()

    _, records = segment_image(
        blobs.image,
        tiny_sam,
        progress=stop_at_half,
        cancel=cancel,
        return_records=True,
        **SETTINGS,
    )
    assert 0 < len(records) < len(segmented[1])


def test_cancelled_before_the_start_there_are_no_objects(tiny_sam, blobs):
    cancel = threading.Event()
    cancel.set()
    assert not segment_image(blobs.image, tiny_sam, cancel=cancel).any()


@pytest.mark.parametrize(
    "image", [np.ones(5), np.ones((4, 4), complex), np.ones((0, 3))]
)
def test_what_is_no_image_is_refused(tiny_sam, image):
    with pytest.raises(ImageError):
        segment_image(image, tiny_sam)


def test_a_name_is_no_model(blobs):
    with pytest.raises(ModelTypeError, match=r'load_model\("vit_b"\)'):
        segment_image(blobs.image, "vit_b")


@pytest.mark.parametrize(
    "setting",
    [{"tile": 3}, {"tile": "big"}, {"min_area": -1}, {"tile_overlap": 0.9}, {"tle": 4}],
)
def test_settings_out_of_range_are_refused(tiny_sam, blobs, setting):
    with pytest.raises(SettingsError):
        segment_image(blobs.image, tiny_sam, **setting)


def test_channels_can_be_on_any_axis(tiny_sam, blobs, segmented):
    planes = np.moveaxis(blobs.image, 2, 0)
    labels = segment_image(planes, tiny_sam, channel_axis=0, **SETTINGS)
    np.testing.assert_array_equal(labels, segmented[0])

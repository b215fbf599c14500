# SPDX-License-Identifier: Apache-2.0
import threading

import numpy as np
import pytest

from napari_sam.prediction.tile_work import is_empty, objects_of_tile, segment_tile
from napari_sam.structures import rle
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.settings import LabelSettings

SHAPE, TILE = (100, 200), (0, 80, 100, 200)


def record_of(y0, x0, y1, x1, score=0.9):
    mask = np.zeros((100, 120), bool)
    mask[y0:y1, x0:x1] = True
    encoded = rle.encode(mask)
    box = (y0, x0, y1, x1)
    return MaskRecord(encoded, box, encoded.area, score, 1.0, (0.0, 0.0), box)


class Shown:
    shape = SHAPE

    def __init__(self, image):
        self.image = image

    def read(self, box):
        y0, x0, y1, x1 = box
        return self.image[y0:y1, x0:x1]


class Scripted:
    def __init__(self, *records):
        self.records = list(records)
        self.n_calls = 0

    def generate(self, image, *, progress=None, cancel=None):
        self.n_calls += 1
        return self.records


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), np.uint8)


def test_records_stay_in_the_frame_of_the_tile(noise):
    model = Scripted(record_of(10, 0, 30, 20), record_of(50, 50, 70, 70))
    result = segment_tile(Shown(noise), TILE, model, LabelSettings())
    assert result.box == TILE
    assert [r.bbox for r in result.records] == [(10, 0, 30, 20), (50, 50, 70, 70)]
    assert all(r.rle.size == (100, 120) for r in result.records)
    assert result.is_cut == (True, False)
    assert result.is_doubtful == (False, False)
    assert not result.is_partial


def test_masks_of_a_tile_do_not_overlap():
    records = [record_of(10, 10, 40, 40, 0.9), record_of(10, 30, 40, 70, 0.8)]
    result = objects_of_tile(records, TILE, SHAPE, LabelSettings())
    first, second = (record.mask() for record in result.records)
    assert not (first & second).any()
    assert first.sum() == 900


def test_background_alone_is_doubtful_and_beside_objects_nothing():
    behind = record_of(0, 0, 100, 110)
    result = objects_of_tile([behind], (0, 0, 100, 120), (300, 300), LabelSettings())
    assert result.is_doubtful == ()  # it reaches sides of the image
    tile = (100, 100, 200, 220)
    result = objects_of_tile([behind], tile, (300, 400), LabelSettings())
    assert result.is_doubtful == (True,)
    cell = record_of(40, 40, 60, 60)
    result = objects_of_tile([behind, cell], tile, (300, 400), LabelSettings())
    assert [r.bbox for r in result.records] == [cell.bbox]


def test_blank_tiles_are_not_searched(noise):
    noise[:, 80:] = 17
    model = Scripted(record_of(10, 10, 30, 30))
    result = segment_tile(Shown(noise), TILE, model, LabelSettings())
    assert result.records == ()
    assert model.n_calls == 0


@pytest.mark.parametrize(("skip", "n_calls"), [(False, 1), (True, 0)])
def test_empty_tiles_are_left_out_on_request(noise, skip, n_calls):
    model = Scripted()
    dim = Shown(noise // 12)
    segment_tile(dim, TILE, model, LabelSettings(skip_empty=skip))
    assert model.n_calls == n_calls


def test_what_is_empty():
    tile = np.full((100, 100, 3), 90, np.uint8)
    tile[:50] += 25
    assert is_empty(tile)
    tile[0, :9] = 255  # less than a thousandth
    assert is_empty(tile)
    tile[0, :30, 1] = 255
    assert not is_empty(tile)


def test_a_cancelled_search_is_partial(noise):
    cancel = threading.Event()
    cancel.set()
    model = Scripted(record_of(10, 10, 30, 30))
    result = segment_tile(Shown(noise), TILE, model, LabelSettings(), cancel=cancel)
    assert result.is_partial
    assert len(result.records) == 1

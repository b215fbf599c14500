# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import json
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from napari_sam.errors import AnnotationFileError
from napari_sam.io.label_runs import (
    labels_from_json,
    labels_to_json,
    mask_from_json,
    mask_to_json,
)


@given(st.data())
def test_labels_come_back(values, data):
    shape = data.draw(nps.array_shapes(min_dims=2, max_dims=2, min_side=0))
    labels = data.draw(values.label_arrays(shape))
    found = labels_from_json(json.loads(json.dumps(labels_to_json(labels))))
    assert found.dtype.name == labels.dtype.name
    assert found.shape == labels.shape
    np.testing.assert_array_equal(found, labels)


@given(st.data())
def test_mask_comes_back(values, data):
    mask = data.draw(values.masks)
    assert mask_from_json(json.loads(json.dumps(mask_to_json(mask)))) == mask


@pytest.mark.parametrize("dtype", ["uint8", "int64", "uint64"])
def test_extremes_of_a_type(dtype):
    info = np.iinfo(dtype)
    labels = np.array([[info.max, info.min], [info.max - 1, 0]], dtype)
    np.testing.assert_array_equal(labels_from_json(labels_to_json(labels)), labels)


def test_labels_seen_from_the_side():
    labels = np.arange(12, dtype=np.uint16).reshape(3, 4)[::-1].T
    np.testing.assert_array_equal(labels_from_json(labels_to_json(labels)), labels)


def test_runs_are_as_documented():
    data = labels_to_json(np.array([[0, 0, 5], [5, 5, 0]], np.uint16))
    lengths = zlib.decompress(base64.b64decode(data["lengths"]))
    values = zlib.decompress(base64.b64decode(data["values"]))
    assert np.frombuffer(lengths, "<u4").tolist() == [2, 3, 1]
    assert np.frombuffer(values, "<u2").tolist() == [0, 5, 0]


def packed(values, dtype):
    raw = np.array(values, dtype).tobytes()
    return base64.b64encode(zlib.compress(raw)).decode()


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [3, 3]},
        {"shape": [-2, -3]},
        {"shape": [6]},
        {"dtype": "float32"},
        {"dtype": "bool"},
        {"dtype": "colour"},
        {"dtype": "uint32"},
        {"lengths": "!"},
        {"lengths": "AAAA"},
        {"lengths": packed([2, 3], "<u4")},
        {"lengths": packed([2, 3, 2**32 - 1], "<u4")},
        {"values": packed([0] * 10_000_000, "<u2")},
        {"values": packed([0, 5, 0], "<u2")[:-8]},
    ],
    ids=repr,
)
def test_damage_is_found(change):
    data = labels_to_json(np.array([[0, 0, 5], [5, 5, 0]], np.uint16))
    with pytest.raises(AnnotationFileError):
        labels_from_json(data | change)

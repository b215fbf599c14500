# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam.prediction.likeness import Likeness


@pytest.fixture
def picture():
    """Features (6, 20, 24) of ten like cells among others, and where those are."""
    rng = np.random.default_rng(0)
    is_object = np.zeros((20, 24), np.bool_)
    is_object[2:18:4, 3:22:4] = True
    features = rng.normal(0, 1, (6, 20, 24)).astype(np.float32)
    features[2] += 3 * is_object
    features[4] -= 3 * is_object
    return features, is_object


def test_one_object_tells_where_the_others_are(picture):
    features, is_object = picture
    found = np.zeros((160, 192), np.bool_)
    found[16:24, 24:32] = True  # the cell in row 2, column 3
    found[16:24, 56:64] = True  # and one more
    likely = Likeness(features).map_of(found)
    assert likely.shape == (20, 24)
    others = is_object.copy()
    others[2, [3, 7]] = False
    assert np.median(likely[others]) > np.quantile(likely[~is_object], 0.99)


def test_nothing_found_is_like_nothing(picture):
    likely = Likeness(picture[0]).map_of(np.zeros((50, 60), np.bool_))
    assert np.abs(likely).max() < 1e-9


def test_channels_that_say_nothing_do_no_harm(picture):
    features, _ = picture
    found = np.zeros((20, 24), np.bool_)
    found[2, 3] = True
    wanted = Likeness(features).map_of(found)
    flat = np.concatenate([features, np.full((2, 20, 24), 7.0, np.float32)])
    assert np.allclose(Likeness(flat).map_of(found), wanted)


@pytest.mark.parametrize("shape", [(1, 1), (3, 500)])
def test_planes_of_any_shape(shape):
    features = np.ones((4, 1, 9), np.float32)
    likely = Likeness(features).map_of(np.ones(shape, np.bool_))
    assert likely.shape == (1, 9)
    assert np.isfinite(likely).all()

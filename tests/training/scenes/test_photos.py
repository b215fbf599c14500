# SPDX-License-Identifier: Apache-2.0
"""Photographs come from scikit-image's own folder; parts are coherent."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_sam.errors import ImageError
from napari_sam.training.scenes import photos


@pytest.mark.parametrize("name", photos.SURFACES + photos.PICTURES)
def test_pictures_are_there_without_a_download(name: str) -> None:
    picture = photos.photograph(name)
    assert picture.shape[2] == 3
    assert max(picture.shape) <= photos.LONGEST
    assert picture.std() > 10


def test_a_missing_picture_is_named() -> None:
    with pytest.raises(ImageError, match=r"no_such\.png"):
        photos.photograph("no_such.png")


def test_parts_are_large_and_mostly_one_piece() -> None:
    parts = photos.coherent_parts("coffee.png")
    assert len(parts) >= 5
    for pixels, mask in parts:
        assert pixels.shape[:2] == mask.shape
        pieces, _ = ndimage.label(mask)
        assert np.bincount(pieces.ravel())[1:].max() > 0.5 * mask.sum()
        assert mask.sum() >= 250

# SPDX-License-Identifier: Apache-2.0
import numpy as np

from napari_sam.prediction.packed_masks import PackedMasks
from napari_sam.structures.mask_window import MaskWindow


def test_what_is_put_is_got():
    rng = np.random.default_rng(0)
    kept = PackedMasks()
    masks = [
        MaskWindow(5 * k, 7, rng.random((k + 1, 2 * k + 1)) > 0.5) for k in range(9)
    ]
    for number, mask in enumerate(masks):
        kept.put(number, mask)
    assert dict(kept.items()) == dict(enumerate(masks))
    for number, mask in enumerate(masks):
        assert kept.box(number) == mask.box
        assert kept.area(number) == mask.area


def test_what_is_not_there_is_none():
    kept = PackedMasks()
    assert 3 not in kept
    assert kept.get(3) is kept.box(3) is kept.area(3) is None


def test_an_empty_mask_stays_empty():
    kept = PackedMasks()
    kept.put(1, MaskWindow(4, 4, np.zeros((0, 0), bool)))
    assert kept.area(1) == 0
    assert 1 in kept

# SPDX-License-Identifier: Apache-2.0
import numpy as np

from napari_sam._cli.segment_file import paint_best
from napari_sam.structures.candidates import Candidates


def _answer(masks, scores) -> Candidates:
    n = len(scores)
    return Candidates(
        np.array(masks, bool), np.array(scores, np.float32), np.zeros((n, 4, 4), "f4")
    )


def test_better_object_keeps_shared_pixels_in_any_order():
    left, right = np.zeros((2, 1, 6), bool)
    left[0, :4] = True
    right[0, 2:] = True
    nothing = np.zeros((1, 6), bool)
    first = _answer([nothing, left], [0.1, 0.9])
    second = _answer([right], [0.5])
    labels, scores = paint_best([first, second], (1, 6))
    assert labels.tolist() == [[1, 1, 1, 1, 2, 2]]
    assert {k: round(v, 3) for k, v in scores.items()} == {1: 0.9, 2: 0.5}
    labels, _ = paint_best([second, first], (1, 6))
    assert labels.tolist() == [[2, 2, 2, 2, 1, 1]]


def test_no_answers():
    labels, scores = paint_best([], (2, 3))
    assert labels.shape == (2, 3)
    assert not labels.any()
    assert scores == {}

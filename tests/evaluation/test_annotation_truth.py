# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from napari_sam.evaluation.annotation_truth import Truth


def labels_of(**boxes):
    labels = np.zeros((20, 40), np.int32)
    for number, (y0, x0, y1, x1) in boxes.items():
        labels[y0:y1, x0:x1] = int(number[1:])
    return labels


TRUTH = labels_of(n5=(0, 0, 5, 5), n9=(0, 10, 10, 20), n7=(15, 30, 17, 32))


def test_targets_are_the_large_ones_first():
    truth = Truth(TRUTH, min_area=5)
    assert [mask.area for mask in truth.targets] == [100, 25]
    assert truth.targets[0].box == (0, 10, 10, 20)


def test_objects_are_paired_by_overlap():
    made = labels_of(n1=(0, 0, 5, 5), n4=(0, 10, 10, 16), n6=(12, 0, 18, 9))
    match = Truth(TRUTH, min_area=5).match(made, 0.5)
    assert match.ids.tolist() == [4, 1]
    assert match.ious.tolist() == [0.6, 1.0]
    assert match.all_ids == (1, 4, 6)
    assert match.surplus == (6,)


def test_pairs_below_usable_are_none():
    made = labels_of(n4=(0, 10, 10, 16))
    match = Truth(TRUTH).match(made, 0.7)
    assert match.ids.tolist() == [0, 0, 0]
    assert match.ious.tolist() == [0, 0, 0]
    assert match.surplus == (4,)


def test_who_annotates_a_small_object_does_no_harm():
    made = labels_of(n3=(14, 30, 17, 32))  # 6 px, 4 of them the small object
    match = Truth(TRUTH, min_area=5).match(made, 0.5)
    assert match.all_ids == (3,)
    assert match.surplus == ()


def test_small_results_do_not_count():
    made = labels_of(n3=(12, 0, 13, 2))
    match = Truth(TRUTH, min_area=5).match(made, 0.5)
    assert match.all_ids == match.surplus == ()


def test_one_object_over_two_is_given_to_one_of_them():
    truth = labels_of(n1=(0, 0, 10, 10), n2=(0, 10, 10, 19))
    match = Truth(truth).match((truth > 0).astype(int) * 8, 0.4)
    assert match.ids.tolist() == [8, 0]
    assert match.surplus == ()


def test_nothing_there_and_nothing_made():
    empty = np.zeros((4, 5), int)
    match = Truth(empty).match(empty, 0.5)
    assert match.ids.size == match.ious.size == 0
    assert Truth(empty).match(np.ones((4, 5), int), 0.5).surplus == (1,)

# SPDX-License-Identifier: Apache-2.0
"""Training and validation never share an image, unless there is only one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_sam.errors import LabelsError, SettingsError
from napari_sam.training.samples import find_samples
from napari_sam.training.sources import from_arrays
from napari_sam.training.splitting import ONE_IMAGE_WARNING, split_samples

SHAPE = (40, 60)


def labels(*boxes):
    found = np.zeros(SHAPE, np.uint16)
    for number, (y0, x0, y1, x1) in enumerate(boxes, start=1):
        found[y0:y1, x0:x1] = number
    return found


TWO = labels((2, 2, 10, 10), (2, 40, 10, 48))


def image(name, group="", part=None, truth=TWO, planes=None):
    shape = SHAPE if planes is None else (planes, *SHAPE)
    pixels = np.random.default_rng(len(name)).integers(0, 255, shape, np.uint8)
    source = from_arrays(pixels, np.broadcast_to(truth, shape), name=name)
    return replace(source, group=group, part=part)


def names(part):
    return {sample.image.name for sample in part.samples}


def test_planes_of_a_stack_stay_together():
    samples = find_samples([image(f"s{i}", planes=4) for i in range(5)])
    for seed in range(10):
        split = split_samples(samples, seed=seed)
        assert len(names(split.validation)) == 1
        assert names(split.train) | names(split.validation) == {
            f"s{i}" for i in range(5)
        }
        assert not names(split.train) & names(split.validation)
        assert (len(split.train), len(split.validation)) == (16, 4)
        assert split.is_independent
        assert not split.warnings


def test_groups_stay_together_and_names_are_no_groups():
    images = [image(f"a{i}", group="field1") for i in range(3)]
    images += [image("field1"), image("b", group="field2")]
    samples = find_samples(images)
    for seed in range(10):
        split = split_samples(samples, share=0.5, seed=seed)
        for part in (split.train, split.validation):
            found = names(part) & {"a0", "a1", "a2"}
            assert len(found) in (0, 3)
            assert part
    alone = [split_samples(samples, share=0.3, seed=s).validation for s in range(30)]
    assert {"field1"} in [names(part) for part in alone]


def test_split_is_repeatable_and_seeds_differ():
    samples = find_samples([image(f"i{i}") for i in range(12)])
    first = split_samples(samples, seed=1)
    assert names(split_samples(samples[::-1], seed=1).validation) == names(
        first.validation
    )
    others = {
        frozenset(names(split_samples(samples, seed=s).validation)) for s in range(9)
    }
    assert len(others) > 3


@pytest.mark.parametrize(("share", "n"), [(0.01, 1), (0.25, 1), (0.5, 2), (0.99, 3)])
def test_both_parts_get_an_image(share, n):
    samples = find_samples([image(f"i{i}") for i in range(4)])
    assert len(split_samples(samples, share=share).validation) == n


@pytest.mark.parametrize("share", [0, 1, -0.1, 2])
def test_share_outside_is_refused(share):
    with pytest.raises(SettingsError, match="less than 1"):
        split_samples(find_samples([image("a"), image("b")]), share=share)


def test_a_given_split_wins():
    samples = find_samples(
        [
            image("a", part="validation"),
            image("b", part="train"),
            image("c", part="train"),
        ]
    )
    for seed in range(5):
        split = split_samples(samples, share=0.5, seed=seed)
        assert names(split.validation) == {"a"}
        assert names(split.train) == {"b", "c"}


def test_a_given_split_has_to_be_whole():
    with pytest.raises(SettingsError, match="b does not"):
        split_samples(find_samples([image("a", part="train"), image("b")]))
    both = find_samples([image("a", part="train"), image("b", part="train")])
    with pytest.raises(SettingsError, match="none with objects is for validation"):
        split_samples(both)


def test_a_given_split_through_a_group_is_told():
    parts = [image("a", "field", "train"), image("b", "field", "validation")]
    (warning,) = split_samples(find_samples(parts)).warnings
    assert "'field'" in warning


def test_one_image_is_cut_in_halves_without_what_lies_across():
    truth = labels((2, 2, 10, 10), (12, 25, 22, 35), (30, 45, 38, 55), (20, 2, 30, 12))
    split = split_samples(find_samples([image("only", truth=truth)]))
    assert split.warnings == (ONE_IMAGE_WARNING,)
    assert not split.is_independent
    (left,), (right,) = split.train, split.validation
    assert left.labels.shape == right.labels.shape == (40, 30)
    assert set(np.unique(left.labels)) == {0, 1, 4}
    assert set(np.unique(right.labels)) == {0, 3}
    assert split.train.n_objects == 2
    assert split.validation.n_objects == 1
    assert (left.labels == np.where(truth == 2, 0, truth)[:, :30]).all()


def test_halves_leave_out_what_is_too_small():
    truth = labels((2, 2, 10, 10), (2, 40, 10, 48), (20, 5, 23, 8), (20, 50, 23, 53))
    samples = find_samples([image("only", truth=truth)])
    split = split_samples(samples)
    (left,), (right,) = split.train, split.validation
    assert set(np.unique(left.labels)) == {0, 1}
    assert set(np.unique(right.labels)) == {0, 2}
    split = split_samples(find_samples([image("only", truth=truth)], min_area=9))
    assert split.train.n_objects == 1


def test_one_image_is_cut_the_other_way_if_need_be():
    truth = labels((2, 2, 10, 10), (28, 2, 36, 10))
    split = split_samples(find_samples([image("only", truth=truth)]))
    assert split.train[0].labels.shape == (20, 60)
    assert split.train.n_objects == split.validation.n_objects == 1


def test_one_group_of_images_is_cut_in_halves_too():
    split = split_samples(find_samples([image("a", "g"), image("b", "g")]))
    assert names(split.train) == names(split.validation) == {"a", "b"}
    assert split.warnings


@pytest.mark.parametrize(
    "truth",
    [
        labels((2, 2, 10, 10), (12, 12, 20, 20)),  # both in one quarter
        labels((2, 2, 10, 58), (12, 25, 38, 35)),  # both across
    ],
)
def test_one_image_that_cannot_be_cut_says_what_to_do(truth):
    with pytest.raises(LabelsError, match=r"only is the only image.*second image"):
        split_samples(find_samples([image("only", truth=truth)]))

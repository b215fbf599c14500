# SPDX-License-Identifier: Apache-2.0
"""Object maps and their loss, against cases counted by hand."""

import numpy as np
import pytest
import torch

from napari_sam.modeling.object_head import BOUNDARY, CENTRE, FOREGROUND
from napari_sam.training.object_targets import (
    depth_inside,
    foreground_iou,
    object_loss,
    object_targets,
)


def two_touching() -> np.ndarray:
    """A 5 x 5 object beside a 5 x 3 one, one pixel of ground around."""
    labels = np.zeros((7, 10), np.int32)
    labels[1:6, 1:6] = 1
    labels[1:6, 6:9] = 2
    return labels


def test_depth_counts_from_the_own_border() -> None:
    depth = depth_inside(two_touching())
    assert depth[3].tolist() == [0, 1, 2, 3, 2, 1, 1, 2, 1, 0]
    assert depth[1].tolist() == [0, 1, 1, 1, 1, 1, 1, 1, 1, 0]


def test_the_middle_of_every_object_is_one() -> None:
    maps = object_targets(two_touching())
    assert maps[FOREGROUND].sum() == 40
    assert maps[CENTRE][3, 3] == 1
    assert maps[CENTRE][3, 7] == 1
    assert maps[CENTRE][3, 1] == pytest.approx(1 / 3)
    # The rims of 5 x 5 and 5 x 3 have 16 and 12 pixels; corners inside are 2 deep.
    assert maps[BOUNDARY].sum() == 16 + 12


def test_the_edge_of_the_image_is_no_border() -> None:
    labels = np.zeros((4, 6), np.int32)
    labels[:, :3] = 7
    assert depth_inside(labels)[0].tolist() == [3, 2, 1, 0, 0, 0]


def test_where_the_image_ends_inside_the_array_is_no_border_either() -> None:
    labels = np.zeros((5, 6), np.int32)
    labels[:4, 2:5] = 7
    is_image = np.zeros((5, 6), bool)
    is_image[:4, :5] = True
    maps = object_targets(labels, is_image)
    cut = object_targets(labels[:4, :5])
    assert np.array_equal(maps[:, :4, :5], cut)
    assert not maps[:, 4].any()
    assert not maps[:, :, 5].any()
    assert maps[BOUNDARY].sum() == 4  # the left side alone
    assert object_targets(labels)[BOUNDARY].sum() > 4


def test_the_loss_counts_the_image_only() -> None:
    labels = two_touching()
    is_image = torch.zeros(1, 7, 10, dtype=torch.bool)
    is_image[:, :5, :9] = True
    targets = torch.from_numpy(object_targets(labels, is_image[0].numpy()))[None]
    logits = torch.randn(1, 3, 7, 10, generator=torch.manual_seed(0))
    part = (logits[..., :5, :9], targets[..., :5, :9])
    torch.testing.assert_close(
        object_loss(logits, targets, is_image), object_loss(*part)
    )
    assert foreground_iou(logits, targets, is_image) == foreground_iou(*part)
    everything = torch.ones_like(is_image)
    torch.testing.assert_close(
        object_loss(logits, targets, everything), object_loss(logits, targets)
    )


def test_images_without_objects_or_without_ground() -> None:
    assert not object_targets(np.zeros((4, 4), np.int32)).any()
    full = object_targets(np.ones((4, 4), np.int32))
    assert full[FOREGROUND].all()
    assert full[CENTRE].all()


def test_the_loss_is_least_at_the_truth() -> None:
    targets = torch.from_numpy(object_targets(two_touching()))[None]
    right = torch.logit(targets.clamp(0.001, 0.999))
    wrong = -right
    assert object_loss(right, targets) < object_loss(right * 0.3, targets)
    assert object_loss(right, targets) < 0.3 * object_loss(wrong, targets)
    assert foreground_iou(right, targets) == 1
    assert foreground_iou(wrong, targets) == 0

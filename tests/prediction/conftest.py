# SPDX-License-Identifier: Apache-2.0
"""A model that knows the truth, for tests of what is made of its object maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_sam.prediction.logit_windows import LogitWindows
from napari_sam.prediction.transforms import FrameTransform, resized_shape
from napari_sam.training.object_targets import object_targets

FRAME, SIDE = 512, 256


class TruthDecoder:
    """An `ObjectDecoder` that sees the true objects, as well as it is told.

    ``blur`` (samples) and ``noise`` spoil its maps; ``quality`` is the predicted IoU of
    its answers, which are perfect unless ``shift`` moves them by samples.
    """

    def __init__(self, labels, *, blur=0.0, noise=0.0, quality=1.0, shift=0):
        self.labels = labels
        self.blur, self.noise = blur, noise
        self.quality, self.shift = quality, shift
        self.mask_shape = (SIDE, SIDE)
        self.n_at_once = 1
        self.asked: list[tuple[float, float]] = []
        self._size = resized_shape(labels.shape, FRAME)
        transform = FrameTransform(labels.shape, self._size, FRAME)
        self._windows = LogitWindows(self.mask_shape, transform, torch.device("cpu"))
        rows, columns = (
            np.minimum(((np.arange(n) + 0.5) * own / n).astype(int), own - 1)
            for n, own in zip(self._size, labels.shape, strict=True)
        )
        self._framed = np.zeros((FRAME, FRAME), np.int32)
        self._framed[: self._size[0], : self._size[1]] = labels[np.ix_(rows, columns)]

    @property
    def sample_px(self):
        sides = zip(self.labels.shape, self._size, strict=True)
        return tuple(FRAME / SIDE * own / seen for own, seen in sides)

    @property
    def frame_scale(self):
        return max(self._size) / max(self.labels.shape)

    def object_logits(self):
        return to_logits(spoiled(halved(self._framed), self.blur, self.noise))[
            :, : -(-self._size[0] // 2), : -(-self._size[1] // 2)
        ]

    def decode_clear(self, points_yx, boxes_yx, above):
        self.asked += [tuple(point) for point in points_yx.tolist()]
        logits = np.full((len(points_yx), SIDE, SIDE), -6.0, np.float32)
        for answer, (y, x) in zip(logits, points_yx, strict=True):
            number = self.labels[round(y), round(x)]
            is_own = (self._framed == number) & (number > 0)
            share = is_own.reshape(SIDE, 2, SIDE, 2).mean(axis=(1, 3))
            answer[:] = 12 * np.roll(share, self.shift, axis=1) - 6
        return torch.full((len(logits),), self.quality), torch.from_numpy(logits)

    def window(self, logits, box):
        return self._windows.window(logits, box)


def halved(framed):
    """Return the true maps of a frame of labels at half its resolution, (3, h, w)."""
    _, compact = np.unique(framed, return_inverse=True)
    numbers = compact.reshape(framed.shape).astype(np.int32)
    maps = object_targets(numbers if framed.min() == 0 else numbers + 1)
    return maps.reshape(3, framed.shape[0] // 2, 2, -1, 2).mean(axis=(2, 4))


def spoiled(maps, blur, noise):
    """Blur maps and add noise that is as coarse as that of a network."""
    rng = np.random.default_rng(0)
    if blur:
        maps = np.stack([ndimage.gaussian_filter(one, blur) for one in maps])
    if noise:
        grain = ndimage.gaussian_filter(rng.normal(size=maps.shape), (0, 1, 1))
        maps = maps + 2 * noise * grain
    return maps


def to_logits(maps):
    """Turn probabilities into logits."""
    inside = np.clip(maps, 1e-3, 1 - 1e-3)
    return np.log(inside / (1 - inside)).astype(np.float32)


def crowd(shape=(400, 500), sizes=(6, 28), n=400, seed=0):
    """Draw ellipses of many sizes that touch each other; later ones give way."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    for number in range(1, n + 1):
        y, x = rng.uniform((0, 0), shape)
        a, b = rng.uniform(*sizes, 2)
        turn = rng.uniform(0, np.pi)
        top, left = max(int(y) - sizes[1], 0), max(int(x) - sizes[1], 0)
        window = labels[top : int(y) + sizes[1] + 2, left : int(x) + sizes[1] + 2]
        rows, columns = np.indices(window.shape)
        dy, dx = rows + top - y, columns + left - x
        u = dy * np.cos(turn) + dx * np.sin(turn)
        v = dx * np.cos(turn) - dy * np.sin(turn)
        inside = (u / a) ** 2 + (v / b) ** 2 < 1
        # Objects hide little of each other, as cells do.
        if np.count_nonzero(window[inside]) <= 0.1 * np.count_nonzero(inside):
            window[inside & (window == 0)] = number
    return labels


@pytest.fixture
def truth_decoder():
    return TruthDecoder


@pytest.fixture(scope="session")
def crowded():
    """Labels (400, 500) of ellipses of 12 to 56 pixels that touch each other."""
    return crowd()

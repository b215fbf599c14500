# SPDX-License-Identifier: Apache-2.0
"""Scores on the development part, with a model that answers by script."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_sam.training.dev_scores import dev_scores


class Scripted:
    """Knows the labels; a click gives half an object, a box all of it.

    Of the outputs for a click the half has the highest predicted IoU, and another one
    is the whole object.
    """

    image_size = 64
    exact_clicks = False
    device = torch.device("cpu")

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels  # of the frame
        self.seen: list[torch.Tensor] = []

    def preprocess(self, rgb):
        self.seen.append(rgb)
        return rgb

    def encode_image(self, _):
        return SimpleNamespace(embedding=torch.zeros(1))

    def encode_prompts(self, points, boxes, masks):
        assert masks is None
        if boxes is None:
            return points[0][:, 0], "click"
        return (boxes[:, :2] + boxes[:, 2:]) / 2, "box"

    def decode(self, features, at, kind):
        small = self.labels[1::2, 1::2]
        logits = []
        for x, y in at.round().int().tolist():
            whole = small == self.labels[y, x]
            half = whole.copy()
            half[: y // 2] = False
            nothing = np.zeros_like(whole)
            first = nothing if kind == "click" else whole
            logits.append(np.stack([first, half, whole, nothing]) * 2.0 - 1)
        iou = torch.tensor([[0.1, 0.9, 0.5, 0.2]]).repeat(len(at), 1)
        return torch.from_numpy(np.stack(logits)), iou


def half_of(labels: np.ndarray, label: int) -> float:
    """Part of an object's mask pixels from the middle row of its disc on."""
    rows = np.nonzero(labels[1::2, 1::2] == label)[0]
    at = int(np.round(np.nonzero(labels == label)[0].mean())) // 2
    return float((rows >= at).mean())


def test_scores_by_hand(scene) -> None:
    model = Scripted(scene.labels)
    scores = dev_scores(model, [scene])
    assert (scores["discs_box"], scores["discs_oracle"]) == (1, 1)
    halves = [half_of(scene.labels, label) for label in range(1, 5)]
    assert scores["discs_point"] == pytest.approx(np.mean(halves), abs=0.03)
    assert scores["selection"] == pytest.approx((scores["discs_point"] + 1) / 2)
    (rgb,) = model.seen
    assert rgb.shape == (1, 3, 64, 64)
    # Stretched as the plugin stretches it: black ground, bright discs.
    assert (float(rgb.min()), float(rgb.max())) == (0, 255)


def test_kinds_count_the_same_however_many_images_they_have(scene) -> None:
    labels = np.kron(scene.labels, np.ones((2, 2), np.int32))
    pixels = np.kron(scene.pixels, np.ones((2, 2), np.uint8))
    large = dataclasses.replace(scene, kind="large", pixels=pixels, labels=labels)
    scores = dev_scores(Scripted(scene.labels), [scene, scene, large])
    plain = [
        scores[f"{kind}_{p}"] for kind in ("discs", "large") for p in ("point", "box")
    ]
    assert scores["selection"] == pytest.approx(np.mean(plain))
    assert scores["large_box"] == 1  # twice as large, shown at half its size


def test_objects_are_chosen_evenly_and_tiny_ones_left_out(scene) -> None:
    labels = scene.labels.copy()
    labels[labels == 1] = 0
    labels[0, :20] = 1  # 20 pixels
    model = Scripted(labels)
    asked = []
    decode = model.decode
    model.decode = lambda f, at, kind: asked.append(len(at)) or decode(f, at, kind)
    dev_scores(model, [dataclasses.replace(scene, labels=labels)], max_objects=2)
    assert asked == [2, 2]

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import OrderedDict

import pytest
import torch

from napari_sam.errors import CheckpointError
from napari_sam.weights.convert import to_state_dict

NAMES = ("image_encoder.a.weight", "mask_decoder.b.bias")


def state(prefix: str = "") -> dict[str, torch.Tensor]:
    return {prefix + name: torch.full((2,), float(i)) for i, name in enumerate(NAMES)}


@pytest.mark.parametrize(
    "content",
    [
        state(),
        OrderedDict(state()),
        {"model_state": state(), "model": {}, "decoder_state": state("d."), "epoch": 3},
        {"model": state()},
        {"state_dict": state(), "epoch": 3},
        state("sam."),
        state("module."),
        {"model_state": state("sam."), "optimizer_state": {"lr": 0.1}},
    ],
)
def test_wrappers_and_one_prefix_are_taken_off(content: object) -> None:
    weights = to_state_dict(content, "file.pt")
    assert list(weights) == list(NAMES)
    assert torch.equal(weights[NAMES[1]], torch.ones(2))


def test_only_one_prefix_is_taken_off() -> None:
    assert list(to_state_dict(state("sam.sam."), "f")) == [f"sam.{n}" for n in NAMES]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_become_float32_and_integers_stay(dtype: torch.dtype) -> None:
    content = {"w": torch.tensor([0.5], dtype=dtype), "n": torch.tensor(7)}
    weights = to_state_dict(content, "file.pt")
    assert weights["w"].dtype == torch.float32
    assert weights["w"].item() == 0.5
    assert weights["n"].dtype == torch.int64


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (torch.zeros(3), "holds a Tensor"),
        ([torch.zeros(3)], "holds a list"),
        ({}, "holds an empty dict"),
        ({"model": {}}, "holds an empty dict"),
        (None, "holds a NoneType"),
        ({"w": torch.zeros(1), "epoch": 3}, "holds a int under 'epoch'"),
        ({3: torch.zeros(1)}, "holds a Tensor under 3"),
        ({"net": state()}, r"holds a dict with 2 entries \('image_encoder"),
    ],
)
def test_no_weights_by_name(content: object, said: str) -> None:
    with pytest.raises(CheckpointError, match=rf"file\.pt {said}.*state_dict\(\)"):
        to_state_dict(content, "file.pt")


def test_same_name_with_and_without_prefix() -> None:
    with pytest.raises(CheckpointError, match=r"holds 'image_encoder.a.weight' twice"):
        to_state_dict(state() | state("sam."), "file.pt")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.eye(2).to_sparse(),
        torch.zeros(2, dtype=torch.complex64),
        torch.zeros(2, device="meta"),
    ],
)
def test_only_plain_tensors(tensor: torch.Tensor) -> None:
    with pytest.raises(CheckpointError, match=r"'w'.*Only dense float or integer"):
        to_state_dict({"w": tensor}, "file.pt")

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from napari_sam.modeling.registry import build_model

STATE_DICTS = Path(__file__).parents[1] / "data" / "state_dicts"
PUBLISHED = {
    "vit_b": ("sam_vit_b", 93_735_472),
    "vit_l": ("sam_vit_l", 312_342_832),
    "vit_h": ("sam_vit_h", 641_090_608),
    "vit_t": ("mobile_sam_vit_t", 10_130_092),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_keys_shapes_and_parameters_are_the_published_ones(name: str) -> None:
    file, n_parameters = PUBLISHED[name]
    published = json.loads((STATE_DICTS / f"{file}.json").read_text())
    sam = build_model(name, device="meta")
    built = {key: list(value.shape) for key, value in sam.state_dict().items()}
    assert built == published
    assert sum(p.numel() for p in sam.parameters()) == n_parameters
    assert (sam.name, sam.image_size, sam.grid_size) == (name, 1024, 64)

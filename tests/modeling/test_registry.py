# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from napari_sam.errors import UnknownModelError
from napari_sam.modeling import registry
from napari_sam.modeling.registry import (
    build_model,
    build_on,
    list_architectures,
    register_model,
)


def test_registered_names() -> None:
    assert set(list_architectures()) >= {
        "vit_b",
        "vit_l",
        "vit_h",
        "vit_t",
        "embedded_v2",
    }


def test_registering_twice_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_BUILDERS", {})

    def vit_x() -> None: ...

    register_model(vit_x)
    with pytest.raises(ValueError, match="'vit_x' is registered already"):
        register_model(vit_x)


def test_unknown_architecture_lists_the_known() -> None:
    with pytest.raises(UnknownModelError, match=r"'vit_x'.*one of: .*vit_b"):
        build_model("vit_x")


@pytest.mark.parametrize("name", list_architectures())
def test_what_no_file_holds_is_real_on_the_meta_device(name: str) -> None:
    sam = build_model(name, device="meta")
    assert all(p.is_meta for p in sam.parameters())
    stored = sam.state_dict().keys()
    unstored = {k: b for k, b in sam.named_buffers() if k not in stored}
    assert {"pixel_mean", "pixel_std"} <= set(unstored)
    assert not [key for key, buffer in unstored.items() if buffer.is_meta]
    assert sam.pixel_mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])


def test_random_weights_are_finite_and_move_the_output() -> None:
    sam = build_model("vit_t")
    values = list(sam.state_dict().values())
    assert all(v.device.type == "cpu" and v.isfinite().all() for v in values)


def test_building_leaves_the_default_device_alone() -> None:
    build_on(lambda: build_model("vit_b", device="meta"), "meta")
    assert torch.empty(1).device.type == torch.tensor(1.0).device.type == "cpu"

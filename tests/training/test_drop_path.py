# SPDX-License-Identifier: Apache-2.0
"""Layers are left out in training, at the wanted rate, and never in evaluation."""

import pytest
import torch

from napari_sam.modeling.build import DecoderSpec, VitSpec, build_vit_sam
from napari_sam.modeling.registry import build_model
from napari_sam.training.drop_path import Chance, keep_or_drop, residual_branches
from napari_sam.training.optimisation import LAYER_TYPES


@pytest.fixture
def small_vit():
    torch.manual_seed(0)
    vit = VitSpec(
        embed_dim=16,
        depth=3,
        num_heads=2,
        mlp_dim=8,
        global_attn_indexes=(1,),
        window_size=3,
    )
    decoder = DecoderSpec(image_size=64, grid_size=4, channels=32, mlp_dim=8)
    return build_vit_sam("small", vit, decoder)


def test_what_is_kept_makes_up_for_what_is_dropped() -> None:
    torch.manual_seed(0)
    out = torch.zeros(6000, 3, 3, 2)  # 2000 images of three windows each
    factors = keep_or_drop(out, 2000, 0.4)
    assert factors.shape == (6000, 1, 1, 1)
    by_image = factors.view(2000, 3)
    assert torch.equal(by_image, by_image[:, :1].expand(2000, 3))
    assert sorted(factors.unique().tolist()) == pytest.approx([0, 1 / 0.6])
    assert float(factors.mean()) == pytest.approx(1, abs=0.04)


def test_every_layer_of_every_encoder_has_branches_to_drop() -> None:
    for name in ("vit_b", "vit_t", "embedded_v2"):
        encoder = build_model(name, "meta").image_encoder
        layers = [m for m in encoder.modules() if isinstance(m, LAYER_TYPES)]
        with_branches = [layer for layer in layers if residual_branches(layer)]
        if name == "embedded_v2":  # blocks that change width or stride have no shortcut
            assert len(with_branches) == 9
        else:
            assert len(with_branches) == len(layers) == 12


def test_the_last_layer_is_dropped_as_often_as_asked_the_first_never(small_vit) -> None:
    chance = Chance(small_vit, 0.5, 0.0)
    seen: dict[int, list[bool]] = {0: [], 2: []}

    def watch(i):
        def hook(_, inputs, out):
            seen[i].append(bool((out == 0).all()))

        return hook

    for i in seen:
        small_vit.image_encoder.blocks[i].mlp.register_forward_hook(watch(i))
    small_vit.train()
    x = torch.randn(1, 3, 64, 64)
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(200):
            small_vit.encode_image(x)
    assert not any(seen[0])
    assert sum(seen[2]) / 200 == pytest.approx(0.5, abs=0.1)
    chance.close()


def test_in_evaluation_and_after_closing_nothing_happens(small_vit) -> None:
    x = torch.randn(2, 3, 64, 64)
    small_vit.eval()
    plain = small_vit.encode_image(x).embedding
    chance = Chance(small_vit, 0.9, 0.9)
    assert torch.equal(small_vit.encode_image(x).embedding, plain)
    small_vit.train()
    assert not torch.equal(small_vit.encode_image(x).embedding, plain)
    chance.close()
    assert torch.equal(small_vit.encode_image(x).embedding, plain)


def test_dropout_reaches_the_decoder(small_vit) -> None:
    features = small_vit.encode_image(torch.randn(1, 3, 64, 64))
    points = (torch.tensor([[[20.0, 20.0]]]), torch.ones(1, 1, dtype=torch.long))

    def answer():
        return small_vit.decode(features, *small_vit.encode_prompts(points))[0]

    chance = Chance(small_vit, 0.0, 0.5)
    small_vit.eval()
    assert torch.equal(answer(), answer())
    small_vit.train()
    assert not torch.equal(answer(), answer())
    chance.close()
    assert torch.equal(answer(), answer())

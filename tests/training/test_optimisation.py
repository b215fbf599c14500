# SPDX-License-Identifier: Apache-2.0
"""Rates by layer and step, worked out by hand."""

import pytest
import torch

from napari_sam.modeling.build import DecoderSpec, VitSpec, build_vit_sam
from napari_sam.modeling.registry import build_model
from napari_sam.training.optimisation import (
    encoder_factors,
    parameter_groups,
    rate_factor,
)
from napari_sam.training.recipe import Optimiser

HALF = Optimiser(layer_decay=0.5)


@pytest.fixture
def small_vit():
    vit = VitSpec(
        embed_dim=16, depth=3, num_heads=2, mlp_dim=8, global_attn_indexes=(1,)
    )
    decoder = DecoderSpec(image_size=64, grid_size=4, channels=32, mlp_dim=8)
    return build_vit_sam("small", vit, decoder)


def test_layer_decay_of_a_vit_by_hand(small_vit) -> None:
    factors = encoder_factors(small_vit.image_encoder, HALF)
    # three blocks: the neck is layer 4, blocks are 3, 2, 1, what comes before them is 0
    assert factors["neck.0.weight"] == 1
    assert factors["blocks.2.attn.qkv.weight"] == 0.5
    assert factors["blocks.1.norm1.bias"] == 0.25
    assert factors["blocks.0.attn.rel_pos_h"] == 0.125
    assert factors["patch_embed.proj.weight"] == 0.0625
    assert factors["pos_embed"] == 0.0625


def test_a_factor_of_the_encoder_comes_on_top(small_vit) -> None:
    slow = Optimiser(layer_decay=0.5, encoder_lr_factor=0.1)
    factors = encoder_factors(small_vit.image_encoder, slow)
    assert factors["neck.0.weight"] == pytest.approx(0.1)
    assert factors["blocks.2.attn.qkv.weight"] == pytest.approx(0.05)


def test_layers_of_tiny_vit_are_numbered_through_its_stages() -> None:
    factors = encoder_factors(build_model("vit_t", "meta").image_encoder, HALF)
    # 2 + 2 + 6 + 2 blocks; the neck is layer 13
    assert factors["neck.0.weight"] == 1
    assert factors["layers.3.blocks.1.attn.qkv.weight"] == 0.5
    assert factors["layers.2.downsample.conv1.c.weight"] == 0.5**3  # with block 10
    assert factors["layers.2.blocks.5.mlp.fc1.weight"] == 0.5**3
    assert factors["layers.0.blocks.0.conv1.c.weight"] == 0.5**12
    assert factors["patch_embed.seq.0.c.weight"] == 0.5**13


def test_the_pyramid_of_the_embedded_encoder_comes_after_its_layers() -> None:
    factors = encoder_factors(build_model("embedded_v2", "meta").image_encoder, HALF)
    assert factors["lateral.0.weight"] == 1
    assert factors["stages.6.0.project.weight"] == 0.5
    assert factors["stages.0.0.depthwise.weight"] == 0.5**16  # 16 blocks
    assert factors["stem.weight"] == 0.5**17


def test_norms_biases_and_learned_positions_do_not_decay(small_vit) -> None:
    numbers = Optimiser(weight_decay=0.3, layer_decay=0.5)
    decay, factor = {}, {}
    names = {id(p): name for name, p in small_vit.named_parameters()}
    for group in parameter_groups(small_vit, numbers):
        for parameter in group["params"]:
            decay[names[id(parameter)]] = group["weight_decay"]
            factor[names[id(parameter)]] = group["lr_factor"]
    assert set(decay) == set(names.values())  # each once
    for name in (
        "image_encoder.pos_embed",
        "image_encoder.blocks.0.attn.rel_pos_w",
        "image_encoder.blocks.0.norm1.weight",
        "image_encoder.blocks.0.attn.qkv.bias",
        "prompt_encoder.point_embeddings.0.weight",
        "mask_decoder.mask_tokens.weight",
    ):
        assert decay[name] == 0, name
    for name in (
        "image_encoder.patch_embed.proj.weight",
        "image_encoder.blocks.0.attn.qkv.weight",
        "mask_decoder.transformer.layers.0.cross_attn_token_to_image.q_proj.weight",
    ):
        assert decay[name] == 0.3, name
    assert factor["mask_decoder.mask_tokens.weight"] == 1
    assert factor["image_encoder.blocks.1.attn.qkv.weight"] == 0.25


def test_what_is_fixed_is_in_no_group(small_vit) -> None:
    small_vit.image_encoder.requires_grad_(requires_grad=False)
    groups = parameter_groups(small_vit, HALF)
    found = {id(p) for group in groups for p in group["params"]}
    assert found.isdisjoint(map(id, small_vit.image_encoder.parameters()))
    small_vit.requires_grad_(requires_grad=False)
    assert parameter_groups(small_vit, HALF) == []


def test_the_papers_schedule_step_by_step() -> None:
    paper = Optimiser(warmup_steps=250, milestones=(60_000, 86_666))
    factors = {step: rate_factor(step, step / 90_000, paper) for step in range(90_000)}
    assert factors[0] == pytest.approx(1 / 250)
    assert factors[124] == pytest.approx(0.5)
    assert factors[249] == factors[59_999] == 1
    assert factors[60_000] == factors[86_665] == pytest.approx(0.1)
    assert factors[86_666] == factors[89_999] == pytest.approx(0.01)


def test_a_linear_end_by_part_of_the_run() -> None:
    ours = Optimiser(warmup_steps=0, final_decay=0.5)
    found = [rate_factor(9, f, ours) for f in (0, 0.5, 0.75, 1.0, 1.2)]
    assert found == pytest.approx([1, 1, 0.5, 0, 0])


def test_groups_are_what_adamw_takes(small_vit) -> None:
    groups = parameter_groups(small_vit, HALF)
    optimizer = torch.optim.AdamW(groups, lr=1e-3)
    assert len(optimizer.param_groups) == len(groups)

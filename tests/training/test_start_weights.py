# SPDX-License-Identifier: Apache-2.0
"""Folding keeps the answers; a backbone moves from one model to another."""

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from napari_sam.modeling.image_encoder_lite import InvertedResidual, LiteImageEncoder
from napari_sam.modeling.registry import build_model
from napari_sam.training.start_weights import (
    BATCH_NORM_EPS,
    load_backbone,
    load_imagenet,
)


def fake_weights(encoder: LiteImageEncoder) -> dict[str, torch.Tensor]:
    """Random weights under the keys of the published file."""
    weights: dict[str, torch.Tensor] = {}

    def add(conv: nn.Conv2d, key: str, norm: str) -> None:
        weights[f"{key}.weight"] = torch.randn_like(conv.weight)
        for part in ("weight", "bias", "running_mean", "running_var"):
            weights[f"{norm}.{part}"] = torch.rand(conv.out_channels) + 0.1

    add(encoder.stem, "_conv_stem", "_bn0")
    blocks = [m for m in encoder.modules() if isinstance(m, InvertedResidual)]
    for i, block in enumerate(blocks):
        if isinstance(block.expand, nn.Conv2d):
            add(block.expand, f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0")
        add(block.depthwise, f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1")
        add(block.project, f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2")
    return weights


def test_folded_normalisation_gives_the_same_activations() -> None:
    torch.manual_seed(0)
    encoder = LiteImageEncoder()
    weights = fake_weights(encoder)
    load_imagenet(encoder, weights)
    x = torch.randn(1, 3, 32, 32)
    plain = functional.conv2d(x, weights["_conv_stem.weight"], stride=2, padding=1)
    norm = {
        part: weights[f"_bn0.{part}"]
        for part in ("running_mean", "running_var", "weight", "bias")
    }
    expected = functional.batch_norm(plain, **norm, eps=BATCH_NORM_EPS)
    torch.testing.assert_close(encoder.stem(x), expected, rtol=1e-4, atol=1e-4)


def test_the_backbone_of_an_earlier_model_is_taken(tmp_path) -> None:
    first, second = build_model("embedded_v2"), build_model("embedded_v2")
    save_file(first.state_dict(), tmp_path / "first.safetensors")
    before = second.mask_decoder.coarse.weight.clone()
    load_backbone(second, tmp_path / "first.safetensors")
    for part in ("stem", "stages"):
        ours = getattr(second.image_encoder, part).state_dict()
        for key, value in getattr(first.image_encoder, part).state_dict().items():
            assert torch.equal(ours[key], value), key
    assert torch.equal(second.mask_decoder.coarse.weight, before)

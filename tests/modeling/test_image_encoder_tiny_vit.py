# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_sam.errors import Cancelled
from napari_sam.modeling.image_encoder_tiny_vit import (
    BiasedAttention,
    ConvNorm,
    ImageEncoderTinyViT,
    PatchMerging,
    TinyViTBlock,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def randomise(module: nn.Module) -> nn.Module:
    for key, value in module.state_dict().items():
        if value.is_floating_point():
            value.normal_(std=0.3)
        if key.endswith("running_var"):
            value.abs_().add_(0.5)
    return module.eval().requires_grad_(False)


def small_encoder() -> ImageEncoderTinyViT:
    encoder = ImageEncoderTinyViT(
        embed_dims=(8, 32, 64, 96),
        depths=(1, 1, 2, 1),
        num_heads=(1, 2, 3),
        window_sizes=(3, 4, 3),
        out_chans=6,
        num_classes=4,
    )
    return randomise(encoder)


def test_shape_and_check() -> None:
    encoder = small_encoder()
    calls = []
    x = torch.randn(2, 3, 64, 64)
    out = encoder(x, check=lambda: calls.append(1))
    # Unlike the published widths, none of these keeps the resolution: 64 / 32.
    assert out.shape == (2, 6, 2, 2)
    assert out.is_contiguous()
    assert len(calls) == 5

    def stop() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        encoder(x, check=stop)


@pytest.mark.parametrize(("width", "stride"), [(128, 2), (160, 2), (320, 1), (576, 1)])
def test_merging_keeps_the_resolution_for_some_widths(width: int, stride: int) -> None:
    assert PatchMerging(4, width).conv2.c.stride == (stride, stride)


def test_bias_columns_count_distinct_offsets_as_they_are_first_met() -> None:
    """The enumeration of the publication, in another form than the module's."""
    attn = randomise(BiasedAttention(32, num_heads=1, window_size=4))
    points = [(row, column) for row in range(4) for column in range(4)]
    columns: dict[tuple[int, int], int] = {}
    for first in points:
        for second in points:
            offset = abs(first[0] - second[0]), abs(first[1] - second[1])
            columns.setdefault(offset, len(columns))
    bias = attn.bias()[0, 0]
    for i, (r, c) in enumerate(points):
        for j, (s, d) in enumerate(points):
            column = columns[abs(r - s), abs(c - d)]
            assert bias[i, j] == attn.attention_biases[0, column]


def test_loading_cannot_leave_stale_biases() -> None:
    """Outputs follow the weights even when loaded into a model that has run in eval."""
    source, target = small_encoder(), small_encoder()
    x = torch.randn(1, 3, 64, 64)
    assert not torch.allclose(target(x), source(x))
    target.load_state_dict(source.state_dict())
    assert torch.equal(target(x), source(x))
    for block in target.layers[2].blocks:
        block.attn.attention_biases.zero_()
    assert not torch.allclose(target(x), source(x))


def test_attention_is_the_published_formula() -> None:
    attn = randomise(BiasedAttention(64, num_heads=2, window_size=3))
    x = torch.randn(2, 9, 64)
    normed = nn.functional.layer_norm(x, (64,), attn.norm.weight, attn.norm.bias, 1e-5)
    qkv = normed @ attn.qkv.weight.T + attn.qkv.bias
    heads = []
    for h in range(2):
        q, k, v = qkv[..., h * 96 : (h + 1) * 96].split(32, dim=-1)
        logits = q @ k.transpose(1, 2) * 32**-0.5 + attn.bias()[0, h]
        heads.append(logits.softmax(-1) @ v)
    expected = torch.cat(heads, dim=-1) @ attn.proj.weight.T + attn.proj.bias
    torch.testing.assert_close(attn(x), expected, atol=1e-5, rtol=1e-5)


def test_block_pads_before_the_norm_and_mixes_without_residual() -> None:
    block = randomise(TinyViTBlock(32, num_heads=1, window_size=4))
    x = torch.randn(1, 32, 3, 3)
    padded = torch.zeros(1, 4, 4, 32)
    padded[:, :3, :3] = x.permute(0, 2, 3, 1)
    attended = block.attn(padded.reshape(1, 16, 32)).reshape(1, 4, 4, 32)[:, :3, :3]
    mixed = block.local_conv(x + attended.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    expected = (mixed + block.mlp(mixed)).permute(0, 3, 1, 2)
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-5)


def test_conv_norm_has_published_names_and_no_bias() -> None:
    names = set(ConvNorm(3, 4, 3).state_dict())
    stats = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    assert names == {"c.weight"} | {f"bn.{stat}" for stat in stats}


def test_low_precision_is_near_and_returns_float32() -> None:
    encoder = small_encoder()
    x = torch.randn(1, 3, 64, 64)
    exact = encoder(x)
    encoder.compute_dtype = torch.bfloat16
    low = encoder(x)
    assert low.dtype == torch.float32
    assert not torch.equal(low, exact)
    assert (low - exact).abs().max() < 0.2 * exact.std()

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_sam.modeling.two_way_transformer import Attention, TwoWayAttentionBlock


def randomised(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.eval().requires_grad_(False)


@pytest.mark.parametrize("n_queries", [3, 200], ids=["tokens", "places"])
def test_attention_divides_by_the_root_of_the_inner_head_width(n_queries) -> None:
    attn = randomised(Attention(16, num_heads=2, downsample_rate=2))
    q = torch.randn(1, n_queries, 16)
    k, v = torch.randn(1, 5, 16), torch.randn(1, 5, 16)
    heads = []
    for h in (slice(0, 4), slice(4, 8)):
        qh, kh, vh = (
            attn.q_proj(q)[..., h],
            attn.k_proj(k)[..., h],
            attn.v_proj(v)[..., h],
        )
        heads.append((qh @ kh.transpose(1, 2) / 4**0.5).softmax(-1) @ vh)
    expected = attn.out_proj(torch.cat(heads, -1))
    torch.testing.assert_close(attn(q, k, v), expected, atol=1e-5, rtol=1e-5)


def test_first_layer_self_attention_has_no_residual_and_no_position() -> None:
    first = randomised(TwoWayAttentionBlock(16, 2, 8, skip_first_layer_pe=True))
    # Without values, a self-attention that replaces its input forgets the tokens.
    first.self_attn.v_proj.weight.zero_()
    keys, pe = torch.randn(1, 6, 16), torch.randn(1, 6, 16)
    query_pe = torch.randn(1, 3, 16)
    outputs = [
        first(torch.randn(1, 3, 16), keys, query_pe=query_pe, key_pe=pe)[0]
        for _ in range(2)
    ]
    torch.testing.assert_close(outputs[0], outputs[1])
    later = randomised(TwoWayAttentionBlock(16, 2, 8, skip_first_layer_pe=False))
    later.self_attn.v_proj.weight.zero_()
    outputs = [
        later(torch.randn(1, 3, 16), keys, query_pe=query_pe, key_pe=pe)[0]
        for _ in range(2)
    ]
    assert not torch.allclose(outputs[0], outputs[1])


def test_norms_have_the_published_epsilon() -> None:
    block = TwoWayAttentionBlock(16, 2, 8, skip_first_layer_pe=True)
    assert {m.eps for m in block.modules() if isinstance(m, nn.LayerNorm)} == {1e-5}
    assert isinstance(block.mlp.act, nn.ReLU)

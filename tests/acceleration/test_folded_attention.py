# SPDX-License-Identifier: Apache-2.0
"""Few tokens are projected in place of many places; nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_sam.acceleration import folded_attention
from napari_sam.modeling.two_way_transformer import Attention, TwoWayTransformer


def randomised(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.eval().requires_grad_(False)


class Refusing(Attention):
    """An attention that must not be asked."""

    def forward(self, q, k, v):
        msg = "The plain form was asked."
        raise AssertionError(msg)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("n_queries", "n_keys"), [(4, 200), (1, 20), (200, 4)])
def test_attention_between_tokens_and_places_is_the_plain_one(
    n_queries, n_keys, batch
) -> None:
    attention = randomised(Attention(16, num_heads=2, downsample_rate=2))
    q = torch.randn(batch, n_queries, 16)
    k, v = torch.randn(batch, n_keys, 16), torch.randn(batch, n_keys, 16)
    expected = attention(q, k, v)
    attention.__class__ = Refusing
    got = folded_attention.attend(attention, q, k, v)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_many_tokens_take_the_plain_way() -> None:
    attention = randomised(Attention(16, num_heads=2, downsample_rate=2))
    q, k = torch.randn(1, 5, 16), torch.randn(1, 200, 16)
    for asking, answering in ((q, k), (k, q)):
        expected = attention(asking, answering, answering)
        got = folded_attention.attend(attention, asking, answering, answering)
        assert torch.equal(got, expected)


@pytest.mark.parametrize("n_tokens", [3, 30])
def test_whole_transformer_is_the_plain_one(n_tokens) -> None:
    transformer = randomised(TwoWayTransformer(2, 32, 4, 24))
    image, code = torch.randn(2, 32, 9, 11), torch.randn(1, 32, 9, 11)
    tokens = torch.randn(2, n_tokens, 32)
    places, position = (x.flatten(2).transpose(1, 2) for x in (image, code))
    kept = places.clone()
    got = folded_attention.transform(transformer, places, position, tokens)
    expected = transformer(image, code, tokens)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert torch.equal(places, kept)

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
from torch import nn

from napari_sam.modeling.common import MLP, LayerNorm2d, MLPBlock


def test_layer_norm_2d_is_layer_norm_over_channels() -> None:
    torch.manual_seed(0)
    norm = LayerNorm2d(5)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 5, 3, 4) * 7 + 100
    rows = x.permute(0, 2, 3, 1).double()
    expected = nn.functional.layer_norm(
        rows, (5,), norm.weight.double(), norm.bias.double(), eps=1e-6
    )
    got = norm(x).permute(0, 2, 3, 1)
    torch.testing.assert_close(got, expected.float(), atol=1e-4, rtol=1e-4)


def test_layer_norm_2d_of_a_constant_is_its_bias() -> None:
    norm = LayerNorm2d(4)
    nn.init.constant_(norm.bias, 0.25)
    assert torch.equal(
        norm(torch.full((1, 4, 2, 2), 3.0)), torch.full((1, 4, 2, 2), 0.25)
    )


def test_mlp_has_relu_between_and_nothing_after() -> None:
    mlp = MLP(1, 1, 1, num_layers=2)
    for layer in mlp.layers:
        nn.init.constant_(layer.weight, -1.0)
        nn.init.zeros_(layer.bias)
    assert mlp(torch.tensor([[2.0], [-2.0]])).flatten().tolist() == [0.0, -2.0]


def test_mlp_block_uses_the_exact_gelu() -> None:
    block = MLPBlock(1, 1)
    for layer in (block.lin1, block.lin2):
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)
    x = torch.tensor([[1.5]])
    exact = 0.5 * x * (1 + torch.erf(x / 2**0.5))
    torch.testing.assert_close(block(x), exact, atol=1e-6, rtol=0)

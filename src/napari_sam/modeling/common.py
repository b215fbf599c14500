# SPDX-License-Identifier: Apache-2.0
"""Small layers that several parts of the model share."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channel axis of a (B, C, H, W) map.

    Parameters
    ----------
    num_channels : int
        Number of channels C.
    eps : float
        Added to the biased variance; 1e-6 everywhere in SAM.
    """

    def __init__(self, num_channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (B, C, H, W)."""
        mean = x.mean(dim=1, keepdim=True)  # (B, 1, H, W)
        centred = x - mean
        variance = centred.square().mean(dim=1, keepdim=True)
        normed = centred * torch.rsqrt(variance + self.eps)
        return normed * self.weight[:, None, None] + self.bias[:, None, None]


class MLPBlock(nn.Module):
    """Two linear layers with an activation between them, as in a transformer block."""

    def __init__(
        self, embedding_dim: int, mlp_dim: int, activation: type[nn.Module] = nn.GELU
    ) -> None:
        super().__init__()
        self.lin1 = nn.Linear(embedding_dim, mlp_dim)
        self.lin2 = nn.Linear(mlp_dim, embedding_dim)
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., C) to (..., C)."""
        out: Tensor = self.lin2(self.act(self.lin1(x)))
        return out


class MLP(nn.Module):
    """A stack of linear layers with ReLU between them and none at the end."""

    def __init__(
        self, input_dim: int, hidden_dim: int, output_dim: int, num_layers: int
    ) -> None:
        super().__init__()
        widths = [input_dim, *[hidden_dim] * (num_layers - 1), output_dim]
        self.layers = nn.ModuleList(
            nn.Linear(a, b) for a, b in itertools.pairwise(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., input_dim) to (..., output_dim)."""
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        out: Tensor = self.layers[-1](x)
        return out

# SPDX-License-Identifier: Apache-2.0
"""The decoder's transformer: prompt tokens and image attend to each other.

Kirillov et al. 2023, appendix A ("Lightweight mask decoder"). B prompts, T tokens,
N = h * w image places, C channels.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from napari_sam.modeling.common import MLPBlock


class Attention(nn.Module):
    """Multi-head attention with separate projections and an optional inner width.

    Parameters
    ----------
    embedding_dim : int
        Width C of queries, keys and values.
    num_heads : int
        Number of heads.
    downsample_rate : int
        The heads together are ``C / downsample_rate`` wide (2 in cross-attentions).
    """

    def __init__(
        self, embedding_dim: int, num_heads: int, downsample_rate: int = 1
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        internal_dim = embedding_dim // downsample_rate
        self.q_proj = nn.Linear(embedding_dim, internal_dim)
        self.k_proj = nn.Linear(embedding_dim, internal_dim)
        self.v_proj = nn.Linear(embedding_dim, internal_dim)
        self.out_proj = nn.Linear(internal_dim, embedding_dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend from q (B, Tq, C) to k and v (B, Tk, C); returns (B, Tq, C)."""
        mixed = functional.scaled_dot_product_attention(
            self._split(self.q_proj(q)),  # (B, heads, Tq, d)
            self._split(self.k_proj(k)),  # (B, heads, Tk, d)
            self._split(self.v_proj(v)),
        )
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(-1, (self.num_heads, -1))
        return heads.transpose(1, 2)


class TwoWayAttentionBlock(nn.Module):
    """One layer: tokens among themselves, tokens to image, MLP, image to tokens.

    In the first layer (``skip_first_layer_pe``) the self-attention replaces the tokens:
    no residual and no position code, as in the published model.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_heads: int,
        mlp_dim: int,
        *,
        skip_first_layer_pe: bool,
    ) -> None:
        super().__init__()
        self.self_attn = Attention(embedding_dim, num_heads)
        self.norm1 = nn.LayerNorm(embedding_dim)
        self.cross_attn_token_to_image = Attention(
            embedding_dim, num_heads, downsample_rate=2
        )
        self.norm2 = nn.LayerNorm(embedding_dim)
        self.mlp = MLPBlock(embedding_dim, mlp_dim, nn.ReLU)
        self.norm3 = nn.LayerNorm(embedding_dim)
        self.norm4 = nn.LayerNorm(embedding_dim)
        self.cross_attn_image_to_token = Attention(
            embedding_dim, num_heads, downsample_rate=2
        )
        self.skip_first_layer_pe = skip_first_layer_pe

    def forward(
        self, queries: Tensor, keys: Tensor, query_pe: Tensor, key_pe: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update queries (B, T, C) and keys (B, N, C)."""
        if self.skip_first_layer_pe:
            queries = self.self_attn(q=queries, k=queries, v=queries)
        else:
            q = queries + query_pe
            queries = queries + self.self_attn(q=q, k=q, v=queries)
        queries = self.norm1(queries)

        q, k = queries + query_pe, keys + key_pe
        queries = self.norm2(queries + self.cross_attn_token_to_image(q=q, k=k, v=keys))
        queries = self.norm3(queries + self.mlp(queries))

        q = queries + query_pe  # the image asks, the tokens answer
        keys = self.norm4(keys + self.cross_attn_image_to_token(q=k, k=q, v=queries))
        return queries, keys


class TwoWayTransformer(nn.Module):
    """A few two-way layers and a last attention from the tokens to the image.

    Parameters
    ----------
    depth : int
        Number of layers (2 in SAM).
    embedding_dim, num_heads, mlp_dim : int
        Width C, attention heads and hidden width of the MLPs.
    """

    def __init__(
        self, depth: int, embedding_dim: int, num_heads: int, mlp_dim: int
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(
                embedding_dim, num_heads, mlp_dim, skip_first_layer_pe=(i == 0)
            )
            for i in range(depth)
        )
        self.final_attn_token_to_image = Attention(
            embedding_dim, num_heads, downsample_rate=2
        )
        self.norm_final_attn = nn.LayerNorm(embedding_dim)

    def forward(
        self, image: Tensor, image_pe: Tensor, tokens: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Let tokens and image exchange information.

        Parameters
        ----------
        image : (B, C, h, w) tensor
            Image embedding plus dense prompt, one per prompt.
        image_pe : (1 or B, C, h, w) tensor
            Position code of the grid.
        tokens : (B, T, C) tensor
            Output tokens followed by the sparse prompt tokens; also their own position
            code.

        Returns
        -------
        queries : (B, T, C) tensor
        keys : (B, N, C) tensor
            Updated tokens and image places, rows first.
        """
        keys = image.flatten(2).transpose(1, 2)  # (B, N, C)
        key_pe = image_pe.flatten(2).transpose(1, 2)
        queries = tokens
        for layer in self.layers:
            queries, keys = layer(queries, keys, query_pe=tokens, key_pe=key_pe)
        q, k = queries + tokens, keys + key_pe
        attended = self.final_attn_token_to_image(q=q, k=k, v=keys)
        return self.norm_final_attn(queries + attended), keys

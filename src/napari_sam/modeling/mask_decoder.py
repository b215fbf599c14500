# SPDX-License-Identifier: Apache-2.0
"""Image embedding and prompt tokens to mask logits and predicted IoU.

Kirillov et al. 2023, appendix A ("Lightweight mask decoder"). B prompts, T sparse
tokens, C channels, M = 4 mask tokens, g cells along a side of the feature grid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from napari_sam.modeling.common import MLP, LayerNorm2d

if TYPE_CHECKING:
    from collections.abc import Sequence

N_MASK_TOKENS = 4  # one for unambiguous prompts, three for ambiguous ones


class DecodedTokens(NamedTuple):
    """Answers before any mask is drawn.

    ``predicted_iou`` is (B, n); ``hyper`` (B, n, C/8) holds a mask's weights for the
    upscaled channels; ``image`` (B, C, g, g) is what the prompts made of the embedding.
    There are n = 4 outputs until some of them are dropped.
    """

    predicted_iou: Tensor
    hyper: Tensor
    image: Tensor

    def of_prompts(self, rows: Tensor) -> DecodedTokens:
        """Keep only the prompts of these (k,) indices."""
        return DecodedTokens(*(part[rows] for part in self))

    def of_outputs(self, chosen: Tensor) -> DecodedTokens:
        """Keep only one output of each prompt, by their (B,) indices."""
        rows = torch.arange(len(chosen), device=chosen.device)
        return self._replace(
            predicted_iou=self.predicted_iou[rows, chosen][:, None],
            hyper=self.hyper[rows, chosen][:, None],
        )


class MaskDecoder(nn.Module):
    """SAM's mask decoder, with SAM 2's finer feature maps as an option.

    Parameters
    ----------
    transformer_dim : int
        Channels C of the image embedding.
    transformer : nn.Module
        A :class:`~napari_sam.modeling.two_way_transformer.TwoWayTransformer`.
    iou_head_depth, iou_head_hidden_dim : int
        Layers and hidden width of the head that predicts the IoU of each mask.
    """

    def __init__(
        self,
        transformer_dim: int,
        transformer: nn.Module,
        iou_head_depth: int = 3,
        iou_head_hidden_dim: int = 256,
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.iou_token = nn.Embedding(1, transformer_dim)
        self.mask_tokens = nn.Embedding(N_MASK_TOKENS, transformer_dim)
        half, full = transformer_dim // 4, transformer_dim // 8
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(transformer_dim, half, kernel_size=2, stride=2),
            LayerNorm2d(half),
            nn.GELU(),
            nn.ConvTranspose2d(half, full, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(transformer_dim, transformer_dim, transformer_dim // 8, 3)
            for _ in range(N_MASK_TOKENS)
        )
        self.iou_prediction_head = MLP(
            transformer_dim, iou_head_hidden_dim, N_MASK_TOKENS, iou_head_depth
        )

    def forward(
        self,
        image_embedding: Tensor,
        image_pe: Tensor,
        sparse: Tensor,
        dense: Tensor,
        high_res: Sequence[Tensor] = (),
    ) -> tuple[Tensor, Tensor]:
        """Predict all four masks of each prompt.

        Parameters
        ----------
        image_embedding : (1 or B, C, g, g) tensor
            From the image encoder.
        image_pe : (1, C, g, g) tensor
            Position code of the grid.
        sparse : (B, T, C) tensor
            Prompt tokens.
        dense : (B, C, g, g) tensor
            Dense prompts, added to the embedding.
        high_res : () or ((1 or B, C/4, 2g, 2g), (1 or B, C/8, 4g, 4g)) tensors
            Added while upscaling (Ravi et al. 2024, appendix D).

        Returns
        -------
        logits : (B, 4, 4g, 4g) tensor
            Output 0 for several prompts, outputs 1..3 for an ambiguous one.
        predicted_iou : (B, 4) tensor
        """
        tokens = self.attend(image_embedding, image_pe, sparse, dense)
        return self.draw(tokens, high_res), tokens.predicted_iou

    def attend(
        self, image_embedding: Tensor, image_pe: Tensor, sparse: Tensor, dense: Tensor
    ) -> DecodedTokens:
        """Let prompts and image exchange information; arguments as in `forward`.

        The predicted IoU is known here, so hopeless masks need not be drawn.
        """
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat(
            [output_tokens[None].expand(len(sparse), -1, -1), sparse], dim=1
        )  # (B, 5 + T, C)
        image = image_embedding + dense  # (B, C, g, g)
        queries, keys = self.transformer(image, image_pe, tokens)
        hyper = [
            mlp(queries[:, 1 + i])
            for i, mlp in enumerate(self.output_hypernetworks_mlps)
        ]
        return DecodedTokens(
            self.iou_prediction_head(queries[:, 0]),
            torch.stack(hyper, dim=1),
            keys.transpose(1, 2).unflatten(2, image.shape[2:]),
        )

    def draw(self, tokens: DecodedTokens, high_res: Sequence[Tensor] = ()) -> Tensor:
        """Mask logits (B, n, 4g, 4g) of decoded tokens; `high_res` as in `forward`."""
        first, norm, gelu, second, last_gelu = self.output_upscaling
        stride_4, stride_2 = high_res or (0, 0)
        half = gelu(norm(first(tokens.image) + stride_4))  # (B, C/4, 2g, 2g)
        full = last_gelu(second(half) + stride_2)  # (B, C/8, 4g, 4g)
        logits: Tensor = (tokens.hyper @ full.flatten(2)).unflatten(2, full.shape[2:])
        return logits

# SPDX-License-Identifier: Apache-2.0
"""The whole model: image encoder, prompt encoder, mask decoder.

Kirillov et al. 2023, figure 4. B images or prompts, C channels, g cells along a side of
the feature grid, S pixels along a side of the frame.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_sam.modeling.mask_decoder import DecodedTokens, MaskDecoder
    from napari_sam.modeling.prompt_encoder import PromptEncoder

# ImageNet statistics on the 0..255 scale, as in every published SAM.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


class ImageFeatures(NamedTuple):
    """What the image encoder says of one image or several.

    ``embedding`` is (B, C, g, g); ``high_res`` holds finer maps (B, C/4, 2g, 2g) and
    (B, C/8, 4g, 4g) for architectures that have them, else nothing.
    """

    embedding: Tensor
    high_res: tuple[Tensor, ...] = ()


class Sam(nn.Module):
    """A promptable segmentation model.

    Parameters
    ----------
    image_encoder : nn.Module
        Called with (B, 3, S, S) and ``check=``; returns (B, C, g, g), or
        :class:`ImageFeatures` when it has finer maps.
    prompt_encoder, mask_decoder : nn.Module
    image_size : int
        Pixels S along a side of the square frame.
    name : str
        Name of the architecture or of the loaded weights.
    pixel_mean, pixel_std : sequence of 3 floats
        Statistics of the RGB channels on the 0..255 scale.
    auto_defaults : mapping
        Settings of automatic mask generation that suit this model better than SAM's
        own; the user's settings go over them.

    Attributes
    ----------
    digest : str
        SHA-256 of the weights file; empty for random weights.
    mask_threshold : float
        Logits above it belong to the mask.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        image_encoder: nn.Module,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        *,
        image_size: int,
        name: str,
        pixel_mean: Sequence[float] = PIXEL_MEAN,
        pixel_std: Sequence[float] = PIXEL_STD,
        auto_defaults: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        self.image_size = image_size
        self.name = name
        self.digest = ""
        self.mask_threshold = 0.0
        self.auto_defaults = auto_defaults
        for key, values in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
            statistics = torch.tensor(values, dtype=torch.float32).reshape(3, 1, 1)
            self.register_buffer(key, statistics, persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return next(self.parameters()).dtype

    @property
    def grid_size(self) -> int:
        """Cells g along a side of the feature grid; mask inputs are 4g wide."""
        return self.prompt_encoder.grid_size

    def preprocess(self, rgb: Tensor) -> Tensor:
        """Normalise and pad an image that already has its final size.

        Parameters
        ----------
        rgb : (B, 3, h, w) tensor
            Values 0..255; neither side longer than S.

        Returns
        -------
        (B, 3, S, S) tensor
            Zero-padded at the bottom and right *after* normalising, so that the padding
            is the mean colour.
        """
        height, width = rgb.shape[-2:]
        normed = (rgb - self.pixel_mean) / self.pixel_std
        padding = (0, self.image_size - width, 0, self.image_size - height)
        return functional.pad(normed, padding)

    def encode_image(
        self, x: Tensor, check: Callable[[], None] | None = None
    ) -> ImageFeatures:
        """Run the image encoder on (B, 3, S, S).

        ``check`` is called between blocks; whatever it raises stops the encoding.
        """
        out = self.image_encoder(x, check=check)
        return out if isinstance(out, ImageFeatures) else ImageFeatures(out)

    def encode_prompts(
        self,
        points: tuple[Tensor, Tensor] | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Sparse tokens (B, T, C) and dense map (B, C, g, g) of B prompts.

        Coordinates are pixels of the frame, x before y; see
        :meth:`~napari_sam.modeling.prompt_encoder.PromptEncoder.forward`.
        """
        sparse, dense = self.prompt_encoder(points, boxes, masks)
        return sparse, dense

    def decode(
        self, features: ImageFeatures, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """All four masks of each prompt on one image.

        Returns
        -------
        logits : (B, 4, 4g, 4g) tensor
        predicted_iou : (B, 4) tensor
        """
        tokens = self.decode_tokens(features, sparse, dense)
        return self.draw_masks(features, tokens), tokens.predicted_iou

    def decode_tokens(
        self, features: ImageFeatures, sparse: Tensor, dense: Tensor
    ) -> DecodedTokens:
        """First half of `decode`: predicted IoU, and what masks are drawn from."""
        position = self.prompt_encoder.dense_pe()
        return self.mask_decoder.attend(features.embedding, position, sparse, dense)

    def draw_masks(self, features: ImageFeatures, tokens: DecodedTokens) -> Tensor:
        """Second half of `decode`: logits (B, 4, 4g, 4g), the dear part."""
        return self.mask_decoder.draw(tokens, features.high_res)

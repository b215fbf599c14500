# SPDX-License-Identifier: Apache-2.0
"""The whole model: image encoder, prompt encoder, mask decoder.

Kirillov et al. 2023, figure 4. B images or prompts, C channels, g cells along a side of
the feature grid, S pixels along a side of the frame.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_sam.modeling.features import ImageFeatures as ImageFeatures
from napari_sam.modeling.mask_decoder_conv import ConvMaskDecoder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_sam.modeling.mask_decoder import DecodedTokens, MaskDecoder
    from napari_sam.modeling.mask_decoder_conv import DecodedMaps
    from napari_sam.modeling.object_head import ObjectHead
    from napari_sam.modeling.prompt_encoder import PromptEncoder
    from napari_sam.modeling.prompt_encoder_map import MapPromptEncoder

    Decoded = DecodedTokens | DecodedMaps

# ImageNet statistics on the 0..255 scale, as in every published SAM.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


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
    object_head : ObjectHead, optional
        Called with the finest map of the features; see `object_maps`.
    min_object_px : float, optional
        Objects smaller than this, in pixels of the frame, are answered better when
        they are shown enlarged. None: the image is shown as it is, as published models
        were made for.
    exact_clicks : bool
        Whether a click is shown to the model on the middle of its pixel, and masks of
        several prompts are made to agree with every click. Published models are shown
        scaled indices of pixels, and answer as they do.

    Attributes
    ----------
    digest : str
        SHA-256 of the weights file; empty for random weights.
    mask_threshold : float
        Logits above it belong to the mask.
    """

    pixel_mean: Tensor
    pixel_std: Tensor
    # Of one family: what one writes only the other reads.
    prompt_encoder: Any
    mask_decoder: Any

    def __init__(
        self,
        image_encoder: nn.Module,
        prompt_encoder: PromptEncoder | MapPromptEncoder,
        mask_decoder: MaskDecoder | ConvMaskDecoder,
        *,
        image_size: int,
        name: str,
        pixel_mean: Sequence[float] = PIXEL_MEAN,
        pixel_std: Sequence[float] = PIXEL_STD,
        auto_defaults: Mapping[str, Any] = MappingProxyType({}),
        object_head: ObjectHead | None = None,
        min_object_px: float | None = None,
        exact_clicks: bool = False,
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        self.object_head = object_head
        self.image_size = image_size
        self.name = name
        self.digest = ""
        self.mask_threshold = 0.0
        self.auto_defaults = auto_defaults
        self.min_object_px = min_object_px
        self.exact_clicks = exact_clicks
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
        cells: int = self.prompt_encoder.grid_size
        return cells

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
    ) -> Decoded:
        """First half of `decode`: predicted IoU, and what masks are drawn from."""
        decoded: Decoded
        if isinstance(self.mask_decoder, ConvMaskDecoder):
            image = self.mask_decoder.prepare(features)
            decoded = self.mask_decoder.attend(image, sparse, dense)
        else:
            position = self.prompt_encoder.dense_pe()
            decoded = self.mask_decoder.attend(
                features.embedding, position, sparse, dense
            )
        return decoded

    def draw_masks(self, features: ImageFeatures, tokens: Decoded) -> Tensor:
        """Second half of `decode`: logits (B, 4, 4g, 4g), the dear part."""
        logits: Tensor = self.mask_decoder.draw(tokens, features.high_res)
        return logits

    @property
    def has_object_maps(self) -> bool:
        """Whether `object_maps` tells anything."""
        return self.object_head is not None

    def object_maps(self, features: ImageFeatures) -> Tensor | None:
        """Say what the model takes for objects without any prompt.

        Returns
        -------
        (B, 3, 4g, 4g) tensor or None
            Logits: whether there is an object, whether its border is here, and how deep
            inside it (after a sigmoid the distance to the border divided by the
            object's largest). None without such a head.
        """
        if self.object_head is None:
            return None
        maps: Tensor = self.object_head(features.high_res[-1])
        return maps

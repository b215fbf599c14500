# SPDX-License-Identifier: Apache-2.0
"""Which fast form suits which model: one row per family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from napari_sam.acceleration.conv_decoding import ConvDecoding, is_convolutional
from napari_sam.acceleration.gpu_forms import gpu_decoding, gpu_encoding, is_on_gpu
from napari_sam.acceleration.lite_encoder import FastLiteEncoder
from napari_sam.acceleration.low_rank_decoding import LowRankDecoding, is_low_rank
from napari_sam.acceleration.tiny_vit_encoder import FastTinyViT
from napari_sam.acceleration.vit_encoder import FastViT
from napari_sam.modeling.image_encoder_lite import LiteImageEncoder
from napari_sam.modeling.image_encoder_tiny_vit import ImageEncoderTinyViT
from napari_sam.modeling.image_encoder_vit import ImageEncoderViT

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_sam.acceleration.decoding import Decoding
    from napari_sam.modeling.sam import ImageFeatures, Sam

    Encoding = Callable[[Tensor, Callable[[], None] | None], Tensor | ImageFeatures]

# Forms without gradients; bfloat16 where the processor gains by it.
_CPU_PRECISIONS = (torch.float32, torch.bfloat16)
_CPU_ENCODINGS: dict[type, Callable[[Any], Encoding]] = {
    ImageEncoderViT: FastViT,
    ImageEncoderTinyViT: FastTinyViT,
    LiteImageEncoder: FastLiteEncoder,
}


def choose_encoding(model: Sam) -> Encoding | None:
    """Return the fast form of a model's image encoder, None for the plain one."""
    if is_on_gpu(model):
        return gpu_encoding(model)
    encoder: Any = model.image_encoder
    is_on_cpu = model.device.type == "cpu" and model.dtype is torch.float32
    if is_on_cpu and not model.training and encoder.compute_dtype in _CPU_PRECISIONS:
        for kind, form in _CPU_ENCODINGS.items():
            if isinstance(encoder, kind):
                return form(encoder)
    return None


def choose_decoding(model: Sam) -> Decoding | None:
    """Return the fast form of a model's decoder, None for the plain one."""
    if is_on_gpu(model):
        return gpu_decoding(model)
    if is_low_rank(model):
        return LowRankDecoding(model)
    if is_convolutional(model):
        return ConvDecoding(model)
    return None

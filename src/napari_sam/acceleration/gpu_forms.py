# SPDX-License-Identifier: Apache-2.0
"""Which fast form suits which model on a CUDA GPU.

The plain form has to be beaten and matched where the user is: see `proof`. Apple's MPS
keeps to the plain form, because it ends the process where a kernel does not suit it,
and that cannot be tried out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_sam.acceleration.batched_decoding import is_batched
from napari_sam.acceleration.cuda_graph import GraphedDecoding
from napari_sam.acceleration.fused_encoder import FusedViT
from napari_sam.acceleration.model_state import state_of
from napari_sam.acceleration.proof import ProvenDecoding, ProvenEncoding
from napari_sam.modeling.image_encoder_vit import ImageEncoderViT

if TYPE_CHECKING:
    from napari_sam.modeling.sam import Sam


def is_on_gpu(model: Sam) -> bool:
    """Tell whether the forms here are to be asked for."""
    return model.device.type == "cuda"


def gpu_encoding(model: Sam) -> ProvenEncoding | None:
    """Return the fast form of an image encoder, None for the plain one."""
    encoder = model.image_encoder
    if not isinstance(encoder, ImageEncoderViT):
        return None
    if model.training or model.dtype is not torch.float32:
        return None
    return ProvenEncoding(model, lambda: FusedViT(encoder), state_of(model))


def gpu_decoding(model: Sam) -> ProvenDecoding | None:
    """Return the fast form of a decoder, None for the plain one."""
    if not is_batched(model):
        return None
    return ProvenDecoding(model, lambda: GraphedDecoding(model), state_of(model))

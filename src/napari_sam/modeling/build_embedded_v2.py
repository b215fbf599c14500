# SPDX-License-Identifier: Apache-2.0
"""The builder of the embedded model's second version."""

from __future__ import annotations

from napari_sam.modeling.image_encoder_pyramid import WIDTHS, PyramidImageEncoder
from napari_sam.modeling.mask_decoder_conv import ConvMaskDecoder
from napari_sam.modeling.object_head import ObjectHead
from napari_sam.modeling.prompt_encoder_map import STRIDE, MapPromptEncoder
from napari_sam.modeling.registry import register_model
from napari_sam.modeling.sam import Sam

IMAGE_SIZE = 512


@register_model
def embedded_v2() -> Sam:
    """4 M parameters on a 512-pixel frame, for laptops without a GPU."""
    return Sam(
        PyramidImageEncoder(),
        MapPromptEncoder(grid_size=IMAGE_SIZE // STRIDE, image_size=IMAGE_SIZE),
        ConvMaskDecoder(embed_dim=WIDTHS[2], widths=(96, 64, *WIDTHS[1::-1])),
        object_head=ObjectHead(WIDTHS[0]),
        image_size=IMAGE_SIZE,
        name="embedded",
    )

# SPDX-License-Identifier: Apache-2.0
"""The builder of the embedded model."""

from __future__ import annotations

from types import MappingProxyType

from napari_sam.modeling.image_encoder_lite import LiteImageEncoder
from napari_sam.modeling.mask_decoder import MaskDecoder
from napari_sam.modeling.prompt_encoder_spatial import SpatialPromptEncoder
from napari_sam.modeling.registry import register_model
from napari_sam.modeling.sam import Sam
from napari_sam.modeling.two_way_transformer import TwoWayTransformer

CHANNELS = 128
IMAGE_SIZE = 512
STRIDE = 8

# Chosen on the development part of the training data. Logits of a model this small are
# flatter than SAM's and its predicted IoU lower, so SAM's own thresholds keep nothing;
# a decoder pass is dear without a GPU, so the grid is coarser.
AUTO_DEFAULTS = MappingProxyType(
    {
        "points_per_side": 24,
        "pred_iou_thresh": 0.5,
        "stability_score_thresh": 0.6,
    }
)


@register_model
def embedded() -> Sam:
    """4 M parameters on a 512-pixel frame, for laptops without a GPU."""
    return Sam(
        LiteImageEncoder(out_chans=CHANNELS),
        SpatialPromptEncoder(
            embed_dim=CHANNELS,
            grid_size=IMAGE_SIZE // STRIDE,
            image_size=IMAGE_SIZE,
            pe_scale=4.0,
        ),
        MaskDecoder(
            CHANNELS,
            TwoWayTransformer(
                depth=2, embedding_dim=CHANNELS, num_heads=8, mlp_dim=512
            ),
            iou_head_hidden_dim=128,
        ),
        image_size=IMAGE_SIZE,
        name="embedded",
        auto_defaults=AUTO_DEFAULTS,
    )

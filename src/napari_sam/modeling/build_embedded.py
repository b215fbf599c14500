# SPDX-License-Identifier: Apache-2.0
"""The builder of the embedded model."""

from __future__ import annotations

from types import MappingProxyType

from napari_sam.modeling.image_encoder_lite import WIDTHS, LiteImageEncoder
from napari_sam.modeling.mask_decoder_conv import ConvMaskDecoder
from napari_sam.modeling.object_head import ObjectHead
from napari_sam.modeling.prompt_encoder_map import STRIDE, MapPromptEncoder
from napari_sam.modeling.registry import register_model
from napari_sam.modeling.sam import Sam

IMAGE_SIZE = 512
# Chosen on the development part of the training data. Logits of a model this small are
# flatter than SAM's and its predicted IoU lower, so SAM's own thresholds keep nothing;
# and it knows objects without asking every point of a grid.
AUTO_DEFAULTS = MappingProxyType(
    {
        "method": "fast",
        "points_per_side": 24,
        "pred_iou_thresh": 0.65,
        "stability_score_thresh": 0.6,
    }
)
# Objects that take fewer pixels of the frame are looked at enlarged.
MIN_OBJECT_PX = 24.0


@register_model
def embedded_v2() -> Sam:
    """4 M parameters on a 512-pixel frame, for laptops without a GPU."""
    return Sam(
        LiteImageEncoder(),
        MapPromptEncoder(grid_size=IMAGE_SIZE // STRIDE, image_size=IMAGE_SIZE),
        ConvMaskDecoder(embed_dim=WIDTHS[2], widths=(96, 64, *WIDTHS[1::-1])),
        object_head=ObjectHead(WIDTHS[0]),
        image_size=IMAGE_SIZE,
        name="embedded_v2",
        auto_defaults=AUTO_DEFAULTS,
        min_object_px=MIN_OBJECT_PX,
        exact_clicks=True,
    )

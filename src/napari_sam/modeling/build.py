# SPDX-License-Identifier: Apache-2.0
"""One function per published architecture, holding the numbers that differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam.modeling.image_encoder_tiny_vit import ImageEncoderTinyViT
from napari_sam.modeling.image_encoder_vit import ImageEncoderViT
from napari_sam.modeling.mask_decoder import MaskDecoder
from napari_sam.modeling.prompt_encoder import PromptEncoder
from napari_sam.modeling.registry import register_model
from napari_sam.modeling.sam import Sam
from napari_sam.modeling.two_way_transformer import TwoWayTransformer

if TYPE_CHECKING:
    from torch import nn

DECODER_HEADS = 8  # in every published SAM; shapes do not tell it


@dataclass(frozen=True, slots=True)
class DecoderSpec:
    """Sizes of prompt encoder and mask decoder; the defaults are those of SAM.

    ``image_size`` is in pixels, ``grid_size`` in cells of the image embedding.
    """

    image_size: int = 1024
    grid_size: int = 64
    channels: int = 256
    mask_in_chans: int = 16
    depth: int = 2
    mlp_dim: int = 2048
    iou_head_hidden_dim: int = 256

    def assemble(self, name: str, image_encoder: nn.Module) -> Sam:
        """Put a Sam together around an image encoder."""
        transformer = TwoWayTransformer(
            self.depth, self.channels, DECODER_HEADS, self.mlp_dim
        )
        return Sam(
            image_encoder,
            PromptEncoder(
                self.channels, self.grid_size, self.image_size, self.mask_in_chans
            ),
            MaskDecoder(
                self.channels,
                transformer,
                iou_head_hidden_dim=self.iou_head_hidden_dim,
            ),
            image_size=self.image_size,
            name=name,
        )


@dataclass(frozen=True, slots=True)
class VitSpec:
    """Sizes of a ViT image encoder; the defaults are what the published ones share.

    ``patch_size`` is in pixels, ``window_size`` in tokens.
    """

    embed_dim: int
    depth: int
    num_heads: int
    mlp_dim: int
    global_attn_indexes: tuple[int, ...]
    window_size: int = 14
    patch_size: int = 16


def build_vit_sam(name: str, vit: VitSpec, decoder: DecoderSpec = DecoderSpec()) -> Sam:
    """Build a SAM with a ViT encoder of any size."""
    encoder = ImageEncoderViT(
        image_size=decoder.image_size,
        patch_size=vit.patch_size,
        embed_dim=vit.embed_dim,
        depth=vit.depth,
        num_heads=vit.num_heads,
        mlp_dim=vit.mlp_dim,
        out_chans=decoder.channels,
        global_attn_indexes=vit.global_attn_indexes,
        window_size=vit.window_size,
    )
    return decoder.assemble(name, encoder)


@register_model
def vit_b() -> Sam:
    """SAM ViT-B, 94 M parameters (Kirillov et al. 2023)."""
    return build_vit_sam(
        "vit_b",
        VitSpec(
            embed_dim=768,
            depth=12,
            num_heads=12,
            mlp_dim=3072,
            global_attn_indexes=(2, 5, 8, 11),
        ),
    )


@register_model
def vit_l() -> Sam:
    """SAM ViT-L, 312 M parameters (Kirillov et al. 2023)."""
    return build_vit_sam(
        "vit_l",
        VitSpec(
            embed_dim=1024,
            depth=24,
            num_heads=16,
            mlp_dim=4096,
            global_attn_indexes=(5, 11, 17, 23),
        ),
    )


@register_model
def vit_h() -> Sam:
    """SAM ViT-H, 641 M parameters (Kirillov et al. 2023)."""
    return build_vit_sam(
        "vit_h",
        VitSpec(
            embed_dim=1280,
            depth=32,
            num_heads=16,
            mlp_dim=5120,
            global_attn_indexes=(7, 15, 23, 31),
        ),
    )


@register_model
def vit_t() -> Sam:
    """MobileSAM, 10 M parameters (Zhang et al. 2023)."""
    encoder = ImageEncoderTinyViT(
        embed_dims=(64, 128, 160, 320),
        depths=(2, 2, 6, 2),
        num_heads=(4, 5, 10),
        window_sizes=(7, 14, 7),
    )
    return DecoderSpec().assemble("vit_t", encoder)

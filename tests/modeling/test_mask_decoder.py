# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from napari_sam.modeling.mask_decoder import MaskDecoder
from napari_sam.modeling.two_way_transformer import TwoWayTransformer

C, G, B, T = 32, 4, 3, 2


@pytest.fixture
def decoder() -> MaskDecoder:
    torch.manual_seed(0)
    module = MaskDecoder(C, TwoWayTransformer(2, C, 8, 24), iou_head_hidden_dim=16)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.eval().requires_grad_(False)


def inputs() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    return (
        torch.randn(1, C, G, G),
        torch.randn(1, C, G, G),
        torch.randn(B, T, C),
        torch.randn(B, C, G, G),
    )


def test_four_masks_and_scores_per_prompt(decoder: MaskDecoder) -> None:
    logits, iou = decoder(*inputs())
    assert (logits.shape, iou.shape) == ((B, 4, 4 * G, 4 * G), (B, 4))


def test_prompts_of_a_batch_do_not_mix(decoder: MaskDecoder) -> None:
    image, pe, sparse, dense = inputs()
    together = decoder(image, pe, sparse, dense)
    for b in range(B):
        alone = decoder(image, pe, sparse[b : b + 1], dense[b : b + 1])
        for whole, part in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[b : b + 1], part, atol=1e-4, rtol=1e-4)


def test_order_of_prompt_tokens_does_not_matter(decoder: MaskDecoder) -> None:
    image, pe, sparse, dense = inputs()
    logits, _ = decoder(image, pe, sparse, dense)
    flipped, _ = decoder(image, pe, sparse.flip(1), dense)
    torch.testing.assert_close(logits, flipped, atol=1e-4, rtol=1e-4)


def test_finer_maps_change_the_masks_and_zero_ones_do_not(
    decoder: MaskDecoder,
) -> None:
    plain, _ = decoder(*inputs())
    finer = (torch.zeros(1, C // 4, 2 * G, 2 * G), torch.zeros(1, C // 8, 4 * G, 4 * G))
    zero, _ = decoder(*inputs(), high_res=finer)
    torch.testing.assert_close(zero, plain)
    ones, _ = decoder(*inputs(), high_res=tuple(torch.ones_like(f) for f in finer))
    assert not torch.allclose(ones, plain)


def test_keys_of_published_weights_stay(decoder: MaskDecoder) -> None:
    assert set(decoder.output_upscaling.state_dict()) == {
        f"{i}.{name}" for i in (0, 1, 3) for name in ("weight", "bias")
    }


def test_finer_maps_are_added_before_the_norm_and_the_last_activation(
    decoder: MaskDecoder,
) -> None:
    tokens = decoder.attend(*inputs())
    finer = (
        torch.randn(1, C // 4, 2 * G, 2 * G),
        torch.randn(1, C // 8, 4 * G, 4 * G),
    )
    first, norm, _, second, _ = decoder.output_upscaling
    half = functional.gelu(norm(first(tokens.image) + finer[0]))
    full = functional.gelu(second(half) + finer[1])
    expected = torch.einsum("bnc,bchw->bnhw", tokens.hyper, full)
    torch.testing.assert_close(decoder.draw(tokens, finer), expected)

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from napari_sam.modeling.sam import Sam


def test_normalises_before_padding(tiny_sam: Sam) -> None:
    rgb = torch.full((1, 3, 4, 256), 255.0)
    x = tiny_sam.preprocess(rgb)
    assert x.shape == (1, 3, 256, 256)
    assert (x[:, :, 4:] == 0).all()
    expected = (torch.tensor([255.0] * 3) - tiny_sam.pixel_mean.flatten()) / (
        tiny_sam.pixel_std.flatten()
    )
    torch.testing.assert_close(x[0, :, 3, 255], expected)


def test_whole_path(tiny_sam: Sam) -> None:
    calls = []
    with torch.inference_mode():
        features = tiny_sam.encode_image(
            torch.randn(1, 3, 256, 256), check=lambda: calls.append(1)
        )
        points = torch.rand(5, 2, 2) * 255, torch.ones(5, 2)
        sparse, dense = tiny_sam.encode_prompts(points=points)
        logits, iou = tiny_sam.decode(features, sparse, dense)
    assert len(calls) == 4
    assert features.embedding.shape == (1, 64, 16, 16)
    assert features.high_res == ()
    assert (logits.shape, iou.shape) == ((5, 4, 64, 64), (5, 4))

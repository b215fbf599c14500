# SPDX-License-Identifier: Apache-2.0
"""Prompts and outputs kept of the plain form, the measure of all others."""

import pytest
import torch

from napari_sam.acceleration.decoding import PlainDecoding, Prompts
from napari_sam.modeling.sam import ImageFeatures


@pytest.fixture(scope="module")
def attended(tiny_sam):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 64, 16, 16, generator=generator)
    places = torch.rand(5, 1, 2, generator=generator) * 256
    decoding = PlainDecoding(tiny_sam)
    with torch.inference_mode():
        image = decoding.prepare(ImageFeatures(features))
        return decoding.attend(image, Prompts((places, torch.ones(5, 1))))


@pytest.mark.parametrize("rows", [[4, 3, 2, 1, 0], [1, 1, 4, 0, 1], [2], [0, 0]])
def test_prompts_in_another_order_and_repeated(attended, rows):
    outputs = torch.arange(len(rows)) % 4
    with torch.inference_mode():
        kept = attended.of_prompts(torch.tensor(rows))
        chosen = kept.of_outputs(outputs).draw()
        wanted = attended.draw()[rows]
    torch.testing.assert_close(kept.predicted_iou, attended.predicted_iou[rows])
    torch.testing.assert_close(kept.draw(), wanted, atol=1e-4, rtol=0)
    picked = wanted[torch.arange(len(rows)), outputs]
    torch.testing.assert_close(chosen[:, 0], picked, atol=1e-4, rtol=0)

# SPDX-License-Identifier: Apache-2.0
"""The fast form of the pyramid encoder against the plain one."""

import pytest
import torch

from napari_sam.acceleration.engine import Engine
from napari_sam.acceleration.pyramid_encoder import FastPyramidEncoder
from napari_sam.modeling.image_encoder_pyramid import PyramidImageEncoder
from napari_sam.modeling.registry import build_model


@pytest.fixture(scope="module")
def encoder() -> PyramidImageEncoder:
    torch.manual_seed(0)
    return PyramidImageEncoder().eval()


@pytest.mark.parametrize("size", [64, 160])
@torch.no_grad()
def test_maps_are_those_of_the_plain_form(encoder, size: int) -> None:
    frames = torch.randn(2, 3, size, size)
    wanted, found = encoder(frames), FastPyramidEncoder(encoder)(frames)
    for right, ours in zip(
        (wanted.embedding, *wanted.high_res),
        (found.embedding, *found.high_res),
        strict=True,
    ):
        assert ours.is_contiguous()
        scale = float(right.abs().max())
        torch.testing.assert_close(ours, right, rtol=0, atol=1e-5 * scale)


def test_it_stops_between_stages(encoder) -> None:
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        FastPyramidEncoder(encoder)(torch.zeros(1, 3, 64, 64), check)
    assert len(calls) == 3


def test_the_engine_asks_it() -> None:
    model = build_model("embedded_v2").eval()
    frame = torch.randn(1, 3, 512, 512)
    with torch.no_grad():
        found = Engine(model).encode_image(frame)
        wanted = model.encode_image(frame)
    torch.testing.assert_close(found.embedding, wanted.embedding, rtol=0, atol=1e-4)

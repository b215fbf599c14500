# SPDX-License-Identifier: Apache-2.0
"""Masks drawn where they are only, against masks drawn whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from torch import Tensor

from napari_sam.acceleration import conv_drawing
from napari_sam.acceleration.conv_drawing import ConvDrawing, Window
from napari_sam.modeling.prompt_encoder_map import fine_maps
from napari_sam.modeling.registry import build_model

if TYPE_CHECKING:
    from napari_sam.modeling.mask_decoder_conv import ConvMaskDecoder

SIDE = 64
ABOVE = -1.0
PLACES = torch.tensor([[100.0, 200.0, 1.0], [90.0, 210.0, 0.0]])


@pytest.fixture(scope="module")
def drawing() -> ConvDrawing:
    torch.manual_seed(0)
    decoder = cast("ConvMaskDecoder", build_model("embedded_v2").eval().mask_decoder)
    torch.nn.init.normal_(decoder.fine_prompts.weight, std=0.1)
    return ConvDrawing(decoder, SIDE)


def disc(y: float, x: float, radius: float) -> Tensor:
    """Coarse logits of a disc with a soft rim, 12 at most, -12 at least."""
    at = torch.arange(SIDE) + 0.5
    distance = torch.hypot(at[:, None] - y, at - x)
    return (3 * (radius - distance)).clamp(-12, 12).flatten()


def drawn(drawing: ConvDrawing, coarse: Tensor, strength: float, above: Any) -> Tensor:
    """Draw masks (k, h w) with random finer maps."""
    draw = torch.Generator().manual_seed(3)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw)

    with torch.inference_mode():
        maps = drawing.arrange([random(1, 32, 128, 128), random(1, 16, 256, 256)])
        cells, hyper = random(SIDE**2, 64), strength * random(len(coarse), 17)
        return drawing(maps, cells, coarse, hyper, PLACES, above)


SCENES = {
    "inside": disc(30.2, 21.7, 4),
    "at a corner": disc(0, 63, 5),
    "at an edge": disc(40, 0.5, 3),
    "a single cell": disc(30.5, 21.5, 0.3),
    "two apart": torch.maximum(disc(10, 8, 3), disc(18, 30, 4)),
    "nearly everything": disc(32, 32, 30),
}


@pytest.mark.parametrize("name", SCENES)
def test_logits_above_the_threshold_are_those_of_the_whole(
    drawing: ConvDrawing, name: str
) -> None:
    coarse = torch.stack([SCENES[name], SCENES[name] - 2])
    whole = drawn(drawing, coarse, 0.05, None)
    part = drawn(drawing, coarse, 0.05, ABOVE)
    is_above = whole > ABOVE
    assert is_above[0].any()
    torch.testing.assert_close(part[is_above], whole[is_above], rtol=1e-4, atol=1e-4)
    assert float(part[~is_above].max()) <= ABOVE + 1e-4
    # Samples beside those, of which a mask's outermost pixels are made, too.
    beside = torch.nn.functional.max_pool2d(is_above.float(), 3, 1, 1) > 0
    torch.testing.assert_close(part[beside], whole[beside], rtol=1e-4, atol=1e-4)


def test_what_is_far_away_is_not_drawn(drawing: ConvDrawing) -> None:
    part = drawn(drawing, disc(30, 20, 3)[None], 0.05, ABOVE)
    assert bool((part[0, :, 160:] == ABOVE).all())
    nothing = drawn(drawing, torch.full((2, SIDE**2), -9.0), 0.05, ABOVE)
    assert bool((nothing == ABOVE).all())


def test_all_is_drawn_where_the_finer_maps_say_much(drawing: ConvDrawing) -> None:
    coarse = disc(30, 20, 3)[None]
    whole = drawn(drawing, coarse, 3.0, None)
    around = torch.nn.functional.max_pool2d(coarse.view(1, SIDE, SIDE), 3, 1, 1)
    assert float(whole.amax() - around.amax()) > conv_drawing.LIMIT
    assert torch.equal(drawn(drawing, coarse, 3.0, ABOVE), whole)


def test_windows_have_few_sizes_and_stay_in_the_map() -> None:
    sizes = set()
    for first in range(0, 60, 3):
        for last in range(first, 64, 3):
            coarse = torch.full((1, SIDE, SIDE), -9.0)
            coarse[:, first : last + 1, 5] = 0.0
            window = conv_drawing._window(coarse, -5.0)
            assert window is not None
            assert window.top <= max(first - 3, 0)
            assert window.bottom >= min(last + 4, SIDE)
            assert 0 <= window.left <= 2
            sizes.add(window.bottom - window.top)
    assert sizes == {8, 16, 24, 32, 40, 48, 56, 64}
    assert Window(0, 8, 64, 16).shrunk(1, SIDE) == Window(0, 9, 64, 15)


@pytest.mark.parametrize("label", [1.0, 0.0, -1.0])
def test_a_single_click_shows_what_the_plain_maps_say(
    drawing: ConvDrawing, label: float
) -> None:
    places = torch.tensor([[100.0, 200.0, label]])
    window = Window(20, 8, 28, 16)  # of cells with the click inside
    shown, weight = drawing._shown(places, window)
    rows = slice(2 * window.top, 2 * window.bottom)
    columns = slice(2 * window.left, 2 * window.right)
    plain = fine_maps(places[None], (2 * SIDE, 2 * SIDE))[0, :, rows, columns]
    found = torch.einsum("khw,kc->chw", shown, weight)
    wanted = torch.einsum("khw,kc->chw", plain, drawing._weight)
    assert (float(wanted.abs().max()) > 0) == (label >= 0)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)

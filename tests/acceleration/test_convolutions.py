# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_sam.acceleration import convolutions
from napari_sam.acceleration.bottleneck import Bottleneck
from napari_sam.acceleration.convolutions import (
    Convolution,
    bands,
    channel_norm,
    empty_map,
    even_bands,
    image_order,
    is_fusing_right,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=["fused", "two steps"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "two steps":
        monkeypatch.setattr(convolutions, "is_fusing_right", lambda _: False)
    elif not is_fusing_right(torch.float32):
        pytest.skip("this PyTorch has no such operation")


def drawn_map(channels: int, height: int, width: int) -> Tensor:
    x = empty_map(channels, height, width)
    return x.copy_(torch.randn(x.shape))


def activated(x: Tensor, activation: str | None) -> Tensor:
    known = {"gelu": functional.gelu, "relu6": functional.relu6, None: lambda y: y}
    return known[activation](x)


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("activation", ["gelu", "relu6", None])
@pytest.mark.parametrize(
    ("kernel", "stride", "groups"),
    [(1, 1, 1), (3, 1, 12), (5, 2, 12), (3, 2, 1), (3, 2, 12)],
)
def test_same_as_convolution(
    kernel: int, stride: int, groups: int, activation: str | None
) -> None:
    layer = nn.Conv2d(12, 24, kernel, stride, kernel // 2, groups=groups)
    fast = Convolution(
        layer.weight,
        layer.bias,
        stride=stride,
        groups=groups,
        activation=activation,
    )
    x = 4 * drawn_map(12, 13, 10)
    with torch.no_grad():
        wanted = activated(layer(x), activation)
        out = fast(x)
    torch.testing.assert_close(out, wanted, atol=1e-5, rtol=1e-5)
    assert out.permute(0, 2, 3, 1).is_contiguous()
    assert fast.size(13) == wanted.shape[2]


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("height", [1, 2, 7, 8, 13])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 1), (5, 2)])
def test_bands_are_rows_of_the_whole(kernel: int, stride: int, height: int) -> None:
    layer = nn.Conv2d(8, 8, kernel, stride, kernel // 2, groups=8)
    fast = Convolution(layer.weight, layer.bias, stride=stride, groups=8)
    x = drawn_map(8, height, 9)
    with torch.no_grad():
        wanted = layer(x)
        for n_rows in (1, 2, 3, 100):
            for start, stop in bands(wanted.shape[2], n_rows):
                rows = fast.rows_for(start, stop, height)
                band = fast.in_rows(x[:, :, rows.start : rows.stop], rows)
                right = wanted[:, :, start:stop]
                torch.testing.assert_close(band, right, atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("_way")
def test_sums() -> None:
    layer = nn.Conv2d(12, 24, 1)
    fast = Convolution(layer.weight[..., 0, 0], layer.bias)  # as a linear layer
    x, total = drawn_map(12, 9, 7), drawn_map(24, 9, 7)
    before = total.clone()
    with torch.no_grad():
        wanted = before + layer(x)
        out = fast.plus(total, x)
        torch.testing.assert_close(out, wanted, atol=1e-5, rtol=1e-5)
        assert torch.equal(total, before)
        fast.add_to(total[:, :, 2:5], x[:, :, 2:5])
    torch.testing.assert_close(total[:, :, 2:5], wanted[:, :, 2:5], atol=1e-5, rtol=0)
    assert torch.equal(total[:, :, :2], before[:, :, :2])
    assert torch.equal(total[:, :, 5:], before[:, :, 5:])


def test_low_precision_added_to_float32() -> None:
    layer = nn.Conv2d(16, 16, 1)
    fast = Convolution(layer.weight, layer.bias, dtype=torch.bfloat16)
    x, total = drawn_map(16, 6, 5), drawn_map(16, 6, 5)
    with torch.no_grad():
        wanted = total + layer(x)
        assert fast(x).dtype is torch.bfloat16
        assert fast.plus(total, x).dtype is torch.float32
        fast.add_to(total, x)
    assert total.dtype is torch.float32
    torch.testing.assert_close(total, wanted, atol=0.05, rtol=0.02)


def test_weights_are_copied() -> None:
    layer = nn.Conv2d(4, 4, 1)
    fast = Convolution(layer.weight, layer.bias)
    x = drawn_map(4, 3, 3)
    before = fast(x)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
    assert torch.equal(fast(x), before)


@pytest.mark.parametrize(
    ("has_shortcut", "stride"), [(True, 1), (False, 1), (False, 2)]
)
@pytest.mark.parametrize("size", [(17, 6), (1, 1), (8, 5)])
def test_bottleneck_in_bands(
    has_shortcut: bool,
    stride: int,
    size: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    widen, narrow = nn.Conv2d(4, 16, 1), nn.Conv2d(16, 4, 1)
    mix = nn.Conv2d(16, 16, 3, stride, 1, groups=16)
    fast = Bottleneck(
        Convolution(widen.weight, widen.bias, activation="relu6"),
        Convolution(mix.weight, mix.bias, stride=stride, groups=16, activation="relu6"),
        Convolution(narrow.weight, narrow.bias),
        has_shortcut=has_shortcut,
        activation="gelu",
    )
    x = drawn_map(4, *size)
    before = x.clone()
    with torch.no_grad():
        y = narrow(functional.relu6(mix(functional.relu6(widen(x)))))
        wanted = functional.gelu(y + x if has_shortcut else y)
        for values in (1, 300, 1 << 20):  # one row a band, several, everything
            monkeypatch.setattr(convolutions, "BAND_VALUES", values)
            torch.testing.assert_close(fast(x), wanted, atol=1e-5, rtol=1e-5)
    assert torch.equal(x, before)


def test_channel_norm() -> None:
    x = 5 + 3 * drawn_map(6, 3, 4)
    out = channel_norm(x, 1e-6)
    torch.testing.assert_close(out.mean(1), torch.zeros(1, 3, 4), atol=1e-5, rtol=0)
    ones = torch.ones(1, 3, 4)
    torch.testing.assert_close(out.square().mean(1), ones, atol=1e-4, rtol=0)
    assert out.stride() == x.stride()


def test_image_order() -> None:
    x = drawn_map(6, 3, 5)
    out = image_order(x)
    assert torch.equal(out, x)
    assert out.is_contiguous()


@pytest.mark.parametrize("height", [1, 5, 64])
@pytest.mark.parametrize("values", [1, 1 << 17, 1 << 19, 1 << 30])
def test_even_bands(height: int, values: int) -> None:
    cut = list(even_bands(height, values))
    rows = [row for start, stop in cut for row in range(start, stop)]
    assert rows == list(range(height))
    tallest = max(stop - start for start, stop in cut)
    assert tallest == 1 or tallest * values <= 2 * convolutions.BAND_VALUES

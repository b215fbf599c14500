# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_sam.modeling import vit_blocks
from napari_sam.modeling.vit_blocks import (
    Block,
    RelativeAttention,
    merge_windows,
    relative_table,
    split_windows,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def randomise(module: nn.Module) -> nn.Module:
    """Give every tensor a say: initialisations hide errors in biases and tables."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.eval().requires_grad_(False)


@pytest.mark.parametrize("grid", [(14, 14), (64, 64), (10, 3), (15, 29), (1, 1)])
@pytest.mark.parametrize("size", [7, 14])
def test_merging_undoes_splitting(grid: tuple[int, int], size: int) -> None:
    x = torch.randn(2, *grid, 3)
    windows = split_windows(x, size)
    per_image = -(-grid[0] // size) * -(-grid[1] // size)
    assert windows.shape == (2 * per_image, size, size, 3)
    assert torch.equal(merge_windows(windows, grid), x)


def test_windows_run_along_rows_and_padding_is_zero() -> None:
    x = torch.arange(1.0, 7.0).reshape(1, 2, 3, 1)  # 1 2 3 / 4 5 6
    windows = split_windows(x, 2)[..., 0]
    assert windows.tolist() == [[[1, 2], [4, 5]], [[3, 0], [6, 0]]]


def test_relative_table_is_query_minus_key() -> None:
    table = relative_table(torch.arange(5.0)[:, None])[..., 0]  # S = 3
    assert table.tolist() == [[2, 1, 0], [3, 2, 1], [4, 3, 2]]


def attention_by_definition(attn: RelativeAttention, x: torch.Tensor) -> torch.Tensor:
    """One query after the other, in float64, from the published formula."""
    attn, x = attn.double(), x.double()
    side, dim = x.shape[1], x.shape[-1]
    d = dim // attn.num_heads
    out = torch.empty(len(x), side * side, dim, dtype=torch.float64)
    for b, tokens in enumerate(x.reshape(len(x), side * side, dim)):
        qkv = tokens @ attn.qkv.weight.T + attn.qkv.bias
        for h in range(attn.num_heads):
            q, k, v = (
                qkv[:, part * dim + h * d : part * dim + (h + 1) * d]
                for part in range(3)
            )
            for n, query in enumerate(q):
                i, j = divmod(n, side)
                logits = (query * d**-0.5) @ k.T
                for m in range(side * side):
                    a, c = divmod(m, side)
                    logits[m] += query @ attn.rel_pos_h[i - a + side - 1]
                    logits[m] += query @ attn.rel_pos_w[j - c + side - 1]
                out[b, n, h * d : (h + 1) * d] = logits.softmax(0) @ v
    return (out @ attn.proj.weight.T + attn.proj.bias).reshape(x.shape)


@pytest.mark.parametrize("max_logits", [1, 3 * 4 * 4 * 16, 1 << 23])
def test_attention_is_the_published_formula_in_any_slices(
    monkeypatch: pytest.MonkeyPatch, max_logits: int
) -> None:
    monkeypatch.setattr(vit_blocks, "MAX_LOGITS", max_logits)
    attn = randomise(RelativeAttention(12, num_heads=3, size=4))
    x = torch.randn(2, 4, 4, 12)
    got = attn(x)
    torch.testing.assert_close(
        got, attention_by_definition(attn, x).float(), atol=1e-5, rtol=1e-5
    )


def test_gradients_pass_through_the_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    attn = randomise(RelativeAttention(8, num_heads=2, size=3)).requires_grad_(True)
    x = torch.randn(1, 3, 3, 8)
    gradients = []
    for max_logits in (1, 1 << 23):
        monkeypatch.setattr(vit_blocks, "MAX_LOGITS", max_logits)
        attn.zero_grad()
        attn(x).square().sum().backward()
        gradients.append([p.grad.clone() for p in attn.parameters()])
    assert all(g.abs().max() > 0 for g in gradients[0])
    torch.testing.assert_close(*gradients)


def test_padded_tokens_take_part_in_a_windowed_block() -> None:
    """On a grid smaller than the window, attention also sees the padding's bias."""
    block = randomise(Block(8, 2, 16, grid_size=3, window_size=4))
    x = torch.randn(1, 3, 3, 8)
    normed = torch.zeros(1, 4, 4, 8)
    normed[:, :3, :3] = block.norm1(x)
    attended = x + block.attn(normed)[:, :3, :3]
    expected = attended + block.mlp(block.norm2(attended))
    torch.testing.assert_close(block(x), expected)
    assert block.norm1.eps == block.norm2.eps == 1e-6

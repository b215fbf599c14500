# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch

from napari_sam.modeling.prompt_encoder import PromptEncoder

GRID, IMAGE, CHANNELS = 4, 64, 16


@pytest.fixture
def encoder() -> PromptEncoder:
    torch.manual_seed(0)
    return PromptEncoder(CHANNELS, GRID, IMAGE, 8).eval().requires_grad_(False)


def code_by_definition(encoder: PromptEncoder, x: float, y: float) -> torch.Tensor:
    """Random Fourier features of a pixel, from the published formula."""
    matrix = encoder.pe_layer.positional_encoding_gaussian_matrix
    px, py = 2 * (x + 0.5) / IMAGE - 1, 2 * (y + 0.5) / IMAGE - 1
    z = 2 * math.pi * (px * matrix[0] + py * matrix[1])
    return torch.cat([z.sin(), z.cos()])


def points(*xyl: tuple[float, float, int]) -> tuple[torch.Tensor, torch.Tensor]:
    values = torch.tensor(xyl, dtype=torch.float32)
    return values[None, :, :2], values[None, :, 2].long()


def test_code_at_a_cell_centre_is_the_dense_code(encoder: PromptEncoder) -> None:
    cell = IMAGE // GRID
    dense = encoder.dense_pe()
    assert dense.shape == (1, CHANNELS, GRID, GRID)
    for row, column in ((0, 0), (1, 3), (3, 2)):
        x, y = (column + 0.5) * cell - 0.5, (row + 0.5) * cell - 0.5
        sparse, _ = encoder(points((x, y, 1)), None, None)
        token = sparse[0, 0] - encoder.point_embeddings[1].weight[0]
        torch.testing.assert_close(token, dense[0, :, row, column])
        torch.testing.assert_close(token, code_by_definition(encoder, x, y))


def test_tokens_of_points_without_a_box(encoder: PromptEncoder) -> None:
    sparse, dense = encoder(points((3, 5, 1), (9, 2, 0), (7, 7, -1)), None, None)
    assert sparse.shape == (1, 4, CHANNELS)  # one padding token more
    embeddings = [e.weight[0] for e in encoder.point_embeddings]
    padding = encoder.not_a_point_embed.weight[0]
    expected = [
        code_by_definition(encoder, 3, 5) + embeddings[1],
        code_by_definition(encoder, 9, 2) + embeddings[0],
        padding,
        padding,
    ]
    torch.testing.assert_close(sparse[0], torch.stack(expected))
    assert dense.shape == (1, CHANNELS, GRID, GRID)
    assert torch.equal(dense[0, :, 2, 1], encoder.no_mask_embed.weight[0])


def test_tokens_of_a_box_follow_the_points_and_replace_the_padding(
    encoder: PromptEncoder,
) -> None:
    box = torch.tensor([[1.0, 2.0, 30.0, 40.0]])
    corners = torch.stack(
        [
            code_by_definition(encoder, 1, 2) + encoder.point_embeddings[2].weight[0],
            code_by_definition(encoder, 30, 40) + encoder.point_embeddings[3].weight[0],
        ]
    )
    only_box, _ = encoder(None, box, None)
    torch.testing.assert_close(only_box[0], corners)
    both, _ = encoder(points((3, 5, 1)), box, None)
    assert both.shape == (1, 3, CHANNELS)
    torch.testing.assert_close(both[0, 1:], corners)


def test_masks_and_nothing(encoder: PromptEncoder) -> None:
    masks = torch.randn(3, 1, 4 * GRID, 4 * GRID)
    sparse, dense = encoder(None, None, masks)
    assert sparse.shape == (3, 0, CHANNELS)
    assert dense.shape == (3, CHANNELS, GRID, GRID)
    sparse, dense = encoder(None, None, None)
    assert (sparse.shape[:2], len(dense)) == ((1, 0), 1)

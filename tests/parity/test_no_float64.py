# SPDX-License-Identifier: Apache-2.0
"""Apple's MPS has no float64, so nothing between picture and mask may need it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from skimage import data
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from napari_sam.modeling.registry import build_model
from napari_sam.prediction.predictor import SamPredictor

if TYPE_CHECKING:
    from napari_sam.modeling.sam import Sam


class SeenDtypes(TorchDispatchMode):
    """Note the dtype of every tensor that any operation makes or takes."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, out)):
            if isinstance(leaf, torch.Tensor):
                self.dtypes.add(leaf.dtype)
        return out


@pytest.mark.parametrize("architecture", ["vit_b", "vit_t", "embedded_v2"])
def test_model(architecture: str) -> None:
    """Lesson 24: nothing reaches a device in float64, which some devices do not
    have.
    """
    sam = build_model(architecture, device="meta").to("meta")  # nothing is computed
    size = sam.image_size
    with torch.device("meta"), torch.no_grad(), SeenDtypes() as seen:
        features = sam.encode_image(torch.zeros(1, 3, size, size))
        grid = 4 * sam.grid_size
        sparse, dense = sam.encode_prompts(
            points=(torch.zeros(1, 2, 2), torch.ones(1, 2, dtype=torch.int64)),
            boxes=torch.zeros(1, 4),
            masks=torch.zeros(1, 1, grid, grid),
        )
        sam.decode(features, sparse, dense)
    assert torch.float32 in seen.dtypes
    assert torch.float64 not in seen.dtypes


def test_predictor(tiny_sam: Sam) -> None:
    """Lesson 24: nothing reaches a device in float64, which some devices do not
    have.
    """
    predictor = SamPredictor(tiny_sam)
    with SeenDtypes() as seen:
        embedding = predictor.embed(data.coffee())
        answer = predictor.predict(
            embedding,
            points_yx=[(200.25, 300.5)],
            point_labels=[1],
            box_yx=(60, 120, 330, 420.5),
        )
        predictor.predict(embedding, mask_input=answer.low_res_logits[0])
    assert torch.float32 in seen.dtypes
    assert torch.float64 not in seen.dtypes

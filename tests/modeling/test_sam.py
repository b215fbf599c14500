# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

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


@pytest.mark.parametrize("architecture", ["mini", "vit_t"])
def test_float64_appears_nowhere(tiny_sam: Sam, architecture: str) -> None:
    """Apple's MPS has no float64, so no operation of the model may need it."""
    sam = tiny_sam
    if architecture == "vit_t":
        from napari_sam.modeling.registry import build_model

        sam = build_model("vit_t", device="meta").to("meta")  # nothing is computed
    size, device = sam.image_size, sam.device
    with torch.no_grad(), SeenDtypes() as seen:
        features = sam.encode_image(torch.zeros(1, 3, size, size, device=device))
        sparse, dense = sam.encode_prompts(
            points=(
                torch.zeros(1, 2, 2, device=device),
                torch.ones(1, 2, dtype=torch.int64, device=device),
            ),
            boxes=torch.zeros(1, 4, device=device),
            masks=torch.zeros(1, 1, size // 4, size // 4, device=device),
        )
        sam.decode(features, sparse, dense)
    assert torch.float32 in seen.dtypes
    assert torch.float64 not in seen.dtypes

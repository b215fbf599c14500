# SPDX-License-Identifier: Apache-2.0
"""The reference implementations beside us, with the same weights.

`segment-anything` 1.0 and `mobilesam-mirror` from PyPI are installed without what they
depend on (`make bench`). A few functions of torchvision and timm stand in for those:
Pillow's resize, greedy suppression, and three helpers of models. Weights are random:
position codes and relative positions, which the reference begins at zero, are drawn
too, because zeros would hide errors.
"""

from __future__ import annotations

import sys
import tempfile
import types
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from napari_sam import load_model

if TYPE_CHECKING:
    from napari_sam.modeling.sam import Sam

MOBILE = ("vit_t",)


@dataclass
class Pair:
    """One set of weights in two implementations.

    Attributes
    ----------
    package : module
        The reference's package.
    reference : nn.Module
        Its model.
    ours : Sam
    """

    package: Any
    reference: Any
    ours: Sam


def load_pair(name: str, device: str = "cpu", dtype: str | None = None) -> Pair:
    """Build a model of the reference, and load its weights into ours.

    Parameters
    ----------
    name : str
        ``vit_t`` of MobileSAM; ``vit_b``, ``vit_l`` or ``vit_h``.
    device : str
        Where both run.
    dtype : str or None
        Precision of our image encoder.
    """
    package, reference = load_reference(name, device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.pth"
        torch.save(reference.state_dict(), path)
        ours = load_model(checkpoint=path, device=device, dtype=dtype)
    return Pair(package, reference, ours)


def load_reference(name: str, device: str = "cpu") -> tuple[Any, Any]:
    """Build a model of the reference; returns its package and the model."""
    install_stand_ins()
    package = __import__("mobile_sam" if name in MOBILE else "segment_anything")
    torch.manual_seed(0)
    reference = package.sam_model_registry[name]()
    _randomise(reference)
    # The reference's TinyViT gathers its attention biases when it enters evaluation,
    # and would go on with those from before.
    reference.train()
    reference.eval()
    return package, reference.to(device)


def _randomise(model: nn.Module) -> None:
    """Draw what the reference begins at zero or one."""
    with torch.no_grad():
        for key, value in [*model.named_parameters(), *model.named_buffers()]:
            if not value.is_floating_point():
                continue
            if "rel_pos" in key or "pos_embed" in key or "attention_biases" in key:
                value.normal_(0, 0.1)
            elif key.endswith("running_var"):
                value.uniform_(0.5, 2)
            elif key.endswith(("running_mean", "bias")):
                value.normal_(0, 0.05)


def install_stand_ins() -> None:
    """Let the reference find what it imports of torchvision and timm."""
    if "torchvision" in sys.modules:
        return
    _module("torchvision")
    _module("torchvision.ops")
    _module("torchvision.ops.boxes", batched_nms=suppress, box_area=box_area)
    _module("torchvision.transforms")
    _module(
        "torchvision.transforms.functional",
        resize=resize,
        to_pil_image=Image.fromarray,
    )
    _module("timm")
    _module("timm.models")
    _module(
        "timm.models.layers",
        DropPath=KeepPath,
        to_2tuple=lambda x: x if isinstance(x, tuple) else (x, x),
        trunc_normal_=nn.init.trunc_normal_,
    )
    _module("timm.models.registry", register_model=lambda function: function)


def _module(name: str, **content: Any) -> None:
    module = types.ModuleType(name)
    vars(module).update(content)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


class KeepPath(nn.Module):
    """A layer that drops nothing, as always in evaluation."""

    def __init__(self, drop_prob: float | None = None) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        """Return what came."""
        return x


def resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize to (h, w) with Pillow's bilinear filter, torchvision's default."""
    return image.resize((size[1], size[0]), Image.Resampling.BILINEAR)


def box_area(boxes: Tensor) -> Tensor:
    """Areas of (n, 4) boxes."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def suppress(
    boxes: Tensor, scores: Tensor, categories: Tensor, iou_threshold: float
) -> Tensor:
    """Greedy suppression of overlapping boxes of one category; indices, best first."""
    del categories  # always one
    order = np.argsort(-scores.cpu().numpy(), kind="stable")
    x0, y0, x1, y1 = boxes.float().cpu().numpy()[order].T
    areas = (x1 - x0) * (y1 - y0)
    is_left = np.ones(len(order), dtype=bool)
    kept = []
    for i in range(len(order)):
        if not is_left[i]:
            continue
        kept.append(order[i])
        rest = i + 1 + np.flatnonzero(is_left[i + 1 :])
        width = np.minimum(x1[i], x1[rest]) - np.maximum(x0[i], x0[rest])
        height = np.minimum(y1[i], y1[rest]) - np.maximum(y0[i], y0[rest])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        with np.errstate(invalid="ignore"):
            iou = shared / (areas[i] + areas[rest] - shared)
        is_left[rest[iou > iou_threshold]] = False
    return torch.tensor(np.array(kept, dtype=np.int64), device=boxes.device)

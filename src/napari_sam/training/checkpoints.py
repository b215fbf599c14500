# SPDX-License-Identifier: Apache-2.0
"""Files of a training run: one to resume from, one to use.

Both are written under another name and then moved, so that a killed run leaves the last
complete file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import torch
from safetensors.torch import save_file
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write everything needed to go on: tensors, numbers, strings, lists, dicts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(path.suffix + ".part")
    torch.save(dict(state), unfinished)
    unfinished.replace(path)


def load_state(source: Path | BinaryIO) -> dict[str, Any]:
    """Read what :func:`save_state` wrote; code in the file is never run."""
    state: dict[str, Any] = torch.load(  # noqa: TID251 - also numbers and lists
        source, map_location="cpu", weights_only=True
    )
    return state


def export_weights(
    path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write half-precision weights for use, as safetensors with metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(path.suffix + ".part")
    halves = {
        key: value.detach().cpu().to(torch.float16).contiguous()
        for key, value in weights.items()
    }
    save_file(halves, unfinished, metadata=dict(metadata))
    unfinished.replace(path)

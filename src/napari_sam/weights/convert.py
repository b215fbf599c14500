# SPDX-License-Identifier: Apache-2.0
"""From what a checkpoint file holds to tensors under SAM's published names."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from napari_sam.errors import CheckpointError

# Where training programs keep the weights inside a checkpoint, in the order of search:
# torch-em (micro-sam), SAM 2 and EfficientSAM, Lightning.
WRAPPERS = ("model_state", "model", "state_dict")
# What wrapping a SAM in another module puts before its names; one of them is removed.
PREFIXES = ("sam.", "module.")


def to_state_dict(content: object, source: str) -> dict[str, Tensor]:
    """Find the weights in the content of a checkpoint file.

    Parameters
    ----------
    content : object
        What reading the file gave: a state dict, bare or inside a dict under one of
        ``WRAPPERS``.
    source : str
        Name of the file, for errors.

    Returns
    -------
    dict of str to Tensor
        Published names, one leading ``sam.`` or ``module.`` removed. Floating-point
        tensors are float32 whatever the file stores.

    Raises
    ------
    CheckpointError
        If there are no named tensors, or tensors that are not plain numbers.
    """
    state = _unwrap(content)
    if not isinstance(state, Mapping) or not state:
        msg = (
            f"{source} holds {_describe(state)}, not weights by name. Save the "
            "state_dict() of a SAM model, bare or in a dict under one of: "
            f"{', '.join(WRAPPERS)}."
        )
        raise CheckpointError(msg)
    weights: dict[str, Tensor] = {}
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            msg = (
                f"{source} holds {_describe(value)} under {key!r} where weights were "
                "expected. Save the state_dict() of a SAM model, bare or in a dict "
                f"under one of: {', '.join(WRAPPERS)}."
            )
            raise CheckpointError(msg)
        name = _strip_prefix(key)
        if name in weights:
            msg = (
                f"{source} holds {name!r} twice, with and without one of the prefixes "
                f"{', '.join(PREFIXES)}. Save only the weights of one SAM model."
            )
            raise CheckpointError(msg)
        weights[name] = _plain(value, key, source)
    return weights


def _unwrap(content: object) -> object:
    if isinstance(content, Mapping):
        for wrapper in WRAPPERS:
            if isinstance(content.get(wrapper), Mapping):
                return content[wrapper]
    return content


def _strip_prefix(key: str) -> str:
    for prefix in PREFIXES:
        if key.startswith(prefix):
            return key.removeprefix(prefix)
    return key


def _plain(tensor: Tensor, key: str, source: str) -> Tensor:
    is_plain = tensor.layout is torch.strided and not tensor.is_quantized
    if not is_plain or tensor.is_complex() or tensor.is_meta:
        msg = (
            f"{source} holds {key!r} as {tensor.dtype} ({tensor.layout}, on "
            f"{tensor.device}). Only dense float or integer tensors are read: save the "
            "model before it is quantised or made sparse."
        )
        raise CheckpointError(msg)
    tensor = tensor.detach()
    return tensor.float() if tensor.is_floating_point() else tensor


def _describe(value: object) -> str:
    if isinstance(value, Mapping):
        keys = ", ".join(repr(key) for key in list(value)[:5])
        return (
            f"a dict with {len(value)} entries ({keys})" if value else "an empty dict"
        )
    return f"a {type(value).__name__}"

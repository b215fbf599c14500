# SPDX-License-Identifier: Apache-2.0
"""Files of a training run: one to resume from, one to use.

Both are written under another name and then moved, so that a killed run or a full disk
leaves the last complete file.
"""

from __future__ import annotations

from contextlib import contextmanager
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from napari_sam.errors import CheckpointError, OutputError, SettingsError
from napari_sam.io.atomic import written_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write everything needed to go on: tensors, numbers, strings, lists, dicts.

    Raises
    ------
    OutputError
        If it cannot be written; an older file stays as it was.
    """
    with _kept_if_it_fails(path) as unfinished, unfinished.open("wb") as file:
        torch.save(dict(state), file)


def load_state(source: Path | BinaryIO) -> dict[str, Any]:
    """Read what :func:`save_state` wrote; code in the file is never run.

    Raises
    ------
    CheckpointError
        If it is damaged or something else.
    """
    try:
        state: object = torch.load(  # noqa: TID251 - also numbers and lists
            source, map_location="cpu", weights_only=True
        )
    except (RuntimeError, EOFError, LookupError, UnpicklingError) as error:
        reason = str(error).partition("\n")[0][:200]
        msg = (
            f"{source} is no saved state of a training run, or damaged ({reason}). "
            "Delete it to start anew."
        )
        raise CheckpointError(msg) from error
    if not isinstance(state, dict):
        msg = f"{source} holds a {type(state).__name__}, not the state of a run."
        raise CheckpointError(msg)
    return state


def check_identity(
    source: Path, saved: Mapping[str, str], wanted: Mapping[str, str]
) -> None:
    """Refuse the state of another run; what it does not tell is taken as the same.

    Raises
    ------
    SettingsError
        If the two differ in something that both name.
    """
    for key, value in wanted.items():
        if key in saved and saved[key] != value:
            msg = (
                f"{source.parent} holds a run with another {key}. Go on with the same, "
                f"choose another folder, or delete {source.name} to start anew."
            )
            raise SettingsError(msg)


def export_weights(
    path: Path,
    weights: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write weights for use, as safetensors with metadata.

    Whole numbers keep their type, all others become `dtype`.

    Raises
    ------
    OutputError
        If they cannot be written; an older file stays as it was.
    """
    converted = {}
    for key, value in weights.items():
        kept = value.detach().cpu()
        kept = kept.to(dtype) if kept.is_floating_point() else kept
        converted[key] = kept.contiguous()
    with _kept_if_it_fails(path) as unfinished:
        save_file(converted, unfinished, metadata=dict(metadata))


def learnt_state(model: nn.Module) -> dict[str, Tensor]:
    """Return what a run has to keep: parameters that learn, and buffers."""
    parameters = {k: p.detach() for k, p in model.named_parameters() if p.requires_grad}
    kept = set(model.state_dict())
    buffers = {k: b for k, b in model.named_buffers() if k in kept}
    return parameters | buffers


def load_learnt(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put back what :func:`learnt_state` gave; more than that is allowed.

    Raises
    ------
    ValueError
        If something learnt is missing or something is unknown.
    """
    missing = sorted(set(learnt_state(model)) - set(state))
    found = model.load_state_dict(dict(state), strict=False)
    if missing or found.unexpected_keys:
        names = ", ".join([*missing, *found.unexpected_keys][:3])
        msg = f"names differ, such as {names}"
        raise ValueError(msg)


@contextmanager
def _kept_if_it_fails(path: Path) -> Iterator[Path]:
    """Give a temporary name; what torch and safetensors raise becomes OutputError."""
    with written_atomically(path) as unfinished:
        try:
            yield unfinished
        except (OSError, RuntimeError, SafetensorError) as error:
            # A full disk is a RuntimeError to torch.
            is_kept = "The file written before is kept. " if path.exists() else ""
            msg = (
                f"Cannot write {path}: {error}. {is_kept}Free some space, or choose "
                "another folder, and start again with the same settings: the run goes "
                "on from its last saved state."
            )
            raise OutputError(msg) from error

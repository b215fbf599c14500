# SPDX-License-Identifier: Apache-2.0
"""Where and in which precision a model computes."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext

import torch

from napari_sam.errors import DeviceError

LOW_PRECISIONS = (torch.float16, torch.bfloat16)
_DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def available_devices() -> tuple[str, ...]:
    """Names that :func:`resolve_device` accepts here, best first; the last is cpu."""
    names = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return (*names, "cpu")


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Turn a name into a device that this machine has.

    Parameters
    ----------
    device : str or torch.device
        ``"auto"`` takes CUDA, else Apple's MPS, else the CPU; or ``"cpu"``, ``"mps"``,
        ``"cuda"``, ``"cuda:N"``.

    Raises
    ------
    DeviceError
        If the name is none of these or the device is absent.
    """
    available = available_devices()
    name = str(device).strip().lower()
    if name == "auto":
        return torch.device(available[0])
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        msg = (
            f"Unknown device {str(device)!r}. Choose 'auto' or one of: "
            f"{', '.join(available)}."
        )
        raise DeviceError(msg)
    if name not in available and f"{name}:0" not in available:
        msg = (
            f"Device {name!r} was asked for, but PyTorch sees only: "
            f"{', '.join(available)}. Choose one of these or 'auto', or install the "
            "driver and the PyTorch build for that device (https://pytorch.org)."
        )
        raise DeviceError(msg)
    return torch.device(name)


def resolve_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """Turn a name into a precision that the image encoder can compute in.

    Parameters
    ----------
    dtype : str, torch.dtype or None
        None and ``"float32"`` are exact; ``"float16"`` and ``"bfloat16"`` are faster on
        a GPU and change results slightly. So does ``"bfloat16"`` on processors made
        for it (Intel with AMX, AMD from Zen 4 on); on any other CPU the fast forms of
        the encoders compute in float32 all the same.
    device : torch.device
        Where the model will run.

    Raises
    ------
    DeviceError
        If the precision is none of these (float64 included, which Apple's MPS does not
        know) or the device cannot use it.
    """
    name = "float32" if dtype is None else str(dtype).removeprefix("torch.")
    if name not in _DTYPES:
        msg = f"Unknown precision {name!r}. Choose one of: {', '.join(_DTYPES)}."
        raise DeviceError(msg)
    resolved = _DTYPES[name]
    if resolved is torch.float16 and device.type == "cpu":
        msg = (
            "Precision 'float16' is for GPUs; the CPU offers 'float32' and 'bfloat16'. "
            "Choose one of these or another device."
        )
        raise DeviceError(msg)
    lacks_bfloat16 = device.type == "cuda" and not torch.cuda.is_bf16_supported()
    if resolved is torch.bfloat16 and lacks_bfloat16:
        msg = f"Device {str(device)!r} has no bfloat16. Choose 'float16' or 'float32'."
        raise DeviceError(msg)
    return resolved


def compute_in(
    dtype: torch.dtype, device: torch.device
) -> AbstractContextManager[object]:
    """Context in which products and convolutions run in ``dtype``.

    Weights stay in float32, and PyTorch keeps norms and softmax in float32 as well.
    With float32 an outer autocast is switched off, so that results do not depend on the
    caller.
    """
    if not torch.amp.is_autocast_available(device.type):  # the meta device
        return nullcontext()
    low = dtype in LOW_PRECISIONS
    return torch.autocast(device.type, dtype=dtype if low else None, enabled=low)

# SPDX-License-Identifier: Apache-2.0
"""From a name or a file to a model that is ready to use.

Reading a checkpoint never runs code from it: PyTorch files go through the unpickler
that knows tensors and containers only, everything else is refused.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import torch

from napari_sam.errors import CheckpointError, DeviceError
from napari_sam.modeling.device import resolve_device, resolve_dtype
from napari_sam.modeling.registry import list_architectures
from napari_sam.weights import download
from napari_sam.weights.catalogue import get_row
from napari_sam.weights.convert import to_state_dict
from napari_sam.weights.infer import build_for

if TYPE_CHECKING:
    import os

    from torch import Tensor

    from napari_sam.modeling.sam import Sam

DEFAULT_MODEL = "embedded"

# What damaged or hostile bytes make torch's readers raise.
_READ_ERRORS = (
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    OSError,
)


def load_model(
    name: str = DEFAULT_MODEL,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype | None = None,
    progress: download.Progress | None = None,
) -> Sam:
    """Load a model by name, downloading its weights if need be, or from a file.

    Parameters
    ----------
    name : str
        One of :func:`~napari_sam.weights.catalogue.list_models`; ``"embedded"`` is part
        of the package. With a checkpoint, any other name states the architecture that
        the file has to be.
    checkpoint : path, optional
        A ``.safetensors``, ``.pth`` or ``.pt`` file; its architecture is told by the
        names and shapes in it.
    device : str or torch.device
        ``"auto"`` (CUDA, MPS, else CPU), ``"cpu"``, ``"mps"``, ``"cuda"`` or
        ``"cuda:N"``.
    dtype : str, torch.dtype or None
        Precision of the image encoder's products: float32 (None), ``"bfloat16"``, or
        on a GPU ``"float16"``. On a CPU that gains nothing by bfloat16, float32 is
        used. Weights and results stay float32.
    progress : callable, optional
        Called as ``progress(done, total)`` in bytes while downloading.

    Returns
    -------
    Sam
        In evaluation mode, without gradients; ``name`` and ``digest`` (SHA-256 of the
        file) say where the weights are from.

    Raises
    ------
    UnknownModelError
        If the name is in neither the catalogue nor the registry.
    DeviceError
        If the device or precision is not there.
    WeightsError
        If weights are missing, cannot be fetched (DownloadError) or cannot be used
        (CheckpointError).
    """
    place = resolve_device(device)
    precision = resolve_dtype(dtype, place)
    if checkpoint is None:
        row = get_row(name)
        path = download.fetch(row, progress=progress)
        sam = load_checkpoint(path, expected=row.architecture)
        sam.name = row.name
    else:
        sam = load_checkpoint(Path(checkpoint).expanduser(), expected=_expected(name))
    _set_precision(sam, precision)
    return sam.to(place)


def load_checkpoint(path: Path, expected: str | None = None) -> Sam:
    """Load a weights file on the CPU; see :func:`load_model`.

    ``expected`` names the architecture that it has to be. The model is named after the
    file.
    """
    weights = to_state_dict(read_file(path), path.name)
    shapes = {key: tuple(value.shape) for key, value in weights.items()}
    sam = build_for(shapes, path.name, expected)
    for key, wanted in sam.state_dict().items():
        _check_numbers(key, weights[key], wanted.dtype, path)
        weights[key] = weights[key].to(wanted.dtype).contiguous()
    # The model has no storage of its own: it takes the tensors themselves.
    sam.load_state_dict(weights, strict=True, assign=True)
    sam.name = path.stem
    with path.open("rb") as file:
        sam.digest = hashlib.file_digest(file, "sha256").hexdigest()
    return sam.eval().requires_grad_(requires_grad=False)


def _check_numbers(key: str, value: Tensor, wanted: torch.dtype, path: Path) -> None:
    if wanted.is_floating_point != value.is_floating_point():
        msg = (
            f"{path.name} holds {key!r} as {value.dtype}, but it has to be {wanted}. "
            "Save the weights of the model before it is quantised."
        )
        raise CheckpointError(msg)
    if not value.isfinite().all():
        msg = (
            f"{path.name} holds values in {key!r} that are no numbers (NaN or "
            "infinite). The training diverged or the file is damaged: use an earlier "
            "checkpoint or get the file again."
        )
        raise CheckpointError(msg)


def read_file(path: Path) -> object:
    """Read a checkpoint file without running code from it.

    The content of the file decides how it is read, not its name.

    Returns
    -------
    object
        Containers of tensors, numbers and text.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, in another format, or needs code to be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        msg = f"Cannot read the checkpoint {path}: {error.strerror or error}."
        raise CheckpointError(msg) from error
    if _is_safetensors(head):
        return _read_safetensors(path)
    if head.startswith(b"PK\x03\x04"):
        if not _has_archive_end(path):
            raise CheckpointError(_damaged(path, "the end of the archive is missing"))
        return _read_torch(path)
    if head.startswith(b"\x80"):  # how a pickle begins; PyTorch before 1.6
        return _read_torch(path)
    msg = (
        f"{path} is no checkpoint: {_what_it_is(head)}. A .safetensors, .pth or .pt "
        "file with the weights of a SAM model is needed."
    )
    raise CheckpointError(msg)


def _has_archive_end(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # an end that speaks of several disks
        return False


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            # Copies, so that the file can be replaced while the model is in use.
            return {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, *_READ_ERRORS) as error:
        raise CheckpointError(_damaged(path, str(error))) from error


def _read_torch(path: Path) -> object:
    try:
        # An open file, because torch also goes by the suffix of a path. Its warnings
        # are about formats that are refused below in plainer words.
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            content: object = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_needs_code_or_damaged(path, str(error))) from error
    except _READ_ERRORS as error:
        text = str(error)
        if "TorchScript" in text:
            raise CheckpointError(_needs_code(path, "a TorchScript program")) from error
        raise CheckpointError(_damaged(path, text)) from error
    return content


def _is_safetensors(head: bytes) -> bool:
    """Whether a file begins as 8 bytes of header length and a JSON object."""
    return len(head) > 8 and head[8:9] == b"{" and head[5:8] == b"\0\0\0"


def _what_it_is(head: bytes) -> str:
    start = head.lstrip().lower()
    if not head:
        return "it is empty"
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page, probably the answer of a failed download"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; run 'git lfs pull' to get the file itself"
    if head.isascii() and b"\0" not in head:
        return "it is a text file"
    return f"it begins with the bytes {head[:8].hex(' ')}"


def _needs_code_or_damaged(path: Path, text: str) -> str:
    wanted = re.search(r"GLOBAL ([\w.]+)", text)
    if wanted or "Unsupported" in text:
        return _needs_code(path, wanted[1] if wanted else "more than tensors")
    return _damaged(path, text.partition("WeightsUnpickler error:")[2] or text)


def _needs_code(path: Path, what: str) -> str:
    return (
        f"{path.name} cannot be read safely: it holds {what}, and opening that would "
        "run code from the file. Nothing was run. If you trust where the file is from, "
        "convert it once, in the program that wrote it, and load the result:\n"
        "    import torch\n"
        f"    checkpoint = torch.load({path.name!r}, 'cpu', weights_only=False)\n"
        "    state = checkpoint['model_state']  # or ['model'], or .state_dict()\n"
        f"    torch.save(dict(state), {path.stem + '_weights.pt'!r})"
    )


def _damaged(path: Path, reason: str) -> str:
    first_line = reason.strip().partition("\n")[0][:200] or "no reason given"
    return (
        f"{path} is damaged or incomplete ({first_line}). Get the file again and "
        "compare its size and hash with the published ones."
    )


def _expected(name: str) -> str | None:
    if name == DEFAULT_MODEL:
        return None
    return name if name in list_architectures() else get_row(name).architecture


def _set_precision(sam: Sam, precision: torch.dtype) -> None:
    if precision is torch.float32:
        return
    encoder: Any = sam.image_encoder
    if not hasattr(encoder, "compute_dtype"):
        msg = (
            f"The model {sam.name!r} computes in float32 only, {precision} was asked "
            "for. Leave the precision out or choose another model."
        )
        raise DeviceError(msg)
    encoder.compute_dtype = precision

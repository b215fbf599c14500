# SPDX-License-Identifier: Apache-2.0
"""Frames encoded by a frozen encoder: each is encoded once, and a restart reads it.

They are kept in memory, and in files named after what the encoder was shown.
"""

from __future__ import annotations

import hashlib
import logging
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file, save_file

from napari_sam.errors import OutputError
from napari_sam.io.atomic import written_atomically
from napari_sam.modeling.sam import ImageFeatures
from napari_sam.structures.lru_cache import LruCache
from napari_sam.training.frame_decoder import encode_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from pathlib import Path

    from napari_sam.modeling.sam import Sam
    from napari_sam.training.frames import Frame

logger = logging.getLogger(__name__)
MEMORY_BYTES = 1 << 30
FOLDER = "features"

# A file of features, also unfinished, as `io.atomic` names it.
_NAME = re.compile(r"[0-9a-f]{32}\.safetensors|\.[0-9a-f]{32}-[0-9a-f]{8}\.safetensors")
_BY_SYSTEM = (".DS_Store", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True, slots=True, eq=False)
class EncodedFrame:
    """A frame and what the encoder made of it."""

    frame: Frame
    features: ImageFeatures


class FeatureCache:
    """Encodes frames without gradients and remembers the results.

    Parameters
    ----------
    model : Sam
        Its encoder must not change.
    folder : Path
        Files lie in a folder of their own inside.
    max_disk_bytes : int
        What does not fit is encoded again when it has left the memory.
    dtype : torch.dtype
        Precision that the encoder computes in.
    """

    def __init__(
        self,
        model: Sam,
        folder: Path,
        max_disk_bytes: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._model = model
        self._folder = folder / FOLDER
        self._kept: LruCache[EncodedFrame | None] = LruCache(1 << 20, MEMORY_BYTES)
        self._encoder = f"{weights_digest(model.image_encoder)} {dtype}"
        old = self._folder.glob("*.safetensors") if self._folder.exists() else ()
        self._disk_left = max_disk_bytes - sum(file.stat().st_size for file in old)

    def get(
        self, key: Hashable, draw: Callable[[], Frame | None]
    ) -> EncodedFrame | None:
        """Return an encoded frame; `draw` makes the frame, always the same for a key.

        None if `draw` gives none.
        """
        found = self._kept.get(key)
        if found is None:
            frame = draw()
            if frame is None:
                return None
            found = EncodedFrame(frame, self._features(frame))
            tensors = (found.features.embedding, *found.features.high_res)
            n_bytes = sum(t.nbytes for t in tensors) + frame.labels.nbytes
            self._kept.put(key, found, n_bytes + frame.rgb.nbytes)
        place = self._model.device
        embedding, high_res = found.features
        moved = ImageFeatures(embedding.to(place), tuple(x.to(place) for x in high_res))
        return EncodedFrame(found.frame, moved)

    def clear(self) -> None:
        """Delete the files; what somebody else put beside them stays."""
        with suppress(OSError):
            clear_features(self._folder)

    def _features(self, frame: Frame) -> ImageFeatures:
        shown = hashlib.sha256(f"{self._encoder} {frame.rgb.shape}".encode())
        shown.update(np.ascontiguousarray(frame.rgb).data)
        path = self._folder / f"{shown.hexdigest()[:32]}.safetensors"
        found = _read(path)
        if found is None:
            with torch.no_grad():
                encoded = encode_frame(self._model, frame)
            found = ImageFeatures(
                encoded.embedding.cpu(), tuple(x.cpu() for x in encoded.high_res)
            )
            self._write(path, found)
        return found

    def _write(self, path: Path, features: ImageFeatures) -> None:
        tensors = {str(i): x for i, x in enumerate(_tensors(features))}
        size = sum(x.nbytes for x in tensors.values())
        if size > self._disk_left:
            return
        try:
            with written_atomically(path) as unfinished:
                _save(tensors, unfinished)
        except OutputError as error:
            logger.warning("Embeddings are kept in memory only: %s", error)
            self._disk_left = 0
            return
        self._disk_left -= size


def has_only_features(folder: Path) -> bool:
    """Tell whether a folder holds nothing but files of this cache.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    return all(
        is_by_system(path) or (path.is_file() and _NAME.fullmatch(path.name))
        for path in folder.iterdir()
    )


def clear_features(folder: Path) -> None:
    """Delete the files of this cache, and the folder if nothing else is in it.

    Raises
    ------
    OSError
        If something cannot be deleted.
    """
    if not folder.is_dir() or folder.is_symlink():
        return
    for path in folder.iterdir():
        if _NAME.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)
    remove_if_empty(folder)


def remove_if_empty(folder: Path) -> None:
    """Delete a folder that holds nothing, or only what file managers leave."""
    with suppress(OSError):
        left = list(folder.iterdir())
        if all(is_by_system(path) for path in left):
            for path in left:
                path.unlink()
            folder.rmdir()


def is_by_system(path: Path) -> bool:
    """Tell whether a file manager wrote a file, unasked."""
    return path.name in _BY_SYSTEM and path.is_file()


def weights_digest(module: torch.nn.Module) -> str:
    """SHA-256 over names and values of all weights of a module."""
    digest = hashlib.sha256()
    for key, value in module.state_dict().items():
        digest.update(key.encode())
        plain = value.detach().cpu().contiguous()
        digest.update(plain.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _tensors(features: ImageFeatures) -> tuple[torch.Tensor, ...]:
    both = (features.embedding, *features.high_res)
    return tuple(x.contiguous() for x in both)


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    try:
        save_file(tensors, path)
    except (safetensors.SafetensorError, RuntimeError) as error:
        raise OutputError(str(error)) from error


def _read(path: Path) -> ImageFeatures | None:
    """Read features; None if there are none, or a file that is damaged."""
    if not path.exists():
        return None
    try:
        tensors = load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        logger.warning("%s is damaged and made again: %s", path.name, error)
        return None
    parts = [tensors[key] for key in sorted(tensors, key=int)]
    return ImageFeatures(parts[0], tuple(parts[1:]))

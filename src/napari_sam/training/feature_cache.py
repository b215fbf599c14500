# SPDX-License-Identifier: Apache-2.0
"""Frames encoded by a frozen encoder: each is encoded once, and a restart reads it.

They are kept in memory, and in files named after what the encoder was shown.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
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
        """Delete the files."""
        shutil.rmtree(self._folder, ignore_errors=True)

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

# SPDX-License-Identifier: Apache-2.0
"""Running the image encoder; its answers stay where the decoder needs them."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from threading import Event, Lock
from typing import Any

import numpy as np
import torch

from napari_sam.acceleration.engine import Engine
from napari_sam.errors import Cancelled
from napari_sam.modeling.sam import ImageFeatures
from napari_sam.prediction.batching import in_batches
from napari_sam.prediction.embedding_library import EmbeddingLibrary
from napari_sam.prediction.transforms import (
    resize_rgb,
    resized_shape,
    to_model_input,
)
from napari_sam.structures.arrays import RgbPlane
from napari_sam.structures.embedding import ImageEmbedding
from napari_sam.structures.lru_cache import LruCache

_MAX_EMBEDDINGS = 8
_MAX_BYTES = 256 << 20  # as the encoder made them, and as much prepared
_ARITHMETIC = 1
"""Raised when encoders give other features than before: kept ones are out of date."""

_Key = tuple[int, str]
"""What `Engine.keep_up` returned, and a digest."""


class ImageEmbedder:
    """Makes embeddings and keeps the recent ones on the model's device by digest.

    What the model's weights were changed after is made anew: embed again after that.

    Parameters
    ----------
    engine : Engine
        Runs a model in evaluation mode.
    library : EmbeddingLibrary or None
        Where embeddings are looked for before they are made, and kept afterwards; not
        used any more once the model has changed.
    """

    def __init__(self, engine: Engine, library: EmbeddingLibrary | None = None) -> None:
        self._engine = engine
        self._library = library
        self._model = engine.model
        self._features: LruCache[ImageFeatures] = LruCache(_MAX_EMBEDDINGS, _MAX_BYTES)
        self._prepared: LruCache[Any] = LruCache(_MAX_EMBEDDINGS, _MAX_BYTES)
        # Batches of one search are worked on side by side.
        self._preparing = Lock()

    def embed(self, rgb: RgbPlane, cancel: Event | None = None) -> ImageEmbedding:
        """Encode one plane, or find it encoded already.

        Parameters
        ----------
        rgb : (H, W, 3) uint8 array
            What the model is to see.
        cancel : threading.Event or None
            Stops the work between two blocks of the encoder when set.

        Returns
        -------
        ImageEmbedding

        Raises
        ------
        Cancelled
            If `cancel` was set.
        """
        original_size = (rgb.shape[0], rgb.shape[1])
        resized = self._resize(rgb)
        digest = self._digest(resized, original_size)
        key = (self._engine.keep_up(), digest)
        features = self._features.get(key)
        kept = self.recall(digest) if features is None else None
        if kept is not None:
            return kept
        is_new = features is None
        if features is None:
            (features,) = self._encode([resized], _cancel_check(cancel))
            self._keep(key, features)
        embedding = ImageEmbedding(
            features=features.embedding.cpu().numpy(),
            high_res=tuple(finer.cpu().numpy() for finer in features.high_res),
            input_size=(resized.shape[0], resized.shape[1]),
            original_size=original_size,
            model=self._model.name,
            digest=digest,
            model_digest=self._model.digest,
        )
        if is_new and self._library is not None and self._engine.is_untouched:
            self._library.put(embedding)
        return embedding

    def embed_ahead(
        self, planes: Iterable[RgbPlane], cancel: Event | None = None
    ) -> None:
        """Encode several planes together where that is faster, for `embed` to find.

        Parameters
        ----------
        planes : iterable of (H, W, 3) uint8 arrays
            Few enough that all their features are remembered.
        cancel : threading.Event or None
            As in `embed`.

        Raises
        ------
        Cancelled
            If `cancel` was set.
        """
        generation = self._engine.keep_up()
        missing: dict[_Key, RgbPlane] = {}
        for rgb in planes:
            resized = self._resize(rgb)
            digest = self._digest(resized, (rgb.shape[0], rgb.shape[1]))
            key = (generation, digest)
            if self._features.get(key) is None and self.recall(digest) is None:
                missing[key] = resized
        keys, frames = list(missing), list(missing.values())

        def encode(start: int, stop: int) -> list[ImageFeatures]:
            return self._encode(frames[start:stop], _cancel_check(cancel))

        at_once = self._engine.frames_at_once
        for stop, several in in_batches(encode, len(frames), at_once):
            names = keys[stop - len(several) : stop]
            for key, features in zip(names, several, strict=True):
                self._keep(key, features)

    def recall(self, digest: str) -> ImageEmbedding | None:
        """Return an embedding that was made before, if the library has it.

        Parameters
        ----------
        digest : str
            `ImageEmbedding.digest`.
        """
        if self._library is None or not self._engine.is_untouched:
            return None
        return self._library.get(digest)

    def digest_of(self, rgb: RgbPlane) -> str:
        """Return the digest that the embedding of a plane has, without making it.

        Parameters
        ----------
        rgb : (H, W, 3) uint8 array
            What the model is to see.

        Returns
        -------
        str
        """
        return self._digest(self._resize(rgb), (rgb.shape[0], rgb.shape[1]))

    def prepared(self, embedding: ImageEmbedding) -> Any:
        """Return what `Engine.attend` needs of an embedding, on the device.

        Parameters
        ----------
        embedding : ImageEmbedding
            Of the same model.
        """
        with self._preparing:
            return self._prepare(embedding)

    def _prepare(self, embedding: ImageEmbedding) -> Any:
        key = (self._engine.keep_up(), embedding.digest)
        prepared = self._prepared.get(key)
        if prepared is not None:
            return prepared
        features = self._features.get(key)
        with torch.inference_mode():
            if features is None:
                device = self._model.device
                arrays = (embedding.features, *embedding.high_res)
                first, *finer = (torch.tensor(array).to(device) for array in arrays)
                features = ImageFeatures(first, tuple(finer))
            prepared = self._engine.prepare(features)
        self._prepared.put(key, prepared, prepared.nbytes)
        return prepared

    def _encode(
        self, frames: Sequence[RgbPlane], check: Callable[[], None] | None
    ) -> list[ImageFeatures]:
        """Run the image encoder on pictures that have their final sizes, together."""
        model = self._model
        if check is not None:
            check()
        with torch.inference_mode():
            inputs = [
                model.preprocess(to_model_input(frame, model.device))
                for frame in frames
            ]
            batch = inputs[0] if len(inputs) == 1 else torch.cat(inputs)
            found = self._engine.encode_image(batch, check)
            return [
                ImageFeatures(
                    found.embedding[i : i + 1].float(),
                    tuple(finer[i : i + 1].float() for finer in found.high_res),
                )
                for i in range(len(frames))
            ]

    def _resize(self, rgb: RgbPlane) -> RgbPlane:
        """Fit a plane into the model's frame."""
        shape = (rgb.shape[0], rgb.shape[1])
        return resize_rgb(rgb, resized_shape(shape, self._model.image_size))

    def _keep(self, key: _Key, features: ImageFeatures) -> None:
        """Remember features on the device."""
        self._features.put(key, features, _nbytes(features))
        # An embedding from before the weights changed may have been asked meanwhile.
        self._prepared.forget(key)

    def _digest(self, resized: RgbPlane, original_size: tuple[int, int]) -> str:
        """Hash everything that the features depend on, rounding left aside.

        What a GPU or a fast form has made is taken for what a CPU would make. Equal
        digests of models with random weights mean nothing.
        """
        precision = getattr(self._model.image_encoder, "compute_dtype", torch.float32)
        parts = (
            _ARITHMETIC,
            self._model.name,
            self._model.digest,
            self._model.image_size,
            precision,
            resized.shape,
            original_size,
        )
        digest = hashlib.sha256(repr(parts).encode())
        digest.update(np.ascontiguousarray(resized).data)
        return digest.hexdigest()


def _nbytes(features: ImageFeatures) -> int:
    """Return the memory of the features."""
    tensors = (features.embedding, *features.high_res)
    return sum(tensor.element_size() * tensor.nelement() for tensor in tensors)


def _cancel_check(cancel: Event | None) -> Callable[[], None] | None:
    """Return what raises Cancelled once the event is set."""
    if cancel is None:
        return None

    def check() -> None:
        if cancel.is_set():
            msg = "Embedding was cancelled."
            raise Cancelled(msg)

    return check

# SPDX-License-Identifier: Apache-2.0
"""Running the image encoder; its answers stay where the decoder needs them."""

import hashlib
from collections.abc import Callable
from threading import Event

import numpy as np
import torch
from torch import Tensor

from napari_sam.errors import Cancelled
from napari_sam.modeling.sam import ImageFeatures, Sam
from napari_sam.prediction.embedding_cache import LruCache
from napari_sam.prediction.transforms import (
    resize_rgb,
    resized_shape,
    to_model_input,
)
from napari_sam.structures.arrays import RgbPlane
from napari_sam.structures.embedding import ImageEmbedding

_MAX_EMBEDDINGS = 8
_MAX_BYTES = 256 << 20  # as the encoder made them, and as much prepared


class ImageEmbedder:
    """Makes embeddings and keeps the recent ones on the model's device by digest.

    Parameters
    ----------
    model : Sam
        A model in evaluation mode.
    """

    def __init__(self, model: Sam) -> None:
        self._model = model
        self._features: LruCache[ImageFeatures] = LruCache(_MAX_EMBEDDINGS, _MAX_BYTES)
        self._prepared: LruCache[ImageFeatures] = LruCache(_MAX_EMBEDDINGS, _MAX_BYTES)
        self._position: Tensor | None = None

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
        features = self._features.get(digest)
        if features is None:
            features = self._encode(resized, _cancel_check(cancel))
            self._keep(digest, features)
        return ImageEmbedding(
            features=features.embedding.cpu().numpy(),
            high_res=tuple(finer.cpu().numpy() for finer in features.high_res),
            input_size=(resized.shape[0], resized.shape[1]),
            original_size=original_size,
            model=self._model.name,
            digest=digest,
            model_digest=self._model.digest,
        )

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

    def features_of(self, embedding: ImageEmbedding) -> ImageFeatures:
        """Return an embedding's features on the device, prepared for the decoder.

        Parameters
        ----------
        embedding : ImageEmbedding
            Of the same model.

        Returns
        -------
        ImageFeatures
        """
        prepared = self._prepared.get(embedding.digest)
        if prepared is not None:
            return prepared
        features = self._features.get(embedding.digest)
        with torch.inference_mode():
            if features is None:
                device = self._model.device
                arrays = (embedding.features, *embedding.high_res)
                first, *finer = (torch.tensor(array).to(device) for array in arrays)
                features = ImageFeatures(first, tuple(finer))
            prepared = self._model.prepare(features, self._position)
        self._position = prepared.position
        self._prepared.put(embedding.digest, prepared, _nbytes(prepared))
        return prepared

    def _encode(
        self, resized: RgbPlane, check: Callable[[], None] | None
    ) -> ImageFeatures:
        """Run the image encoder on a picture that has its final size."""
        model = self._model
        if check is not None:
            check()
        with torch.inference_mode():
            pixels = to_model_input(resized, model.device)
            features = model.encode_image(model.preprocess(pixels), check=check)
            return ImageFeatures(
                features.embedding.float(),
                tuple(finer.float() for finer in features.high_res),
            )

    def _resize(self, rgb: RgbPlane) -> RgbPlane:
        """Fit a plane into the model's frame."""
        shape = (rgb.shape[0], rgb.shape[1])
        return resize_rgb(rgb, resized_shape(shape, self._model.image_size))

    def _keep(self, digest: str, features: ImageFeatures) -> None:
        """Remember features on the device."""
        self._features.put(digest, features, _nbytes(features))

    def _digest(self, resized: RgbPlane, original_size: tuple[int, int]) -> str:
        """Hash everything that the features depend on."""
        precision = getattr(self._model.image_encoder, "compute_dtype", torch.float32)
        parts = (
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
    """Return the memory of the features; the position code is one for all."""
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

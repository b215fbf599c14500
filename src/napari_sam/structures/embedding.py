# SPDX-License-Identifier: Apache-2.0
"""What the image encoder made of one plane, as plain arrays."""

from dataclasses import dataclass

from napari_sam.structures.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class ImageEmbedding:
    """Features of one plane, enough to answer any number of prompts.

    Attributes
    ----------
    features : (1, C, h, w) float32 array
        Output of the image encoder; read-only.
    high_res : tuple of (1, c, h', w') float32 arrays
        Finer features that some decoders add while upscaling; empty for SAM.
    input_size : (h', w')
        Size of the plane inside the model's square frame, in frame pixels.
    original_size : (H, W)
        Size of the plane in its own pixels.
    model : str
        Name of the model that made it.
    digest : str
        Identity: hash of the pixels shown to the model, both sizes, the model's weights
        and its precision. Equal digests mean equal features.
    model_digest : str
        SHA-256 of the weights of that model; empty for random ones.
    """

    features: FloatArray
    high_res: tuple[FloatArray, ...]
    input_size: tuple[int, int]
    original_size: tuple[int, int]
    model: str
    digest: str
    model_digest: str = ""

    def __post_init__(self) -> None:
        """Make the arrays read-only: caches rely on a digest staying true."""
        for array in (self.features, *self.high_res):
            array.setflags(write=False)

    @property
    def mask_input_shape(self) -> tuple[int, int]:
        """Shape of the low-resolution logits, four times the feature grid."""
        rows, columns = self.features.shape[-2:]
        return 4 * rows, 4 * columns

    @property
    def nbytes(self) -> int:
        """Memory of the features in bytes."""
        return self.features.nbytes + sum(array.nbytes for array in self.high_res)

    def __eq__(self, other: object) -> bool:
        """Embeddings are equal when their digests are."""
        if not isinstance(other, ImageEmbedding):
            return NotImplemented
        return self.digest == other.digest

    def __hash__(self) -> int:
        """Hash of the digest."""
        return hash(self.digest)

# SPDX-License-Identifier: Apache-2.0
"""Whether an embedding belongs to a model and to an image, and a model is one."""

from napari_sam.errors import ImageError, ModelTypeError
from napari_sam.modeling.sam import Sam
from napari_sam.structures.arrays import RgbPlane
from napari_sam.structures.embedding import ImageEmbedding


def check_made_by(embedding: ImageEmbedding, model: Sam) -> None:
    """Refuse features of another model or of other weights.

    Raises
    ------
    ImageError
        If the embedding is not of this model.
    """
    if embedding.model != model.name:
        msg = (
            f"The embedding was made by the model {embedding.model!r}, this is "
            f"{model.name!r}: embed the image again."
        )
        raise ImageError(msg)
    if embedding.model_digest != model.digest:
        made_by, here = embedding.model_digest[:12], model.digest[:12]
        msg = (
            f"The embedding was made by other weights of the name {model.name!r} "
            f"(sha256 {made_by or 'unknown'}, these are {here or 'unknown'}): "
            "embed the image again."
        )
        raise ImageError(msg)


def check_made_of(embedding: ImageEmbedding, rgb: RgbPlane, digest: str) -> None:
    """Refuse features of another image.

    Parameters
    ----------
    embedding : ImageEmbedding
        What somebody wants to use.
    rgb : (H, W, 3) uint8 array
        The plane as the model sees it.
    digest : str
        Digest that its embedding has.

    Raises
    ------
    ImageError
        If the embedding is of something else.
    """
    shape = (rgb.shape[0], rgb.shape[1])
    if embedding.original_size != shape:
        msg = (
            f"The embedding is of an image of {embedding.original_size}, this one "
            f"has {shape}: embed this image."
        )
        raise ImageError(msg)
    if embedding.digest != digest:
        msg = (
            "The embedding is not of this image as the model sees it now: the "
            "pixels, the channels, the intensity rule or the precision differ. "
            "Embed this image with the same settings, or leave the embedding out."
        )
        raise ImageError(msg)


def check_model(model: object) -> None:
    """Refuse what is no loaded model.

    Raises
    ------
    ModelTypeError
        If it is something else, such as the name of one.
    """
    if isinstance(model, Sam):
        return
    if isinstance(model, str):
        msg = (
            f"{model!r} is the name of a model and not a model. Load it first: "
            f'load_model("{model}").'
        )
    else:
        msg = (
            f"A model that load_model() returned is needed, not {model!r}. A weights "
            "file is loaded by load_model(checkpoint=...)."
        )
    raise ModelTypeError(msg)

# SPDX-License-Identifier: Apache-2.0
"""How prompts are decoded, as one seam with several forms behind it.

A `Decoding` belongs to one model. What all prompts on an image have in common is done
once, by `prepare`; `attend` tells how good the masks will be; only then are masks
drawn, and only those that somebody wants. B prompts, n outputs, C channels, g cells
along a side of the feature grid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from napari_sam.modeling.sam import Decoded, ImageFeatures, Sam


class Prompts(NamedTuple):
    """Prompts of B objects, of one kind, in pixels of the frame, on the model's device.

    ``points`` is ((B, N, 2) float x before y, (B, N) int: 1 foreground, 0 background,
    -1 padding); ``boxes`` (B, 4) x0, y0, x1, y1; ``masks`` (B, 1, 4g, 4g) logits.
    """

    points: tuple[Tensor, Tensor] | None = None
    boxes: Tensor | None = None
    masks: Tensor | None = None

    @property
    def n_prompts(self) -> int:
        """Number B of objects."""
        if self.points is not None:
            return len(self.points[0])
        given = self.boxes if self.boxes is not None else self.masks
        return 1 if given is None else len(given)


class Attended(Protocol):
    """Answers to B prompts before any mask is drawn; n is 4 until outputs are chosen.

    Output 0 answers clear prompts, outputs 1 to 3 an ambiguous one.
    """

    @property
    def predicted_iou(self) -> Tensor:
        """The model's own estimates, (B, n)."""

    def of_prompts(self, rows: Tensor) -> Attended:
        """Keep only the prompts of these (k,) indices."""

    def of_outputs(self, chosen: Tensor) -> Attended:
        """Keep only one output of each prompt, by their (B,) indices."""

    def draw(self) -> Tensor:
        """Return mask logits, (B, n, 4g, 4g): the dear part."""


@runtime_checkable
class Selective(Protocol):
    """Answers that need not be drawn where nobody looks.

    If a prompt is kept more than once, with one output each, those are drawn together.
    """

    def only_above(self, threshold: float) -> Attended:
        """Let logits up to a threshold come out as any others up to it."""


def only_above(attended: Attended, threshold: float) -> Attended:
    """Say that logits up to a threshold are all the same, where that saves work."""
    if isinstance(attended, Selective):
        return attended.only_above(threshold)
    return attended


class Decoding(Protocol):
    """One form of prompt encoder and mask decoder."""

    def prepare(self, features: ImageFeatures) -> Any:
        """Do what all prompts on an image have in common.

        Returns
        -------
        Anything with an ``nbytes`` property; only `attend` looks into it.
        """

    def attend(self, image: Any, prompts: Prompts) -> Attended:
        """Let prompts and image exchange information."""


class PreparedImage(NamedTuple):
    """What the plain form has in common for all prompts on an image."""

    features: ImageFeatures

    @property
    def nbytes(self) -> int:
        """Memory of the features."""
        tensors = (self.features.embedding, *self.features.high_res)
        return sum(tensor.element_size() * tensor.nelement() for tensor in tensors)


class PlainDecoding:
    """The model as it is written down: fallback and test oracle.

    Parameters
    ----------
    model : Sam
    """

    def __init__(self, model: Sam) -> None:
        self._model = model

    def prepare(self, features: ImageFeatures) -> PreparedImage:
        """Keep the features as they are."""
        return PreparedImage(features)

    def attend(self, image: PreparedImage, prompts: Prompts) -> Attended:
        """Let prompts and image exchange information."""
        sparse, dense = self._model.encode_prompts(*prompts)
        tokens = self._model.decode_tokens(image.features, sparse, dense)
        return PlainAttended(self._model, image.features, tokens)


class PlainAttended:
    """Answers of the plain form.

    Parameters
    ----------
    model : Sam
    features : ImageFeatures
        Of the image, prepared.
    tokens : DecodedTokens or DecodedMaps
        What the decoder made of the prompts.
    """

    def __init__(self, model: Sam, features: ImageFeatures, tokens: Decoded) -> None:
        self._model = model
        self._features = features
        self._tokens = tokens

    @property
    def predicted_iou(self) -> Tensor:
        """The model's own estimates, (B, n)."""
        return self._tokens.predicted_iou

    def of_prompts(self, rows: Tensor) -> PlainAttended:
        """Keep only the prompts of these (k,) indices."""
        tokens = self._tokens.of_prompts(rows)
        return PlainAttended(self._model, self._features, tokens)

    def of_outputs(self, chosen: Tensor) -> PlainAttended:
        """Keep only one output of each prompt, by their (B,) indices."""
        tokens = self._tokens.of_outputs(chosen)
        return PlainAttended(self._model, self._features, tokens)

    def draw(self) -> Tensor:
        """Return mask logits, (B, n, 4g, 4g)."""
        return self._model.draw_masks(self._features, self._tokens)

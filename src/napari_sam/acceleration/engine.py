# SPDX-License-Identifier: Apache-2.0
"""A model's fast forms where there are some and they apply, else the plain model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from napari_sam.acceleration.decoding import PlainDecoding
from napari_sam.acceleration.model_state import ModelState
from napari_sam.modeling.device import compute_in
from napari_sam.modeling.sam import ImageFeatures

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from torch import Tensor

    from napari_sam.acceleration.decoding import Attended, Decoding, Prompts
    from napari_sam.modeling.sam import Sam

    Encoding = Callable[[Tensor, Callable[[], None] | None], Tensor | ImageFeatures]


# Frames that keep a GPU busy; on a CPU they would only take memory together.
_FRAMES_ON_GPU = 8


class Engine:
    """Runs a model.

    Fast forms keep copies of the weights in an order of their own. They are made at
    first use, and anew once weights, device or precision have changed. Precision is the
    model's own: an autocast around a call changes nothing.

    Parameters
    ----------
    model : Sam
        A model in evaluation mode.
    is_plain : bool
        Whether to use no fast form at all.
    """

    def __init__(self, model: Sam, *, is_plain: bool = False) -> None:
        self.model = model
        self._is_plain = is_plain
        self._watch = ModelState(model)
        self._state = self._watch.now()
        self._generation = 0
        self._is_made = is_plain
        self._encoding: Encoding = _plain_encoding(model)
        self._decoding: Decoding = PlainDecoding(model)

    @property
    def frames_at_once(self) -> int:
        """Number B of frames that are worth encoding together, if memory allows."""
        return _FRAMES_ON_GPU if self.model.device.type == "cuda" else 1

    @property
    def is_untouched(self) -> bool:
        """Whether the weights are still those of the model's file."""
        return self.keep_up() == 0 and self._watch.is_untouched

    def encode_image(
        self, x: Tensor, check: Callable[[], None] | None = None
    ) -> ImageFeatures:
        """Run the image encoder on normalised frames (B, 3, S, S).

        ``check`` is called between blocks; whatever it raises stops the encoding.
        """
        self._make_forms()
        with self._own_precision():
            out = self._encoding(x, check)
        return out if isinstance(out, ImageFeatures) else ImageFeatures(out)

    def prepare(self, features: ImageFeatures) -> Any:
        """Do what all prompts on an image have in common.

        Returns
        -------
        For `attend` only, while `keep_up` returns the same; ``nbytes`` says how much
        memory it takes.
        """
        self._make_forms()
        with self._own_precision():
            return self._decoding.prepare(features)

    def attend(self, image: Any, prompts: Prompts) -> Attended:
        """Let prompts and a prepared image exchange information."""
        with self._own_precision():
            return self._decoding.attend(image, prompts)

    def draw(self, attended: Attended) -> Tensor:
        """Return the mask logits of what was attended to, (B, n, 4g, 4g)."""
        with self._own_precision():
            return attended.draw()

    def keep_up(self) -> int:
        """Look whether the model is as it was: a fraction of a millisecond.

        Returns
        -------
        int
            How often weights, device, precision or mode were found to have changed
            since the engine was made. What was made under another number is of another
            model.
        """
        if self._watch.now() != self._state:
            self._watch = ModelState(self.model)
            self._state = self._watch.now()
            self._generation += 1
            self._is_made = self._is_plain
        return self._generation

    def _make_forms(self) -> None:
        """Make the fast forms of the weights as they are now."""
        self.keep_up()
        if self._is_made:
            return
        from napari_sam.acceleration.forms import choose_decoding, choose_encoding

        with self._own_precision():
            self._encoding = choose_encoding(self.model) or _plain_encoding(self.model)
            self._decoding = choose_decoding(self.model) or PlainDecoding(self.model)
        self._is_made = True

    def _own_precision(self) -> AbstractContextManager[object]:
        """Switch an autocast of the caller off; forms choose theirs inside."""
        return compute_in(torch.float32, self.model.device)


def _plain_encoding(model: Sam) -> Encoding:
    def encode(x: Tensor, check: Callable[[], None] | None = None) -> ImageFeatures:
        return model.encode_image(x, check=check)

    return encode

# SPDX-License-Identifier: Apache-2.0
"""A model's fast forms where there are some and they apply, else the plain model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_sam.acceleration.decoding import PlainDecoding
from napari_sam.modeling.sam import ImageFeatures

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_sam.acceleration.decoding import Attended, Decoding, Prompts
    from napari_sam.modeling.sam import Sam

    Encoding = Callable[[Tensor, Callable[[], None] | None], Tensor | ImageFeatures]


# Frames that keep a GPU busy; on a CPU they would only take memory together.
_FRAMES_ON_GPU = 8


class Engine:
    """Runs a model.

    Fast forms keep copies of the weights in an order of their own. They are made at
    first use, and anew once weights, device or precision have changed.

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
        self._made_of: object = None
        self._encoding: Encoding = _plain_encoding(model)
        self._decoding: Decoding = PlainDecoding(model)

    @property
    def frames_at_once(self) -> int:
        """Number B of frames that are worth encoding together, if memory allows."""
        return _FRAMES_ON_GPU if self.model.device.type == "cuda" else 1

    def encode_image(
        self, x: Tensor, check: Callable[[], None] | None = None
    ) -> ImageFeatures:
        """Run the image encoder on normalised frames (B, 3, S, S).

        ``check`` is called between blocks; whatever it raises stops the encoding.
        """
        self._keep_up()
        out = self._encoding(x, check)
        return out if isinstance(out, ImageFeatures) else ImageFeatures(out)

    def prepare(self, features: ImageFeatures) -> Any:
        """Do what all prompts on an image have in common.

        Returns
        -------
        For `attend` only; ``nbytes`` says how much memory it takes.
        """
        self._keep_up()
        return self._decoding.prepare(features)

    def attend(self, image: Any, prompts: Prompts) -> Attended:
        """Let prompts and a prepared image exchange information."""
        return self._decoding.attend(image, prompts)

    def _keep_up(self) -> None:
        """Make the fast forms of the weights as they are now."""
        if self._is_plain:
            return
        state = state_of(self.model)
        if state == self._made_of:
            return
        from napari_sam.acceleration.forms import choose_decoding, choose_encoding

        self._encoding = choose_encoding(self.model) or _plain_encoding(self.model)
        self._decoding = choose_decoding(self.model) or PlainDecoding(self.model)
        self._made_of = state


def _plain_encoding(model: Sam) -> Encoding:
    def encode(x: Tensor, check: Callable[[], None] | None = None) -> ImageFeatures:
        return model.encode_image(x, check=check)

    return encode


def state_of(model: Sam) -> object:
    """Return what changes whenever weights, device or precision do."""
    dtype = getattr(model.image_encoder, "compute_dtype", None)
    tensors = [*model.parameters(), *model.buffers()]
    counts = tuple((id(t), t.data_ptr(), t._version) for t in tensors)  # noqa: SLF001
    return model.device, dtype, model.training, counts

# SPDX-License-Identifier: Apache-2.0
"""Fast forms that must first answer as the plain one does, on the device at hand.

Which kernels run on a GPU depends on its kind, its driver and PyTorch's build, and no
test elsewhere tells what they do. So a fast form is compared with the plain one when it
is first used, on random input. If it fails in any way, the plain form is taken, and a
line in the log says so.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from napari_sam.acceleration.decoding import PlainDecoding, Prompts
from napari_sam.modeling.sam import ImageFeatures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_sam.acceleration.decoding import Attended, Decoding
    from napari_sam.modeling.sam import Sam

    Encoding = Callable[[Tensor, Callable[[], None] | None], Tensor | ImageFeatures]

logger = logging.getLogger(__name__)

# Root mean square of the difference, by the deviation of what the plain form says. In
# float32 GPUs round convolutions, and on request products too, to 10 bits (TF32).
_TOLERANCES = {torch.float32: 5e-3, torch.float16: 2e-2, torch.bfloat16: 5e-2}
_SEED = 20
_REPEATS = 3  # of a click: seen, recorded, replayed

# What was found out about models, by the state in which they were.
_verdicts: WeakKeyDictionary[Sam, dict[tuple[str, object], bool]] = WeakKeyDictionary()


class ProvenEncoding:
    """The fast form of an image encoder where it proves itself.

    Parameters
    ----------
    model : Sam
        Its own form is the plain one.
    make : callable
        Makes the fast form.
    state : hashable
        Differs whenever another proof is needed.
    """

    def __init__(self, model: Sam, make: Callable[[], Encoding], state: object) -> None:
        self._model = model
        self._make = make
        self._state = ("encoding", state)
        self._form: Encoding | None = None

    def __call__(
        self, x: Tensor, check: Callable[[], None] | None = None
    ) -> Tensor | ImageFeatures:
        """Run the image encoder on normalised frames (B, 3, S, S)."""
        if self._form is None:
            fast = _proven(self._model, self._state, self._make, self._agrees(x))
            self._form = fast or self._model.encode_image
        return self._form(x, check)

    def _agrees(self, x: Tensor) -> Callable[[Encoding], bool]:
        def agrees(form: Encoding) -> bool:
            frame = _random(x[:1].shape, x.device)
            found = form(frame, None)
            expected = self._model.encode_image(frame)
            dtype: Any = self._model.image_encoder.compute_dtype
            return _are_close(_tensors(found), _tensors(expected), dtype)

        return agrees


class ProvenDecoding:
    """The fast form of a decoder where it proves itself.

    Parameters
    ----------
    model : Sam
        Its plain form is the fallback.
    make : callable
        Makes the fast form.
    state : hashable
        Differs whenever another proof is needed.
    """

    def __init__(self, model: Sam, make: Callable[[], Decoding], state: object) -> None:
        self._model = model
        self._make = make
        self._state = ("decoding", state)
        self._plain = PlainDecoding(model)
        self._form: Decoding | None = None

    def prepare(self, features: ImageFeatures) -> Any:
        """Do what all prompts on an image have in common."""
        if self._form is None:
            agrees = self._agrees(features)
            fast = _proven(self._model, self._state, self._make, agrees)
            self._form = fast or self._plain
        return self._form.prepare(features)

    def attend(self, image: Any, prompts: Prompts) -> Attended:
        """Let prompts and an image, prepared here, exchange information."""
        return (self._form or self._plain).attend(image, prompts)

    def _agrees(self, features: ImageFeatures) -> Callable[[Decoding], bool]:
        def agrees(form: Decoding) -> bool:
            first, *finer = (
                _random(map_.shape, map_.device) for map_ in _tensors(features)
            )
            random = ImageFeatures(first, tuple(finer))
            image, plain_image = (one.prepare(random) for one in (form, self._plain))
            for prompts in (self._clicks(3), *[self._clicks(1)] * _REPEATS):
                found = _answers(form.attend(image, prompts))
                expected = _answers(self._plain.attend(plain_image, prompts))
                if not _are_close(found, expected, torch.float32):
                    return False
            return True

        return agrees

    def _clicks(self, n: int) -> Prompts:
        """Return n points on the frame."""
        device, side = self._model.device, self._model.image_size
        places = torch.rand(n, 1, 2, generator=_generator()) * side
        labels = torch.ones(n, 1, dtype=torch.int64)
        return Prompts((places.to(device), labels.to(device)))


def _proven(
    model: Sam,
    state: tuple[str, object],
    make: Callable[[], Any],
    agrees: Callable[[Any], bool],
) -> Any:
    """Return a fast form, None if it does not prove itself or did not before."""
    verdicts = _verdicts.setdefault(model, {})
    if verdicts.get(state) is False:
        return None
    try:
        with torch.inference_mode(mode=False), torch.no_grad():
            form = make()
            reason = ""
            if state not in verdicts and not agrees(form):
                reason = "it does not answer as the plain form"
    except Exception as error:  # noqa: BLE001  whatever it is, we can do without
        reason = f"{type(error).__name__}: {error}"
    # Of earlier states nobody asks any more.
    for old in [key for key in verdicts if key[0] == state[0]]:
        del verdicts[old]
    verdicts[state] = not reason
    if reason:
        logger.warning(
            "%s on %s runs without its fast %s: %s",
            model.name,
            model.device,
            state[0],
            reason,
        )
        return None
    return form


def _are_close(
    found: Sequence[Tensor], expected: Sequence[Tensor], dtype: torch.dtype
) -> bool:
    """Tell whether results agree as well as a precision allows."""
    for one, other in zip(found, expected, strict=True):
        if one.shape != other.shape:
            return False
        error = (one.float() - other.float()).square().mean().sqrt()
        # False for what is not a number.
        if not bool(error <= _TOLERANCES[dtype] * other.float().std()):
            return False
    return True


def _answers(attended: Attended) -> tuple[Tensor, Tensor]:
    return attended.predicted_iou, attended.draw()


def _tensors(encoded: Tensor | ImageFeatures) -> tuple[Tensor, ...]:
    """Return the maps of an image, the coarse one first."""
    if isinstance(encoded, Tensor):
        return (encoded,)
    return (encoded.embedding, *encoded.high_res)


def _random(shape: Sequence[int], device: torch.device) -> Tensor:
    """Draw numbers of unit deviation, the same each time."""
    return torch.randn(*shape, generator=_generator()).to(device)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(_SEED)

# SPDX-License-Identifier: Apache-2.0
"""A click as one launch: a GPU's kernels are recorded once and then replayed.

The decoder starts some 150 small kernels for a click, and Python takes longer to start
them than the GPU to run them. A CUDA graph starts them all at once, but always on the
same memory: what comes is copied in, what goes is copied out.
"""

from __future__ import annotations

import logging
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from napari_sam.acceleration.batched_decoding import BatchedDecoding, BatchedImage
from napari_sam.structures.lru_cache import LruCache

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from napari_sam.acceleration.batched_decoding import BatchedAttended
    from napari_sam.acceleration.decoding import Prompts
    from napari_sam.modeling.sam import ImageFeatures, Sam

    Work = Callable[..., tuple[Tensor, ...]]
    Record = Callable[[Work, tuple[Tensor, ...]], "Recording"]

logger = logging.getLogger(__name__)

MAX_TOKENS = 16  # of a click; larger prompts are rare
MAX_GRAPHS = 8  # each keeps about 100 MB of the GPU's memory
_WARM_UP = 3  # libraries choose and allocate at first calls, which cannot be recorded
# Of the results' deviation. The same kernels run, but a library may choose others.
_TOLERANCE = 1e-3


class Recording(Protocol):
    """Work on fixed memory: fill the inputs, replay, read the outputs."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def replay(self) -> None:
        """Do the work once more."""


class CudaGraph:
    """A `Recording` by CUDA.

    Parameters
    ----------
    work : callable
        Returns tensors, and never waits for the GPU.
    inputs : tuple of tensors
        What it is called with; others of these shapes may be put in their place.

    Raises
    ------
    RuntimeError
        If the work cannot be recorded.
    """

    def __init__(self, work: Work, inputs: tuple[Tensor, ...]) -> None:
        self.inputs = fixed_copies(inputs)
        with torch.cuda.device(inputs[0].device):
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(_WARM_UP):
                    work(*self.inputs)
            torch.cuda.current_stream().wait_stream(aside)
            self._graph = torch.cuda.CUDAGraph()
            # Other threads may go on with the GPU meanwhile.
            with torch.cuda.graph(
                self._graph, stream=aside, capture_error_mode="thread_local"
            ):
                self.outputs = work(*self.inputs)

    def replay(self) -> None:
        """Do the work once more."""
        self._graph.replay()


def fixed_copies(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Copy tensors into memory of their own, all of it written out."""
    copies = [torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in tensors]
    return tuple(copy.copy_(t) for copy, t in zip(copies, tensors, strict=True))


class Replays:
    """A function of tensors that is recorded when it is called again.

    There is one recording for each set of shapes. The first call of a kind is not
    recorded: many kinds come once. The first replay is compared with the function; if
    it differs, or nothing can be recorded, the function is called from then on.

    Parameters
    ----------
    work : callable
        Returns tensors. Called with tensors of few sets of shapes.
    record : callable
        Makes a recording.
    max_kept : int
        Recordings that are kept, those used last.
    """

    def __init__(
        self, work: Work, record: Record = CudaGraph, max_kept: int = MAX_GRAPHS
    ) -> None:
        self._work = work
        self._record = record
        self._seen: set[Hashable] = set()
        self._kept: LruCache[Recording] = LruCache(max_kept)
        self._is_off = False
        self._lock = Lock()  # the memory of a recording is for one caller at a time

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Do the work; what is returned belongs to the caller."""
        key = tuple((tensor.shape, tensor.dtype, tensor.device) for tensor in inputs)
        with self._lock:
            recording = self._kept.get(key)
            if recording is not None:
                return _replay(recording, inputs)
            outputs = self._work(*inputs)
            if key in self._seen and not self._is_off:
                self._try(key, inputs, outputs)
            self._seen.add(key)
            return outputs

    def _try(
        self, key: Hashable, inputs: tuple[Tensor, ...], expected: tuple[Tensor, ...]
    ) -> None:
        """Make a recording, and keep it if it answers as the work did."""
        try:
            # Memory made in inference mode could not be written to outside of it.
            with torch.inference_mode(mode=False), torch.no_grad():
                recording = self._record(self._work, inputs)
                found = _replay(recording, inputs)
                is_right = all(map(_is_close, found, expected))
            reason = "" if is_right else "the replay gave another answer"
        except Exception as error:  # noqa: BLE001  whatever it is, we can do without
            reason = f"{type(error).__name__}: {error}"
        if reason:
            self._is_off = True
            self._kept.clear()
            logger.warning("Clicks are not recorded as CUDA graphs: %s", reason)
            return
        self._kept.put(key, recording)


def _replay(recording: Recording, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    for fixed, given in zip(recording.inputs, inputs, strict=True):
        fixed.copy_(given)
    recording.replay()
    return tuple(output.clone() for output in recording.outputs)


def _is_close(found: Tensor, expected: Tensor) -> bool:
    error = (found - expected).abs().max()
    return bool(error <= _TOLERANCE * expected.abs().max())


class DrawnAttended(NamedTuple):
    """Answers whose masks are drawn already; n is 4 until outputs are chosen."""

    predicted_iou: Tensor  # (B, n)
    logits: Tensor  # (B, n, 4g, 4g)

    def of_prompts(self, rows: Tensor) -> DrawnAttended:
        """Keep only the prompts of these (k,) indices."""
        return DrawnAttended(self.predicted_iou[rows], self.logits[rows])

    def of_outputs(self, chosen: Tensor) -> DrawnAttended:
        """Keep only one output of each prompt, by their (B,) indices."""
        rows = torch.arange(len(chosen), device=chosen.device)
        return DrawnAttended(
            self.predicted_iou[rows, chosen][:, None],
            self.logits[rows, chosen][:, None],
        )

    def draw(self) -> Tensor:
        """Return mask logits, (B, n, 4g, 4g)."""
        return self.logits


class GraphedDecoding:
    """`BatchedDecoding`, a single prompt of which is replayed, masks and all.

    Parameters
    ----------
    model : Sam
        One of which `is_batched` holds.
    record : callable
        Makes a recording.
    """

    def __init__(self, model: Sam, record: Record = CudaGraph) -> None:
        self._model = model
        self._batched = BatchedDecoding(model)
        self._replays = Replays(self._answer, record)
        # Recordings read the weights where they were, even if the model is moved.
        weights = model.mask_decoder.parameters()
        self._held = [weight.detach() for weight in weights]

    def prepare(self, features: ImageFeatures) -> BatchedImage:
        """Do what all prompts on an image have in common."""
        return self._batched.prepare(features)

    def attend(
        self, image: BatchedImage, prompts: Prompts
    ) -> BatchedAttended | DrawnAttended:
        """Let prompts and image exchange information."""
        with torch.no_grad():
            sparse, dense = self._model.encode_prompts(*prompts)
            if len(sparse) != 1 or sparse.shape[1] > MAX_TOKENS:
                return self._batched.exchange(image, sparse, dense)
            iou, logits = self._replays(sparse, dense, *image)
        return DrawnAttended(iou, logits)

    def _answer(
        self, sparse: Tensor, dense: Tensor, *image: Tensor
    ) -> tuple[Tensor, ...]:
        """Decode one encoded prompt."""
        attended = self._batched.exchange(BatchedImage(*image), sparse, dense)
        return attended.predicted_iou, attended.draw()

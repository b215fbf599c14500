# SPDX-License-Identifier: Apache-2.0
"""Prompts in, masks out: a model behind numpy arrays in image order."""

from collections.abc import Callable, Iterable
from threading import Event
from typing import Any, NamedTuple, TypeVar

import numpy.typing as npt
import torch
from torch import Tensor

from napari_sam.acceleration.decoding import Attended, Prompts
from napari_sam.acceleration.engine import Engine
from napari_sam.acceleration.workers import work_unsplit
from napari_sam.modeling.sam import Sam
from napari_sam.prediction.batching import in_batches
from napari_sam.prediction.embedding_checks import (
    check_made_by,
    check_made_of,
    check_model,
)
from napari_sam.prediction.embedding_library import EmbeddingLibrary
from napari_sam.prediction.image_embedder import ImageEmbedder
from napari_sam.prediction.intensity import IntensityRule, to_rgb
from napari_sam.prediction.logit_windows import LogitWindows
from napari_sam.prediction.mask_inputs import LogitOrigins
from napari_sam.prediction.obeyed_clicks import obey_clicks
from napari_sam.prediction.prompt_batch import PromptBatch, place_prompts
from napari_sam.prediction.transforms import FrameTransform
from napari_sam.prediction.whole_masks import whole_masks
from napari_sam.prediction.window_masks import draw_windows
from napari_sam.structures.arrays import Plane, RgbPlane
from napari_sam.structures.candidates import Candidates
from napari_sam.structures.embedding import ImageEmbedding
from napari_sam.structures.lru_cache import LruCache
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompt_checks import check_one_object

Result = TypeVar("Result")

# Output 0 of the decoder answers clear prompts, outputs 1 to 3 an ambiguous one.
SINGLE_OUTPUT = slice(0, 1)
MULTI_OUTPUT = slice(1, 4)

_MAX_WINDOWS = 4
_REGION_BYTES = 256 << 20  # about 8 MB each for the embedded model
_CPU_BATCH = 4  # for each thread of the first few
_MAX_CPU_BATCH = 16
_GPU_BATCH = 64


class Decoded(NamedTuple):
    """All four outputs of the decoder for B prompts, on the model's device.

    ``logits`` is (B, 4, 4g, 4g), ``predicted_iou`` (B, 4); both float32.
    """

    logits: Tensor
    predicted_iou: Tensor


class SamPredictor:
    """Answers prompts on embedded planes; knows nothing of the last image or click.

    Copies of recent embeddings on the model's device are kept by digest, so that a
    click moves no features. One thread owns the model: calls must not overlap.

    Parameters
    ----------
    model : Sam
        A loaded model.
    batch_size : int or None
        Prompts decoded at once; changes memory and speed only. None takes few on a CPU,
        where the decoder is fastest while its features stay in the cache, and many on a
        GPU.
    is_plain : bool
        Whether to run the model as it is written down, without its fast forms.
    library : EmbeddingLibrary or None
        Embeddings made before; for a model whose weights are those of its file.

    Attributes
    ----------
    model : Sam
    batch_size : int
    logit_origins : LogitOrigins
        Which regions of large images gave which logits; kept here, because an image may
        be embedded anew between an answer and its correction.
    region_embeddings : LruCache of ImageEmbedding
        Regions of large images asked for lately, of all images together.

    Raises
    ------
    ModelTypeError
        If the model is something else, such as the name of one.
    """

    def __init__(
        self,
        model: Sam,
        *,
        batch_size: int | None = None,
        is_plain: bool = False,
        library: EmbeddingLibrary | None = None,
    ) -> None:
        check_model(model)
        self.model = model.eval()
        if batch_size is None:
            batch_size = _GPU_BATCH
            if model.device.type == "cpu":
                batch_size = min(_CPU_BATCH * torch.get_num_threads(), _MAX_CPU_BATCH)
        self.batch_size = batch_size
        self._engine = Engine(model, is_plain=is_plain)
        self._embedder = ImageEmbedder(self._engine, library)
        self.logit_origins = LogitOrigins()
        self.region_embeddings = LruCache[ImageEmbedding](256, _REGION_BYTES)
        self._windows: LruCache[LogitWindows] = LruCache(_MAX_WINDOWS)

    def embed(
        self,
        image: Plane,
        channel_axis: int | None = None,
        *,
        intensity: IntensityRule | None = None,
        cancel: Event | None = None,
    ) -> ImageEmbedding:
        """Encode one plane; everything else follows from the result.

        Parameters
        ----------
        image : (H, W), (H, W, 3), (H, W, 4) array, or 3-D with `channel_axis`
            An 8-bit RGB image is taken as it is, others by `intensity`.
        channel_axis : int or None
            Axis of the channels of a microscope image.
        intensity : IntensityRule or None
            How values become brightness; see `to_rgb`.
        cancel : threading.Event or None
            Stops the work between two blocks of the encoder when set.

        Returns
        -------
        ImageEmbedding

        Raises
        ------
        ImageError
            If the array is no image.
        Cancelled
            If `cancel` was set.
        """
        return self._embedder.embed(to_rgb(image, channel_axis, intensity), cancel)

    @property
    def frames_at_once(self) -> int:
        """How many frames the image encoder had best see together: 1 on a CPU."""
        return self._engine.frames_at_once

    def embed_ahead(
        self, planes: Iterable[RgbPlane], cancel: Event | None = None
    ) -> None:
        """Encode RGB planes together; see `ImageEmbedder.embed_ahead`."""
        self._embedder.embed_ahead(planes, cancel)

    def recall(self, digest: str) -> ImageEmbedding | None:
        """Return an embedding made before, without its pixels; None if it is not kept.

        Parameters
        ----------
        digest : str
            `ImageEmbedding.digest`.
        """
        return self._embedder.recall(digest)

    def predict(
        self,
        embedding: ImageEmbedding,
        points_yx: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        box_yx: npt.ArrayLike | None = None,
        mask_input: npt.ArrayLike | None = None,
        multimask_output: bool | None = None,  # noqa: FBT001  the reference's argument
    ) -> Candidates:
        """Return masks of the object that the prompts mean.

        Parameters
        ----------
        embedding : ImageEmbedding
            Of the plane, made by a predictor of the same model.
        points_yx : (N, 2) array-like or None
            Row, column in pixels of the plane; whole numbers are pixel centres.
        point_labels : (N,) array-like or None
            1 on the object, 0 on what is not the object; None means all 1.
        box_yx : (4,) array-like or None
            ``y0, x0, y1, x1`` around the object; corners in any order, may reach
            beyond the plane.
        mask_input : (h, w) or (1, h, w) array-like or None
            Low-resolution logits of an earlier answer, ``h`` four times the feature
            rows.
        multimask_output : bool or None
            True: the three masks for an ambiguous prompt. False: the one mask for clear
            prompts. None: three for a single point without a box, else one.

        Returns
        -------
        Candidates
            In the decoder's own order.

        Raises
        ------
        PromptError
            If there is no prompt, or one makes no sense on this plane.
        ImageError
            If the embedding is of another model or of other weights.
        """
        check_one_object(points_yx, point_labels, box_yx)
        batch_of_one: list[list[Any] | None] = [
            None if prompt is None else [prompt]
            for prompt in (points_yx, point_labels, box_yx, mask_input)
        ]
        return self._answer(
            embedding, *batch_of_one, multimask_output=multimask_output
        )[0]

    def predict_batch(
        self,
        embedding: ImageEmbedding,
        points_yx: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        boxes_yx: npt.ArrayLike | None = None,
        mask_inputs: npt.ArrayLike | None = None,
        multimask_output: bool | None = None,  # noqa: FBT001  as in predict
    ) -> list[Candidates]:
        """Return masks of B objects at once.

        Parameters
        ----------
        embedding : ImageEmbedding
            Of the plane that all objects are on.
        points_yx : (B, N, 2) array-like or None
            Row, column in pixels of the plane.
        point_labels : (B, N) array-like or None
            1 object, 0 background, -1 for places that only fill up a row.
        boxes_yx : (B, 4) array-like or None
            ``y0, x0, y1, x1``.
        mask_inputs : (B, h, w) or (B, 1, h, w) array-like or None
            Low-resolution logits.
        multimask_output : bool or None
            As in `predict`, by the number N of points for all objects alike.

        Returns
        -------
        list of B Candidates
            Each holds masks of the whole plane: ask for few objects at a time on large
            planes.

        Raises
        ------
        PromptError, ImageError
            As in `predict`.
        """
        return self._answer(
            embedding,
            points_yx,
            point_labels,
            boxes_yx,
            mask_inputs,
            multimask_output=multimask_output,
            allow_padding=True,
        )

    def decode(self, embedding: ImageEmbedding, prompts: PromptBatch) -> Decoded:
        """Run prompt encoder and mask decoder.

        Parameters
        ----------
        embedding : ImageEmbedding
            Of the plane.
        prompts : PromptBatch
            In frame coordinates.

        Returns
        -------
        Decoded
            On the model's device.
        """
        attended = self.attend(embedding, prompts)
        logits = self.obeying(self.draw(attended), prompts)
        return Decoded(logits, attended.predicted_iou.float())

    def attend(self, embedding: ImageEmbedding, prompts: PromptBatch) -> Attended:
        """Do the part of `decode` that tells how good the masks will be."""
        with torch.inference_mode():
            image = self._embedder.prepared(embedding)
            given = Prompts(*prompts.to_tensors(self.model.device))
            return self._engine.attend(image, given)

    def draw(self, attended: Attended) -> Tensor:
        """Draw the masks of `attend`: (B, n, a, b) float32 logits.

        Those prompts and outputs that were kept are drawn.
        """
        with torch.inference_mode():
            return self._engine.draw(attended).float()

    def obeying(self, logits: Tensor, prompts: PromptBatch) -> Tensor:
        """Make what was drawn agree with clicks, if the model wants that."""
        if not self.model.exact_clicks:
            return logits
        return obey_clicks(logits, prompts, self.model.image_size)

    def answering(
        self, embedding: ImageEmbedding, n_prompts: int, work: Callable[[], Result]
    ) -> Result:
        """Call what answers prompts on an embedding, in the fastest way for so many.

        On a CPU that is one thread for a single prompt. What is done once for an image
        is done before, on all.
        """
        if n_prompts != 1 or self.model.device.type != "cpu":
            return work()
        self._embedder.prepared(embedding)
        return work_unsplit(work)

    def windows_of(self, embedding: ImageEmbedding) -> LogitWindows:
        """Return what enlarges low-resolution logits to this embedding's plane."""
        sizes = (embedding.original_size, embedding.input_size)
        windows = self._windows.get(sizes)
        if windows is None:
            transform = FrameTransform.of_embedding(embedding, self.model)
            windows = LogitWindows(
                embedding.mask_input_shape, transform, self.model.device
            )
            self._windows.put(sizes, windows)
        return windows

    def _answer(
        self,
        embedding: ImageEmbedding,
        *prompts: Any,
        multimask_output: bool | None,
        allow_padding: bool = False,
    ) -> list[Candidates]:
        """Check and place the prompts, decode them in batches, enlarge the masks."""
        self.check_embedding(embedding)
        transform = FrameTransform.of_embedding(embedding, self.model)
        batch = place_prompts(
            *prompts,
            transform=transform,
            mask_shape=embedding.mask_input_shape,
            allow_padding=allow_padding,
        )
        if multimask_output is None:
            multimask_output = batch.is_ambiguous
        outputs = MULTI_OUTPUT if multimask_output else SINGLE_OUTPUT

        def answer_part(start: int, stop: int) -> list[Candidates]:
            def work() -> list[Candidates]:
                decoded = self.decode(embedding, batch.part(start, stop))
                return whole_masks(self, embedding, decoded, outputs)

            return self.answering(embedding, stop - start, work)

        candidates: list[Candidates] = []
        for _, part in in_batches(answer_part, batch.n_prompts, self.batch_size):
            candidates.extend(part)
        return candidates

    def mask_windows(
        self, embedding: ImageEmbedding, logits: Tensor
    ) -> list[MaskWindow]:
        """Enlarge (n, a, b) logits to n masks of the plane, each only where it is."""
        return draw_windows(
            self.windows_of(embedding), logits, self.model.mask_threshold
        )

    def check_embedding(
        self, embedding: ImageEmbedding, rgb: RgbPlane | None = None
    ) -> None:
        """Refuse features of another model, of other weights or of another image.

        Parameters
        ----------
        embedding : ImageEmbedding
            What somebody wants to use.
        rgb : (H, W, 3) uint8 array or None
            The plane as the model sees it; None leaves the image unchecked.

        Raises
        ------
        ImageError
            If the embedding is of something else.
        """
        check_made_by(embedding, self.model)
        if rgb is not None:
            check_made_of(embedding, rgb, self._embedder.digest_of(rgb))

# SPDX-License-Identifier: Apache-2.0
"""The convolutional decoder on a CPU: one prompt at a time to a thread.

The plain form is `MapPromptEncoder` with `ConvMaskDecoder`. Here maps that are the same
everywhere become part of a bias, maps of channels lie side by side for each cell, and
what lies between two operations stays in the processor's cache. B prompts, T places,
n = h w cells at stride 8, C channels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional

from napari_sam.acceleration.conv_drawing import ConvDrawing, FineMaps
from napari_sam.acceleration.conv_stages import FastStage, as_map
from napari_sam.acceleration.prompt_columns import PromptColumns, columns_of
from napari_sam.acceleration.scratch import Lease, OwnScratch, Pool
from napari_sam.acceleration.workers import work_side_by_side
from napari_sam.modeling.mask_decoder import N_MASK_TOKENS
from napari_sam.modeling.mask_decoder_conv import HEAD_DIM, HEADS, ConvMaskDecoder
from napari_sam.modeling.prompt_encoder_map import MapPromptEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam.acceleration.decoding import Prompts
    from napari_sam.modeling.sam import ImageFeatures, Sam

_ALL = list(range(N_MASK_TOKENS))


class ConvImage(NamedTuple):
    """What all prompts on an image have in common.

    ``keys`` (HEADS, d, n); ``far`` (n / 4, C16) and ``near`` (n, C8) are the image's
    share of the first two stages; ``maps`` are for drawing.
    """

    features: ImageFeatures
    keys: Tensor
    far: Tensor
    near: Tensor
    maps: FineMaps

    @property
    def nbytes(self) -> int:
        """Memory of all of it."""
        embedding, finer = self.features
        tensors = (embedding, *finer, *self[1:4], *self.maps)
        return sum(part.nelement() * part.element_size() for part in tensors)


class Found(NamedTuple):
    """One prompt at stride 8.

    Cells (n, C8), coarse logits (4, n), what is known of each, the places (T, 3).
    """

    cells: Lease
    coarse: Tensor
    known: Tensor
    places: Tensor


def is_convolutional(model: Sam) -> bool:
    """Tell whether a model's decoder has this form: convolutions, on a CPU."""
    return (
        type(model.prompt_encoder) is MapPromptEncoder
        and isinstance(model.mask_decoder, ConvMaskDecoder)
        and model.device.type == "cpu"
        and not model.training
        and model.dtype == torch.float32
    )


class ConvDecoding:
    """A `Decoding` of models for which `is_convolutional` holds.

    Parameters
    ----------
    model : Sam
    """

    def __init__(self, model: Sam) -> None:
        self._encoder = cast("MapPromptEncoder", model.prompt_encoder)
        self._decoder = decoder = cast("ConvMaskDecoder", model.mask_decoder)
        self.side = self._encoder.grid_size
        nothing = self._encoder.no_mask_embed.detach()
        self._columns = PromptColumns(self.side)
        self._far = FastStage(decoder.far_stage, nothing)
        self._near = FastStage(decoder.near_stage, nothing)
        step = decoder.far_to_near
        self._step = step.weight.detach().flatten(1).t().contiguous()
        self._step_bias = step.get_parameter("bias").detach()
        self._coarse = decoder.coarse.weight.detach().flatten(1)
        self._coarse_bias = decoder.coarse.get_parameter("bias").detach()[:, None]
        self.drawing = ConvDrawing(decoder, self.side)
        self._scratch = OwnScratch()
        self._pool = Pool((self.side**2, len(self._step_bias)))

    @torch.inference_mode()
    def prepare(self, features: ImageFeatures) -> ConvImage:
        """Put the image's share into the order of the stages."""
        prepared = self._decoder.prepare(features)
        keys = prepared.keys[0].view(HEADS, HEAD_DIM, -1)
        # What comes from the coarser stage brings its bias to every cell alike.
        near = _cells(prepared.near) + self._step_bias
        maps = self.drawing.arrange(features.high_res)
        return ConvImage(features, keys, _cells(prepared.far), near, maps)

    @torch.inference_mode()
    def attend(self, image: ConvImage, prompts: Prompts) -> ConvAttended:
        """Find objects at stride 8, and how good their masks will be."""
        decoder = self._decoder
        points, boxes, masks = prompts
        places = self._encoder.list_places(points, boxes, prompts.n_prompts)
        looks = decoder.look_at(image.features, places)
        summary = decoder.summary(looks, places)
        queries = decoder.ask(looks)  # (B, HEADS, T, d)
        seen = None if masks is None else self._encoder.read_masks(masks)
        tunes = [stage.tune(summary) for stage in (self._far, self._near)]

        def find(i: int) -> Found:
            columns = columns_of(places[i], None if seen is None else seen[i])
            stack = self._columns.fill(columns, queries[i], image.keys, self._scratch)
            kind = columns.kind
            far = self._far(image.far, _pooled(stack), kind, tunes[0][i], None)
            lease = self._pool.lease()
            near = self._coming(far).add_(image.near)
            self._near(near, stack, kind, tunes[1][i], lease.tensor)
            return self._describe(lease, places[i])

        found = work_side_by_side(find, range(len(places)))
        known = torch.stack([one.known for one in found])
        known = decoder.know(known, summary)
        return ConvAttended(
            self,
            image,
            found,
            decoder.iou_head(known)[..., 0].sigmoid(),
            decoder.hyper(known),
        )

    def _coming(self, far: Tensor) -> Tensor:
        """Carry the coarser stage (n / 4, C16) to stride 8, (n, C8), without bias."""
        step = far @ self._step
        half = self.side // 2
        coarse = as_map(step.view(half, half, -1))
        doubled = functional.interpolate(coarse, scale_factor=2.0, mode="bilinear")
        return doubled.permute(0, 2, 3, 1).reshape(self.side**2, -1)

    def _describe(self, lease: Lease, places: Tensor) -> Found:
        """Coarse logits, and the inside, size and rim of each output."""
        cells = lease.tensor
        coarse = torch.addmm(self._coarse_bias, self._coarse, cells.t())  # (4, n)
        p = coarse.sigmoid()
        total = p.sum(dim=1, keepdim=True) + 1e-3
        inside = p @ cells / total
        certainty = p.square().sum(dim=1, keepdim=True) / total
        known = torch.cat([inside, torch.log1p(total) / 5, certainty], dim=1)
        return Found(lease, coarse, known, places)

    def draw(
        self,
        image: ConvImage,
        found: Found,
        hyper: Tensor,
        outputs: Sequence[int],
        above: float | None,
    ) -> Tensor:
        """Draw outputs of one prompt, (k, 4h, 4w); ``hyper`` is (k, C2 + 1)."""
        coarse = found.coarse[list(outputs)]
        cells = found.cells.tensor
        return self.drawing(image.maps, cells, coarse, hyper, found.places, above)


class ConvAttended:
    """Answers of a `ConvDecoding` before any mask is drawn.

    Parameters
    ----------
    decoding : ConvDecoding
    image : ConvImage
    found : sequence of B Found
    predicted_iou : (B, n) tensor
    hyper : (B, n, C2 + 1) tensor
        Weights and bias of each output.
    outputs : sequence of B ints or None
        The output that was chosen of each prompt; None for all of them.
    above : float or None
        Logits up to it are of no interest.
    """

    def __init__(
        self,
        decoding: ConvDecoding,
        image: ConvImage,
        found: Sequence[Found],
        predicted_iou: Tensor,
        hyper: Tensor,
        outputs: Sequence[int] | None = None,
        above: float | None = None,
    ) -> None:
        self.predicted_iou = predicted_iou
        self._decoding = decoding
        self._image = image
        self._found = found
        self._hyper = hyper
        self._outputs = outputs
        self._above = above

    def of_prompts(self, rows: Tensor) -> ConvAttended:
        """Keep only the prompts of these (k,) indices."""
        numbers = rows.tolist()
        chosen = self._outputs
        return ConvAttended(
            self._decoding,
            self._image,
            [self._found[i] for i in numbers],
            self.predicted_iou[rows],
            self._hyper[rows],
            None if chosen is None else [chosen[i] for i in numbers],
            self._above,
        )

    def of_outputs(self, chosen: Tensor) -> ConvAttended:
        """Keep only one output of each prompt, by their (B,) indices."""
        rows = torch.arange(len(chosen))
        return ConvAttended(
            self._decoding,
            self._image,
            self._found,
            self.predicted_iou[rows, chosen][:, None],
            self._hyper[rows, chosen][:, None],
            chosen.tolist(),
            self._above,
        )

    def only_above(self, threshold: float) -> ConvAttended:
        """Let logits up to a threshold come out as any others up to it."""
        return ConvAttended(
            self._decoding,
            self._image,
            self._found,
            self.predicted_iou,
            self._hyper,
            self._outputs,
            threshold,
        )

    @torch.inference_mode()
    def draw(self) -> Tensor:
        """Return mask logits, (B, n, 4h, 4w)."""

        def draw_some(part: slice) -> Tensor:
            hyper = self._hyper[part].flatten(0, 1)
            wanted = _ALL if self._outputs is None else self._outputs[part]
            found = self._found[part.start]
            return self._decoding.draw(self._image, found, hyper, wanted, self._above)

        masks = work_side_by_side(draw_some, self._parts())
        together = masks[0] if len(masks) == 1 else torch.cat(masks)
        return together.view(*self._hyper.shape[:2], *together.shape[1:])

    def _parts(self) -> list[slice]:
        """Tell which answers belong together: outputs of the same prompt."""
        found, n = self._found, len(self._found)
        starts = [0]
        for i in range(1, n):
            if self._outputs is None or found[i] is not found[i - 1]:
                starts.append(i)
        return [slice(*ends) for ends in pairwise([*starts, n])]


def _cells(x: Tensor) -> Tensor:
    """(1, C, H, W) to (H W, C), in memory of its own."""
    return x[0].flatten(1).t().contiguous()


def _pooled(stack: Tensor) -> Tensor:
    """Mean of 2 x 2 cells: (k, h, w) to (k, h / 2, w / 2)."""
    rows = stack[:, 0::2] + stack[:, 1::2]
    return (rows[..., 0::2] + rows[..., 1::2]).mul_(0.25)

# SPDX-License-Identifier: Apache-2.0
"""The decoder of models that are shown where prompts lie, on a CPU.

The plain form is `SpatialPromptEncoder` with `MaskDecoder`. Here a few prompts at a
time are worked on by one thread, in the same memory as those before them, and the
last attention is left to those tokens that somebody asks for. B prompts, T tokens,
n = g g places, C channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor

from napari_sam.acceleration.point_windows import PointWindows
from napari_sam.acceleration.scratch import Lease, OwnScratch, Pool
from napari_sam.acceleration.spatial_drawing import FinerMaps, SpatialDrawing
from napari_sam.acceleration.spatial_maps import SpatialMaps
from napari_sam.acceleration.spatial_transformer import Seen, SpatialTransformer
from napari_sam.acceleration.token_weights import OutputMlps
from napari_sam.acceleration.workers import work_side_by_side
from napari_sam.modeling.mask_decoder import N_MASK_TOKENS
from napari_sam.modeling.prompt_encoder import PromptEncoder
from napari_sam.modeling.prompt_encoder_spatial import SpatialPromptEncoder
from napari_sam.modeling.two_way_transformer import TwoWayTransformer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam.acceleration.decoding import Prompts
    from napari_sam.modeling.sam import ImageFeatures, Sam


# What the tokens of several prompts cost is little more than of one; their places
# should stay in the outer cache.
_AT_ONCE = 4
_ALL = list(range(N_MASK_TOKENS))


class SpatialImage(NamedTuple):
    """What all prompts on an image have in common.

    ``places`` (n, C) is the embedding with all that the dense prompt is without a
    place or a mask; ``maps`` are for drawing.
    """

    places: Tensor
    maps: FinerMaps

    @property
    def nbytes(self) -> int:
        """Memory of all of it."""
        places = self.places.nelement() * self.places.element_size()
        return places + self.maps.nbytes


def is_spatial(model: Sam) -> bool:
    """Tell whether a model's decoder has this form: shown places, on a CPU."""
    return (
        type(model.prompt_encoder) is SpatialPromptEncoder
        and isinstance(model.mask_decoder.transformer, TwoWayTransformer)
        and model.device.type == "cpu"
        and not model.training
        and model.dtype == torch.float32
    )


class SpatialDecoding:
    """A `Decoding` of models for which `is_spatial` holds.

    Parameters
    ----------
    model : Sam
    """

    def __init__(self, model: Sam) -> None:
        self._encoder = cast("SpatialPromptEncoder", model.prompt_encoder)
        self._decoder = model.mask_decoder
        transformer = cast("TwoWayTransformer", self._decoder.transformer)
        self._maps = SpatialMaps(self._encoder)
        stride = self._encoder.image_size / self._encoder.grid_size
        self._windows = PointWindows(self._maps, self._encoder.grid_size, stride)
        self._nothing = self._encoder.no_mask_embed.weight.detach()  # (1, C)
        code = self._encoder.dense_pe().detach()[0].flatten(1).t().contiguous()
        self._transformer = SpatialTransformer(transformer, code)
        self._hyper = OutputMlps(self._decoder.output_hypernetworks_mlps)
        self._drawing = SpatialDrawing(self._decoder.output_upscaling)
        self._scratch = OwnScratch()
        self._pool = Pool((len(code), code.shape[1]))

    @torch.inference_mode()
    def prepare(self, features: ImageFeatures) -> SpatialImage:
        """Put the features into the order of the decoder."""
        places = features.embedding[0].flatten(1).t().contiguous()
        places = places + (self._maps.bias + self._nothing)
        return SpatialImage(places, self._drawing.arrange(features.high_res))

    @torch.inference_mode()
    def attend(self, image: SpatialImage, prompts: Prompts) -> SpatialAttended:
        """Let prompts and image exchange information."""
        sparse, dense = PromptEncoder.forward(self._encoder, *prompts)
        decoder = self._decoder
        outputs = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([outputs.expand(len(sparse), -1, -1), sparse], dim=1)
        masks = None if prompts.masks is None else dense.flatten(2).transpose(1, 2)
        single = [_Single.of(prompts, masks, i) for i in range(len(tokens))]
        windows = [self._window(prompt) for prompt in single]
        # Of many prompts not all will be drawn, and of those only some outputs.
        n_done = len(outputs) if len(tokens) == 1 else 1

        def see(part: range) -> list[Seen]:
            own = tokens[part.start : part.stop]
            leases = [self._place(image, single[i], windows[i]) for i in part]
            return self._transformer.exchange(own, leases, n_done, self._scratch)

        parts = _parts(len(tokens))
        seen = [one for some in work_side_by_side(see, parts) for one in some]
        rated = decoder.iou_prediction_head(torch.stack([one.done[0] for one in seen]))
        return SpatialAttended(self, image, seen, rated)

    def draw(self, image: SpatialImage, seen: Seen, outputs: Sequence[int]) -> Tensor:
        """Draw outputs of one prompt, (k, 4g, 4g)."""
        numbers = [1 + output for output in outputs]
        queries = self._transformer.finish(seen, numbers, self._scratch)
        hyper = self._hyper(queries, outputs)
        return self._drawing.draw(seen.keys, hyper, image.maps, self._scratch)

    def _window(self, prompt: _Single) -> Tensor | None:
        """Return the dense prompt (g, g, C) of a single point that is known already."""
        if prompt.points is None or prompt.box is not None:
            return None
        positions, labels = prompt.points
        if labels.tolist() != [1]:
            return None
        return self._windows.find(positions[0])

    def _place(
        self, image: SpatialImage, prompt: _Single, window: Tensor | None
    ) -> Lease:
        """Show the image (n, C) where one prompt lies."""
        places = image.places
        if prompt.mask is not None:
            places = places - self._nothing + prompt.mask
        lease = self._pool.lease()
        if window is not None:
            shape = window.shape
            torch.add(places.view(shape), window, out=lease.tensor.view(shape))
            return lease
        hidden = self._scratch.get("hidden", len(places), self._maps.width)
        self._maps.hidden(prompt.points, prompt.box, out=hidden)
        torch.addmm(places, hidden, self._maps.spread, out=lease.tensor)
        return lease


class _Single(NamedTuple):
    """One prompt: points ((N, 2), (N,)), box (4,), and a mask's places (n, C)."""

    points: tuple[Tensor, Tensor] | None
    box: Tensor | None
    mask: Tensor | None

    @classmethod
    def of(cls, prompts: Prompts, masks: Tensor | None, i: int) -> _Single:
        """Take prompt i out of B, with masks (B, n, C) that are encoded already."""
        points, boxes = prompts.points, prompts.boxes
        return cls(
            None if points is None else (points[0][i], points[1][i]),
            None if boxes is None else boxes[i],
            None if masks is None else masks[i],
        )


def _parts(n_prompts: int) -> list[range]:
    """Share prompts out: as many to each thread, but only few at a time."""
    size = min(_AT_ONCE, -(-n_prompts // torch.get_num_threads()))
    starts = range(0, n_prompts, size)
    return [range(start, min(start + size, n_prompts)) for start in starts]


class SpatialAttended:
    """Answers of a `SpatialDecoding` before any mask is drawn.

    Parameters
    ----------
    decoding : SpatialDecoding
    image : SpatialImage
    seen : sequence of B Seen
    predicted_iou : (B, n) tensor
    outputs : sequence of B ints or None
        The output that was chosen of each prompt; None for all of them.
    """

    def __init__(
        self,
        decoding: SpatialDecoding,
        image: SpatialImage,
        seen: Sequence[Seen],
        predicted_iou: Tensor,
        outputs: Sequence[int] | None = None,
    ) -> None:
        self.predicted_iou = predicted_iou
        self._decoding = decoding
        self._image = image
        self._seen = seen
        self._outputs = outputs

    def of_prompts(self, rows: Tensor) -> SpatialAttended:
        """Keep only the prompts of these (k,) indices."""
        numbers = rows.tolist()
        chosen = self._outputs
        return SpatialAttended(
            self._decoding,
            self._image,
            [self._seen[i] for i in numbers],
            self.predicted_iou[rows],
            None if chosen is None else [chosen[i] for i in numbers],
        )

    def of_outputs(self, chosen: Tensor) -> SpatialAttended:
        """Keep only one output of each prompt, by their (B,) indices."""
        rows = torch.arange(len(chosen))
        rated = self.predicted_iou[rows, chosen][:, None]
        outputs = chosen.tolist()
        return SpatialAttended(self._decoding, self._image, self._seen, rated, outputs)

    @torch.inference_mode()
    def draw(self) -> Tensor:
        """Return mask logits, (B, n, 4g, 4g)."""

        def draw_one(i: int) -> Tensor:
            wanted = _ALL if self._outputs is None else [self._outputs[i]]
            return self._decoding.draw(self._image, self._seen[i], wanted)

        masks = work_side_by_side(draw_one, range(len(self._seen)))
        return masks[0][None] if len(masks) == 1 else torch.stack(masks)

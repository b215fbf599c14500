# SPDX-License-Identifier: Apache-2.0
"""Image features and prompt maps to mask logits and predicted IoU, by convolutions.

The embedded model's decoder. Where SAM lets tokens and image attend to each other, this
one filters prompt maps together with the image, coarse first: stride 16 to see far,
stride 8 to tell object from neighbour, strides 4 and 2 to draw. B prompts, n of 4
outputs, T places of prompts, h and w cells at stride 8.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_sam.modeling.common import MLP, LayerNorm2d
from napari_sam.modeling.features import ImageFeatures
from napari_sam.modeling.mask_decoder import N_MASK_TOKENS
from napari_sam.modeling.prompt_encoder import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT
from napari_sam.modeling.prompt_encoder_map import (
    N_FINE_MAPS,
    N_MAPS,
    STRIDE,
    fine_maps,
)

N_OUTPUTS = N_MASK_TOKENS
HEADS, HEAD_DIM = 4, 16  # of the likeness to what was clicked
LOOK_DIM, PROMPT_DIM, KIND_DIM = 64, 96, 16
N_FACTS = 5  # is there a click on the object, one beside it, a box; its two sides


class PreparedFeatures(NamedTuple):
    """What all prompts on an image have in common; I images.

    ``features`` as encoded; ``keys`` (I, HEADS * HEAD_DIM, h, w) of unit length per
    head; ``far`` (I, C16, h/2, w/2) and ``near`` (I, C8, h, w) are the image's share of
    the first two stages.
    """

    features: ImageFeatures
    keys: Tensor
    far: Tensor
    near: Tensor

    def of_images(self, index: Tensor) -> PreparedFeatures:
        """Repeat or choose images by their (B,) indices."""
        embedding, high_res = self.features
        chosen = ImageFeatures(embedding[index], tuple(x[index] for x in high_res))
        return PreparedFeatures(
            chosen, self.keys[index], self.far[index], self.near[index]
        )


class DecodedMaps(NamedTuple):
    """Answers before any mask is drawn.

    ``predicted_iou`` (B, n); ``hyper`` (B, n, C2 + 1) weights and bias of an output;
    ``coarse`` (B, n, h, w) its logits at stride 8; ``image`` (B, C8, h, w) what the
    prompts made of the image; ``places`` (B, T, 3) the prompts. There are n = 4 outputs
    until some are dropped.
    """

    predicted_iou: Tensor
    hyper: Tensor
    coarse: Tensor
    image: Tensor
    places: Tensor

    def of_prompts(self, rows: Tensor) -> DecodedMaps:
        """Keep only the prompts of these (k,) indices."""
        return DecodedMaps(*(part[rows] for part in self))

    def of_outputs(self, chosen: Tensor) -> DecodedMaps:
        """Keep only one output of each prompt, by their (B,) indices."""
        rows = torch.arange(len(chosen), device=chosen.device)
        return DecodedMaps(
            self.predicted_iou[rows, chosen][:, None],
            self.hyper[rows, chosen][:, None],
            self.coarse[rows, chosen][:, None],
            self.image,
            self.places,
        )


class ConvMaskDecoder(nn.Module):
    """The decoder; widths are those of the strides 16, 8, 4 and 2.

    Parameters
    ----------
    embed_dim : int
        Channels of the image embedding (stride 8).
    widths : 4 ints
        Channels at strides 16, 8, 4, 2; the last two are those of the finer maps.
    depths : 2 ints
        Blocks at strides 16 and 8.
    """

    def __init__(
        self,
        embed_dim: int = 96,
        widths: tuple[int, int, int, int] = (96, 64, 32, 16),
        depths: tuple[int, int] = (3, 2),
    ) -> None:
        super().__init__()
        far, near, fine, finest = widths
        inputs = N_MAPS + 2 * HEADS
        self.key = nn.Conv2d(embed_dim, HEADS * HEAD_DIM, kernel_size=1)
        self.look = nn.Linear(embed_dim + fine + finest, LOOK_DIM)
        self.query = nn.Linear(LOOK_DIM, HEADS * HEAD_DIM)
        self.prompt = MLP(3 * LOOK_DIM + N_FACTS, PROMPT_DIM, PROMPT_DIM, 2)
        self.far_image = nn.Conv2d(embed_dim, far, kernel_size=2, stride=2)
        self.near_image = nn.Conv2d(embed_dim, near, kernel_size=1)
        self.far_stage = Stage(inputs, far, kernel=7, depth=depths[0])
        self.near_stage = Stage(inputs, near, kernel=5, depth=depths[1])
        self.far_to_near = nn.Conv2d(far, near, kernel_size=1)
        self.coarse = nn.Conv2d(near, N_OUTPUTS, kernel_size=1)
        self.output_embed = nn.Parameter(torch.empty(N_OUTPUTS, KIND_DIM))
        nn.init.normal_(self.output_embed, std=0.1)
        known = near + PROMPT_DIM + KIND_DIM + 2
        self.hyper = MLP(known, 128, finest + 1, 2)
        self.iou_head = MLP(known, 128, 1, 2)
        self.near_to_fine = nn.Conv2d(near, fine, kernel_size=1)
        self.fine_prompts = nn.Conv2d(N_FINE_MAPS, fine, kernel_size=1, bias=False)
        self.fine_block = Block(fine, kernel=3)
        self.fine_to_finest = nn.Conv2d(fine, finest, kernel_size=1)
        nn.init.zeros_(self.fine_prompts.weight)
        nn.init.zeros_(self.hyper.layers[-1].get_parameter("weight"))

    def prepare(self, features: ImageFeatures) -> PreparedFeatures:
        """Compute what all prompts on the images have in common."""
        embedding = features.embedding
        keys = self.key(embedding).unflatten(1, (HEADS, HEAD_DIM))
        return PreparedFeatures(
            features,
            functional.normalize(keys, dim=2).flatten(1, 2),
            self.far_image(embedding),
            self.near_image(embedding),
        )

    def forward(
        self, image: PreparedFeatures, places: Tensor, maps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, 4, 4h, 4w) and predicted IoU (B, 4); see `attend`."""
        decoded = self.attend(image, places, maps)
        return self.draw(decoded, image.features.high_res), decoded.predicted_iou

    def attend(
        self, image: PreparedFeatures, places: Tensor, maps: Tensor
    ) -> DecodedMaps:
        """Find the objects at stride 8 and how good their masks will be.

        Parameters
        ----------
        image : PreparedFeatures
            Of one image for all prompts, or of B images.
        places : (B, T, 3) tensor
            x, y, label of each prompt; see the prompt encoder.
        maps : (B, N_MAPS, h, w) tensor
            The prompts as maps.
        """
        looks = self.look_at(image.features, places)  # (B, T, LOOK_DIM)
        prompt = self.summary(looks, places)  # (B, PROMPT_DIM)
        likeness = self._likeness(image.keys, looks, places)
        stack = torch.cat([maps, likeness], dim=1)
        far = self.far_stage(functional.avg_pool2d(stack, 2), image.far, prompt)
        coming = functional.interpolate(
            self.far_to_near(far), scale_factor=2.0, mode="bilinear"
        )
        near = self.near_stage(stack, image.near + coming, prompt)
        coarse = self.coarse(near)
        known = self.know(describe(near, coarse), prompt)
        return DecodedMaps(
            self.iou_head(known)[..., 0].sigmoid(),
            self.hyper(known),
            coarse,
            near,
            places,
        )

    def draw(self, decoded: DecodedMaps, high_res: tuple[Tensor, ...]) -> Tensor:
        """Mask logits (B, n, 4h, 4w); ``high_res`` as encoded, strides 4 and 2."""
        fine_map, finest_map = high_res
        fine = fine_map + _double(self.near_to_fine(decoded.image))
        shown = fine_maps(decoded.places, (fine.shape[-2], fine.shape[-1]))
        fine = fine + self.fine_prompts(shown)
        fine = self.fine_block(fine)
        finest = functional.relu(finest_map + _double(self.fine_to_finest(fine)))
        weight, bias = decoded.hyper[..., :-1], decoded.hyper[..., -1]
        detail = (weight @ finest.flatten(2)).unflatten(2, finest.shape[2:])
        coarse = functional.interpolate(
            decoded.coarse, scale_factor=4.0, mode="bilinear"
        )
        logits: Tensor = coarse + detail + bias[..., None, None]
        return logits

    def look_at(self, features: ImageFeatures, places: Tensor) -> Tensor:
        """Look at what the image shows at each place, (B, T, LOOK_DIM)."""
        h, w = features.embedding.shape[-2:]
        size = places.new_tensor([w * STRIDE, h * STRIDE])
        at = (places[:, None, :, :2] + 0.5) / size * 2 - 1  # (B, 1, T, 2)
        seen = [
            functional.grid_sample(
                level.expand(len(places), -1, -1, -1).float(),
                at.float(),
                padding_mode="border",
                align_corners=False,
            )[:, :, 0]
            for level in (features.embedding, *features.high_res)
        ]
        looks: Tensor = self.look(torch.cat(seen, dim=1).transpose(1, 2))
        return looks

    def summary(self, looks: Tensor, places: Tensor) -> Tensor:
        """One vector for all prompts of an object, (B, PROMPT_DIM)."""
        parts, facts = [], []
        for labels in ((1,), (0,), (BOX_TOP_LEFT, BOX_BOTTOM_RIGHT)):
            chosen = _is_any_of(places[..., 2], labels)  # (B, T, 1)
            count = chosen.sum(dim=1)
            parts.append((looks * chosen).sum(dim=1) / count.clamp(min=1))
            facts.append((count > 0).to(looks.dtype))
        signs = _is_any_of(places[..., 2], (BOX_BOTTOM_RIGHT,)) - _is_any_of(
            places[..., 2], (BOX_TOP_LEFT,)
        )
        sides = (places[..., :2] * signs).sum(dim=1).clamp(min=0)
        facts.append(torch.log1p(sides) / 5)
        out: Tensor = self.prompt(torch.cat([*parts, *facts], dim=1))
        return out

    def ask(self, looks: Tensor) -> Tensor:
        """Turn what was seen into queries of unit length, (B, HEADS, T, d)."""
        queries = self.query(looks).unflatten(2, (HEADS, HEAD_DIM)).transpose(1, 2)
        return functional.normalize(queries, dim=3)

    def _likeness(self, keys: Tensor, looks: Tensor, places: Tensor) -> Tensor:
        """Likeness to the nearest clicked place of either kind, (B, 2 * HEADS, h, w).

        Nothing but a click counts: the corners of a box lie outside the object.
        """
        shape = keys.shape[-2:]
        queries = self.ask(looks)
        heads = keys.unflatten(1, (HEADS, HEAD_DIM)).flatten(3)  # (I, HEADS, d, h w)
        scores = queries @ heads  # (B, HEADS, T, h w)
        out = []
        for label in (1, 0):
            chosen = _is_any_of(places[..., 2], (label,))[:, None]  # (B, 1, T, 1)
            kept = scores.masked_fill(chosen == 0, -1.0)
            # A padding row, so that there is a maximum without any prompt.
            best = functional.pad(kept, (0, 0, 0, 1), value=-1.0).amax(dim=2)
            out.append(best)
        stacked: Tensor = torch.cat(out, dim=1).unflatten(2, shape)
        return stacked

    def know(self, seen: Tensor, prompt: Tensor) -> Tensor:
        """Add prompts (B, PROMPT_DIM) and the kind of output to (B, 4, C8 + 2)."""
        inside, rest = seen[..., :-2], seen[..., -2:]
        prompt = prompt[:, None].expand(-1, N_OUTPUTS, -1)
        kind = self.output_embed[None].expand(len(seen), -1, -1)
        return torch.cat([inside, prompt, kind, rest], dim=2)


def describe(near: Tensor, coarse: Tensor) -> Tensor:
    """Mean of the inside of each output, its size and how sharp it is, (B, 4, C8 + 2).

    ``near`` is (B, C8, h, w), ``coarse`` (B, 4, h, w).
    """
    p = coarse.flatten(2).sigmoid()  # (B, 4, h w)
    total = p.sum(dim=2, keepdim=True) + 1e-3
    inside = p @ near.flatten(2).transpose(1, 2) / total
    certainty = p.square().sum(dim=2, keepdim=True) / total
    return torch.cat([inside, torch.log1p(total) / 5, certainty], dim=2)


class Stage(nn.Module):
    """Prompt maps and image in, normalised, tuned to the prompt, then a few blocks."""

    def __init__(self, inputs: int, channels: int, kernel: int, depth: int) -> None:
        super().__init__()
        self.maps = nn.Conv2d(inputs, channels, kernel_size=1)
        self.norm = LayerNorm2d(channels)
        self.tune = nn.Linear(PROMPT_DIM, 2 * channels)
        self.blocks = nn.Sequential(*(Block(channels, kernel) for _ in range(depth)))
        nn.init.zeros_(self.tune.weight)
        nn.init.zeros_(self.tune.bias)

    def forward(self, maps: Tensor, image: Tensor, prompt: Tensor) -> Tensor:
        """Map (B, inputs, H, W), (1 or B, C, H, W), (B, PROMPT_DIM) to (B, C, H, W)."""
        gain, shift = self.tune(prompt)[..., None, None].chunk(2, dim=1)
        x = self.norm(self.maps(maps) + image) * (1 + gain) + shift
        out: Tensor = self.blocks(x)
        return out


class Block(nn.Module):
    """Filter each channel, mix the channels, add (Liu et al. 2022 without widening)."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            channels, channels, kernel, padding=kernel // 2, groups=channels
        )
        self.mix = nn.Conv2d(channels, channels, kernel_size=1)
        self.out = nn.Conv2d(channels, channels, kernel_size=1)
        with torch.no_grad():
            self.out.weight.mul_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        out: Tensor = x + self.out(functional.relu(self.mix(self.depthwise(x))))
        return out


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear")


def _is_any_of(labels: Tensor, wanted: tuple[int, ...]) -> Tensor:
    """(B, T) labels to (B, T, 1) zeros and ones."""
    found = torch.zeros_like(labels, dtype=torch.bool)
    for label in wanted:
        found = found | (labels == label)
    return found.to(labels.dtype)[..., None]

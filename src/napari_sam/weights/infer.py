# SPDX-License-Identifier: Apache-2.0
"""Which architecture a set of weights belongs to, told by its names and shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from napari_sam.errors import CheckpointError
from napari_sam.modeling.build import DECODER_HEADS, DecoderSpec, VitSpec, build_vit_sam
from napari_sam.modeling.registry import build_model, build_on, list_architectures

if TYPE_CHECKING:
    from napari_sam.modeling.sam import Sam

Shapes = Mapping[str, tuple[int, ...]]

_BLOCKS = "image_encoder.blocks."
_LAYERS = "mask_decoder.transformer.layers."
_SHOWN = 4  # names listed in an error before "and N more"


def build_for(shapes: Shapes, source: str, expected: str | None = None) -> Sam:
    """Build the model that weights of these shapes fit exactly, on the meta device.

    The registered architectures come first, then a SAM with a ViT encoder of any size.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Names and shapes of the weights.
    source : str
        Name of the file, for errors.
    expected : str, optional
        The registered architecture that it has to be.

    Raises
    ------
    CheckpointError
        If the weights belong to no supported architecture or not to the expected one,
        or if names are missing, left over or of another shape.
    """
    _refuse_relatives(shapes, source)
    for name in list_architectures():
        if shapes == _registered_shapes(name):
            _check_expected(name, expected, source)
            return build_model(name, device="meta")
    candidates = [
        _Candidate(name, _registered_shapes(name), None)
        for name in list_architectures()
    ]
    vit = _vit_candidate(shapes)
    if vit is not None:
        if vit.shapes == shapes and vit.build is not None:
            _check_expected(vit.name, expected, source)
            return build_on(vit.build, "meta")
        candidates.append(vit)
    closest = max(candidates, key=lambda c: c.n_shared(shapes))
    msg = _explain(shapes, closest, source)
    raise CheckpointError(msg)


def vit_specs(shapes: Shapes) -> tuple[VitSpec, DecoderSpec] | None:
    """Read the sizes of a SAM with a ViT encoder from its shapes.

    Heads are channels / width of the relative position tables. A block is windowed
    where its table is shorter than 2 * grid - 1. The decoder has 8 heads, which no
    shape tells.

    Returns
    -------
    pair of specs, or None
        None if the weights are not of this kind or a tensor that tells a size is not
        there. Whether everything else fits is for the caller to compare.
    """
    try:
        return _vit_specs(shapes)
    except (KeyError, ValueError, IndexError, ZeroDivisionError):
        return None


@dataclass(frozen=True, slots=True)
class _Candidate:
    name: str
    shapes: Shapes
    build: Callable[[], Sam] | None

    def n_shared(self, shapes: Shapes) -> int:
        return sum(self.shapes.get(key) == shape for key, shape in shapes.items())


def _vit_specs(shapes: Shapes) -> tuple[VitSpec, DecoderSpec]:
    _, grid, grid_columns, embed_dim = shapes["image_encoder.pos_embed"]
    patch = shapes["image_encoder.patch_embed.proj.weight"][-1]
    depth = _count(shapes, _BLOCKS)
    tables = [shapes[f"{_BLOCKS}{i}.attn.rel_pos_h"] for i in range(depth)]
    head_dims = {width for _, width in tables}
    windows = {(length + 1) // 2 for length, _ in tables if length < 2 * grid - 1}
    if grid != grid_columns or len(head_dims) != 1 or len(windows) > 1:
        msg = "not a square grid with one head width and one window size"
        raise ValueError(msg)
    channels = shapes["image_encoder.neck.0.weight"][0]
    mask_in_chans = shapes["prompt_encoder.mask_downscaling.3.weight"][0]
    if not min(grid, patch, embed_dim, channels, mask_in_chans // 4):
        msg = "layers without width"
        raise ValueError(msg)
    # Checked before building, because layers of such widths cannot even be made.
    if embed_dim % head_dims.copy().pop() or channels % (2 * DECODER_HEADS):
        msg = "widths that heads do not divide"
        raise ValueError(msg)
    vit = VitSpec(
        embed_dim=embed_dim,
        depth=depth,
        num_heads=embed_dim // head_dims.pop(),
        mlp_dim=shapes[f"{_BLOCKS}0.mlp.lin1.weight"][0],
        global_attn_indexes=tuple(
            i for i, (length, _) in enumerate(tables) if length >= 2 * grid - 1
        ),
        window_size=windows.pop() if windows else 0,
        patch_size=patch,
    )
    decoder = DecoderSpec(
        image_size=grid * patch,
        grid_size=grid,
        channels=channels,
        mask_in_chans=mask_in_chans,
        depth=_count(shapes, _LAYERS),
        mlp_dim=shapes[f"{_LAYERS}0.mlp.lin1.weight"][0],
        iou_head_hidden_dim=shapes["mask_decoder.iou_prediction_head.layers.0.weight"][
            0
        ],
    )
    return vit, decoder


def _vit_candidate(shapes: Shapes) -> _Candidate | None:
    specs = vit_specs(shapes)
    if specs is None:
        return None
    vit, decoder = specs
    name = f"vit_{vit.embed_dim}x{vit.depth}_{decoder.image_size}"

    def build() -> Sam:
        return build_vit_sam(name, vit, decoder)

    try:
        return _Candidate(name, _shapes_of(build_on(build, "meta")), build)
    except (ValueError, RuntimeError):  # sizes that torch's layers refuse
        return None


def _count(shapes: Shapes, prefix: str) -> int:
    """Count the numbered sub-modules of a list: one more than the highest number."""
    numbers = {
        int(key.removeprefix(prefix).partition(".")[0])
        for key in shapes
        if key.startswith(prefix)
    }
    # A gap means that tensors are missing; an absurd number would build for minutes.
    if numbers != set(range(len(numbers))) or not numbers:
        msg = f"the modules of {prefix} are not numbered from 0 without gaps"
        raise ValueError(msg)
    return len(numbers)


@cache
def _registered_shapes(name: str) -> Shapes:
    return _shapes_of(build_model(name, device="meta"))


def _shapes_of(sam: Sam) -> Shapes:
    return {key: tuple(value.shape) for key, value in sam.state_dict().items()}


def _check_expected(found: str, expected: str | None, source: str) -> None:
    if expected is not None and found != expected:
        msg = (
            f"{source} holds weights of the architecture {found!r}, but {expected!r} "
            "was asked for. Leave the name out, or choose a file with weights of "
            f"{expected!r}."
        )
        raise CheckpointError(msg)


def _relatives(shapes: Shapes) -> Iterator[tuple[bool, str]]:
    tokens = shapes.get("mask_decoder.mask_tokens.weight", (4,))
    yield "mask_decoder.hf_token.weight" in shapes, "HQ-SAM"
    yield "image_encoder.trunk.pos_embed" in shapes, "SAM 2"
    yield len(shapes.get("image_encoder.pos_embed", ())) == 3, "EfficientSAM"
    yield tokens[:1] != (4,), f"a SAM with {tokens[0] if tokens else 0} mask tokens"
    yield "shared_image_embedding.positional_embedding" in shapes, "Transformers' SAM"
    is_decoder = "deconv_out.conv.bias" in shapes or any(
        key.startswith("decoder.samplers.") for key in shapes
    )
    yield is_decoder, "micro-sam's instance decoder (without the SAM it belongs to)"


def _refuse_relatives(shapes: Shapes, source: str) -> None:
    for applies, family in _relatives(shapes):
        if applies:
            msg = (
                f"{source} holds weights of {family}, which is not supported yet. Use "
                f"weights of one of: {', '.join(list_architectures())}, or of a SAM "
                "with a plain ViT encoder of another size."
            )
            raise CheckpointError(msg)


def _explain(shapes: Shapes, closest: _Candidate, source: str) -> str:
    if 2 * closest.n_shared(shapes) < len(closest.shapes):
        known = ", ".join(list_architectures())
        return (
            f"{source} holds {len(shapes)} tensors ({_list(list(shapes))}) that look "
            f"like no known SAM. Use weights of one of: {known}, or of a SAM with a "
            "plain ViT encoder of another size, under their published names."
        )
    missing = [key for key in closest.shapes if key not in shapes]
    extra = [key for key in shapes if key not in closest.shapes]
    differing = [
        f"{key} is {shapes[key]}, should be {shape}"
        for key, shape in closest.shapes.items()
        if shapes.get(key, shape) != shape
    ]
    parts = [
        f"{len(names)} {kind} ({_list(names)})"
        for kind, names in (
            ("missing", missing),
            ("unexpected", extra),
            ("of another shape", differing),
        )
        if names
    ]
    return (
        f"{source} is nearest to the architecture {closest.name!r} but does not fit: "
        f"tensors {'; '.join(parts)}. Every published tensor must be there and no "
        "other: get the file again, or save the complete state_dict() of the model."
    )


def _list(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from safetensors import safe_open

from napari_sam.errors import CheckpointError
from napari_sam.modeling.build import DecoderSpec, VitSpec, build_vit_sam
from napari_sam.modeling.registry import build_model, build_on, list_architectures
from napari_sam.weights.infer import build_for, vit_specs

DATA = Path(__file__).parents[1] / "data"
Shapes = dict[str, tuple[int, ...]]


def shapes_of(architecture: str) -> Shapes:
    state = build_model(architecture, device="meta").state_dict()
    return {key: tuple(value.shape) for key, value in state.items()}


def mini_shapes() -> Shapes:
    with safe_open(DATA / "parity" / "mini.safetensors", "pt") as file:
        return {
            key: tuple(file.get_slice(key).get_shape())
            for key in file.keys()  # noqa: SIM118  no mapping
        }


@pytest.mark.parametrize("name", list_architectures())
def test_registered_architectures_are_recognised(name: str) -> None:
    sam = build_for(shapes_of(name), "file.pt")
    assert sam.name == name
    assert all(p.is_meta for p in sam.parameters())


@pytest.mark.parametrize("name", ["sam_vit_b", "sam_vit_l", "sam_vit_h"])
def test_shapes_alone_give_the_published_numbers(name: str) -> None:
    """What the builders state is also what inference reads."""
    published = json.loads((DATA / "state_dicts" / f"{name}.json").read_text())
    vit, decoder = vit_specs({key: tuple(shape) for key, shape in published.items()})
    assert decoder == DecoderSpec()
    sam = build_model(name.removeprefix("sam_"), device="meta")
    blocks = sam.image_encoder.blocks
    assert vit.depth == len(blocks)
    assert vit.num_heads == blocks[0].attn.num_heads
    windows = [block.window_size for block in blocks]
    assert vit.global_attn_indexes == tuple(
        i for i, window in enumerate(windows) if window == 0
    )
    assert (vit.window_size, vit.patch_size) == (14, 16)


def test_mini_model_is_read_from_its_shapes() -> None:
    config = json.loads((DATA / "parity" / "mini_config.json").read_text())
    vit, decoder = vit_specs(mini_shapes())
    assert dataclasses.asdict(vit) == {
        "embed_dim": config["embed_dim"],
        "depth": config["depth"],
        "num_heads": config["num_heads"],
        "mlp_dim": 4 * config["embed_dim"],
        "global_attn_indexes": tuple(config["global_attn_indexes"]),
        "window_size": config["window_size"],
        "patch_size": config["patch_size"],
    }
    assert decoder.image_size == config["img_size"]
    assert decoder.channels == config["out_chans"]
    assert decoder.mlp_dim == config["decoder_mlp_dim"]
    assert decoder.mask_in_chans == config["mask_in_chans"]
    assert build_for(mini_shapes(), "mini").name == "vit_48x4_256"


@pytest.mark.parametrize("globally", [(), (0, 1, 2)])
def test_all_windowed_or_all_global(globally: tuple[int, ...]) -> None:
    vit = VitSpec(24, 3, 3, 40, globally, window_size=5, patch_size=8)
    decoder = DecoderSpec(
        image_size=64, grid_size=8, channels=32, mask_in_chans=4, depth=1, mlp_dim=20
    )
    built = build_on(lambda: build_vit_sam("odd", vit, decoder), "meta")
    shapes = {key: tuple(value.shape) for key, value in built.state_dict().items()}
    found = build_for(shapes, "file.pt")
    windows = [block.window_size for block in found.image_encoder.blocks]
    assert windows == [0 if i in globally else 5 for i in range(3)]
    assert (found.image_size, found.grid_size) == (64, 8)


def test_expected_architecture() -> None:
    assert build_for(shapes_of("vit_t"), "f", expected="vit_t").name == "vit_t"
    for shapes, found in ((shapes_of("vit_t"), "vit_t"), (mini_shapes(), "vit_48x4")):
        with pytest.raises(CheckpointError, match=rf"'{found}.* 'vit_b' was asked for"):
            build_for(shapes, "f", expected="vit_b")


@pytest.mark.parametrize("source", ["vit_b", "vit_t", "mini"])
def test_missing_left_over_and_misshapen_tensors_are_named(source: str) -> None:
    shapes = mini_shapes() if source == "mini" else shapes_of(source)
    del shapes["mask_decoder.iou_token.weight"]
    shapes["mask_decoder.new.weight"] = (1,)
    shapes["prompt_encoder.no_mask_embed.weight"] = (1, 7)
    with pytest.raises(CheckpointError) as caught:
        build_for(shapes, "f.pt")
    text = str(caught.value)
    assert f"nearest to the architecture '{source.replace('mini', 'vit_48x4')}" in text
    assert "1 missing (mask_decoder.iou_token.weight)" in text
    assert "1 unexpected (mask_decoder.new.weight)" in text
    assert "prompt_encoder.no_mask_embed.weight is (1, 7), should be (1, " in text


@pytest.mark.parametrize(
    "key",
    [
        "image_encoder.pos_embed",
        "image_encoder.patch_embed.proj.weight",
        "image_encoder.blocks.3.attn.rel_pos_h",
        "image_encoder.neck.0.weight",
        "mask_decoder.transformer.layers.0.mlp.lin1.weight",
    ],
)
def test_tensors_that_tell_a_size_can_be_missing_too(key: str) -> None:
    shapes = shapes_of("vit_b")
    del shapes[key]
    with pytest.raises(CheckpointError, match=rf"'vit_b'.*1 missing \({key}\)"):
        build_for(shapes, "f.pt")


@pytest.mark.parametrize(
    "change",
    [
        {"image_encoder.pos_embed": (1, 16, 15, 48)},
        {"image_encoder.pos_embed": (1, 16, 16, 47)},
        {"image_encoder.pos_embed": (1, 0, 0, 48)},
        {"image_encoder.pos_embed": ()},
        {"image_encoder.patch_embed.proj.weight": (48, 3, 16, 0)},
        {"image_encoder.blocks.0.attn.rel_pos_h": (9, 16)},
        {"image_encoder.blocks.0.attn.rel_pos_h": (13, 0)},
        {"image_encoder.blocks.9999999.attn.rel_pos_h": (13, 16)},
        {"image_encoder.blocks.x.attn.rel_pos_h": (13, 16)},
        {"image_encoder.neck.0.weight": (0, 48, 1, 1)},
        {"image_encoder.neck.0.weight": (60, 48, 1, 1)},
        {"prompt_encoder.mask_downscaling.3.weight": (2, 4, 2, 2)},
    ],
)
def test_shapes_that_make_no_sense_are_refused(change: Shapes) -> None:
    with pytest.raises(CheckpointError, match=r"f\.pt (holds|is nearest)"):
        build_for(mini_shapes() | change, "f.pt")


@pytest.mark.parametrize(
    ("change", "family"),
    [
        ({"mask_decoder.hf_token.weight": (1, 256)}, "HQ-SAM"),
        ({"image_encoder.trunk.pos_embed": (1, 96, 7, 7)}, "SAM 2"),
        ({"image_encoder.pos_embed": (1, 197, 192)}, "EfficientSAM"),
        ({"mask_decoder.mask_tokens.weight": (7, 256)}, "a SAM with 7 mask tokens"),
        ({"decoder.samplers.0.conv.weight": (9, 9)}, "micro-sam's instance decoder"),
    ],
)
def test_relatives_are_named(change: Shapes, family: str) -> None:
    with pytest.raises(CheckpointError, match=rf"{family}.*not supported yet.*vit_b"):
        build_for(shapes_of("vit_b") | change, "f.pt")


def test_something_else_lists_the_supported() -> None:
    with pytest.raises(
        CheckpointError, match=r"holds 2 tensors \(conv1.w, fc.b\).*vit_t"
    ):
        build_for({"conv1.w": (3, 3), "fc.b": (10,)}, "resnet.pt")

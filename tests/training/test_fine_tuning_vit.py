# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning of ViTs: which layers take part, and one of ViT-B's size to the end."""

import csv
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from napari_sam.modeling.build import DecoderSpec, VitSpec, build_vit_sam
from napari_sam.modeling.registry import build_model
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.training.card import keep_model, parent_of
from napari_sam.training.fine_tuning import choose_parts, fine_tune
from napari_sam.training.lora import LoraLayer
from napari_sam.training.optimisation import encoder_factors, parameter_groups
from napari_sam.training.presets import get_preset
from napari_sam.training.recipe import Optimiser, Trained
from napari_sam.training.run_config import config_from
from napari_sam.training.samples import find_samples
from napari_sam.training.sources import from_arrays
from napari_sam.training.splitting import split_samples
from napari_sam.weights.load import load_checkpoint, load_model
from napari_sam.weights.trained import trained_rows

QUICK = {
    "prompts": {"objects_per_image": 1, "point_rounds": 1},
    "frames": {"variants": 1},
    "optimiser": {"warmup_steps": 0},
    "loop": {"total_steps": 2, "log_every": 1, "ema_decay": 0.0, "recompute": True},
}


def vit_b_layers():
    """ViT-B on a frame of 256 pixels: a step on all layers takes seconds on a CPU."""
    vit = VitSpec(
        embed_dim=768,
        depth=12,
        num_heads=12,
        mlp_dim=3072,
        global_attn_indexes=(2, 5, 8, 11),
    )
    return build_vit_sam("vit_b_256", vit, DecoderSpec(image_size=256, grid_size=16))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_layers_of_vit_b_are_tuned_kept_and_clicked(scene, tmp_path) -> None:
    torch.manual_seed(0)
    start = tmp_path / "start.pth"
    torch.save(
        vit_b_layers().state_dict(), start
    )  # as the official checkpoints are saved
    model = load_checkpoint(start)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    parent = parent_of(model, is_listed=False)
    images = [from_arrays(scene.pixels, scene.labels, name=name) for name in "ab"]
    split = split_samples(find_samples(images), share=0.5)
    training = {"preset": "fine-tune-lora", **QUICK}
    config = config_from({"model": {"name": "mine"}, "training": training})
    result = fine_tune(model, split.train, [], config.recipe, tmp_path / "run")
    assert (result.ended, result.best_step) == ("steps", 2)
    with result.log.open(newline="") as file:
        losses = [float(row[3]) for row in csv.reader(file) if row[2] == "loss"]
    assert len(losses) == 2
    assert all(map(math.isfinite, losses))

    after = load_file(result.weights)
    assert after.keys() == before.keys()
    assert all(value.isfinite().all() for value in after.values())
    changed = {k for k in after if not torch.equal(after[k], before[k])}
    assert changed & {k for k in after if k.startswith("mask_decoder.")}
    inside = {k for k in changed if k.startswith("image_encoder.")}
    products = [f"attn.{k}" for k in ("qkv", "proj")] + ["mlp.lin1", "mlp.lin2"]
    with_lora = {f"blocks.{i}.{k}.weight" for i in range(12) for k in products}
    assert inside == {f"image_encoder.{k}" for k in (*with_lora, "neck.0.weight")}

    keep_model(result, parent=parent, split=split, config=config, device="cpu")
    assert "mine" in [row.name for row in trained_rows()]
    predictor = SamPredictor(load_model("mine", device="cpu"))
    found = predictor.predict(
        predictor.embed(scene.pixels), points_yx=[(16, 14)], point_labels=[1]
    )
    assert found.masks.shape == (3, 64, 64)
    assert np.isfinite(found.predicted_iou).all()


# Of each block of a ViT four products; of TinyViT's 10 blocks four, of its 2 inverted
# bottlenecks and 3 mergings two convolutions each, and the head that its file brings
# but nothing calls; always the first of the neck.
@pytest.mark.parametrize(
    ("name", "n_layers"),
    [
        ("vit_b", 4 * 12 + 1),
        ("vit_l", 4 * 24 + 1),
        ("vit_h", 4 * 32 + 1),
        ("vit_t", 4 * 10 + 2 * 5 + 1 + 1),
    ],
)
def test_low_rank_additions_reach_every_product_of_an_encoder(name, n_layers) -> None:
    model = build_model(name, "meta")
    recipe = get_preset("fine-tune-lora")
    choose_parts(model, recipe.trained)
    encoder = model.image_encoder
    added = [m for m in encoder.modules() if isinstance(m, LoraLayer)]
    assert len(added) == n_layers
    learning = [n for n, p in encoder.named_parameters() if p.requires_grad]
    assert len(learning) == 2 * n_layers
    assert all(n.endswith(("lora_down", "lora_up")) for n in learning)
    groups = parameter_groups(model, recipe.optimiser)
    grouped = {id(p) for group in groups for p in group["params"]}
    assert grouped == {id(p) for p in model.parameters() if p.requires_grad}
    others = [p for n, p in model.named_parameters() if "image_encoder" not in n]
    assert all(p.requires_grad for p in others)


@pytest.mark.parametrize(
    ("name", "depth"), [("vit_b", 12), ("vit_l", 24), ("vit_h", 32)]
)
def test_layer_decay_counts_every_block_of_a_vit(name, depth) -> None:
    model = build_model(name, "meta")
    choose_parts(model, Trained())
    numbers = Optimiser(layer_decay=0.9)
    factors = encoder_factors(model.image_encoder, numbers)
    # The neck is full; the last block is one layer down, patches lie below the first.
    for i in range(depth):
        factor = 0.9 ** (depth - i)
        assert factors[f"blocks.{i}.attn.qkv.weight"] == pytest.approx(factor)
        assert factors[f"blocks.{i}.norm1.bias"] == pytest.approx(factor)
    assert factors["patch_embed.proj.weight"] == pytest.approx(0.9 ** (depth + 1))
    assert factors["pos_embed"] == pytest.approx(0.9 ** (depth + 1))
    assert factors["neck.2.weight"] == 1
    assert len(set(factors.values())) == depth + 2
    groups = parameter_groups(model, numbers)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(map(id, model.parameters()))

# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning of a tiny SAM: it learns, and what comes out is usable."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from napari_sam.errors import (
    DeviceError,
    LabelsError,
    LossError,
    ModelTypeError,
    SettingsError,
)
from napari_sam.modeling.object_head import BOUNDARY, FOREGROUND
from napari_sam.modeling.registry import build_model
from napari_sam.training import prompt_task
from napari_sam.training.dataset import LabelledImage
from napari_sam.training.fine_tuning import choose_parts, fine_tune
from napari_sam.training.presets import recipe_from
from napari_sam.training.prompt_task import PromptTask
from napari_sam.training.recipe import Recipe, Trained
from napari_sam.training.samples import find_samples
from napari_sam.training.sources import from_arrays
from napari_sam.training.splitting import split_samples
from napari_sam.weights.load import load_checkpoint

FAST = {
    "trained": {"lora_rank": 4},
    "prompts": {"objects_per_image": 2, "point_rounds": 1},
    "loop": {"total_steps": 3, "eval_every": 2, "log_every": 1},
    "frames": {"variants": 2},
}


def recipe(preset: str = "fine-tune", **loop) -> Recipe:
    return recipe_from({**FAST, "loop": {**FAST["loop"], **loop}}, preset)


def copied(state) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in state.items()}


@pytest.mark.parametrize(
    ("preset", "learns"),
    [
        ("fine-tune", {"image_encoder", "prompt_encoder", "mask_decoder"}),
        ("fine-tune-decoder", {"prompt_encoder", "mask_decoder"}),
        ("fine-tune-lora", {"image_encoder", "prompt_encoder", "mask_decoder"}),
    ],
)
def test_the_parts_that_should_learn_do_and_the_file_loads(
    tiny, scene, tmp_path, preset, learns
) -> None:
    before = copied(tiny.state_dict())
    result = fine_tune(
        tiny, [scene], [], recipe(preset), tmp_path, metadata={"note": "x"}
    )
    assert (result.ended, result.steps, result.scores) == ("steps", 3, {})
    after = load_file(result.weights)
    assert after.keys() == before.keys()
    changed = {k.split(".")[0] for k in after if not torch.equal(after[k], before[k])}
    assert changed == learns
    if preset == "fine-tune-lora":
        encoder = [k for k in after if k.startswith("image_encoder")]
        changed = {k for k in encoder if not torch.equal(after[k], before[k])}
        assert changed
        assert all(k.endswith("weight") and after[k].ndim >= 2 for k in changed)

    loaded = load_checkpoint(result.weights)
    assert loaded.digest == tiny.digest
    assert not tiny.training
    assert not any(p.requires_grad for p in tiny.parameters())
    for key, value in tiny.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[key]), key
    with safe_open(result.weights, "pt") as file:
        notes = file.metadata()
    assert notes["note"] == "x"
    assert notes["parent"] == "tiny"
    assert recipe_from(json.loads(notes["recipe"])) == recipe(preset)


def test_kept_embeddings_equal_those_made_anew(tiny, scene, tmp_path) -> None:
    start = copied(tiny.state_dict())
    chosen = recipe("fine-tune-decoder")
    kept = fine_tune(tiny, [scene], [], chosen, tmp_path / "kept")
    tiny.load_state_dict(start)
    without_disk = dataclasses.replace(
        chosen, frames=dataclasses.replace(chosen.frames, cache_gb=0)
    )
    anew = fine_tune(tiny, [scene], [], without_disk, tmp_path / "anew")
    ours, theirs = load_file(kept.weights), load_file(anew.weights)
    for key, value in ours.items():
        assert torch.equal(value, theirs[key]), key
    assert not (tmp_path / "kept" / "features").exists()  # cleared at the end


def test_progress_has_scores_and_examples(tiny, scene, tmp_path) -> None:
    reports = []
    fine_tune(tiny, [scene], [scene], recipe(), tmp_path, progress=reports.append)
    scored = [r for r in reports if r.scores is not None]
    assert [r.step for r in scored] == [0, 2, 3]
    assert scored[0].scores["objects"] == 4
    (example,) = scored[-1].examples
    assert example.rgb.shape == (64, 64, 3)
    row, column = example.point_yx
    assert example.truth[int(row) // 2, int(column) // 2]
    union = (example.truth | example.predicted).sum()
    overlap = (example.truth & example.predicted).sum()
    assert example.iou == pytest.approx(overlap / union)
    assert scored[-1].fraction == 1


@pytest.mark.slow
def test_a_tiny_run_over_fits_one_scene(tiny, scene, tmp_path) -> None:
    settings = {
        "optimiser": {"lr": 3e-3, "layer_decay": 1.0, "final_decay": 0.3},
        "frames": {"looks": 0, "flips": False, "usual_share": 1.0},
        "prompts": {"objects_per_image": 4, "point_rounds": 1},
        "loop": {"total_steps": 150, "eval_every": 150, "ema_decay": 0.0},
    }
    result = fine_tune(tiny, [scene], [scene], recipe_from(settings), tmp_path)
    assert result.scores_before["point"] < 0.2
    assert result.scores["point"] > 0.95
    assert result.scores["box"] > 0.95
    assert result.scores["corrected"] > 0.95


def test_images_without_objects_are_skipped_all_of_them_refused(
    tiny, scene, tmp_path
) -> None:
    empty = dataclasses.replace(scene, labels=np.zeros_like(scene.labels))
    result = fine_tune(tiny, [empty, scene], [], recipe(), tmp_path / "one")
    assert result.steps == 3
    with pytest.raises(LabelsError, match="None of the 2 images"):
        fine_tune(tiny, [empty, empty], [], recipe(), tmp_path / "none")
    with pytest.raises(LabelsError, match="No validation image has an object"):
        fine_tune(tiny, [scene], [empty], recipe(), tmp_path / "val")
    with pytest.raises(LabelsError, match="no image to learn from"):
        fine_tune(tiny, [], [scene], recipe(), tmp_path / "no")


def test_one_object_only_is_enough(tiny, scene, tmp_path) -> None:
    single = dataclasses.replace(scene, labels=(scene.labels == 2).astype(np.int32))
    result = fine_tune(tiny, [single], [single], recipe(), tmp_path)
    assert result.scores["objects"] == 1


def test_small_objects_train_and_validate_when_they_are_let_count(
    tiny, tmp_path
) -> None:
    labels = np.zeros((64, 64), np.int32)
    for number in range(9):
        y, x = 8 + 20 * (number // 3), 8 + 20 * (number % 3)
        labels[y : y + 4, x : x + 4] = number + 1
    pixels = np.where(labels > 0, 200, 40).astype(np.uint8)
    images = [from_arrays(pixels, labels, name=name) for name in "ab"]
    samples = find_samples(images, min_area=9)
    split = split_samples(samples, share=0.5, min_area=9)
    small = recipe_from({**FAST, "prompts": {**FAST["prompts"], "min_object_px": 2}})
    result = fine_tune(tiny, split.train, split.validation, small, tmp_path)
    assert result.scores["objects"] == 9


@pytest.mark.parametrize("height", [64, 41])
def test_object_maps_see_no_border_where_the_picture_ends(
    tiny, tmp_path, monkeypatch, height
) -> None:
    labels = np.zeros((height, 64), np.int32)
    labels[20:, 20:] = 1
    pixels = np.where(labels > 0, 200, 40).astype(np.uint8)
    image = LabelledImage("corner", "x", pixels, labels)
    plain = recipe_from({**FAST, "frames": {"flips": False, "usual_share": 1.0}})
    choose_parts(tiny, plain.trained)
    task = PromptTask(tiny, [image], [], plain, tmp_path)
    seen = []

    def spy(maps, targets):
        seen.append((maps, targets))
        return maps.sum()

    monkeypatch.setattr(prompt_task, "object_loss", spy)
    maps = torch.zeros(1, 3, 32, 32, requires_grad=True)
    monkeypatch.setattr(tiny, "object_maps", lambda _: maps, raising=False)
    task.loss(0, np.random.default_rng(0))
    task.close()
    ((shown, targets),) = seen
    rows = height // 2
    assert shown.shape == targets.shape == (1, 3, rows, 32)
    inside = (rows - 10, 22)
    assert targets[0, FOREGROUND].sum() == inside[0] * inside[1]
    # One or two pixels deep at the top and the left, none at the other sides.
    assert targets[0, BOUNDARY].sum() == sum(inside) - 1


def test_labels_of_another_shape_are_named(tiny, scene, tmp_path) -> None:
    odd = dataclasses.replace(scene, name="odd.tif", labels=scene.labels[:32])
    with pytest.raises(LabelsError, match=r"odd.tif: labels of shape \(32, 64\)"):
        fine_tune(tiny, [odd], [], recipe(), tmp_path)


def test_weights_that_are_no_numbers_stop_the_run_and_name_the_image(
    tiny, scene, tmp_path
) -> None:
    with torch.no_grad():
        tiny.mask_decoder.iou_token.weight.fill_(math.nan)
    with pytest.raises(LossError, match="step 0, on image scene"):
        fine_tune(tiny, [scene], [], recipe(), tmp_path)
    assert not tiny.training


def test_a_rate_that_diverges_keeps_the_best_weights(tiny, scene, tmp_path) -> None:
    wild = recipe(total_steps=50, eval_every=1, ema_decay=0.0)
    numbers = dataclasses.replace(
        wild.optimiser, lr=1.0, clip_norm=0, warmup_steps=0, weight_decay=0
    )
    wild = dataclasses.replace(wild, optimiser=numbers)
    start = copied(tiny.state_dict())

    def poison(report) -> None:
        if report.step == 2:
            with torch.no_grad():
                tiny.mask_decoder.iou_token.weight.fill_(math.inf)

    with pytest.raises(LossError, match=r"best\.safetensors"):
        fine_tune(tiny, [scene], [scene], wild, tmp_path, progress=poison)
    best = load_file(tmp_path / "best.safetensors")
    assert all(value.isfinite().all() for value in best.values())
    for key, value in tiny.state_dict().items():  # the model holds them, not NaN
        assert torch.equal(value, best[key]), key
    assert best.keys() == start.keys()


def test_what_cannot_be_meant_is_refused(tiny, scene, tmp_path) -> None:
    frozen = dataclasses.replace(
        recipe(), trained=Trained(encoder="frozen", decoder="frozen")
    )
    with pytest.raises(SettingsError, match="both frozen"):
        fine_tune(tiny, [scene], [], frozen, tmp_path)
    with pytest.raises(ModelTypeError):
        fine_tune("vit_b", [scene], [], recipe(), tmp_path)
    with pytest.raises(DeviceError, match="float16"):
        fine_tune(tiny, [scene], [], recipe(precision="float16"), tmp_path)
    wide = dataclasses.replace(recipe(), trained=Trained(encoder="lora", lora_rank=64))
    with pytest.raises(SettingsError, match=r"Lower trained\.lora_rank"):
        fine_tune(tiny, [scene], [], wide, tmp_path)
    assert list(Path(tmp_path).iterdir()) == []


def test_recomputed_rounds_have_the_same_gradients(tiny, scene, tmp_path) -> None:
    start = copied(tiny.state_dict())
    plain = recipe(total_steps=1)
    numbers = dataclasses.replace(plain.optimiser, drop_path=0.5, decoder_dropout=0.1)
    plain = dataclasses.replace(plain, optimiser=numbers)
    first = fine_tune(tiny, [scene], [], plain, tmp_path / "a")
    tiny.load_state_dict(start)
    again = dataclasses.replace(
        plain, loop=dataclasses.replace(plain.loop, recompute=True)
    )
    second = fine_tune(tiny, [scene], [], again, tmp_path / "b")
    assert "forward" not in vars(tiny.image_encoder.blocks[0])
    ours, theirs = load_file(first.weights), load_file(second.weights)
    for key, value in ours.items():
        assert torch.allclose(value, theirs[key], atol=1e-6), key


def test_bfloat16_trains_on_a_cpu(tiny, scene, tmp_path) -> None:
    result = fine_tune(tiny, [scene], [], recipe(precision="bfloat16"), tmp_path)
    assert result.steps == 3
    assert tiny.image_encoder.compute_dtype is torch.float32


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("embedded_v2", "fine-tune"),
        ("embedded_v2", "fine-tune-lora"),
        ("vit_t", "fine-tune-decoder"),
    ],
)
def test_registered_models_train(scene, tmp_path, name, preset) -> None:
    torch.manual_seed(0)
    model = build_model(name)
    quick = {"preset": preset, "loop": {"total_steps": 1, "log_every": 1}}
    quick["prompts"] = {"point_rounds": 1, "objects_per_image": 1}
    before = copied(model.state_dict())
    result = fine_tune(model, [scene], [], recipe_from(quick), tmp_path)
    after = load_checkpoint(result.weights).state_dict()
    assert not torch.equal(
        torch.cat([after[k].float().flatten() for k in before]),
        torch.cat([before[k].float().flatten() for k in before]),
    )
    if model.has_object_maps:
        assert "objects" in result.log.read_text()


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_low_precision_trains_on_a_gpu(tiny, scene, tmp_path, precision) -> None:
    tiny.to("cuda")
    settings = {
        "optimiser": {"lr": 3e-3, "layer_decay": 1.0, "final_decay": 0.3},
        "frames": {"looks": 0, "flips": False, "usual_share": 1.0},
        "prompts": {"objects_per_image": 4, "point_rounds": 1},
        "loop": {"total_steps": 200, "eval_every": 200, "ema_decay": 0.0},
    }
    settings["loop"]["precision"] = precision
    result = fine_tune(tiny, [scene], [scene], recipe_from(settings), tmp_path)
    assert result.scores["box"] > 0.9


def test_batch_statistics_of_tiny_vit_stay_fixed() -> None:
    from napari_sam.modeling.image_encoder_tiny_vit import ConvNorm
    from napari_sam.training.prompt_task import train_mode

    net = torch.nn.Sequential(ConvNorm(3, 4, 1), torch.nn.Dropout())
    train_mode(net)
    assert net[1].training
    assert not net[0].bn.training
    net(torch.randn(1, 3, 4, 4))
    assert (net[0].bn.running_mean == 0).all()


def test_low_rank_start_values_follow_the_seed(tiny) -> None:
    other = dataclasses.replace(Trained(encoder="lora", lora_rank=4), lora_scale=1.0)
    torch.manual_seed(123)
    expected = torch.rand(2)
    torch.manual_seed(123)
    choose_parts(tiny, other, seed=7)
    assert torch.equal(torch.rand(2), expected)
    down = tiny.image_encoder.blocks[0].attn.qkv.lora_down.clone()
    assert down.abs().max() > 0

# SPDX-License-Identifier: Apache-2.0
"""A few real steps: the model learns, a stopped run goes on, the weights are usable."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from napari_sam.errors import SettingsError
from napari_sam.modeling.object_head import BOUNDARY
from napari_sam.modeling.registry import build_model
from napari_sam.modeling.sam import Sam
from napari_sam.training import trainer as trainer_module
from napari_sam.training.checkpoints import load_state, save_state
from napari_sam.training.config import TrainConfig
from napari_sam.training.crops import Crop, draw_crops
from napari_sam.training.dataset import ImageDraw
from napari_sam.training.loop import BEST_FILE, LAST_FILE, STATE_FILE
from napari_sam.training.run_log import LOG_FILE
from napari_sam.training.trainer import CropTask, crop_training

QUICK = TrainConfig(
    crop_size=64,
    crops_per_step=1,
    objects_per_crop=2,
    large_crop_fraction=0.0,
    save_every=2,
    eval_every=4,
    warmup_steps=1,
)


@pytest.fixture
def model() -> Sam:
    torch.manual_seed(0)
    return build_model("embedded_v2")


def test_a_second_start_goes_on_where_the_first_stopped(
    model, images, tmp_path: Path
) -> None:
    first = crop_training(model, images, tmp_path, QUICK)
    first.run(until_step=2)
    trained = {k: v.clone() for k, v in model.state_dict().items()}

    other = build_model("embedded_v2")
    again = crop_training(other, images, tmp_path, QUICK)
    assert again.step == 2
    for key, value in other.state_dict().items():
        assert torch.equal(value, trained[key]), key
    again.run(until_step=4)
    assert again.step == 4
    weight = "mask_decoder.coarse.weight"
    assert not torch.equal(other.state_dict()[weight], trained[weight])


def test_another_configuration_does_not_go_on(model, images, tmp_path: Path) -> None:
    crop_training(model, images, tmp_path, QUICK).run(until_step=1)
    faster = dataclasses.replace(QUICK, lr=1e-2)
    with pytest.raises(SettingsError, match="another configuration"):
        crop_training(model, images, tmp_path, faster)
    with pytest.raises(SettingsError, match="another training images"):
        crop_training(model, images[:2], tmp_path, QUICK)
    longer = dataclasses.replace(
        QUICK, total_steps=30, decay_steps=10, eval_every=5, save_every=3
    )
    assert crop_training(model, images, tmp_path, longer).step == 1
    # States of earlier versions do not say what they are of.
    state = load_state(tmp_path / STATE_FILE)
    save_state(tmp_path / STATE_FILE, {**state, "identity": {}})
    assert crop_training(model, images, tmp_path, faster).step == 1
    del state["identity"]
    save_state(tmp_path / STATE_FILE, state)
    assert crop_training(model, images, tmp_path, faster).step == 1


def test_no_border_is_learnt_where_the_image_ends(
    model, images, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.zeros((32, 32), np.int32)
    labels[8:20, 8:20] = 1  # goes on behind the edge of the image
    is_image = np.zeros((64, 64), bool)
    is_image[:40, :41] = True
    crop = Crop(np.full((3, 64, 64), 90, np.float32), labels, is_image)
    seen = []

    def spy(logits, targets, is_image):
        seen.append((targets, is_image))
        return logits.sum()

    monkeypatch.setattr(trainer_module, "object_loss", spy)
    CropTask(model, images, QUICK).loss_on([crop], 2, np.random.default_rng(0))
    ((targets, counted),) = seen
    assert counted[0].sum() == 20 * 20
    assert targets[0, BOUNDARY].sum() == 12 + 11  # above and to the left


def test_the_best_averaged_weights_are_kept(model, images, tmp_path: Path) -> None:
    scores = iter([0.5, 0.4])
    config = dataclasses.replace(QUICK, eval_every=2)
    trainer = crop_training(
        model,
        images,
        tmp_path,
        config,
        evaluate=lambda _: {"selection": next(scores)},
    )
    trainer.run(until_step=4)
    assert trainer.best_scores == {"selection": 0.5}
    with safe_open(tmp_path / BEST_FILE, "pt") as best:
        assert best.metadata()["step"] == "2"
        assert best.get_tensor("image_encoder.stem.weight").dtype == torch.float16
    with safe_open(tmp_path / LAST_FILE, "pt") as last:
        assert last.metadata()["step"] == "4"
        assert set(last.keys()) == set(model.state_dict())
    with (tmp_path / LOG_FILE).open() as file:
        rows = [row for row in csv.reader(file) if row[1] == "dev"]
    assert [(row[0], float(row[3])) for row in rows] == [("2", 0.5), ("4", 0.4)]


def test_steps_lower_the_loss_on_the_same_crop(model, images) -> None:
    task = CropTask(model, images[:1], QUICK)
    crop = next(draw_crops(ImageDraw(images[:1]), QUICK, np.random.default_rng(0), 64))
    optimizer = torch.optim.AdamW(task.parameter_groups(), lr=QUICK.lr)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss, _ = task.loss_on([crop], 2, np.random.default_rng(0))
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


def test_a_loss_that_is_no_number_stops_the_run(model, images, tmp_path: Path) -> None:
    trainer = crop_training(model, images, tmp_path, QUICK)
    with torch.no_grad():
        model.mask_decoder.coarse.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="step 0"):
        trainer.run(until_step=1)
    assert not (tmp_path / LAST_FILE).exists()

# SPDX-License-Identifier: Apache-2.0
"""A card says where a model comes from; the weights carry it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from napari_sam.errors import CheckpointError, OutputError
from napari_sam.training.card import (
    Parent,
    card_of,
    forget_kept,
    keep_model,
    make_card,
    names_kept,
    parent_of,
    save_with_card,
    step_kept,
)
from napari_sam.training.card_text import card_text, n_scored, score_lines
from napari_sam.training.fine_tuning import TrainingResult
from napari_sam.training.run_config import config_from
from napari_sam.training.samples import find_samples
from napari_sam.training.sources import from_arrays
from napari_sam.training.splitting import split_samples
from napari_sam.weights import trained
from napari_sam.weights.catalogue import list_models

MINI = Path(__file__).parents[1] / "data" / "parity" / "mini.safetensors"


@pytest.fixture
def split():
    labels = np.zeros((40, 40), int)
    labels[2:10, 2:10] = 1
    labels[20:30, 20:30] = 2
    pixels = np.arange(1600).reshape(40, 40)
    images = [from_arrays(pixels + i, labels, name=f"cell{i}") for i in range(5)]
    return split_samples(find_samples(images), share=0.2)


@pytest.fixture
def result(tmp_path):
    weights = tmp_path / "run" / "best.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(MINI.read_bytes())
    return TrainingResult(
        weights=weights,
        log=weights.with_name("log.csv"),
        scores_before={"point": 0.5, "box": 0.25, "objects": 2.0},
        scores={"point": 0.75, "box": 0.5, "objects": 2.0},
        best_step=30,
        steps=40,
        seconds=12.34,
        ended="early",
    )


CONFIG = config_from({"model": {"name": "cells", "checkpoint": "/home/me/start.pt"}})
PARENT = Parent("vit_b", "a" * 64, "Apache-2.0", "Kirillov et al. 2023")


def made(result, split, config=CONFIG):
    return make_card(
        result, name="cells", parent=PARENT, split=split, config=config, device="cpu"
    )


def test_card_has_all_that_was_measured(result, split):
    card = made(result, split)
    assert json.loads(json.dumps(card)) == card
    data = card["data"]
    assert (data["images"], data["objects"]) == (4, 8)
    assert (data["validation_images"], data["validation_objects"]) == (1, 2)
    assert data["digest"] == split.train.digest
    assert data["is_validation_independent"]
    assert len(data["names"]) == 4
    assert card["parent"]["digest"] == "a" * 64
    assert card["citation"] == "napari-sam; Kirillov et al. 2023"
    assert card["licence"] == "as the start weights (Apache-2.0) and your images"
    assert card["run"]["seconds"] == 12.3
    assert card["run"]["torch"]
    assert card["scores"]["after"]["point"] == 0.75


def test_card_names_no_folder_of_the_disk(result, split):
    card = made(result, split)
    assert card["config"]["model"]["checkpoint"] == "start.pt"
    assert "/home/me" not in json.dumps(card)


def test_words_of_the_user_go_over_ours(result, split):
    config = config_from({"model": {"trained_for": "liver", "licence": "CC-BY-4.0"}})
    card = made(result, split, config)
    assert (card["trained_for"], card["licence"]) == ("liver", "CC-BY-4.0")


def test_a_model_trained_twice_repeats_nothing(result, split):
    once = made(result, split)
    parent = Parent("cells", "b" * 64, once["licence"], once["citation"])
    twice = make_card(
        result, name="x", parent=parent, split=split, config=CONFIG, device="cpu"
    )
    assert twice["licence"] == once["licence"]
    assert twice["citation"] == once["citation"]


def test_text_shows_scores_with_their_objects(result, split):
    text = card_text(made(result, split))
    assert "Mean IoU of 2 validation objects" in text
    assert "| centre point | 0.500 | 0.750 |" in text
    assert "| tight box | 0.250 | 0.500 |" in text
    assert "best of three" not in text
    assert "8 objects" in text
    assert "ended by: early" in text
    assert split.train.digest in text


def test_text_without_validation(result, split):
    bare = replace(result, scores={}, scores_before={})
    assert score_lines({"before": {}, "after": {}}) == []
    assert n_scored({"before": {}, "after": {}}) is None
    assert "No object was left to check" in card_text(made(bare, split))


def test_parent_is_described_as_far_as_it_is_known(tiny_sam):
    assert parent_of(tiny_sam, is_listed=False) == Parent("mini", tiny_sam.digest)
    assert parent_of(tiny_sam, is_listed=True) == Parent("mini", tiny_sam.digest)


def test_weights_stay_and_carry_the_card(result, split, tmp_path):
    card = made(result, split)
    target = tmp_path / "copy.safetensors"
    save_with_card(result.weights, target, card)
    assert card_of(target) == card
    before, after = load_file(result.weights), load_file(target)
    assert before.keys() == after.keys()
    assert all((before[key] == after[key]).all() for key in before)
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"no\.safetensors"):
        card_of(tmp_path / "no.safetensors")


def test_models_are_kept_under_free_names(result, split):
    rows = [
        keep_model(result, parent=PARENT, split=split, config=config, device="cpu")
        for config in (CONFIG, CONFIG, config_from({}))
    ]
    assert [row.name for row in rows] == ["cells", "cells_2", "vit_b_tuned"]
    assert {"cells", "cells_2", "vit_b_tuned"} <= set(list_models())
    assert trained.read_card("cells_2")["name"] == "cells_2"
    # What this run was kept under, and what was asked for.
    assert names_kept(result.weights.parent) == {"vit_b_tuned", ""}
    beside = json.loads(result.weights.with_name("card.json").read_text("utf-8"))
    assert beside["name"] == "vit_b_tuned"
    assert "# Model vit_b_tuned" in result.weights.with_name("card.md").read_text()


def test_a_step_counts_as_kept_while_its_model_is_listed(result, split):
    folder = result.weights.parent
    assert step_kept(folder) == 0
    keep_model(result, parent=PARENT, split=split, config=CONFIG, device="cpu")
    assert step_kept(folder) == 30
    trained.rename("cells", "liver")
    assert step_kept(folder) == 30
    trained.remove("liver")
    assert step_kept(folder) == 0
    assert names_kept(folder) == {"cells"}
    forget_kept(folder)
    assert names_kept(folder) == set()
    assert sorted(path.name for path in folder.iterdir()) == ["best.safetensors"]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"run": {"best_step": "x"}}'])
def test_a_card_that_says_nothing_counts_as_none(tmp_path, text) -> None:
    (tmp_path / "card.json").write_text(text)
    assert step_kept(tmp_path) == 0
    assert names_kept(tmp_path) == set()


def test_full_disk_leaves_no_half_model(result, split, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("napari_sam.training.checkpoints.save_file", full)
    with pytest.raises(OutputError, match=r"No space left.*still there"):
        keep_model(result, parent=PARENT, split=split, config=CONFIG, device="cpu")
    assert trained.trained_rows() == ()
    assert list(trained.models_folder().iterdir()) == []
    assert result.weights.exists()

# SPDX-License-Identifier: Apache-2.0
import csv
import json

import numpy as np
import pytest
from PIL import Image

from napari_sam.io.labels_tiff import write_labels


@pytest.fixture
def folders(tmp_path, blobs):
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    for name in ("one", "two", "three"):
        Image.fromarray(blobs.image).save(images / f"{name}.png")
        write_labels(labels / f"{name}.tif", blobs.labels)
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps({"blobs": {"val": ["two"]}}))
    return images, labels


def test_numbers_equal_the_library_call(run, mini, folders, blobs, tiny_sam, tmp_path):
    from napari_sam.evaluation.protocol import evaluate_images

    expected = evaluate_images(
        [("two", blobs.image, blobs.labels)], tiny_sam, modes=["point", "box"]
    )
    outcome = run(
        *("evaluate", *folders, *mini, "--mode", "point", "--mode", "box"),
        *("--names-from", f"{tmp_path / 'splits.json'}:blobs/val"),
        *("--json", tmp_path / "o" / "a.json", "--csv", tmp_path / "o" / "a.csv"),
    )
    assert outcome.code == 0, outcome.err
    assert expected.format() in outcome.out
    assert "1 images, 11 objects of at least 25 px" in outcome.out
    numbers = json.loads((tmp_path / "o" / "a.json").read_text())
    assert numbers["objects"] == 11
    assert numbers["box_iou"] == round(expected.box, 4)
    assert numbers["average_precision"] is None
    assert len(numbers["digest"]) == 64
    with (tmp_path / "o" / "a.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["name"] == "two"
    assert float(row["point_iou"]) > 0.7
    assert row["true_positives"] == ""


def test_limit_picks_evenly(run, mini, folders):
    outcome = run("evaluate", *folders, *mini, "--mode=box", "--limit=2")
    assert outcome.code == 0
    assert "2 images, 22 objects" in outcome.out
    assert "centre point" not in outcome.out


def test_bounds_of_what_counts(run, mini, folders):
    words = ("evaluate", *folders, *mini, "--mode=box", "--limit=1")
    assert "0 objects of at least 99999 px" in run(*words, "--min-area=99999").out
    assert run(*words, "--iou-threshold=3").code == 2


@pytest.mark.parametrize("option", ["--csv", "--json"])
def test_places_of_results_are_tried_before_the_work(
    run, mini, folders, tmp_path, option
):
    (tmp_path / "file").write_text("in the way")
    outcome = run("evaluate", *folders, *mini, option, tmp_path / "file" / "a")
    assert outcome.code == 2
    assert "Cannot write" in outcome.err
    assert outcome.out == ""  # not even the model was loaded


def test_errors_are_words(run, mini, folders, tmp_path):
    images, labels = folders
    for words, text in (
        ((images, tmp_path / "none"), "no folder"),
        ((images, labels, "--mode=circle"), "point, box, grid"),
        ((images, labels, "--names-from", tmp_path / "no.txt"), "list of names"),
        ((images, labels, "--model=vit_z"), "vit_z"),
    ):
        outcome = run("evaluate", *words, *([] if "vit_z" in str(words) else mini))
        assert outcome.code == 2
        assert text in outcome.err
    write_labels(labels / "one.tif", np.zeros((3, 3), int))
    outcome = run("evaluate", images, labels, *mini)
    assert outcome.code == 2
    assert "does not fit" in outcome.err

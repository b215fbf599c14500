# SPDX-License-Identifier: Apache-2.0
import csv
import json

import pytest
from PIL import Image

from napari_sam.io.labels_tiff import write_labels


@pytest.fixture
def folders(tmp_path, blobs):
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    for name in ("one", "two"):
        Image.fromarray(blobs.image).save(images / f"{name}.png")
        write_labels(labels / f"{name}.tif", blobs.labels)
    return images, labels


def test_the_table_is_that_of_the_library_call(
    run, mini, folders, blobs, tiny_sam, tmp_path
):
    from napari_sam.evaluation.annotation_effort import Habits
    from napari_sam.evaluation.simulated_annotator import simulate_annotation
    from napari_sam.prediction.model_segmenter import ModelSegmenter

    expected = simulate_annotation(
        [("one", blobs.image, blobs.labels)],
        ModelSegmenter(tiny_sam),
        ways=["hand"],
        habits=Habits(target_iou=0.9, max_clicks=2),
        seed=3,
    )
    outcome = run(
        *("simulate", *folders, *mini, "--limit=1", "--way=hand", "--seed=3"),
        *("--target-iou=0.9", "--max-clicks=2", "--seconds", 1, 1, 0, 0),
        *("--json", tmp_path / "a.json", "--csv", tmp_path / "a.csv"),
    )
    assert outcome.code == 0, outcome.err
    assert "clicks/obj" in outcome.out
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["is_complete"] is True
    assert len(found["model"]["digest"]) == 64
    assert found["settings"]["max_clicks"] == 2
    hand, row = found["ways"]["hand"], expected.rows()[0]
    for key in ("objects", "done", "mean_iou", "clicks", "keys", "point", "look"):
        assert hand[key] == row[key]
    assert hand["seconds_human"] == row["look"] + row["point"]
    with (tmp_path / "a.csv").open(newline="") as file:
        (line,) = csv.DictReader(file)
    assert (line["name"], line["way"]) == ("one", "hand")
    assert line["clicks"] == str(row["clicks"])


def test_an_error_keeps_what_was_annotated(run, mini, folders, blobs, tmp_path):
    images, labels = folders
    write_labels(labels / "two.tif", blobs.labels[:-1])
    outcome = run(
        *("simulate", images, labels, *mini, "--way=hand", "--min-area=2000"),
        *("--json", tmp_path / "a.json"),
    )
    assert outcome.code == 2
    assert "does not fit" in outcome.err
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["is_complete"] is False
    assert [row["name"] for row in found["images"]] == ["one"]


def test_words_that_make_no_sense_are_refused_before_the_work(
    run, mini, folders, tmp_path
):
    (tmp_path / "file").write_text("in the way")
    for words, text in (
        (["--way=on-foot"], "hand, semi, proposals"),
        (["--target-iou=2"], "target_iou"),
        (["--seconds", "-1", "1", "1", "1"], "look"),
        (["--csv", tmp_path / "file" / "a.csv"], "Cannot write"),
    ):
        outcome = run("simulate", *folders, *mini, *words)
        assert outcome.code == 2
        assert text in outcome.err
        assert outcome.out == ""

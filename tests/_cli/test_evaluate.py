# SPDX-License-Identifier: Apache-2.0
import csv
import json

import numpy as np
import pytest
from PIL import Image

from napari_sam.errors import LabelsError
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
    from napari_sam.evaluation.settings import EvaluationSettings

    settings = EvaluationSettings(
        modes=("point", "box", "point-corrections"), corrections=2
    )
    expected = evaluate_images([("two", blobs.image, blobs.labels)], tiny_sam, settings)
    out = tmp_path / "o"
    outcome = run(
        *("evaluate", *folders, *mini, "--mode", "point", "--mode", "box"),
        *("--mode", "point-corrections", "--corrections", "2"),
        *("--names-from", f"{tmp_path / 'splits.json'}:blobs/val"),
        *("--json", out / "a.json", "--csv", out / "a.csv"),
        *("--objects-csv", out / "objects.csv"),
    )
    assert outcome.code == 0, outcome.err
    assert expected.format() in outcome.out
    assert "1 image, 11 objects of at least 25 px" in outcome.out
    found = json.loads((out / "a.json").read_text())
    assert found["whole"] == expected.whole
    assert found["is_complete"] is True
    assert len(found["model"]["digest"]) == 64
    with (out / "a.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["name"] == "two"
    assert float(row["point_iou"]) > 0.7
    assert "grid_ap" not in row
    with (out / "objects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 11
    series = expected.whole["corrections"]["after_point"]
    mean = np.mean([float(row["after_point_2"]) for row in rows])
    assert mean == pytest.approx(series["mean_iou"][2]["value"], abs=1e-4)


def test_groups_and_page(run, mini, folders, tmp_path):
    (tmp_path / "index.csv").write_text("name,site\none,Ulm\ntwo,Graz\n")
    outcome = run(
        *("evaluate", *folders, *mini, "--mode=box"),
        *("--index", tmp_path / "index.csv", "--group-by", "site"),
        *("--json", tmp_path / "a.json", "--html", tmp_path / "a.html"),
    )
    assert outcome.code == 0, outcome.err
    assert "By site:" in outcome.out
    groups = json.loads((tmp_path / "a.json").read_text())["groups"]["site"]
    assert list(groups) == ["(unknown)", "Graz", "Ulm"]
    assert all(group["objects"] == 11 for group in groups.values())
    assert "tight box" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_gain_over_an_earlier_report(run, mini, folders, tmp_path):
    words = ("evaluate", *folders, *mini, "--mode=box", "--limit=2")
    assert run(*words, "--json", tmp_path / "a.json").code == 0
    outcome = run(*words, "--compare", tmp_path / "a.json", "--resample=objects")
    assert outcome.code == 0, outcome.err
    assert "Gain over mini" in outcome.out
    assert "+0.000 [+0.000, +0.000]" in outcome.out
    assert "bootstrap over objects" in outcome.out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"settings": {"min_area_px": 7}}, "differ in min_area_px: 7 and 25"),
        ({"images": [{"name": "elsewhere"}]}, "no image in common"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_the_work(
    run, mini, folders, tmp_path, change, words
):
    words_of_run = ("evaluate", *folders, *mini, "--mode=box", "--limit=1")
    assert run(*words_of_run, "--json", tmp_path / "a.json").code == 0
    earlier = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps(earlier | change))
    outcome = run(*words_of_run, "--compare", tmp_path / "a.json")
    assert outcome.code == 2
    assert words in outcome.err
    assert outcome.out == ""  # not even the model was loaded


def test_planes_of_a_stack_may_be_compared():
    from napari_sam.evaluation.comparison import check_comparable
    from napari_sam.evaluation.settings import EvaluationSettings

    settings = EvaluationSettings()
    before = {"settings": settings.to_dict(), "images": [{"name": "stack[z=0]"}]}
    check_comparable(before, settings, ["stack"])


def test_an_early_end_without_shared_images_keeps_what_is_measured(
    run, mini, folders, tmp_path, monkeypatch
):
    """Of the earlier report's images none was reached; the minutes' saves, too."""
    words = ("evaluate", *folders, *mini, "--mode=box")
    only_two = ("--names-from", f"{tmp_path / 'splits.json'}:blobs/val")
    assert run(*words, *only_two, "--json", tmp_path / "a.json").code == 0
    monkeypatch.setattr("napari_sam._cli.evaluate._KEPT_EVERY_S", 0.0)
    monkeypatch.setattr(
        "napari_sam._cli.labelled_images.read_pair", _ending_with(KeyboardInterrupt())
    )
    outcome = run(
        *(*words, "--compare", tmp_path / "a.json", "--json", tmp_path / "b.json")
    )
    assert outcome.code == 130, outcome.err
    found = json.loads((tmp_path / "b.json").read_text())
    assert [image["name"] for image in found["images"]] == ["one", "three"]
    assert "Nothing measured so far" in outcome.err


def test_files_are_written_before_the_text(run, mini, folders, tmp_path, monkeypatch):
    def fail(_):
        msg = "no text"
        raise LabelsError(msg)

    monkeypatch.setattr("napari_sam.evaluation.report.Report.format", fail)
    outcome = run(
        *("evaluate", *folders, *mini, "--mode=box", "--limit=1"),
        *("--json", tmp_path / "a.json", "--csv", tmp_path / "a.csv"),
    )
    assert outcome.code == 2
    assert (tmp_path / "a.csv").exists()
    assert json.loads((tmp_path / "a.json").read_text())["is_complete"]


def _ending_with(error: BaseException):
    """Make reading the second file end with an error."""
    from napari_sam._cli import labelled_images

    read = labelled_images.read_pair

    def read_pair(pair, **options):
        if pair.name == "two":
            raise error
        return read(pair, **options)

    return read_pair


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (LabelsError("torn"), 2)]
)
def test_what_is_measured_before_the_end_is_kept(
    run, mini, folders, tmp_path, monkeypatch, error, code
):
    monkeypatch.setattr(
        "napari_sam._cli.labelled_images.read_pair", _ending_with(error)
    )
    outcome = run(
        "evaluate", *folders, *mini, "--mode=box", "--json", tmp_path / "a.json"
    )
    assert outcome.code == code
    assert "2 images, 22 objects" in outcome.out  # one and three; two comes last
    assert "Stopped after 2 planes of 3 images" in outcome.err
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["is_complete"] is False
    assert [image["name"] for image in found["images"]] == ["one", "three"]


def test_results_are_written_on_the_way(run, mini, folders, tmp_path, monkeypatch):
    """A run that is killed leaves what it wrote last."""

    class Killed(Exception):
        pass

    monkeypatch.setattr("napari_sam._cli.evaluate._KEPT_EVERY_S", 0.0)
    monkeypatch.setattr(
        "napari_sam._cli.labelled_images.read_pair", _ending_with(Killed())
    )
    with pytest.raises(Killed):
        run("evaluate", *folders, *mini, "--mode=box", "--json", tmp_path / "a.json")
    seen = json.loads((tmp_path / "a.json").read_text())
    assert [image["name"] for image in seen["images"]] == ["one", "three"]
    assert seen["is_complete"] is False


def test_limit_picks_evenly(run, mini, folders):
    outcome = run("evaluate", *folders, *mini, "--mode=box", "--limit=2")
    assert outcome.code == 0
    assert "2 images, 22 objects" in outcome.out
    assert "centre point" not in outcome.out


def test_bounds_of_what_counts(run, mini, folders):
    words = ("evaluate", *folders, *mini, "--mode=box", "--limit=1")
    assert "0 objects of at least 99999 px" in run(*words, "--min-area=99999").out
    assert run(*words, "--iou-threshold=3").code == 2


def test_without_a_mode_a_model_is_measured_in_its_own_way(
    run, mini, folders, tmp_path
):
    modes = []
    for words in ((), mini):  # the embedded model, a small SAM
        path = tmp_path / "a.json"
        outcome = run("evaluate", *folders, *words, "--limit=1", "--json", path)
        assert outcome.code == 0, outcome.err
        report = json.loads(path.read_text())
        modes.append(report["settings"]["modes"])
        assert f"{modes[-1][-1]}_ap" in report["whole"]["scores"]
    assert modes == [["point", "box", "fast"], ["point", "box", "grid"]]


@pytest.mark.parametrize("option", ["--csv", "--json", "--html", "--objects-csv"])
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
        ((images, labels, "--mode=circle"), "point, random-point, box"),
        ((images, labels, "--resample=pixels"), "images or objects"),
        ((images, labels, "--index", tmp_path / "i.csv"), "go together"),
        ((images, labels, "--group-by", "site"), "go together"),
        (
            (images, labels, "--index", tmp_path / "i.csv", "--group-by", "a"),
            "Cannot read the index",
        ),
        ((images, labels, "--compare", tmp_path / "no.json"), "as a report"),
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

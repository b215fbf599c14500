# SPDX-License-Identifier: Apache-2.0
"""``napari-sam segment`` with input that is wrong, and when it is ended."""

import csv
import errno
import os

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam._cli import batch, segment_file
from napari_sam.errors import OutputError
from napari_sam.io.images import read_image

GRID = [
    *("--points-per-side", "8"),
    *("--pred-iou-thresh", "0.6"),
    *("--stability-score-thresh", "0.6"),
]


def _rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("--point=nan,3", "finite"),
        ("--point=5000,3", "5000"),
        ("--point=abc", "no point"),
        ("--box=4,4,4,90", "area"),
        ("--box=1,2,3", "no box"),
        ("--box=900,900,950,950", "outside"),
    ],
)
def test_prompts_that_make_no_sense(run, mini, picture, out, prompt, text):
    outcome = run("segment", picture, "-o", out, *mini, prompt)
    assert outcome.code == 2
    assert text in outcome.err
    assert not (out / "blobs_labels.tif").exists()


def test_files_that_are_no_images(run, mini, tmp_path, out, picture):
    (tmp_path / "empty.tif").touch()
    (tmp_path / "text.png").write_text("no pixels")
    cut = picture.read_bytes()[:2000]
    (tmp_path / "cut.png").write_bytes(cut)
    tifffile.imwrite(tmp_path / "complex.tif", np.ones((9, 9), np.complex64))
    tifffile.imwrite(tmp_path / "axes.tif", np.zeros((2, 3, 2, 9, 9), np.uint8))
    for name, text in (
        ("missing.tif", "There is no file"),
        ("empty.tif", "is empty"),
        ("text.png", "not an image"),
        ("cut.png", "damaged or cut off"),
        ("complex.tif", "complex64"),
        ("axes.tif", "--axes"),
    ):
        outcome = run("segment", tmp_path / name, "-o", out, *mini)
        assert outcome.code == 2, name
        assert text in outcome.err
        assert "Traceback" not in outcome.err
        assert not list(out.glob("*")) or not out.exists()


def test_one_bad_file_does_not_stop_the_others(run, mini, tmp_path, out, picture):
    (tmp_path / "a_bad.png").write_text("no pixels")
    (tmp_path / "b_bad.tif").touch()
    outcome = run("segment", tmp_path, "-o", out, *mini, "--point=100,100")
    assert outcome.code == 2
    assert "2 of 3 inputs failed" in outcome.err
    assert outcome.err.count("a_bad.png") == 1
    assert "b_bad.tif is empty" in outcome.err
    assert (out / "blobs_labels.tif").is_file()


def test_axes_that_labels_cannot_have_are_refused_first(
    run, mini, tmp_path, out, monkeypatch
):
    def worked(*_args):
        pytest.fail("planes were segmented in vain")

    monkeypatch.setattr(segment_file, "_segment_plane", worked)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 2, 2, 2, 9, 9), np.uint8))
    outcome = run("segment", tmp_path / "a.tif", "-o", out, *mini, "--axes=ABTZYX")
    assert outcome.code == 2
    assert "more than 3 axes" in outcome.err


def test_unknown_model_and_absent_device(run, picture, out):
    outcome = run("segment", picture, "-o", out, "--model", "vit_z")
    assert outcome.code == 2
    assert "Unknown model 'vit_z'" in outcome.err
    outcome = run("segment", picture, "-o", out, "--device", "cuda:99")
    assert outcome.code == 2
    assert "cuda:99" in outcome.err


def test_checkpoint_that_is_none(run, picture, out, tmp_path):
    (tmp_path / "w.pth").write_text("no weights")
    outcome = run("segment", picture, "-o", out, "--checkpoint", tmp_path / "w.pth")
    assert outcome.code == 2
    assert "w.pth" in outcome.err
    outcome = run("segment", picture, "-o", out, "--checkpoint", tmp_path / "no.pth")
    assert outcome.code == 2


def test_folder_that_cannot_be_written(run, mini, picture, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    outcome = run("segment", picture, "-o", tmp_path / "file", *mini)
    assert outcome.code == 2
    assert "Cannot write" in outcome.err
    if os.name == "posix" and os.geteuid() != 0:  # root may write everywhere
        locked = tmp_path / "locked"
        locked.mkdir()
        locked.chmod(0o500)
        outcome = run("segment", picture, "-o", locked, *mini)
        assert outcome.code == 2
        assert "Permission denied" in outcome.err


def test_results_are_not_overwritten_unasked(run, mini, picture, out):
    out.mkdir()
    for name in ("blobs_labels.tif", "blobs_objects.csv"):
        (out / name).write_text("mine")
    outcome = run("segment", picture, "-o", out, *mini)
    assert outcome.code == 2
    assert "--existing" in outcome.err
    assert run("segment", picture, "-o", out, *mini, "--existing=skip").code == 0
    assert (out / "blobs_labels.tif").read_text() == "mine"


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--points-per-side=0", "napari-sam: --points-per-side must"),
        ("--pred-iou-thresh=7", "--pred-iou-thresh must be from 0 to 1"),
        ("--min-area=-3", "--min-area must"),
        ("--tile=big", "--tile auto"),
        ("--tile=3", "--tile must"),
        ("--limits=9", "--limits LOW,HIGH"),
        ("--limits=9,3", "--limits are two"),
        ("--axes=YY", "Axes 'YY'"),
        ("--each-point", "--each-point"),
    ],
)
def test_options_out_of_range(run, mini, picture, out, option, text):
    outcome = run("segment", picture, "-o", out, *mini, option)
    assert outcome.code == 2
    assert text in outcome.err


def test_grid_options_with_prompts_are_refused(run, mini, picture, out):
    outcome = run("segment", picture, "-o", out, *mini, *GRID, "--point=5,5")
    assert outcome.code == 2
    assert "--points-per-side" in outcome.err


def test_usage_errors_end_with_two(run, picture):
    assert run("segment", picture).code == 2
    assert run("segment").code == 2
    assert run("fly").code == 2


def test_ctrl_c_keeps_finished_files(run, mini, picture, out, monkeypatch):
    Image.open(picture).save(picture.with_name("later.png"))
    real = segment_file.segment_file

    def interrupted(work, *args, **kwargs):
        if work.source.name == "later.png":
            raise KeyboardInterrupt
        return real(work, *args, **kwargs)

    monkeypatch.setattr(batch, "segment_file", interrupted)
    outcome = run("segment", picture.parent, "-o", out, *mini, "--point=100,100")
    assert outcome.code == 130
    assert "1 of 2 inputs are finished" in outcome.err
    assert sorted(p.name for p in out.iterdir()) == [
        "blobs_labels.tif",
        "blobs_objects.csv",
    ]


def _stack(folder, blobs):
    grey = blobs.image.mean(axis=2).astype(np.uint8)
    path = folder / "s.tif"
    tifffile.imwrite(
        path,
        np.stack([grey, grey[::-1], grey]),
        imagej=True,
        metadata={"axes": "ZYX"},
    )
    return path


def test_ctrl_c_inside_a_stack_keeps_its_finished_planes(
    run, mini, tmp_path, out, blobs, monkeypatch
):
    stack = _stack(tmp_path, blobs)
    real, planes = segment_file._segment_plane, []

    def interrupted(*args):
        planes.append(1)
        if len(planes) == 3:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(segment_file, "_segment_plane", interrupted)
    words = ["segment", stack, "-o", out, *mini, "--point=100,100"]
    outcome = run(*words)
    assert outcome.code == 130
    assert "2 of 3 planes of s.tif were finished" in outcome.err
    assert "0 of 1 inputs are finished" in outcome.err
    names = ["s_partial_labels.tif", "s_partial_objects.csv"]
    assert sorted(path.name for path in out.iterdir()) == names
    labels = read_image(out / names[0]).data
    assert [int(plane.max()) for plane in labels] == [1, 2, 0]
    assert [row["z"] for row in _rows(out / names[1])] == ["0", "1"]
    # What is partial is not taken for done.
    assert run(*words, "--existing=skip").code == 0
    assert read_image(out / "s_labels.tif").data[2].any()


def test_ctrl_c_in_the_first_plane_leaves_nothing(
    run, mini, tmp_path, out, blobs, monkeypatch
):
    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(segment_file, "_segment_plane", interrupted)
    stack = _stack(tmp_path, blobs)
    outcome = run("segment", stack, "-o", out, *mini, "--point=100,100")
    assert outcome.code == 130
    assert list(out.iterdir()) == []


def _fail_on(monkeypatch, name, error):
    real = segment_file.segment_file

    def failing(work, *args, **kwargs):
        if work.source.name == name:
            raise error
        return real(work, *args, **kwargs)

    monkeypatch.setattr(batch, "segment_file", failing)


def test_a_result_that_cannot_be_written_does_not_stop_the_others(
    run, mini, picture, out, monkeypatch
):
    Image.open(picture).save(picture.with_name("a.png"))
    _fail_on(monkeypatch, "a.png", OutputError("Cannot write a_labels.tif: locked."))
    outcome = run("segment", picture.parent, "-o", out, *mini, "--point=100,100")
    assert outcome.code == 2
    assert "1 of 2 inputs failed" in outcome.err
    assert "locked" in outcome.err
    assert (out / "blobs_labels.tif").is_file()


def test_a_full_disk_stops_and_earlier_failures_are_told(
    run, mini, picture, out, monkeypatch
):
    (picture.parent / "a_bad.png").write_text("no pixels")
    Image.open(picture).save(picture.with_name("b.png"))
    error = OutputError("Cannot write b_labels.tif: No space left on device.")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    _fail_on(monkeypatch, "b.png", error)
    outcome = run("segment", picture.parent, "-o", out, *mini, "--point=100,100")
    assert outcome.code == 2
    assert "Failed: " in outcome.err
    assert "a_bad.png" in outcome.err
    assert "No space left" in outcome.err
    assert not (out / "blobs_labels.tif").exists()


def test_failures_are_told_after_ctrl_c(run, mini, picture, out, monkeypatch):
    (picture.parent / "a_bad.png").write_text("no pixels")
    _fail_on(monkeypatch, "blobs.png", KeyboardInterrupt())
    outcome = run("segment", picture.parent, "-o", out, *mini, "--point=100,100")
    assert outcome.code == 130
    assert "a_bad.png" in outcome.err

# SPDX-License-Identifier: Apache-2.0
"""``napari-sam segment`` with a tiny trained model on small pictures."""

import csv

import numpy as np
import pytest
import tifffile

from napari_sam.evaluation.prompts import true_objects
from napari_sam.io.images import read_image

GRID = [
    *("--points-per-side", "8"),
    *("--pred-iou-thresh", "0.6"),
    *("--stability-score-thresh", "0.6"),
]


def _rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def mask_iou(first, second):
    return np.count_nonzero(first & second) / np.count_nonzero(first | second)


def test_everything_equals_the_library_call(run, mini, picture, out, blobs, tiny_sam):
    from napari_sam import segment_image

    outcome = run("segment", picture, "-o", out, *mini, *GRID)
    assert outcome.code == 0, outcome.err
    expected = segment_image(
        blobs.image,
        tiny_sam,
        points_per_side=8,
        pred_iou_thresh=0.6,
        stability_score_thresh=0.6,
    )
    labels = read_image(out / "blobs_labels.tif").data
    np.testing.assert_array_equal(labels, expected)
    assert labels.max() >= 4
    rows = _rows(out / "blobs_objects.csv")
    assert [int(row["label"]) for row in rows] == list(range(1, labels.max() + 1))
    assert all(0 < float(row["predicted_iou"]) <= 1.5 for row in rows)
    assert f"{labels.max()} objects -> " in outcome.out
    assert sorted(p.name for p in out.iterdir()) == [
        "blobs_labels.tif",
        "blobs_objects.csv",
    ]


def test_one_point_means_one_object(run, mini, picture, out, blobs):
    target = max(true_objects(blobs.labels), key=lambda o: o.area)
    y, x = target.centre_yx
    assert run("segment", picture, "-o", out, *mini, "-p", f"{y},{x}").code == 0
    labels = read_image(out / "blobs_labels.tif").data
    assert np.unique(labels).tolist() == [0, 1]
    assert mask_iou(labels == 1, blobs.labels == target.label) > 0.7
    (row,) = _rows(out / "blobs_objects.csv")
    assert int(row["area_px"]) == np.count_nonzero(labels)
    assert row["area_um2"] == ""


def test_boxes_and_each_point_are_objects(run, mini, picture, out, blobs):
    objects = list(true_objects(blobs.labels))[:3]
    boxes = ["--box=" + ",".join(str(side) for side in o.box_yx) for o in objects]
    assert run("segment", picture, "-o", out, *mini, *boxes).code == 0
    by_box = read_image(out / "blobs_labels.tif").data
    for label, known in enumerate(objects, start=1):
        assert mask_iou(by_box == label, blobs.labels == known.label) > 0.6
    points = [f"--point={y},{x}" for y, x in (o.centre_yx for o in objects)]
    overwrite = ["--each-point", "--existing", "overwrite"]
    assert run("segment", picture, "-o", out, *mini, *points, *overwrite).code == 0
    assert read_image(out / "blobs_labels.tif").data.max() == 3


def test_stack_plane_by_plane_with_sizes(run, mini, tmp_path, out, blobs):
    grey = blobs.image.mean(axis=2).astype(np.uint16) * 7
    stack = np.stack([grey, np.full_like(grey, 3), grey[::-1]])
    tifffile.imwrite(
        tmp_path / "s.tif",
        stack,
        imagej=True,
        resolution=(4, 2),
        metadata={"axes": "ZYX", "unit": "um", "spacing": 3},
    )
    outcome = run("segment", tmp_path / "s.tif", "-o", out, *mini, *GRID)
    assert outcome.code == 0, outcome.err
    found = read_image(out / "s_labels.tif")
    assert found.axes == "ZYX"
    assert found.pixel_size_um == pytest.approx((0.5, 0.25))
    assert found.z_step_um == 3
    assert not found.data[1].any()
    assert "Z=1" in outcome.err
    assert "no objects" in outcome.err
    first, last = found.data[0], found.data[2]
    assert first.max() < last[last > 0].min()
    rows = _rows(out / "s_objects.csv")
    assert {row["z"] for row in rows} == {"0", "2"}
    assert len(rows) == found.data.max()
    row = rows[0]
    assert float(row["area_um2"]) == pytest.approx(int(row["area_px"]) * 0.125)
    plane_mean = stack[0][first == int(row["label"])].mean()
    assert float(row["mean_intensity"]) == pytest.approx(plane_mean, rel=1e-5)


def test_channels_can_be_chosen(run, mini, tmp_path, out, blobs):
    grey = blobs.image.mean(axis=2).astype(np.uint8)
    two = np.stack([np.zeros_like(grey), grey])
    tifffile.imwrite(tmp_path / "c.tif", two, imagej=True, metadata={"axes": "CYX"})
    target = max(true_objects(blobs.labels), key=lambda o: o.area)
    point = f"--point={target.centre_yx[0]},{target.centre_yx[1]}"
    words = ["segment", tmp_path / "c.tif", "-o", out, *mini, point]
    outcome = run(*words, "--channel", "0")
    assert outcome.code == 0
    assert "no objects" in outcome.err
    outcome = run(*words, "--channel", "1", "--existing", "overwrite")
    assert outcome.code == 0
    labels = read_image(out / "c_labels.tif").data
    assert mask_iou(labels == 1, blobs.labels == target.label) > 0.6
    (row,) = _rows(out / "c_objects.csv")
    assert row["mean_intensity_0"] == "0.0"
    assert float(row["mean_intensity_1"]) > 0
    assert run(*words, "--channel", "5", "--existing", "overwrite").code == 2


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((40, 50), 9, np.uint8),
        np.full((40, 50), np.nan, np.float32),
        np.zeros((1, 1), np.uint8),
        np.full((40, 50, 3), 200, np.uint8),
    ],
    ids=["constant", "nan", "one pixel", "constant rgb"],
)
@pytest.mark.parametrize("prompts", [[], ["--point=0,0"]], ids=["grid", "point"])
def test_nothing_to_see_is_no_error(run, mini, tmp_path, out, pixels, prompts):
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    outcome = run("segment", tmp_path / "a.tif", "-o", out, *mini, *prompts)
    assert outcome.code == 0, outcome.err
    assert "Notice: a.tif: the image shows one value everywhere" in outcome.err
    assert "0 objects" in outcome.out
    assert read_image(out / "a_labels.tif").data.shape == pixels.shape[:2]
    assert _rows(out / "a_objects.csv") == []


def test_zero_objects_are_a_notice(run, mini, picture, out):
    grid = ["--points-per-side=2", "--pred-iou-thresh=1"]
    outcome = run("segment", picture, "-o", out, *mini, *grid)
    assert outcome.code == 0
    assert "no objects were found" in outcome.err


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1)])
def test_thin_images(run, mini, tmp_path, out, shape):
    ramp = np.arange(5000, dtype=np.uint16).reshape(shape)
    tifffile.imwrite(tmp_path / "a.tif", ramp)
    grid = ["--points-per-side=2", "--pred-iou-thresh=0", "--tile=none"]
    outcome = run("segment", tmp_path / "a.tif", "-o", out, *mini, *grid)
    assert outcome.code == 0, outcome.err
    assert read_image(out / "a_labels.tif").data.shape == shape


def test_images_that_are_left_out_are_told(run, mini, tmp_path, out, blobs):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(blobs.image, photometric="rgb", metadata=None)
        writer.write(blobs.image[:9, :9, 0], metadata=None)
    outcome = run("segment", tmp_path / "a.tif", "-o", out, *mini, "--point=100,100")
    assert outcome.code == 0, outcome.err
    assert "Notice: a.tif holds 2 images" in outcome.err


def test_reversed_box_and_box_partly_outside(run, mini, picture, out, blobs):
    y0, x0, y1, x1 = max(true_objects(blobs.labels), key=lambda o: o.area).box_yx
    masks = []
    for box in (f"{y0},{x0},{y1},{x1}", f"{y1},{x1},{y0},{x0}"):
        words = ["-o", out, *mini, f"--box={box}", "--existing=overwrite"]
        assert run("segment", picture, *words).code == 0
        masks.append(read_image(out / "blobs_labels.tif").data)
    np.testing.assert_array_equal(*masks)
    words = ["-o", out, *mini, "--box=-50,-40,60,70", "--existing=overwrite"]
    assert run("segment", picture, *words).code == 0


def test_the_fast_method_is_an_option(run, mini, picture, out, blobs, tiny_sam):
    from napari_sam import segment_image

    outcome = run("segment", picture, "-o", out, *mini, *GRID, "--method", "fast")
    assert outcome.code == 0, outcome.err
    expected = segment_image(
        blobs.image,
        tiny_sam,
        method="fast",
        points_per_side=8,
        pred_iou_thresh=0.6,
        stability_score_thresh=0.6,
    )
    assert expected.max() >= 4
    labels = read_image(out / "blobs_labels.tif").data
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "quick"], ["'quick'", "grid, fast, fastest"]),
        (["--method", "fast", "--crop-n-layers", "1"], ["--crop-n-layers", "'grid'"]),
        (["--method", "fastest"], ["no object maps", "method='fast'"]),
    ],
)
def test_methods_that_cannot_be_are_refused(run, mini, picture, out, options, words):
    outcome = run("segment", picture, "-o", out, *mini, *options)
    assert outcome.code != 0
    for word in words:
        assert word in " ".join(outcome.err.split())
    assert not list(out.glob("*.tif"))

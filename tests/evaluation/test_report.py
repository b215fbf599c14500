# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from napari_sam.errors import SettingsError
from napari_sam.evaluation.comparison import compare, read_report
from napari_sam.evaluation.instances import score_instances
from napari_sam.evaluation.report import Report
from napari_sam.evaluation.scores import ImageScores, ObjectFacts
from napari_sam.evaluation.settings import EvaluationSettings

SETTINGS = EvaluationSettings(
    modes=("point", "box", "point-corrections", "grid", "proposals"),
    corrections=2,
    resamples=200,
)
MODEL = {"name": "tiny", "digest": "0" * 64, "device": "cpu"}


def _image(
    name: str, site: str, point, after, *, found: int, areas=None
) -> ImageScores:
    """``found`` of the two objects of a row are segmented, of three in truth."""
    truth = np.repeat([[1, 0, 2, 0, 3, 0]], 30, axis=1)
    prediction = np.where(np.isin(truth, range(1, found + 1)), truth, 0)
    point = np.array(point, float)
    areas = areas or [100] * len(point)
    return ImageScores(
        name=name,
        shape=(1, 180),
        objects=tuple(
            ObjectFacts(i + 1, area, (0, 10 * i, 10, 10 * i + 10))
            for i, area in enumerate(areas)
        ),
        groups={"site": site},
        ious={
            "point_iou": point,
            "point_oracle_iou": point + 0.05,
            "after_point": np.array(after, float),
        },
        instances={"grid": score_instances(truth, prediction, SETTINGS)},
        recall=np.zeros((len(point), 10), bool),
        seconds=1.5,
    )


@pytest.fixture
def images():
    return (
        _image("a", "Ulm", [0.5, 0.7], [[0.5, 0.6, 0.9], [0.7, 0.8, 0.7]], found=3),
        _image("b", "Graz", [0.9], [[0.9, 0.87, 0.95]], found=1),
    )


@pytest.fixture
def report(images):
    return Report(images, SETTINGS, MODEL)


def test_prompts_pool_objects_and_automatic_scores_average_images(report):
    assert report.value("point_iou") == pytest.approx(0.7)
    assert report.value("point_oracle_iou") == pytest.approx(0.75)
    assert report.value("grid_ap") == pytest.approx((1 + 1 / 3) / 2, abs=1e-5)
    assert report.value("grid_f1") == pytest.approx((1 + 2 / 4) / 2)
    assert report.value("grid_segmentation_accuracy") == report.value("grid_ap")
    assert report.value("proposals_ar") == 0
    assert report.value("box_iou") is None
    assert report.whole["scores"]["point_iou"]["n"] == 3
    assert report.whole["scores"]["grid_ap"]["of"] == "images"
    assert report.whole["scores"]["grid_ap"]["low"] < report.value("grid_ap")
    curve = report.whole["automatic"]["grid"]
    assert len(curve["ap"]) == len(curve["thresholds"]) == 10


def test_corrections_are_followed_click_by_click(report):
    series = report.whole["corrections"]["after_point"]
    means = [score["value"] for score in series["mean_iou"]]
    np.testing.assert_allclose(means, [0.7, (0.6 + 0.8 + 0.87) / 3, 0.85], atol=1e-5)
    assert series["never_falls"] is True
    assert series["falls_at"] == []
    shares = [score["value"] for score in series["fell_share"]]
    np.testing.assert_allclose(shares, [1 / 3, 1 / 3], atol=1e-5)
    gains = [score["value"] for score in series["gain"]]
    np.testing.assert_allclose(gains, np.diff(means), atol=2e-5)
    # 0.8 is reached at click 3, 2 and 1; 0.9 at 3, never (counted as 3) and 1
    clicks = {goal: found["mean"]["value"] for goal, found in series["clicks"].items()}
    assert clicks == {
        "0.80": 2,
        "0.85": pytest.approx(7 / 3, abs=1e-5),
        "0.90": clicks["0.85"],
    }
    never = series["clicks"]["0.90"]["never_share"]["value"]
    assert never == pytest.approx(1 / 3, abs=1e-5)
    assert series["clicks"]["0.90"]["cap"] == 3


def test_a_mean_that_falls_is_said_loudly():
    after = [[0.5, 0.9, 0.8], [0.5, 0.7, 0.6]]
    report = Report((_image("a", "Ulm", [0.5, 0.5], after, found=3),), SETTINGS, MODEL)
    series = report.whole["corrections"]["after_point"]
    assert series["never_falls"] is False
    assert series["falls_at"] == [2]
    assert "THE MEAN FALLS at correction 2 (0.8000 -> 0.7000)" in report.format()


def test_a_box_needs_no_click_to_begin_with(images):
    series = images[0].ious["after_point"]
    boxes = ImageScores("a", (1, 9), images[0].objects, ious={"after_box": series})
    found = Report((boxes,), SETTINGS, MODEL).whole["corrections"]["after_box"]
    assert found["first_click"] == 0
    assert found["clicks"]["0.80"]["cap"] == 2
    assert found["clicks"]["0.80"]["mean"]["value"] == 1.5


def test_groups_are_summarized_alone(report):
    assert list(report.groups["site"]) == ["Graz", "Ulm"]
    graz = report.groups["site"]["Graz"]
    assert (graz["images"], graz["objects"]) == (1, 1)
    assert graz["scores"]["point_iou"]["value"] == 0.9
    assert graz["scores"]["point_iou"]["low"] is None  # one object
    ulm = report.groups["site"]["Ulm"]["scores"]["point_iou"]
    assert ulm["resampled"] == "objects"
    assert (ulm["low"], ulm["high"]) == (0.5, 0.7)


def test_ranges_are_sorted_as_numbers(images):
    values = ("10 to 20", "2 to 10", "(unknown)")
    some = tuple(ImageScores(v, (1, 1), (), groups={"size": v}) for v in values)
    found = Report(some, SETTINGS, MODEL).groups["size"]
    assert list(found) == ["2 to 10", "10 to 20", "(unknown)"]


def test_text_has_every_number_on_a_line(report):
    text = report.format()
    assert text.startswith("2 images, 3 objects of at least 25 px")
    assert "mean segmentation accuracy" in text
    assert "0.700  0.757  0.850" in text
    assert "the mean never falls; at most 33.3% of the objects lose" in text
    assert "mean clicks, at most 3: 2.00 to 0.80 (0.0% never)" in text
    assert "[ ] 95% interval, bootstrap over images" in text
    assert "By site:" in text
    assert "Graz  0.900                  1 object\n" in text


def test_dictionary_is_json_without_nan(report):
    found = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (found["format"], found["version"]) == ("napari-sam evaluation", 1)
    assert found["is_complete"] is True
    assert found["model"] == MODEL
    assert found["seconds"] == 3
    assert found["settings"]["corrections"] == 2
    first = found["images"][0]
    assert first["groups"] == {"site": "Ulm"}
    assert first["scores"]["point_iou"] == 0.6
    assert first["scores"]["after_point"] == 0.8
    assert first["counts"]["grid"]["true_positives"] == 3
    assert first["objects"]["label"] == [1, 2]
    assert first["objects"]["after_point"][1] == [0.7, 0.8, 0.7]
    assert first["objects"]["centre_x"] == [4.5, 14.5]


def test_rows_of_images_and_objects(report):
    first, second = report.image_rows()
    assert first["site"] == "Ulm"
    assert first["point_iou"] == 0.6
    assert second["grid_false_negatives"] == 2
    rows = list(report.object_rows())
    assert [row["image"] for row in rows] == ["a", "a", "b"]
    assert rows[1]["label"] == 2
    assert rows[1]["x0"] == 10
    assert (rows[1]["after_point_0"], rows[1]["after_point_2"]) == (0.7, 0.7)


def test_sizes_of_proposed_objects():
    image = _image(
        "a", "", [0.5] * 3, [[0.5] * 3] * 3, found=0, areas=[1023, 1024, 9216]
    )
    image.recall[0] = True
    image.recall[1, :5] = True
    report = Report((image,), SETTINGS, MODEL)
    names = (
        "proposals_ar",
        *(f"proposals_ar_{s}" for s in ("small", "medium", "large")),
    )
    assert [report.value(name) for name in names] == [0.5, 1, 0.5, 0]


def test_images_without_objects_leave_prompts_out():
    empty = ImageScores("a", (5, 5), ())
    report = Report((empty,), SETTINGS, MODEL)
    assert report.whole["scores"] == {}
    assert report.format() == "1 image, 0 objects of at least 25 px"
    assert list(report.object_rows()) == []
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_set_without_any_image_is_empty():
    report = Report((), SETTINGS, MODEL)
    assert report.to_dict()["whole"]["images"] == 0
    assert report.groups == {}


def _better(images, by: float) -> Report:
    changed = tuple(
        ImageScores(
            i.name,
            i.shape,
            i.objects,
            ious={k: v + by for k, v in i.ious.items()},
            instances=i.instances,
        )
        for i in images
    )
    return Report(changed, SETTINGS, MODEL)


def test_gain_is_paired_by_object(report, images):
    found = compare(report.to_dict(), _better(images, 0.1).to_dict(), SETTINGS)
    gain = found["scores"]["point_iou"]
    # The scores spread from 0.5 to 0.9; the gain is the same for every object.
    assert gain["value"] == pytest.approx(0.1, abs=1e-5)
    assert gain["low"] == pytest.approx(0.1, abs=1e-5)
    assert gain["high"] == pytest.approx(0.1, abs=1e-5)
    assert gain["n"] == 3
    assert found["scores"]["after_point"]["label"].endswith("2 corrections")
    assert found["scores"]["grid_ap"]["value"] == 0
    assert "proposals_ar" not in found["scores"]  # one of them did not measure it


def test_only_what_both_have_is_compared(report, images):
    other = _better(images, 0.2).to_dict()
    other["images"][0]["objects"]["label"][0] = 77
    del other["images"][1]
    found = compare(other, report.to_dict(), SETTINGS)
    assert found["images"] == 1
    assert found["scores"]["point_iou"]["n"] == 1
    assert found["scores"]["point_iou"]["value"] == pytest.approx(-0.2, abs=1e-5)


def test_unlike_reports_are_not_compared(report):
    other = report.to_dict()
    renamed = other | {"images": [other["images"][0] | {"name": "elsewhere"}]}
    with pytest.raises(SettingsError, match="no image in common"):
        compare(renamed, other, SETTINGS)
    sown = other | {"settings": other["settings"] | {"seed": 5}}
    with pytest.raises(SettingsError, match="differ in seed: 5 and 0"):
        compare(sown, other, SETTINGS)


def test_gain_is_part_of_text_and_dictionary(report, images):
    later = _better(images, 0.1)
    joined = Report(later.images, SETTINGS, MODEL, earlier=report.to_dict())
    assert "Gain over tiny (000000000000) on 2 images" in joined.format()
    assert "+0.100 [+0.100, +0.100]" in joined.format()
    assert joined.to_dict()["comparison"]["scores"]["point_iou"]["n"] == 3
    assert "comparison" not in later.to_dict()


def test_other_files_are_no_reports(tmp_path):
    path = tmp_path / "r.json"
    for text in ("", "[]", '{"format": "other"}', "\x00"):
        path.write_text(text)
        with pytest.raises(SettingsError, match=r"report"):
            read_report(path)
    with pytest.raises(SettingsError, match="Cannot read"):
        read_report(tmp_path / "none.json")
    path.write_text('{"format": "napari-sam evaluation", "version": 2}')
    with pytest.raises(SettingsError, match="version 1"):
        read_report(path)

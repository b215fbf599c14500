# SPDX-License-Identifier: Apache-2.0
import pytest

from napari_sam.errors import SettingsError
from napari_sam.evaluation.settings import METHODS, EvaluationSettings, checked_modes
from napari_sam.structures.settings import METHODS as KNOWN_METHODS


def test_every_automatic_method_is_a_mode():
    assert METHODS == KNOWN_METHODS


def test_modes_come_once_and_in_order():
    assert checked_modes(["grid", "point", "grid"]) == ("point", "grid")
    settings = EvaluationSettings(modes=("fast", "box", "grid"))
    assert settings.modes == ("box", "grid", "fast")
    assert settings.methods == ("grid", "fast")
    with pytest.raises(
        SettingsError, match=r"Unknown mode circle\. Allowed: point, ran"
    ):
        checked_modes(["point", "circle"])
    with pytest.raises(SettingsError, match=r"\(none\)"):
        EvaluationSettings(modes=())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_area", -1),
        ("iou_threshold", 1.5),
        ("iou_threshold", float("nan")),
        ("corrections", 0),
        ("seed", -1),
        ("jitter", 2),
        ("resamples", 1),
        ("level", 1),
        ("boundary_tolerance_px", -0.5),
    ],
)
def test_numbers_out_of_range_are_told(name: str, value: float):
    with pytest.raises(SettingsError, match=f"{name} must be"):
        EvaluationSettings(**{name: value})


def test_what_is_drawn_is_images_or_objects():
    with pytest.raises(SettingsError, match="images or objects, not 'pixels'"):
        EvaluationSettings(resampled="pixels")

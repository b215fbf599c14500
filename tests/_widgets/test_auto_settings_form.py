# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from qtpy.QtCore import QPoint

from napari_sam._widgets.auto_fields import GROUPS, NOT_SHOWN, plain_defaults
from napari_sam._widgets.auto_settings_form import AutoSettingsForm
from napari_sam.structures.settings import AutoSettings, LabelSettings


@pytest.fixture
def form(qtbot):
    form = AutoSettingsForm()
    qtbot.addWidget(form)
    return form


def test_every_setting_has_a_field_a_range_and_a_help_text():
    fields = [field for group in GROUPS.values() for field in group]
    names = {field.name for field in fields}
    assert names == {*AutoSettings.names(), *LabelSettings.names()} - set(NOT_SHOWN)
    assert len(fields) == len(names)
    for field in fields:
        assert len(field.help) > 20
        if field.kind in ("int", "float"):
            assert field.low <= plain_defaults()[field.name] <= field.high


def test_untouched_form_shows_defaults_and_asks_for_nothing(form):
    assert form.overrides == {}
    for name, value in plain_defaults().items():
        shown = form.value(name)
        assert shown == (
            pytest.approx(value, abs=1e-3) if type(value) is float else value
        )


def test_changes_are_passed_on_and_survive_a_new_model(form):
    form.set_value("points_per_side", 20)
    form.set_value("fill_holes", False)
    form.set_value("tile", 512)
    assert form.overrides == {"points_per_side": 20, "fill_holes": False, "tile": 512}
    form.set_model_defaults({"points_per_side": 48, "pred_iou_thresh": 0.7})
    assert form.value("points_per_side") == 20
    assert form.value("pred_iou_thresh") == pytest.approx(0.7)
    assert "pred_iou_thresh" not in form.overrides
    form.reset.click()
    assert form.overrides == {}
    assert form.value("points_per_side") == 48


def test_ends_of_all_ranges_are_legal(form):
    for end in ("low", "high"):
        for group in GROUPS.values():
            for field in group:
                if field.kind in ("int", "float"):
                    form.set_value(field.name, getattr(field, end))
        both = form.overrides
        AutoSettings.from_defaults(
            {n: both[n] for n in both if n in AutoSettings.names()}
        )
        LabelSettings.from_defaults(
            {n: both[n] for n in both if n in LabelSettings.names()}
        )


def test_scrolling_over_a_field_does_not_change_it(form, qtbot):
    from qtpy.QtCore import QPointF, Qt
    from qtpy.QtGui import QWheelEvent
    from qtpy.QtWidgets import QApplication

    field = form.fields["points_per_side"]
    wheel = QWheelEvent(
        QPointF(5, 5),
        QPointF(5, 5),
        QPoint(0, 0),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(field, wheel)
    assert form.overrides == {}


def test_settings_of_the_grid_rest_while_another_method_is_chosen(form):
    form.set_value("crop_n_layers", 1)
    form.set_value("pred_iou_thresh", 0.4)
    assert form.is_grid
    form.set_value("method", "fast")
    assert not form.is_grid
    assert not form.fields["crop_n_layers"].isEnabled()
    assert form.fields["points_per_side"].isEnabled()
    assert form.overrides == {
        "method": "fast",
        "pred_iou_thresh": pytest.approx(0.4),
    }
    form.set_value("method", "grid")
    assert form.fields["crop_n_layers"].isEnabled()
    assert form.overrides["crop_n_layers"] == 1


def test_a_model_may_prefer_another_method(form):
    form.set_model_defaults({"method": "fastest"})
    assert form.value("method") == "fastest"
    assert form.overrides == {}
    assert not form.fields["crop_overlap_ratio"].isEnabled()


def test_a_number_of_the_grid_does_not_change_the_method(form):
    form.set_model_defaults({"method": "fast", "points_per_side": 24})
    form.set_value("points_per_side", 20)
    assert form.overrides == {"method": "fast", "points_per_side": 20}
    form.set_value("method", "grid")
    assert form.overrides["method"] == "grid"

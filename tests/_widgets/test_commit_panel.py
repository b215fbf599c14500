# SPDX-License-Identifier: Apache-2.0
"""Accept, undo, class, turbo, and the commit rule as a form."""

from __future__ import annotations

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_sam._widgets.buttons import show_keys
from napari_sam._widgets.commit_panel import CommitPanel
from napari_sam.annotation.commit_policy import CommitSettings, LabelMode, Overlap


@pytest.fixture
def panel(qtbot):
    panel = CommitPanel()
    qtbot.addWidget(panel)
    panel.resize(310, 500)
    panel.section.expand(animate=False)
    panel.show()
    return panel


def press(widget):
    # A check box reacts on its mark and text only.
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton, pos=QPoint(8, 8))


def heard(signal):
    told = []
    signal.connect(lambda *values: told.append(values[0] if values else True))
    return told


def test_buttons_tell_what_is_wanted(panel):
    panel.set_usable(can_accept=True, can_discard=True)
    panel.show_history("Accept object 12", "Add prompt")
    for button, signal in (
        (panel.accept, panel.accepted),
        (panel.discard, panel.discarded),
        (panel.undo, panel.undone),
        (panel.redo, panel.redone),
    ):
        told = heard(signal)
        press(button)
        assert told == [True], button.text()


def test_history_is_named_and_disabled_without(panel):
    show_keys(panel, {"undo": "Ctrl+Z"})
    panel.show_history("Accept object 12", "")
    assert panel.undo.toolTip() == "Undo: Accept object 12.\nKey: Ctrl+Z"
    assert not panel.redo.isEnabled()
    panel.show_history("", "Add prompt")
    assert not panel.undo.isEnabled()
    assert panel.redo.toolTip() == "Redo: Add prompt."


def test_nothing_can_be_accepted_at_first(panel):
    told = heard(panel.accepted)
    press(panel.accept)
    assert told == []
    assert not panel.discard.isEnabled()


def test_rule_is_shown_and_changed(panel):
    told = heard(panel.settings_chosen)
    rule = CommitSettings(
        overlap=Overlap.FILL, mode=LabelMode.SEMANTIC, largest_piece=False, min_area=30
    )
    panel.show_settings(rule)
    assert told == []
    assert panel.rule.settings == rule
    press(panel.rule.checks["fill_holes"])
    assert told[-1].fill_holes is False
    panel.rule.overlap.setFocus()
    QTest.keyClick(panel.rule.overlap, Qt.Key.Key_Home)
    assert told[-1].overlap is Overlap.KEEP
    panel.rule.min_area.selectAll()
    QTest.keyClicks(panel.rule.min_area, "7")
    assert told[-1] == CommitSettings(
        mode=LabelMode.SEMANTIC, largest_piece=False, fill_holes=False, min_area=7
    )


def test_class_is_typed_or_taken_from_those_known(panel):
    told = heard(panel.class_chosen)
    QTest.keyClicks(panel.class_name.lineEdit(), " debris ")
    assert told[-1] == "debris"
    panel.set_class_names(["nucleus", "Mitosis", "", "nucleus"])
    assert panel.class_name.lineEdit().text() == " debris "
    names = [panel.class_name.itemText(i) for i in range(panel.class_name.count())]
    assert names == ["Mitosis", "nucleus"]
    n_told = len(told)
    panel.show_class("nucleus")
    assert panel.class_name.currentText() == "nucleus"
    assert len(told) == n_told
    panel.class_name.lineEdit().selectAll()
    QTest.keyClick(panel.class_name.lineEdit(), Qt.Key.Key_Backspace)
    assert told[-1] == ""


def test_turbo(panel):
    told = heard(panel.turbo_chosen)
    press(panel.turbo)
    assert told == [True]
    panel.show_turbo(False)
    assert told == [True]
    assert not panel.turbo.isChecked()


def test_rule_folds_away(panel):
    assert panel.rule.isVisible()
    press(panel.section.toggleButton())
    assert not panel.rule.isVisible()
    press(panel.section.toggleButton())
    assert panel.rule.isVisible()
    assert panel.rule.height() >= panel.rule.sizeHint().height()
    assert panel.minimumSizeHint().width() <= 310

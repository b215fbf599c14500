# SPDX-License-Identifier: Apache-2.0
"""Hints, keys, status line and foldable sections."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLabel, QLineEdit, QVBoxLayout, QWidget

from napari_sam._widgets.hints import HINTS, Hints
from napari_sam._widgets.keys_panel import NO_KEYS, KeysPanel
from napari_sam._widgets.section import Section
from napari_sam._widgets.status_line import EmbeddingState, StatusLine


def press(button):
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


@pytest.fixture
def shown(qtbot):
    """Show a widget in a narrow window, as a dock does."""
    window = QWidget()
    qtbot.addWidget(window)
    column = QVBoxLayout(window)
    window.resize(330, 300)

    def show(widget):
        column.addWidget(widget)
        window.show()
        return widget

    return show


def test_hints_go_one_by_one_and_for_good(shown):
    seen = set()
    hints = shown(Hints(seen.__contains__, seen.add))
    hints.set_keys({"accept": "X"})
    assert hints.isVisible()
    texts = []
    for number in range(1, 4):
        assert hints.number.text() == f"Hint {number} of 3"
        texts.append(hints.text.text())
        press(hints.next)
    assert len(set(texts)) == 3
    assert "(key X)" in texts[2]
    assert not hints.isVisible()
    assert seen == set(HINTS)
    assert not shown(Hints(seen.__contains__, seen.add)).isVisible()


def test_all_hints_can_be_dismissed_at_once(shown):
    seen = set()
    hints = shown(Hints(seen.__contains__, seen.add))
    press(hints.never)
    assert seen == set(HINTS)
    assert not hints.isVisible()


def test_keys_are_listed_as_text_not_as_markup(shown):
    panel = shown(KeysPanel())
    assert panel.table.text() == NO_KEYS
    panel.show_rows([("Ctrl+<", "smaller"), ("", "no key"), ("X", "Accept mask")])
    assert "Ctrl+&lt;" in panel.table.text()
    assert "no key" not in panel.table.text()
    assert "Accept mask" in panel.table.text()


def test_status_line(shown):
    line = shown(StatusLine())
    assert line.model.text() == "no model"
    line.show_model("embedded", "cpu", "weights: sha256:12")
    line.show_embedding(EmbeddingState.OUT_OF_DATE)
    line.show_seconds(0.0423)
    texts = [line.model.text(), line.device.text(), line.time.text()]
    assert texts == ["embedded", "cpu", "42 ms"]
    assert "out of date" in line.embedding.text()
    assert "sha256" in line.model.toolTip()
    line.show_model("a model with a name that no dock is wide enough for" * 3, "cuda")
    assert line.minimumSizeHint().width() <= 310


def test_section_folds_and_unfolds(shown):
    content = QWidget()
    column = QVBoxLayout(content)
    field = QLineEdit()
    column.addWidget(field)
    section = shown(Section("Objects", content))
    assert not field.isVisible()
    assert section.text() == "▸ Objects"
    press(section.toggleButton())
    assert field.isVisible()
    assert section.text() == "▾ Objects"
    # What grows later is not cut off.
    label = QLabel("one\ntwo\nthree\nfour")
    column.addWidget(label)
    QTest.qWait(10)
    assert label.height() >= label.sizeHint().height()
    press(section.toggleButton())
    assert not field.isVisible()

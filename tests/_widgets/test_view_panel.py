# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QSlider

from napari_sam._widgets.view_panel import OUT_OF_DATE, ViewPanel
from napari_sam.annotation.jobs import ModelThread
from napari_sam.annotation.ports import PlaneKey
from napari_sam.prediction.intensity import IntensityRule, to_rgb
from napari_sam.structures.view_settings import ViewSettings

FLAT = PlaneKey()
FIRST = PlaneKey((1, 2), (0,))
DEEP = np.random.default_rng(0).integers(0, 4000, (3, 144, 100), dtype=np.uint16)


@pytest.fixture
def panel(qtbot, monkeypatch):
    monkeypatch.setattr("napari_sam._widgets.view_panel.PAUSE_MS", 40)
    made = ViewPanel()
    qtbot.addWidget(made)
    made.announced = []
    made.embeds = []
    made.changed.connect(made.announced.append)
    made.embed_wanted.connect(lambda: made.embeds.append(1))
    made.show()
    return made


def picture(panel, qtbot) -> np.ndarray:
    """Pixels of the thumbnail once it has been drawn anew."""
    qtbot.waitUntil(lambda: not panel._redraw.isActive())
    return panel.thumbnail.picture()


def choose(combo, text: str) -> None:
    index = combo.findText(text)
    assert index >= 0, [combo.itemText(i) for i in range(combo.count())]
    combo.setCurrentIndex(index)


def test_the_thumbnail_is_what_the_model_gets(panel, qtbot):
    panel.set_source(Image(DEEP[0]), FLAT)
    np.testing.assert_array_equal(picture(panel, qtbot), to_rgb(DEEP[0]))
    panel.contrast.invert.setChecked(True)
    expected = to_rgb(DEEP[0], rule=IntensityRule(invert=True))
    np.testing.assert_array_equal(picture(panel, qtbot), expected)


def test_the_thumbnail_follows_the_plane_and_keeps_the_settings(panel, qtbot):
    layer = Image(DEEP)
    panel.set_source(layer, FIRST)
    panel.contrast.gamma.setValue(0.5)
    panel.set_source(layer, PlaneKey((1, 2), (2,)))
    expected = to_rgb(DEEP[2], rule=IntensityRule(gamma=0.5))
    np.testing.assert_array_equal(picture(panel, qtbot), expected)
    assert panel.settings == ViewSettings(gamma=0.5)
    panel.set_source(Image(DEEP), FIRST)  # another image begins anew
    assert panel.settings.is_default
    assert panel.contrast.gamma.value() == 1


def test_channels_of_an_axis(panel, qtbot):
    panel.set_source(Image(DEEP), FIRST)
    assert panel.channels.hint.isVisible()
    assert not panel.channels.shown_as.isVisible()
    choose(panel.channels.axis, "axis 0 (3)")
    assert not panel.channels.hint.isVisible()
    assert panel.announced == [ViewSettings(channel_axis=0)]
    np.testing.assert_array_equal(picture(panel, qtbot), to_rgb(DEEP, 0))
    choose(panel.channels.colours[2], "black")
    assert panel.settings.channels == (0, 1, None)
    choose(panel.channels.shown_as, "grey")
    choose(panel.channels.colours[0], "channel 2")
    assert panel.settings.channels == (2, 2, 2)
    np.testing.assert_array_equal(picture(panel, qtbot), to_rgb(DEEP[2]))
    choose(panel.channels.axis, "no axis")
    assert panel.settings.is_default


def test_grey_takes_a_channel_that_is_there(panel):
    panel.set_source(Image(DEEP), FIRST)
    panel.set_settings(ViewSettings(channel_axis=0, channels=(None, 1, 2)))
    choose(panel.channels.shown_as, "grey")
    assert panel.settings.channels == (1, 1, 1)
    choose(panel.channels.shown_as, "colours")
    assert panel.settings == ViewSettings(channel_axis=0)


def test_layers_as_channels(panel, qtbot):
    first, *others = [Image(DEEP[i], name=name) for i, name in enumerate("abc")]
    panel.set_source(first, FLAT, others)
    assert panel.settings.is_default
    assert panel.channels.shown_as.currentText() == "grey"
    choose(panel.channels.shown_as, "colours")
    assert panel.settings.channels == ("a", "b", "c")
    np.testing.assert_array_equal(picture(panel, qtbot), to_rgb(DEEP, 0))
    choose(panel.channels.colours[0], "c")
    assert panel.settings.channels == ("c", "b", "c")


def test_a_colour_picture_offers_its_colours(panel, qtbot):
    pixels = np.random.default_rng(1).integers(0, 255, (90, 144, 3), dtype=np.uint8)
    panel.set_source(Image(pixels, rgb=True), FLAT)
    assert not panel.channels.axis.isVisible()
    item = panel.contrast.mode.model().item(1)
    assert item.text() == "contrast limits"
    assert not item.isEnabled()
    choose(panel.channels.shown_as, "grey")
    choose(panel.channels.colours[0], "green")
    expected = np.repeat(pixels[..., 1:2], 3, axis=-1)
    np.testing.assert_array_equal(picture(panel, qtbot), expected)


def test_contrast_limits_follow_the_layer(panel, qtbot):
    layer = Image(DEEP[0], contrast_limits=(0, 3000))
    panel.set_source(layer, FLAT)
    choose(panel.contrast.mode, "contrast limits")
    assert panel.settings.limits == ((0, 3000),)
    layer.contrast_limits = (100, 2000)
    assert panel.settings.limits == ((100, 2000),)
    assert len(panel.announced) == 2
    panel.hide()
    layer.contrast_limits = (100, 2500)
    assert len(panel.announced) == 2  # not listened to while hidden
    panel.show()
    assert panel.settings.limits == ((100, 2500),)
    rule = IntensityRule(limits=(100, 2500))
    np.testing.assert_array_equal(picture(panel, qtbot), to_rgb(DEEP[0], rule=rule))
    panel.set_source(None, None)
    layer.contrast_limits = (1, 2)
    assert panel.settings.is_default


def test_a_fixed_range_begins_with_the_limits_of_the_layer(panel):
    panel.set_source(Image(DEEP[0], contrast_limits=(7, 3000)), FLAT)
    choose(panel.contrast.mode, "fixed range")
    assert panel.settings == ViewSettings(contrast="fixed range", limits=(7, 3000))
    panel.contrast.high.setValue(4095)
    assert panel.settings.limits == ((7, 4095),)


def test_what_makes_no_sense_is_said_and_not_announced(panel):
    panel.set_source(Image(DEEP[0]), FLAT)
    panel.contrast.low.setValue(99.95)
    assert panel.announced == []
    assert panel.problem.isVisible()
    assert "low < high" in panel.problem.text()
    panel.contrast.low.setValue(2)
    assert not panel.problem.isVisible()
    assert panel.settings.percentiles == (2, 99.9)


def test_a_change_asks_for_an_embedding_after_a_pause(panel, qtbot):
    panel.set_source(Image(DEEP[0]), FLAT)
    panel.set_state("Ready")
    panel.contrast.gamma.setValue(0.5)
    panel.contrast.gamma.setValue(0.6)
    assert panel.state.text() == OUT_OF_DATE
    assert panel.embeds == []
    qtbot.waitUntil(lambda: panel.embeds == [1], timeout=2000)
    qtbot.wait(80)
    assert panel.embeds == [1]


def test_the_button_does_not_wait_for_the_pause(panel, qtbot):
    panel.set_source(Image(DEEP[0]), FLAT)
    panel.contrast.gamma.setValue(0.5)
    panel.embed.click()
    assert panel.embeds == [1]
    qtbot.wait(80)
    assert panel.embeds == [1]


@pytest.mark.parametrize(
    "settings",
    [
        ViewSettings(channel_axis=0, channels=(2, None, 1), gamma=0.333, invert=True),
        ViewSettings(contrast="fixed range", limits=(0.123456, 7.5), gamma=9),
        ViewSettings(contrast="fixed range", limits=((0, 1), (2, 3), (4, 5))),
        ViewSettings(percentiles=(2, 98)),
    ],
)
def test_remembered_settings_are_shown_and_kept(panel, qtbot, settings):
    panel.set_source(Image(DEEP), FIRST)
    panel.set_settings(settings)
    assert panel.announced == []
    assert panel.settings == settings
    # What is not shown to the last digit stays when something else is changed.
    panel.contrast.invert.toggle()
    assert panel.announced[0].limits == settings.limits
    assert panel.announced[0].gamma == settings.gamma
    assert panel.announced[0].channels == settings.channels
    panel.contrast.invert.toggle()
    assert panel.settings == settings


def test_without_an_image_there_is_nothing_to_set(panel, qtbot):
    panel.set_source(Image(DEEP[0]), FLAT)
    panel.set_source(None, None)
    assert picture(panel, qtbot) is None
    assert not panel.form.isEnabled()
    assert not panel.embed.isEnabled()


def test_a_view_along_the_channels_is_explained(panel, qtbot):
    panel.set_source(Image(DEEP), PlaneKey((0, 2), (5,)))
    choose(panel.channels.axis, "axis 0 (3)")
    assert picture(panel, qtbot) is None
    assert "cannot lie along" in panel.thumbnail.text()


def test_the_wheel_scrolls_and_changes_nothing(panel, qtbot):
    panel.set_source(Image(DEEP), FIRST)
    slider = panel.contrast.gamma.findChildren(QSlider)[0]
    for field in (slider, panel.contrast.low, panel.contrast.mode):
        field.clearFocus()
        turn = QWheelEvent(
            QPointF(5, 5),
            QPointF(5, 5),
            QPoint(0, -120),
            QPoint(0, -120),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(field, turn)
    assert panel.announced == []


def test_long_names_do_not_widen_the_dock(panel, qtbot):
    layers = [Image(DEEP[i], name=f"{i} " + "very long name " * 9) for i in range(3)]
    panel.set_source(layers[0], FLAT, layers[1:])
    choose(panel.channels.shown_as, "colours")
    assert panel.minimumSizeHint().width() <= 310


@pytest.fixture
def runner():
    made = ModelThread("thumbnails")
    yield made
    made.close()


def test_thumbnails_read_elsewhere_come_with_the_next_delivery(qtbot, runner):
    panel = ViewPanel(runner)
    qtbot.addWidget(panel)
    panel.show()
    layer = Image(DEEP)
    panel.set_source(layer, FIRST)
    qtbot.waitUntil(lambda: not panel._redraw.isActive())
    panel.set_source(layer, PlaneKey((1, 2), (1,)))
    qtbot.waitUntil(lambda: not panel._redraw.isActive())
    qtbot.waitUntil(lambda: bool(runner.drain()) and not runner.is_busy)
    np.testing.assert_array_equal(panel.thumbnail.picture(), to_rgb(DEEP[1]))

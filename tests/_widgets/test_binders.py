# SPDX-License-Identifier: Apache-2.0
"""Panels on a real annotator and real layers, without viewer and model."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import numpy as np
import pytest
from napari.layers import Image, Labels
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QFileDialog, QVBoxLayout, QWidget

from napari_sam._bridge.actions import Actions
from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.image_source import LayerImageSource
from napari_sam._bridge.label_layer import LayerLabelStore
from napari_sam._widgets.mask_binder import MaskBinder
from napari_sam._widgets.objects_binder import NO_LINE, ObjectsBinder
from napari_sam._widgets.pixel_size import pixel_size_um
from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.choices import Size
from napari_sam.annotation.objects import Status
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import NapariSamError
from napari_sam.structures.candidates import Answer
from napari_sam.structures.drawn import DrawnPrompts, DrawnShape, ShapeKind
from napari_sam.structures.mask_window import MaskWindow

PLANE = PlaneKey()


class Squares:
    """A model whose four masks are squares around the first point or stroke."""

    name = "squares"
    auto_defaults: dict[str, float] = {}  # noqa: RUF012

    def describe(self):
        return {"device": "cpu"}

    def embed(self, pixels, **_):
        return pixels

    def scale_for(self, embedding, view, extent=None):
        return None

    def region_at(self, embedding, yx, scale):
        return None

    def predict(self, embedding, prompts, *, scale=None, cancel=None):
        y, x = (round(v) for v in prompts.points[0].yx)
        masks = tuple(
            MaskWindow(y - r, x - r, np.ones((2 * r + 1, 2 * r + 1), bool))
            for r in (3, 1, 3, 5)
        )
        scores = np.array([0.8, 0.5, 0.9, 0.3], np.float32)
        return Answer(masks, scores, np.zeros((4, 4, 4), np.float32), 0.012)

    def preview(self, embedding, yx, *, scale=None):
        raise NotImplementedError


class Controller:
    """What the panels need of a controller."""

    labels_changed = Signal()

    def __init__(self, image, labels):
        source = LayerImageSource(image)
        self.image, self.labels_layer, self.source = image, labels, source
        self.store = LayerLabelStore(labels, PlaneMap.of(image, source))
        self.annotator = Annotator(source, self.store)
        self.annotator.attach(Squares())
        self.annotator.look_at(PLANE)
        self.actions = Actions(self, link=None)
        self.flown = []

    @property
    def plane(self):
        return self.annotator.plane

    def accept(self):
        self.annotator.commit()

    def discard(self):
        self.annotator.discard()

    def fly_to(self, key):
        self.flown.append(key)


@pytest.fixture
def image():
    pixels = np.arange(40 * 60, dtype=np.uint16).reshape(40, 60)
    return Image(pixels, scale=(0.5, 0.25), units="um")


@pytest.fixture
def controller(image):
    return Controller(image, Labels(np.zeros((40, 60), np.uint32), scale=(0.5, 0.25)))


@pytest.fixture
def world(qtbot, controller):
    """Both binders in a window, following the controller."""
    window = QWidget()
    qtbot.addWidget(window)
    errors = []

    def attempt(action, *arguments):
        try:
            action(*arguments)
        except NapariSamError as error:
            errors.append(str(error))
            return False
        return True

    masks = MaskBinder(window, attempt)
    table = ObjectsBinder(window, attempt, errors.append)
    column = QVBoxLayout(window)
    for panel in (masks.candidates, masks.commit, table.objects, table.measurements):
        column.addWidget(panel)
    window.show()
    masks.follow(controller)
    table.follow(controller)
    yield SimpleNamespace(
        annotator=controller.annotator,
        controller=controller,
        masks=masks,
        commit=masks.commit,
        candidates=masks.candidates,
        table=table,
        objects=table.objects,
        measurements=table.measurements,
        errors=errors,
    )
    masks.follow(None)
    table.follow(None)
    controller.store.disconnect()


def press(button):
    assert button.isEnabled(), button.text()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def make_objects(world, *places):
    for place in places:
        world.annotator.add_point(PLANE, place)
        press(world.commit.accept)


def ids(world):
    return [one.object_id for one in world.annotator.objects]


def test_choose_accept_undo_redo(world):
    """A user's round: a point, another mask, accept, undo, redo."""
    labels = world.controller.labels_layer
    assert not world.commit.accept.isEnabled()
    assert not world.commit.discard.isEnabled()
    world.annotator.add_point(PLANE, (10, 10))
    assert world.candidates.buttons[Size.MEDIUM].isChecked()
    press(world.candidates.buttons[Size.SMALL])
    assert world.annotator.shown.name == "small"
    assert world.candidates.buttons[Size.SMALL].isChecked()
    press(world.commit.accept)
    assert (labels.data == 1).sum() == 9
    assert not world.commit.accept.isEnabled()
    assert "Accept object 1" in world.commit.undo.toolTip()
    press(world.commit.undo)
    assert labels.data.max() == 0
    press(world.commit.redo)
    assert (labels.data == 1).sum() == 9
    assert not world.commit.redo.isEnabled()


def test_areas_have_the_layers_unit(world):
    world.annotator.add_point(PLANE, (10, 10))
    text = world.candidates.buttons[Size.MEDIUM].text()
    assert text.split("\n") == ["medium", "0.90", "6.125 µm²"]


def test_preference_class_turbo_and_rule_reach_the_annotator(world):
    world.candidates.preference.setFocus()
    QTest.keyClick(world.candidates.preference, Qt.Key.Key_End)
    QTest.keyClicks(world.commit.class_name.lineEdit(), "nucleus")
    world.commit.turbo.click()
    world.commit.rule.min_area.setValue(4)
    world.annotator.add_point(PLANE, (10, 10))
    (made,) = world.annotator.objects
    assert (made.candidate, made.class_name, made.area) == ("large", "nucleus", 121)
    assert world.annotator.settings.min_area == 4
    press(world.commit.undo)
    assert ids(world) == []


def test_wishes_of_before_the_start_are_fulfilled(world):
    world.masks.follow(None)
    assert not world.commit.undo.isEnabled()
    world.candidates.show_preference("small")
    world.commit.class_name.setCurrentText("mitosis")
    world.commit.rule.checks["fill_holes"].click()
    wishes = world.masks.wishes
    world.masks.follow(world.controller)
    world.masks.fulfil(wishes)
    assert world.annotator.preference == Size.SMALL
    assert world.annotator.class_name == "mitosis"
    assert not world.annotator.settings.fill_holes
    assert not world.commit.rule.checks["fill_holes"].isChecked()


def test_repeated_object_is_refined(world):
    make_objects(world, (10, 10))
    world.annotator.add_point(PLANE, (10, 10))
    assert world.candidates.advice_frame.isVisible()
    press(world.candidates.advice_button)
    assert world.annotator.draft.object_id == 1
    assert not world.candidates.advice_frame.isVisible()


def test_table_follows_and_acts(world):
    make_objects(world, (10, 10), (10, 30), (30, 30))
    panel = world.objects
    assert panel.proxy.rowCount() == 3
    panel.select([(PLANE, 1), (PLANE, 2)])
    press(panel.buttons["merge"])
    assert ids(world) == [1, 3]
    assert panel.proxy.rowCount() == 2
    panel.select([(PLANE, 3)])
    press(panel.buttons["unsure"])
    press(panel.buttons["lock"])
    assert world.annotator.objects[PLANE, 3].status is Status.UNSURE
    assert panel.proxy.index(1, 4).data() == "unsure, locked"
    press(panel.buttons["lock"])
    press(panel.buttons["delete"])
    assert panel.proxy.rowCount() == 1
    press(world.commit.undo)
    assert panel.proxy.rowCount() == 2
    panel.select([(PLANE, 3)])
    press(panel.buttons["reopen"])
    assert world.annotator.draft.object_id == 3
    assert world.commit.discard.isEnabled()


def test_typed_classes_are_offered_for_the_next_object(world):
    make_objects(world, (10, 10))
    world.objects.model.renamed.emit((PLANE, 1), "debris")
    assert world.annotator.objects[PLANE, 1].class_name == "debris"
    assert world.commit.class_name.findText("debris") >= 0


def test_split_by_the_scribble_drawn_last(world):
    make_objects(world, (10, 10))
    world.objects.select([(PLANE, 1)])
    press(world.objects.buttons["split"])
    assert world.errors == [NO_LINE]
    line = DrawnShape(ShapeKind.PATH, ((0.0, 10.0), (20.0, 10.0)))
    world.annotator.set_drawn(PLANE, DrawnPrompts(shapes=(line,)))
    press(world.objects.buttons["split"])
    assert ids(world) == [1, 2]
    assert world.objects.proxy.rowCount() == 2
    assert world.annotator.draft is None  # the line is used up


def test_selection_of_table_and_layer_go_together(world):
    make_objects(world, (10, 10), (10, 30))
    layer = world.controller.labels_layer
    index = world.objects.proxy.index(0, 0)
    QTest.mouseClick(
        world.objects.table.viewport(),
        Qt.MouseButton.LeftButton,
        pos=world.objects.table.visualRect(index).center(),
    )
    assert layer.selected_label == 1
    assert world.controller.flown == [(PLANE, 1)]
    layer.selected_label = 2
    assert world.objects.keys == ((PLANE, 2),)
    assert world.controller.flown == [(PLANE, 1)]
    layer.selected_label = 50
    assert world.objects.keys == ()


def test_swatches_follow_the_layer(world):
    make_objects(world, (10, 10))
    model = world.objects.model
    swatch = model.data(model.index(0, 0), Qt.ItemDataRole.DecorationRole)
    expected = world.controller.labels_layer.get_color(1)
    np.testing.assert_allclose(swatch.getRgbF(), expected, atol=0.01)


def test_measurements_in_micrometres_and_their_export(
    world, wait, monkeypatch, tmp_path
):
    panel = world.measurements
    assert not panel.measure.isEnabled()
    make_objects(world, (10, 10), (10, 30))
    press(panel.measure)
    wait(lambda: panel.message.text() == "2 measured.")
    titles = [
        panel.model.headerData(i, Qt.Orientation.Horizontal)
        for i in range(panel.model.columnCount())
    ]
    column = titles.index("Area (µm²)")
    assert panel.proxy.index(0, column).data() == "6.125"
    assert "Plane" not in titles  # empty columns stay away
    make_objects(world, (30, 30))
    assert "measure again" in panel.message.text()
    path = tmp_path / "cells"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    press(panel.export)
    with path.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["area_px"] for row in rows] == ["49", "49"]
    assert float(rows[0]["centroid_x_um"]) == 2.5
    assert float(rows[1]["mean_intensity"]) == 10 * 60 + 30


def test_row_of_a_measurement_flies_to_its_object(world, wait):
    make_objects(world, (10, 10), (10, 30))
    press(world.measurements.measure)
    wait(lambda: world.measurements.model.keys)
    table = world.measurements.table
    QTest.mouseClick(
        table.viewport(),
        Qt.MouseButton.LeftButton,
        pos=table.visualRect(world.measurements.proxy.index(1, 0)).center(),
    )
    assert world.controller.flown == [(PLANE, 2)]
    assert world.objects.keys == ((PLANE, 2),)
    assert world.controller.labels_layer.selected_label == 2


def test_other_labels_layer_other_objects(world):
    make_objects(world, (10, 10))
    layer = Labels(np.zeros((40, 60), np.uint32), scale=(0.5, 0.25))
    controller = world.controller
    controller.store.disconnect()
    before, controller.labels_layer = controller.labels_layer, layer
    controller.store = LayerLabelStore(
        layer, PlaneMap.of(controller.image, controller.source)
    )
    world.annotator.replace_labels(controller.store)
    controller.labels_changed.emit()
    assert world.objects.proxy.rowCount() == 0
    assert not world.measurements.measure.isEnabled()
    make_objects(world, (30, 30))
    before.selected_label = 7
    assert world.objects.proxy.rowCount() == 1
    layer.selected_label = 5
    layer.selected_label = 1
    assert world.objects.keys == ((PLANE, 1),)


def test_nothing_is_left_connected(world, controller):
    annotator, layer = controller.annotator, controller.labels_layer
    n_callbacks = len(layer.events.selected_label.callbacks)
    world.masks.follow(None)
    world.table.follow(None)
    assert len(annotator.objects_changed) == 0
    assert len(annotator.answer_changed) == 0
    assert len(layer.events.selected_label.callbacks) == n_callbacks - 1
    QApplication.processEvents()
    assert world.objects.proxy.rowCount() == 0


@pytest.mark.parametrize(
    ("scale", "units", "expected"),
    [
        ((2.0, 0.5, 0.25), ("um", "nm", "mm"), (0.0005, 250.0)),
        ((2.0, 0.5, 0.25), ("um", "pixel", "pixel"), None),
    ],
)
def test_pixel_size_of_a_plane(scale, units, expected):
    image = Image(np.zeros((3, 4, 5)), scale=scale, units=units)
    labels = Labels(np.zeros((3, 4, 5), int), scale=scale)
    size = pixel_size_um(image, labels, PlaneKey((1, 2), (0,)))
    assert size == (None if expected is None else pytest.approx(expected))

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_sam._widgets.batch_panel import BatchPanel
from napari_sam.annotation.scope import Scope


@pytest.fixture
def model():
    return ViewerModel()


@pytest.fixture
def panel(qtbot, model):
    panel = BatchPanel(model)
    qtbot.addWidget(panel)
    panel.set_can_run(True)
    return panel


def test_points_shapes_and_labels_are_offered(panel, model):
    assert not panel.run.isEnabled()
    model.add_image(np.zeros((4, 4)))
    points = model.add_points(np.zeros((1, 2)))
    shapes = model.add_shapes()
    labels = model.add_labels(np.zeros((4, 4), int))
    panel.reset_choices()
    assert list(panel.layer.choices) == [points, shapes, labels]
    assert panel.run.isEnabled()
    panel.set_can_run(False)
    assert not panel.run.isEnabled()


def test_run_and_cancel(panel, model):
    points = model.add_points(np.zeros((1, 2)))
    panel.reset_choices()
    told = []
    panel.run_wanted.connect(lambda *wanted: told.append(wanted))
    panel.cancel_wanted.connect(lambda: told.append("cancel"))
    panel.scope.choose(Scope.ALL)
    panel.run.click()
    assert told == [(points, Scope.ALL)]
    panel.show_running("Segmenting ...")
    assert not panel.run.isEnabled()
    panel.show_progress(3, 9)
    assert (panel.progress.value(), panel.progress.maximum()) == (3, 9)
    panel.cancel.click()
    assert told[-1] == "cancel"
    panel.show_result("9 objects from 9 prompts.")
    assert panel.run.isEnabled()
    assert not panel.cancel.isEnabled()
    assert panel.message.text() == "9 objects from 9 prompts."

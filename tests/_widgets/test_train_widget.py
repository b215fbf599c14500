# SPDX-License-Identifier: Apache-2.0
"""The dock "Train on my masks", used as a user does."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from skimage import draw

from napari_sam._bridge.model_holder import LoadedModel
from napari_sam._bridge.model_segmenter import ModelSpec
from napari_sam._widgets.train_widget import TrainWidget
from napari_sam.errors import LossError, OutputError
from napari_sam.weights import trained

SHAPE = (96, 128)
# So few steps show an effect only with a high rate and without averaging; the rest
# makes them short.
FAST = {
    "optimiser": {"lr": 2e-3, "warmup_steps": 0},
    "prompts": {"objects_per_image": 3, "point_rounds": 1},
    "frames": {"variants": 1},
    "loop": {"ema_decay": 0.0},
}


def discs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Six dark discs on a bright ground: what the tiny model does not know."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.int32)
    for label in range(1, 7):
        centre = (20 + 50 * ((label - 1) // 3), 20 + 42 * ((label - 1) % 3))
        labels[draw.disk(centre, rng.uniform(9, 15))] = label
    pixels = np.where(labels > 0, 70, 170) + rng.normal(0, 15, SHAPE)
    return pixels.astype(np.uint8), labels


def add_pairs(viewer, n=2):
    for number in range(n):
        pixels, labels = discs(number)
        viewer.add_image(pixels, name=f"cells{number}")
        viewer.add_labels(labels, name=f"cells{number} masks")


def press(button):
    assert button.isEnabled(), button.text()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def write(field, text):
    field.setFocus()
    field.selectAll()
    QTest.keyClicks(field, text)


@pytest.fixture
def pairs(viewer):
    add_pairs(viewer)


@pytest.fixture
def widget(docked):
    widget = docked(TrainWidget)
    widget.settings.steps.setValue(3)
    widget.settings.recipe_changes = FAST
    return widget


@pytest.fixture
def ended(widget, wait):
    def until_end():
        wait(lambda: not widget.run.is_busy, timeout=60)

    return until_end


def texts(widget):
    rows = range(widget.sources.pairs.count())
    return [widget.sources.pairs.item(row).text() for row in rows]


def ticks(widget):
    rows = range(widget.sources.pairs.count())
    items = [widget.sources.pairs.item(row) for row in rows]
    return [i.text() for i in items if i.checkState() == Qt.CheckState.Checked]


def test_ten_steps_and_the_new_model_answers_a_prompt(
    viewer, pairs, widget, ended, wait, iou
):
    write(widget.settings.name, "my_discs")
    write(widget.settings.steps, "10")
    press(widget.train)
    assert not widget.train.isEnabled()
    ended()
    assert "rose" in widget.message.text()
    assert "6 objects" in widget.message.text()
    assert "'my_discs'" in widget.message.text()
    assert [row.name for row in trained.trained_rows()] == ["my_discs"]
    assert len(widget.scores.points["point"]) == 2
    assert widget.loss.points["loss"][-1][0] == 10
    assert widget.examples.isVisible()
    assert widget.settings.name.text() == "my_discs_2"

    press(widget.use)
    wait(lambda: isinstance(widget.session.models.status, LoadedModel))
    assert widget.session.models.status.spec == ModelSpec("my_discs", None, "cpu")
    assert not widget.use.isEnabled()
    image = viewer.layers["cells0"]
    controller = widget.session.start_prompts(image, ModelSpec("my_discs", None, "cpu"))
    wait(lambda: not widget.session.is_busy)
    controller.annotator.add_point(controller.plane, (20, 20))
    wait(lambda: controller.annotator.shown is not None)
    controller.annotator.commit()
    made = np.asarray(controller.labels_layer.data) > 0
    # Ten steps leave holes; what was found lies on the disc that was clicked.
    assert made[discs(0)[1] == 1].sum() > 0.6 * made.sum()
    assert 50 < made.sum() < made.size / 2
    widget.session.stop_prompts()


def test_no_gain_is_said_and_nothing_is_kept(viewer, image, blobs, widget, ended):
    """The tiny model knows these blobs; steps that are far too long ruin it."""
    viewer.add_labels(blobs.labels, name="masks")
    wild = {"lr": 0.5, "warmup_steps": 0, "clip_norm": 0.0}
    widget.settings.recipe_changes = FAST | {"optimiser": wild}
    press(widget.train)
    ended()
    assert "did not get better" in widget.message.text()
    assert "fell from" in widget.message.text()
    assert trained.trained_rows() == ()
    assert not widget.use.isVisible()
    assert widget.train.isEnabled()


def test_stop_keeps_the_best_and_a_second_start_goes_on(pairs, widget, ended, wait):
    widget.settings.steps.setValue(100_000)
    press(widget.train)
    wait(lambda: len(widget.loss.points["loss"]) > 1)
    press(widget.stop)
    assert "Stopping" in widget.message.text()
    ended()
    assert "you stopped it" in widget.message.text()
    last = int(widget.message.text().split(" step")[0].split()[-1])

    widget.settings.steps.setValue(5)
    press(widget.train)
    ended()
    assert f"{last} steps" in widget.message.text()
    assert widget.resume.isVisible()
    press(widget.resume)
    ended()
    assert f"{last + 5} steps" in widget.message.text()
    assert not widget.resume.isVisible()

    press(widget.train)
    ended()
    press(widget.anew)
    ended()
    assert "5 steps" in widget.message.text()


def test_pairs_that_fit_are_offered_and_ticked(viewer, pairs, widget):
    pixels, labels = discs(5)
    viewer.add_labels(labels[:50], name="smaller")
    viewer.add_labels(labels, name="moved", translate=(40, 0))
    assert len(texts(widget)) == 4  # of one size: each image with each labels
    assert ticks(widget) == [
        "cells0  +  cells0 masks",
        "cells1  +  cells1 masks",
    ]
    widget.sources.pairs.item(0).setCheckState(Qt.CheckState.Unchecked)
    viewer.add_image(pixels[:50], name="other")
    assert texts(widget)[2] == "other  +  smaller"
    assert ticks(widget) == ["cells1  +  cells1 masks", "other  +  smaller"]


def test_reason_beside_the_button(viewer, widget):
    def reason():
        assert not widget.train.isEnabled()
        assert widget.reason.isVisible()
        return widget.reason.text()

    assert "Open an image" in reason()
    pixels, labels = discs(0)
    viewer.add_image(pixels, name="cells")
    assert "no labels layer" in reason()
    viewer.add_labels(labels[:50], name="masks")
    assert "50 x 128" in reason()
    assert "96 x 128" in reason()
    viewer.layers.remove("masks")
    viewer.add_labels(labels, name="masks", scale=(2, 2))
    assert "scale" in reason()
    viewer.layers.remove("masks")
    viewer.add_labels(labels, name="masks")
    assert widget.train.isEnabled()
    assert not widget.reason.isVisible()
    widget.sources.pairs.item(0).setCheckState(Qt.CheckState.Unchecked)
    assert "Tick" in reason()
    widget.sources.pairs.item(0).setCheckState(Qt.CheckState.Checked)
    write(widget.settings.name, "a b")
    assert "'a b'" in reason()
    write(widget.settings.name, "embedded")
    assert "already" in reason()
    write(widget.settings.name, "fine")
    viewer.add_labels(labels, name="more masks")
    widget.sources.pairs.item(1).setCheckState(Qt.CheckState.Checked)
    assert "untick one" in reason()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda labels: np.zeros_like(labels), "No plane of"),
        (lambda labels: (labels == 1).astype(np.int32), "only one object"),
        (lambda labels: np.where(labels == 1, -1, labels), "from -1"),
    ],
)
def test_masks_that_nothing_can_be_learnt_from(viewer, widget, ended, change, words):
    pixels, labels = discs(0)
    viewer.add_image(pixels, name="cells")
    viewer.add_labels(change(labels), name="masks")
    press(widget.train)
    ended()
    assert widget.message.text().startswith("Not trained.")
    assert words in widget.message.text()
    assert widget.train.isEnabled()


def test_one_image_is_halved_and_that_is_said(viewer, widget, ended):
    add_pairs(viewer, 1)
    press(widget.train)
    ended()
    assert "only one image" in widget.data.text()
    assert "other half" in widget.data.text()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (LossError("The loss became nan at step 3, on image a."), "became nan"),
        (OutputError("Cannot write x: No space left on device."), "No space left"),
        (RuntimeError("CUDA out of memory"), "not enough memory"),
    ],
)
def test_failure_is_told_in_the_panel(pairs, widget, ended, monkeypatch, error, words):
    def fail(*_, **__):
        raise error

    reported = []
    monkeypatch.setattr("napari_sam.training.prompt_task.PromptTask.loss", fail)
    monkeypatch.setattr(widget.session, "report", reported.append)
    press(widget.train)
    ended()
    assert words in widget.message.text()
    assert widget.train.isEnabled()
    assert reported == [e for e in [error] if isinstance(e, RuntimeError)]
    assert widget.open_folder.isVisible()  # what was saved before is there


def test_layers_may_go_while_it_runs(viewer, pairs, widget, ended, wait):
    press(widget.train)
    viewer.layers.clear()
    wait(lambda: widget.loss.points["loss"])
    ended()
    assert "3 steps" in widget.message.text()
    assert not widget.train.isEnabled()
    assert "Open an image" in widget.reason.text()


def test_painting_while_it_runs_does_not_change_what_is_learnt(
    viewer, pairs, widget, ended
):
    press(widget.train)
    for layer in ("cells0 masks", "cells1 masks"):
        viewer.layers[layer].data[:] = 0
    ended()
    assert "3 steps" in widget.message.text()


def test_covered_panel_goes_on_and_tells(pairs, widget, ended, monkeypatch):
    told = []
    monkeypatch.setattr("napari.utils.notifications.show_info", told.append)
    press(widget.train)
    widget.parent().hide()
    ended()
    assert len(told) == 1
    assert "3 steps" in told[0]
    widget.parent().show()
    assert widget.message.text() == told[0]
    assert widget.use.isVisible()


def test_covered_panel_does_not_look_at_the_models_again_and_again(
    pairs, widget, ended, wait, monkeypatch
):
    """What reads every card is not done in each of five reports a second."""
    widget.settings.steps.setValue(100_000)
    press(widget.train)
    wait(lambda: len(widget.loss.points["loss"]) > 1)
    assert not widget._charts.isHidden()
    widget.parent().hide()
    looks = []
    monkeypatch.setattr(widget, "_show_state", lambda *_: looks.append(1))
    before = len(widget.loss.points["loss"])
    wait(lambda: len(widget.loss.points["loss"]) > before + 2)
    assert looks == []
    monkeypatch.undo()
    widget.parent().show()
    press(widget.stop)
    ended()


def test_closing_the_viewer_stops_and_keeps_the_best(viewer, pairs, widget, wait):
    widget.settings.steps.setValue(100_000)
    widget.settings.recipe_changes = FAST | {"loop": {"ema_decay": 0, "eval_every": 5}}
    press(widget.train)
    wait(lambda: len(widget.scores.points["point"]) > 2, timeout=60)
    run, thread = widget.run, widget.run._thread
    viewer.close()
    wait(lambda: run.is_stopping)
    thread.join(10)
    assert not thread.is_alive()
    (row,) = trained.trained_rows()
    assert row.architecture
    assert (run.folder / "best.safetensors").exists()
    assert (run.folder / "state.pt").exists()


def test_folders(widget, ended, tmp_path):
    index = widget.sources.kind.findData("folders")
    widget.sources.kind.setCurrentIndex(index)
    assert "folder of images" in widget.reason.text()
    for number in range(2):
        for sub, array in zip(("images", "masks"), discs(number), strict=True):
            (tmp_path / sub).mkdir(exist_ok=True)
            picture = Picture.fromarray(array.astype(np.uint8))
            picture.save(tmp_path / sub / f"{number}.png")
    write(widget.sources.images, str(tmp_path / "images"))
    assert "folder of masks" in widget.reason.text()
    write(widget.sources.labels, str(tmp_path / "nowhere"))
    assert "There is no folder" in widget.reason.text()
    write(widget.sources.labels, str(tmp_path / "masks"))
    press(widget.train)
    ended()
    assert "3 steps" in widget.message.text()
    shutil.rmtree(tmp_path / "masks")
    (tmp_path / "masks").mkdir()
    press(widget.train)
    ended()
    assert widget.message.text().startswith("Not trained.")


def test_prompts_are_answered_while_it_trains(viewer, pairs, widget, ended, wait):
    spec = widget.model.spec
    controller = widget.session.start_prompts(viewer.layers["cells0"], spec)
    wait(lambda: not widget.session.is_busy)
    widget.settings.steps.setValue(100_000)
    assert ticks(widget) == [f"cells{n}  +  cells{n} masks" for n in range(2)]
    press(widget.train)
    wait(lambda: bool(widget.loss.points["loss"]))
    controller.annotator.add_point(controller.plane, (20, 20))
    wait(lambda: controller.annotator.shown is not None)
    assert widget.run.is_running
    press(widget.stop)
    ended()
    assert widget.session.models.status.spec == spec
    widget.session.stop_prompts()


def test_other_parts_of_the_model_learn(pairs, widget, ended):
    for key in ("lora", "whole"):
        widget.settings.way.setCurrentIndex(widget.settings.way.findData(key))
        widget.settings.steps.setValue(2)
        press(widget.train)
        ended()
        assert "2 steps" in widget.message.text(), key


def test_tiny_model_stays_as_it_is(pairs, widget, ended):
    path = Path(widget.model.spec.checkpoint)
    before = path.read_bytes()
    press(widget.train)
    ended()
    assert path.read_bytes() == before

# SPDX-License-Identifier: Apache-2.0
"""The dock "Annotate a folder", driven as a user drives it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QLineEdit

from napari_sam._widgets.folder_widget import BEGIN_TEXT, FolderWidget
from napari_sam._widgets.prompt_widget import PromptWidget
from napari_sam.io.folder_project import FolderProject
from napari_sam.io.images import read_image


@pytest.fixture
def folder(tmp_path, blobs):
    """Three pictures of blobs: as they are, mirrored, upside down."""
    views = (blobs.image, blobs.image[:, ::-1], blobs.image[::-1])
    for number, view in enumerate(views, start=1):
        Image.fromarray(np.ascontiguousarray(view)).save(tmp_path / f"b{number}.png")
    return tmp_path


@pytest.fixture
def widget(docked):
    return docked(FolderWidget)


@pytest.fixture
def settled(widget, wait):
    """Wait until nothing is going on."""

    def until():
        wait(lambda: not widget.session.is_busy and not _task(widget))

    return until


@pytest.fixture
def opened(widget, folder, settled):
    """The widget with the folder open."""
    widget.folder.setText(str(folder))
    widget.start.click()
    settled()
    return widget


def _task(widget):
    return "" if widget.walk is None else widget.walk.task


def lines(widget):
    return [widget.images.item(i).text() for i in range(widget.images.count())]


def open_name(widget):
    return widget.walk.opened.entry.name


def paint(viewer, name, value):
    """Paint a pixel with napari's own brush."""
    viewer.layers[name].paint((5, 5), value)


def test_without_a_folder(viewer, widget, notices, tmp_path):
    assert widget.message.text() == BEGIN_TEXT
    buttons = (widget.next, widget.previous, widget.done, widget.save, widget.undone)
    assert not any(button.isEnabled() for button in buttons)
    widget.start.click()
    assert widget.message.text() == BEGIN_TEXT
    widget.folder.setText(str(tmp_path))
    widget.start.click()
    assert "holds no image" in notices[-1]
    assert widget.walk is None
    assert len(viewer.layers) == 0


def test_open_lists_and_opens(viewer, opened):
    assert lines(opened) == ["○ b1.png", "○ b2.png", "○ b3.png"]
    assert open_name(opened) == "b1.png"
    assert opened.images.currentRow() == 0
    assert "b1.png" in viewer.layers
    assert opened.session.controller is not None
    assert opened.progress.format() == "0 of 3 done"
    assert "b1.png (1 of 3)" in opened.message.text()


def test_next_previous_and_done(viewer, opened, settled, folder):
    paint(viewer, "b1_labels", 4)
    opened.next.click()
    settled()
    assert open_name(opened) == "b2.png"
    assert read_image(folder / "b1_labels.tif", as_labels=True).data.max() == 4
    assert lines(opened)[0] == "◐ b1.png"
    opened.previous.click()
    settled()
    assert viewer.layers["b1_labels"].data.max() == 4
    opened.done.click()
    settled()
    assert lines(opened)[0] == "● b1.png"
    assert open_name(opened) == "b2.png"
    assert opened.progress.format() == "1 of 3 done"
    assert not opened.undone.isEnabled()
    opened.previous.click()
    settled()
    opened.undone.click()
    assert lines(opened)[0] == "◐ b1.png"


def test_click_on_a_line_opens_the_image(opened, settled):
    place = opened.images.visualItemRect(opened.images.item(2)).center()
    QTest.mouseClick(
        opened.images.viewport(),
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
        place,
    )
    settled()
    assert open_name(opened) == "b3.png"


def test_prompting_a_folder_image(opened, viewer, settled, centres, blobs, iou, folder):
    """What is accepted on the image of a folder is in its files."""
    annotator = opened.session.controller.annotator
    y, x, label = centres[0]
    annotator.add_point(opened.session.controller.plane, (y, x))
    settled()
    opened.session.controller.accept()
    opened.save.click()
    settled()
    written = read_image(folder / "b1_labels.tif", as_labels=True).data
    assert iou(written == 1, blobs.labels == label) > 0.75
    assert (folder / "b1.sam.json").is_file()


def test_click_accept_next_with_both_panels(
    viewer, docked, wait, mouse, centres, folder
):
    """As a user works: the folder on one panel, the mask on the other."""
    prompts, walker = docked(PromptWidget), docked(FolderWidget)

    def is_free():
        return not walker.session.is_busy and not walker.walk.task

    walker.folder.setText(str(folder))
    walker.start.click()
    wait(is_free)
    mouse.click(viewer.layers["b1.png"], centres[0][:2])
    wait(prompts.accept.isEnabled)
    wait(is_free)
    prompts.accept.click()
    walker.next.click()
    wait(is_free)
    assert open_name(walker) == "b2.png"
    assert prompts.image.value == viewer.layers["b2.png"]
    assert prompts.labels.value == viewer.layers["b2_labels"]
    assert read_image(folder / "b1_labels.tif", as_labels=True).data.max() == 1
    walker.previous.click()
    wait(is_free)
    known = list(walker.session.controller.annotator.objects)
    assert [len(item.turns) for item in known] == [1]


def test_results_in_a_folder_of_their_own(viewer, widget, settled, folder, tmp_path):
    out = tmp_path / "results"
    widget.folder.setText(str(folder))
    widget.output.setText(str(out))
    widget.pattern.setText("b[12].png")
    QTest.keyClick(widget.folder, Qt.Key.Key_Return)
    settled()
    assert lines(widget) == ["○ b1.png", "○ b2.png"]
    paint(viewer, "b1_labels", 2)
    widget.save.click()
    settled()
    assert (out / "b1_labels.tif").is_file()
    assert not (folder / "b1_labels.tif").exists()


def test_failing_save_is_told_and_the_image_stays(
    viewer, opened, settled, notices, monkeypatch
):
    paint(viewer, "b1_labels", 2)

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("tifffile.imwrite", full)
        opened.next.click()
        settled()
        assert open_name(opened) == "b1.png"
        assert "No space left" in notices[-1]
        assert "stays open" in opened.message.text()
        assert opened.next.isEnabled()
    assert viewer.layers["b1_labels"].data.max() == 2


def test_unreadable_image_is_marked(opened, settled, folder, notices):
    (folder / "b2.png").write_bytes(b"\x89PNG cut off")
    opened.next.click()
    settled()
    assert open_name(opened) == "b3.png"
    assert lines(opened)[1] == "✕ b2.png"
    assert "b2.png" in notices[-1]
    assert "not an image" in opened.images.item(1).toolTip()


def test_look_again_finds_new_images(opened, folder, settled):
    (folder / "b0.png").write_bytes((folder / "b1.png").read_bytes())
    opened.refresh.click()
    assert lines(opened)[0] == "○ b0.png"
    assert opened.images.currentRow() == 1


def test_hiding_the_panel_saves(viewer, opened, wait, folder):
    paint(viewer, "b1_labels", 9)
    opened.parent().close()
    wait(lambda: not opened.isVisible())
    assert read_image(folder / "b1_labels.tif", as_labels=True).data.max() == 9
    opened.parent().show()
    wait(opened.isVisible)
    assert open_name(opened) == "b1.png"
    assert opened.next.isEnabled()


def test_closing_the_viewer_saves(make_napari_viewer_proxy, wait, folder, monkeypatch):
    monkeypatch.setattr(
        "napari_sam._widgets.model_choice.ModelChoice.is_packaged",
        property(lambda _: False),
    )
    viewer = make_napari_viewer_proxy(show=True)
    widget = FolderWidget(viewer)
    viewer.window.add_dock_widget(widget, name="folder")
    wait(widget.isVisible)
    widget.folder.setText(str(folder))
    widget.model.devices.setCurrentText("cpu")
    widget.open_folder()
    wait(lambda: widget.walk.opened is not None)
    paint(viewer, "b1_labels", 6)
    wait(lambda: not widget.session.is_busy)
    viewer.close()
    assert read_image(folder / "b1_labels.tif", as_labels=True).data.max() == 6


def test_another_folder_takes_the_place(viewer, opened, settled, folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "c1.png").write_bytes((folder / "b3.png").read_bytes())
    mine = viewer.add_points([[1, 2]], name="mine")
    paint(viewer, "b1_labels", 3)
    opened.folder.setText(str(other))
    opened.start.click()
    settled()
    assert lines(opened) == ["○ c1.png"]
    assert "b1.png" not in viewer.layers
    assert mine in viewer.layers
    assert read_image(folder / "b1_labels.tif", as_labels=True).data.max() == 3


def test_folder_that_cannot_be_opened_keeps_the_present_one(
    viewer, opened, settled, notices, tmp_path
):
    (tmp_path / "empty").mkdir()
    opened.folder.setText(str(tmp_path / "empty"))
    opened.start.click()
    assert "holds no image" in notices[-1]
    opened.next.click()
    settled()
    assert open_name(opened) == "b2.png"


def test_long_list_is_shown_quickly(widget, tmp_path, blobs):
    for number in range(400):
        (tmp_path / f"i{number}.png").write_bytes(b"x")
    project = FolderProject(tmp_path)
    widget.images.show_project(project, 3, {})
    assert widget.images.count() == 400
    assert widget.images.item(10).text() == "○ i10.png"


def test_everything_says_what_it_is(widget):
    silent = [
        child
        for kind in (QAbstractButton, QLineEdit)
        for child in widget.content.findChildren(kind)
        if not child.toolTip() and child.parent() is not None and child.isVisible()
    ]
    assert not silent

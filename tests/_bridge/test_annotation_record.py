# SPDX-License-Identifier: Apache-2.0
"""Annotation files of what a controller holds; a stack of three planes."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from napari_sam._bridge.annotation_record import (
    load_record,
    planes_with_labels,
    save_record,
    state_of,
)
from napari_sam._bridge.model_segmenter import ModelSpec
from napari_sam.annotation.objects import Origin
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import AnnotationFileError, LabelsError
from napari_sam.io.journal_replay import recover

SPEC = ModelSpec("tiny")
PLANES = tuple(PlaneKey((1, 2), (i,)) for i in range(3))


@pytest.fixture(autouse=True)
def data_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_SAM_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def image(viewer, blobs):
    return viewer.add_image(np.stack([blobs.image[..., 0]] * 3), name="stack")


@pytest.fixture
def controller(viewer, session, image):
    viewer.dims.set_point(0, 0)
    return session.start_prompts(image, SPEC)


@pytest.fixture
def path(controller, centres, tmp_path):
    """A file with an object on the first plane and one on the last."""
    annotator = controller.annotator
    for plane, place in zip((PLANES[0], PLANES[2]), centres, strict=False):
        annotator.add_point(plane, place[:2])
        annotator.commit()
    save_record(controller, tmp_path / "stack.sam.json")
    return tmp_path / "stack.sam.json"


def other_labels(viewer, session, image):
    """Prompt the image anew, into labels of somebody else on all planes."""
    labels = np.zeros(image.data.shape, np.uint32)
    for plane in range(3):
        labels[plane, 3:9, 4:8] = 40 + plane
    layer = viewer.add_labels(labels, name="theirs")
    viewer.dims.set_point(0, 0)
    return session.start_prompts(image, SPEC, layer)


def recovered(tmp_path, name):
    """Return the labels that a crash at this moment would leave."""
    copies = shutil.copytree(tmp_path / "data" / "journals", tmp_path / name)
    newest = max(copies.glob("*.journal"), key=lambda path: path.stat().st_mtime_ns)
    return recover(newest).state.label_image()


def test_planes_with_labels():
    labels = np.zeros((2, 3, 4, 5), np.uint8)
    labels[1, 2, 0, 0] = 1
    (found,) = planes_with_labels(labels)
    assert found == PlaneKey((2, 3), (1, 2))
    assert list(planes_with_labels(labels[1, 2])) == [PlaneKey()]
    assert planes_with_labels([[1]]) == {}, "what is not in memory is not read"


def test_what_was_saved_comes_back(controller, path):
    labels = controller.labels_layer.data.copy()
    objects = list(controller.annotator.objects)
    controller.annotator.delete([known.key for known in objects])
    load_record(controller, path)
    np.testing.assert_array_equal(controller.labels_layer.data, labels)
    assert list(controller.annotator.objects) == objects


def test_two_annotations_are_never_mixed(viewer, session, image, controller, path):
    """Planes that were never shown are part of what is replaced."""
    wanted = controller.labels_layer.data.copy()
    objects = list(controller.annotator.objects)
    again = other_labels(viewer, session, image)
    before = again.labels_layer.data.copy()
    assert [known.plane for known in again.annotator.objects] == [PLANES[0]]
    load_record(again, path)
    np.testing.assert_array_equal(again.labels_layer.data, wanted)
    assert list(again.annotator.objects) == objects
    again.act("undo")
    np.testing.assert_array_equal(again.labels_layer.data, before)
    found = {known.key: known.origin for known in again.annotator.objects}
    keys = [(plane, 40 + n) for n, plane in enumerate(PLANES)]
    assert found == dict.fromkeys(keys, Origin.PAINTED)
    again.act("redo")
    np.testing.assert_array_equal(again.labels_layer.data, wanted)
    assert list(again.annotator.objects) == objects


def test_what_was_done_before_can_still_be_undone(
    viewer, session, image, centres, controller, path
):
    again = other_labels(viewer, session, image)
    before = again.labels_layer.data.copy()
    again.annotator.add_point(PLANES[0], centres[3][:2])
    again.annotator.commit()
    load_record(again, path)
    for _ in range(3):
        again.act("undo")
    np.testing.assert_array_equal(again.labels_layer.data, before)


def test_journal_follows_opening_and_taking_back(
    viewer, session, image, controller, path, tmp_path
):
    again = other_labels(viewer, session, image)
    before = again.labels_layer.data.copy()
    load_record(again, path)
    opened = again.labels_layer.data.copy()
    np.testing.assert_array_equal(recovered(tmp_path, "one"), opened)
    again.act("undo")
    np.testing.assert_array_equal(recovered(tmp_path, "two"), before)


def test_a_locked_layer_changes_nothing(viewer, session, image, controller, path):
    again = other_labels(viewer, session, image)
    again.labels_layer.editable = False
    before = state_of(again)
    labels = again.labels_layer.data.copy()
    with pytest.raises(LabelsError, match="locked"):
        load_record(again, path)
    np.testing.assert_array_equal(again.labels_layer.data, labels)
    assert state_of(again).objects == before.objects


def test_file_of_another_image(viewer, session, image, controller, path):
    other = viewer.add_image(image.data[:, ::-1].copy(), name="other")
    again = session.start_prompts(other, SPEC)
    with pytest.raises(AnnotationFileError, match="another image"):
        load_record(again, path)
    before = path.read_bytes()
    with pytest.raises(AnnotationFileError, match="another name, or move"):
        save_record(again, path)
    assert path.read_bytes() == before

# SPDX-License-Identifier: Apache-2.0
"""Two viewers side by side on the same picture: what one does, the other never sees."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.key_bindings import KeymapHandler, coerce_keybinding

from napari_sam._bridge.many_desk import desk_of
from napari_sam._bridge.model_holder import LoadedModel
from napari_sam._bridge.model_segmenter import ModelSpec
from napari_sam._bridge.sessions import ViewerSession, session_of
from napari_sam.annotation.commit_policy import CommitSettings, Overlap
from napari_sam.annotation.jobs import InlineRunner
from napari_sam.io.journal_reader import find_unfinished
from napari_sam.prediction.model_segmenter import ModelSegmenter
from napari_sam.structures.view_settings import ViewSettings

SPEC = ModelSpec("tiny")


@pytest.fixture
def journals(monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_SAM_DATA_DIR", str(tmp_path))
    return tmp_path / "journals"


@pytest.fixture
def sides(tiny_sam, blobs, journals):
    """Two viewers that show the very same array, both being prompted."""
    loaded = []

    def load(spec):
        loaded.append((spec.name, ModelSegmenter(tiny_sam)))
        return loaded[-1][1]

    made = []
    for _ in range(2):
        viewer = ViewerModel()
        image = viewer.add_image(blobs.image, rgb=True, name="blobs")
        session = ViewerSession(viewer, InlineRunner(), load)
        controller = session.start_prompts(image, SPEC)
        made.append(
            SimpleNamespace(
                viewer=viewer,
                image=image,
                session=session,
                controller=controller,
                annotator=controller.annotator,
            )
        )
    yield made
    for side in made:
        side.session.close()


def press(viewer, key):
    """Press a key as the canvas of a viewer does it."""
    handler = KeymapHandler()
    active = viewer.layers.selection.active
    handler.keymap_providers = [viewer] if active is None else [active, viewer]
    return handler.press_key(coerce_keybinding(key))


def add_point(side, yx):
    side.controller.prompts.points.add([list(yx)])


def state(side):
    """Everything of one side that the other must not change."""
    annotator, viewer = side.annotator, side.viewer
    return (
        [(layer.name, layer.visible, str(layer.mode)) for layer in viewer.layers],
        [np.asarray(p).tolist() for p in side.controller.prompts.points.data],
        len(side.controller.prompts.shapes.data),
        side.controller.prompts.polarity,
        side.controller.labels_layer.data.tobytes(),
        [known.key for known in annotator.objects],
        (annotator.ledger.history.undo_text, annotator.ledger.history.redo_text),
        (annotator.settings, annotator.preference, annotator.class_name),
        (annotator.is_turbo, annotator.is_hover_on, type(annotator.phase).__name__),
        side.controller.source.settings,
        side.session.models.status,
        side.session.last_error,
        viewer.dims.point,
    )


def test_prompts_and_labels(sides, centres, blobs, iou):
    left, right = sides
    before = state(right)
    add_point(left, centres[0][:2])
    assert left.controller.preview_layer.visible
    left.controller.accept()
    add_point(left, centres[1][:2])
    assert state(right) == before
    # The same picture elsewhere begins with the id 1 again.
    add_point(right, centres[2][:2])
    kept = state(left)
    right.controller.accept()
    assert state(left) == kept
    labels = right.controller.labels_layer.data
    assert iou(labels == 1, blobs.labels == centres[2][2]) > 0.7
    assert iou(left.controller.labels_layer.data == 1, blobs.labels == 1) > 0.7


def test_keys_act_in_their_own_viewer(sides, centres):
    left, right = sides
    for side, place in zip(sides, centres, strict=False):
        add_point(side, place[:2])
    before = state(right)
    press(left.viewer, "N")
    press(left.viewer, "W")
    press(left.viewer, "H")
    press(left.viewer, "K")
    assert left.controller.labels_layer.data.max() == 1
    assert not left.annotator.is_hover_on
    assert state(right) == before
    left.session.stop_prompts()
    assert not left.viewer.keymap
    press(right.viewer, "W")
    assert right.controller.labels_layer.data.max() == 1


def test_history(sides, centres):
    left, right = sides
    for side in sides:
        add_point(side, centres[0][:2])
        side.controller.accept()
    kept = right.controller.labels_layer.data.copy()
    press(left.viewer, "Control-Z")
    press(left.viewer, "Control-Z")
    assert left.controller.labels_layer.data.max() == 0
    assert len(left.controller.prompts.points.data) == 0
    np.testing.assert_array_equal(right.controller.labels_layer.data, kept)
    assert right.annotator.ledger.history.redo_text == ""
    press(right.viewer, "Control-Z")
    press(left.viewer, "Control-Shift-Z")
    press(left.viewer, "Control-Shift-Z")
    assert left.controller.labels_layer.data.max() == 1
    assert right.controller.labels_layer.data.max() == 0


def test_rule_preference_class_turbo_and_view(sides):
    left, right = sides
    before = state(right)
    left.annotator.settings = CommitSettings(overlap=Overlap.OVERWRITE, min_area=7)
    left.annotator.preference = "small"
    left.annotator.class_name = "nucleus"
    left.controller.act("toggle_turbo")
    left.controller.prompts.set_polarity("negative")
    left.controller.show_differently(ViewSettings(invert=True))
    assert state(right) == before


def test_turbo_here_and_none_there(sides, centres):
    left, right = sides
    left.controller.act("toggle_turbo")
    for side in sides:
        add_point(side, centres[0][:2])
    assert left.controller.labels_layer.data.max() == 1
    assert right.controller.labels_layer.data.max() == 0


def test_models(sides, centres):
    left, right = sides
    ours, theirs = (side.session.models.status for side in sides)
    assert isinstance(ours, LoadedModel)
    assert ours.segmenter is not theirs.segmenter
    add_point(right, centres[0][:2])
    before = state(right)
    left.session.use_model(ModelSpec("another"))
    assert left.session.models.status.spec.name == "another"
    assert state(right) == before
    left.session.close()
    right.controller.accept()
    assert right.controller.labels_layer.data.max() == 1


def test_journals(sides, centres, journals):
    """Both write their own; what one leaves behind is restored without the other."""
    left, right = sides
    for side, place in zip(sides, centres, strict=False):
        add_point(side, place[:2])
        side.controller.accept()
    assert len(list(journals.glob("*.journal"))) == 2
    assert find_unfinished() == []  # both are being written
    assert left.session.autosave.offers() == []
    wanted = left.controller.labels_layer.data.copy()
    left.session.close()
    (offer,) = right.session.autosave.offers()
    kept = right.controller.labels_layer.data.copy()
    third = ViewerModel()
    image = third.add_image(left.image.data, rgb=True)
    session = ViewerSession(third, InlineRunner(), right.session.models._load)
    controller = session.start_prompts(image, SPEC)
    session.autosave.restore(offer)
    np.testing.assert_array_equal(controller.labels_layer.data, wanted)
    np.testing.assert_array_equal(right.controller.labels_layer.data, kept)
    session.close()


def test_desks_of_proposals_batches_and_reviews(sides):
    left, right = (desk_of(side.session) for side in sides)
    assert left is not right
    left.set_filter("area", 10, 20)
    left.set_drops_background(False)
    assert right.filters == {}
    assert right.drops_background
    assert left.book is not right.book
    assert left.review is not right.review


def test_one_layer_in_both_viewers(sides, blobs, centres):
    """The rarest case: the same image layer object is shown in two viewers."""
    left, right = sides
    other = right.viewer.add_layer(left.image)
    right.session.start_prompts(other, SPEC)
    controller = right.session.controller
    controller.prompts.points.add([list(centres[0][:2])])
    controller.accept()
    assert controller.labels_layer.data.max() == 1
    assert left.controller.labels_layer.data.max() == 0
    right.session.stop_prompts()
    add_point(left, centres[1][:2])
    left.viewer.layers.selection.active = left.image
    press(left.viewer, "W")
    assert left.controller.labels_layer.data.max() == 1


def test_sessions_by_viewer_close_apart():
    viewers = [ViewerModel() for _ in range(2)]
    sessions = [session_of(viewer) for viewer in viewers]
    sessions[0].close()
    assert not sessions[1].is_closed
    assert session_of(viewers[1]) is sessions[1]
    sessions[1].close()

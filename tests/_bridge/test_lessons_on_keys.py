# SPDX-License-Identifier: Apache-2.0
"""Lessons from other annotators: seeing before clicking, choosing, keys.

See `tests/test_lessons.py` for the list.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels, Points, Shapes
from napari.utils.key_bindings import KeymapHandler, coerce_keybinding

from napari_sam._bridge.key_table import ACTIONS, canonical_key
from napari_sam._bridge.keybindings import napari_keys
from napari_sam._bridge.model_segmenter import ModelSpec

SPEC = ModelSpec("tiny")


@pytest.fixture
def controller(viewer, session, blobs, monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_SAM_DATA_DIR", str(tmp_path))
    image = viewer.add_image(blobs.image, rgb=True, name="blobs")
    return session.start_prompts(image, SPEC)


@pytest.fixture
def press(viewer):
    """Press a key as the canvas does it: the active layer is asked first."""

    def press_key(key: str) -> Any:
        handler = KeymapHandler()
        active = viewer.layers.selection.active
        handler.keymap_providers = [viewer] if active is None else [active, viewer]
        return handler.press_key(coerce_keybinding(key))

    return press_key


def test_the_mask_is_seen_before_any_click(
    viewer, controller, blobs, centres, gestures
):
    """Lesson 19: hovering shows the mask, leaving takes it away, nothing is written."""
    y, x, _ = centres[4]
    gestures.hover((y, x))
    hover = controller.hover_layer
    assert hover.visible
    seen = hover.world_to_data((y, x))
    assert hover.data[tuple(np.round(seen).astype(int))]
    gestures.hover((-40, -40))
    assert not hover.visible
    assert not controller.labels_layer.data.any()
    assert controller.annotator.draft is None


def test_turbo_makes_an_object_of_each_click(controller, centres, gestures, press):
    """Lesson 19: a click is an object at once, and one undo takes it back."""
    labels = controller.labels_layer
    press("Shift-T")
    for number, place in enumerate(centres[:3], start=1):
        gestures.click(place[:2])
        assert labels.data.max() == number
    press("Control-Z")
    assert labels.data.max() == 2
    assert controller.annotator.draft is None
    press("Control-Shift-Z")
    assert labels.data.max() == 3


def test_the_three_masks_are_walked_with_a_key(controller, centres, gestures, press):
    """Lesson 20: small, medium, large by name, with score; the one shown is written."""
    annotator, labels = controller.annotator, controller.labels_layer
    messages = []
    controller.message_changed.connect(messages.append)
    gestures.click(centres[0][:2])
    areas = {}
    for _ in range(3):
        shown = annotator.shown
        areas[shown.name] = shown.answer.masks[shown.index].area
        assert shown.name in messages[-1].lower()
        assert f"{shown.predicted_iou:.2f}" in messages[-1]
        press("N")
    assert sorted(areas, key=areas.__getitem__) == ["small", "medium", "large"]
    while annotator.shown.name != "large":
        press("N")
    wanted = annotator.shown.mask.on_plane(labels.data.shape)
    press("W")
    np.testing.assert_array_equal(labels.data == 1, wanted)


@pytest.mark.parametrize("kind", [Image, Labels, Points, Shapes])
def test_no_key_of_napari_s_is_taken(viewer, controller, kind):
    """Lesson 21: while prompting, napari's keys still do what napari says."""
    ours = {canonical_key(a.key) for a in ACTIONS if a.may_shadow}
    layer = next(one for one in viewer.layers if type(one) is kind)
    for target in (viewer, layer):
        bound = {str(key) for key in target.keymap}
        assert bound  # the layer is one on which ours work
        assert bound & napari_keys() <= ours

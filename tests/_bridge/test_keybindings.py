# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from napari.utils.key_bindings import KeymapHandler, coerce_keybinding

from napari_sam._bridge.key_table import ACTIONS, canonical_key
from napari_sam._bridge.keybindings import KeyBindings, napari_keys, readable_keys


@pytest.fixture
def layers(viewer):
    image = viewer.add_image(np.zeros((8, 8), np.uint8))
    labels = viewer.add_labels(np.zeros((8, 8), np.uint32))
    return [image, labels, viewer.add_points(ndim=2), viewer.add_shapes(ndim=2)]


@pytest.fixture
def wanted(monkeypatch):
    """Keys as the preferences have them."""
    keys: dict[str, str] = {}
    monkeypatch.setattr("napari_sam._bridge.keybindings.wanted_keys", lambda: keys)
    return keys


def press(viewer, key):
    """Press a key as the canvas does it: the active layer is asked first."""
    handler = KeymapHandler()
    active = viewer.layers.selection.active
    handler.keymap_providers = [viewer] if active is None else [active, viewer]
    return handler.press_key(coerce_keybinding(key))


def keymaps(viewer, layers):
    return [dict(target.keymap) for target in (viewer, *layers)]


def test_every_key_works_whatever_layer_is_active(viewer, layers, wanted):
    done = []
    bindings = KeyBindings(done.append)
    bindings.bind(viewer, layers)
    for active in (None, *layers):
        viewer.layers.selection.active = active
        for action in ACTIONS:
            assert press(viewer, action.key)
    assert done == [action.action_id for action in ACTIONS] * 5


def test_unbind_restores_what_was_bound(viewer, layers, wanted):
    seen = []
    viewer.bind_key("N", lambda _: seen.append("viewer"))
    layers[1].bind_key("W", lambda _: seen.append("labels"))
    before = keymaps(viewer, layers)
    bindings = KeyBindings(seen.append)
    bindings.bind(viewer, layers)
    bindings.bind(viewer, layers)
    assert keymaps(viewer, layers) != before
    bindings.unbind()
    bindings.unbind()
    assert keymaps(viewer, layers) == before
    viewer.layers.selection.active = layers[1]
    press(viewer, "N")
    press(viewer, "W")
    assert seen == ["viewer", "labels"]


def test_a_key_that_somebody_bound_meanwhile_stays_theirs(viewer, layers, wanted):
    seen = []
    bindings = KeyBindings(seen.append)
    bindings.bind(viewer, layers)
    viewer.bind_key("N", lambda _: seen.append("other"), overwrite=True)
    bindings.unbind()
    viewer.layers.selection.active = None
    press(viewer, "N")
    assert seen == ["other"]


def test_undo_on_the_labels_layer_is_ours_and_napari_s_again_afterwards(
    viewer, layers, wanted
):
    labels = layers[1]
    viewer.layers.selection.active = labels
    labels.paint((3, 3), 2)
    painted = labels.data.copy()
    done = []
    bindings = KeyBindings(done.append)
    bindings.bind(viewer, layers)
    press(viewer, "Control-Z")
    press(viewer, "Control-Shift-Z")
    assert done == ["undo", "redo"]
    np.testing.assert_array_equal(labels.data, painted)
    bindings.unbind()
    press(viewer, "Control-Z")
    assert labels.data.max() == 0


def test_no_default_key_shadows_one_of_napari_s():
    own = napari_keys()
    assert {"V", "Ctrl+Z", "M", "A", "Shift+L", "Space", "Escape"} <= own
    for action in ACTIONS:
        assert (canonical_key(action.key) in own) <= action.may_shadow, action.title
    may = {action.action_id for action in ACTIONS if action.may_shadow}
    assert may == {"undo", "redo"}


def test_keys_that_napari_s_user_chose_are_not_shadowed(viewer, layers, wanted):
    from napari.settings import get_settings

    shortcuts = get_settings().shortcuts
    before = shortcuts.shortcuts
    shortcuts.shortcuts = {**before, "napari:reset_view": [coerce_keybinding("J")]}
    try:
        assert "J" in napari_keys()
    finally:
        shortcuts.shortcuts = before


def test_keys_of_the_preferences(viewer, layers, wanted, warnings_shown):
    wanted.update(accept="F5", discard="", next_candidate="V", step_back="F5")
    done = []
    bindings = KeyBindings(done.append)
    bindings.bind(viewer, layers)
    bindings.bind(viewer, layers)
    press(viewer, "F5")
    press(viewer, "N")
    press(viewer, "U")
    assert not press(viewer, "Q")
    assert not press(viewer, "W")
    assert done == ["accept", "next_candidate", "step_back"]
    assert len(warnings_shown) == 2  # each problem once
    assert "'V'" in warnings_shown[0]
    assert "napari's own" in warnings_shown[0]
    assert "'F5'" in warnings_shown[1]
    assert "Accept mask" in warnings_shown[1]
    assert readable_keys()["accept"] == "F5"
    assert "discard" not in readable_keys()


def test_bindings_keep_no_layer_alive(viewer, layers, wanted):
    bindings = KeyBindings(lambda _: None)
    bindings.bind(viewer, layers)
    reference = weakref.ref(layers[2])
    viewer.layers.remove(layers.pop(2))
    gc.collect()
    assert reference() is None
    bindings.unbind()

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.mouse import Pointer
from napari_sam._bridge.prompt_layers import PromptLayers
from napari_sam.annotation.ports import PlaneKey

FLAT = PlaneKey()


class Recorder:
    """What the pointer said, in order."""

    def __init__(self, pointer):
        self.heard = []
        pointer.hovered.connect(lambda world: self.heard.append(("hover", world)))
        pointer.left.connect(lambda: self.heard.append(("left",)))
        pointer.clicked.connect(
            lambda key, yx, label: self.heard.append(("click", key, yx, label))
        )
        pointer.boxed.connect(lambda key, box: self.heard.append(("box", key, box)))
        pointer.picked.connect(lambda key, yx: self.heard.append(("pick", key, yx)))

    def pop(self):
        heard, self.heard[:] = list(self.heard), []
        return heard


def start(viewer, shape=(40, 60), **place):
    image = viewer.add_image(np.zeros(shape, np.uint8), **place)
    plane_map = PlaneMap(image, shape, (1.0,) * len(shape))
    prompts = PromptLayers(plane_map)
    prompts.add_to(viewer)
    prompts.connect()
    pointer = Pointer(viewer, plane_map, prompts)
    pointer.connect()
    return prompts, pointer, Recorder(pointer)


def test_a_click_is_one_positive_point_and_not_two(viewer, gestures):
    prompts, _, said = start(viewer)
    events = gestures.click((10, 20))
    assert said.pop() == [("click", FLAT, (10, 20), 1)]
    assert all(event.handled for event in events)
    assert len(prompts.points.data) == 0  # it comes by way of the annotator


@pytest.mark.parametrize(
    "how", [{"modifiers": ("Control",)}, {"button": 2}, {"button": 2, "modifiers": ()}]
)
def test_control_or_the_right_button_make_a_negative_point(viewer, gestures, how):
    prompts, _, said = start(viewer)
    gestures.click((10, 20), **how)
    assert said.pop() == [("click", FLAT, (10, 20), 0)]
    assert len(prompts.points.data) == 0


def test_the_toggle_decides_on_a_plain_click(viewer, gestures):
    prompts, _, said = start(viewer)
    prompts.set_polarity("negative")
    gestures.click((10, 20))
    gestures.click((11, 20), modifiers=("Control",))
    assert [entry[-1] for entry in said.pop()] == [0, 0]


def test_a_right_drag_is_left_to_the_camera(viewer, gestures):
    _, _, said = start(viewer)
    events = gestures.drag((10, 20), (20, 20), (30, 20), (10, 20), button=2)
    assert said.pop() == []
    assert not any(event.handled for event in events)


def test_shift_click_picks(viewer, gestures):
    prompts, _, said = start(viewer)
    gestures.click((10, 20), modifiers=("Shift",))
    gestures.drag((10, 20), (20, 30), modifiers=("Shift",))
    assert said.pop() == [("pick", FLAT, (10, 20))]
    assert len(prompts.points.data) == 0


def test_a_drag_is_a_box_with_a_rubber_band(viewer, gestures):
    prompts, _, said = start(viewer, scale=(2, 0.5))
    sizes = []
    prompts.shapes.events.set_data.connect(
        lambda: sizes.append(len(prompts.shapes.data))
    )
    events = gestures.drag((60, 20), (50, 15), (40, 10), (20, 5))
    assert max(sizes) == 1
    assert len(prompts.shapes.data) == 0
    assert all(event.handled for event in events)
    assert said.pop() == [("box", FLAT, (10, 10, 30, 40))]


def test_rubber_band_follows_the_pointer(viewer, gestures):
    prompts, _, _ = start(viewer)
    gestures.send("press", (10, 10))
    for corner in ((20, 30), (25, 18)):
        gestures.send("move", corner, is_dragging=True)
        (band,) = prompts.shapes.data
        np.testing.assert_allclose(band.min(axis=0), (10, 10))
        np.testing.assert_allclose(band.max(axis=0), corner)
    gestures.send("release", (25, 18))
    assert len(prompts.shapes.data) == 0


def test_a_box_is_cut_at_the_image(viewer, gestures):
    _, _, said = start(viewer)
    gestures.drag((10, 20), (80, 30), (80, -50))
    assert said.pop() == [("box", FLAT, (10, -0.5, 39.5, 20))]


def test_a_small_movement_is_a_click_where_it_began(viewer, gestures):
    _, _, said = start(viewer)
    gestures.drag((10, 20), (12, 21), (11, 21))
    assert said.pop() == [("click", FLAT, (10, 20), 1)]
    # Far zoomed in, a movement on the screen is none on the image.
    _, _, said = start(viewer, scale=(10, 10))
    gestures.drag((100, 200), (106, 200))
    assert said.pop()[-1] == ("click", FLAT, (10, 20), 1)


def test_beside_the_image_the_camera_gets_the_mouse(viewer, gestures):
    prompts, _, said = start(viewer)
    events = gestures.drag((-10, 20), (20, 30))
    events += gestures.click((100, 20))
    assert said.pop() == []
    assert not any(event.handled for event in events)
    assert len(prompts.points.data) == 0


def test_hover_reports_and_leaves_once(viewer, gestures):
    prompts, _, said = start(viewer)
    for yx in ((5, 5), (6, 7), (-20, 7), (-21, 7), (6, 7)):
        gestures.hover(yx)
    assert said.pop() == [
        ("hover", (5, 5)),
        ("hover", (6, 7)),
        ("left",),
        ("hover", (6, 7)),
    ]
    viewer.mouse_over_canvas = True
    viewer.mouse_over_canvas = False
    assert said.pop() == [("left",)]
    gestures.hover((6, 7))
    prompts.use_tool(viewer, "box")
    gestures.hover((6, 8))
    assert said.pop()[-1] == ("left",)


def test_no_hover_while_a_button_is_held(viewer, gestures):
    _, _, said = start(viewer)
    gestures.send("press", (10, 20), button=2)
    gestures.send("move", (12, 30), button=2, is_dragging=True)
    gestures.send("release", (12, 30), button=2)
    assert said.pop() == []


@pytest.mark.parametrize("mode", ["pan_zoom", "select"])
def test_other_tools_keep_the_mouse(viewer, gestures, mode):
    prompts, _, said = start(viewer)
    prompts.points.mode = mode
    gestures.hover((6, 8))
    gestures.click((10, 20))
    gestures.drag((10, 20), (20, 40))
    assert said.pop() == []


def test_napari_s_tool_is_back_after_each_gesture(viewer, gestures):
    prompts, pointer, _ = start(viewer)
    before = list(prompts.points.mouse_drag_callbacks)
    gestures.click((10, 20))
    gestures.drag((10, 20), (20, 40))
    gestures.click((100, 100))
    assert prompts.points.mouse_drag_callbacks == before
    pointer.disconnect()
    gestures.click((10, 20))
    assert len(prompts.points.data) == 1  # napari's own


def test_mode_changed_in_the_middle_of_a_press(viewer, gestures):
    prompts, _, _ = start(viewer)
    gestures.send("press", (10, 20))
    prompts.points.mode = "pan_zoom"
    gestures.send("release", (10, 20))
    prompts.points.mode = "add"
    names = [f.__name__ for f in prompts.points.mouse_drag_callbacks]
    assert names.count("add") == 1


def test_disconnect_leaves_nothing_behind(viewer, gestures):
    moves = list(viewer.mouse_move_callbacks)
    drags = list(viewer.mouse_drag_callbacks)
    n_listeners = len(viewer.events.mouse_over_canvas.callbacks)
    prompts, pointer, said = start(viewer)
    gestures.hover((6, 8))
    gestures.send("press", (10, 10))
    gestures.send("move", (20, 30), is_dragging=True)
    said.pop()
    pointer.disconnect()
    assert said.pop() == [("left",)]
    assert len(prompts.shapes.data) == 0
    gestures.send("move", (22, 32), is_dragging=True)
    gestures.send("release", (22, 32))
    assert said.pop() == []
    assert len(prompts.shapes.data) == 0
    assert viewer.mouse_move_callbacks == moves
    assert viewer.mouse_drag_callbacks == drags
    assert len(viewer.events.mouse_over_canvas.callbacks) == n_listeners
    pointer.connect()
    pointer.connect()
    assert len(viewer.mouse_drag_callbacks) == len(drags) + 1


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2)])
def test_planes_and_transposed_views(viewer, gestures, order):
    _, _, said = start(viewer, (7, 40, 60), scale=(5, 2, 1), translate=(3, 1, 0))
    viewer.dims.order = order
    viewer.dims.set_point(0, 3 + 5 * 4)
    viewer.dims.set_point(1, 1 + 2 * 11)
    axes = tuple(sorted(order[1:]))
    place = {0: 2, 1: 10, 2: 20}
    world = {0: 3 + 5 * 2, 1: 1 + 2 * 10, 2: 20}
    gestures.click([world[axis] for axis in order[1:]])
    fixed = {0: 4, 1: 11}[order[0]]
    expected = PlaneKey(axes, (fixed,))
    assert said.pop() == [("click", expected, tuple(place[a] for a in axes), 1)]
    corner = {0: 3 + 5 * 5, 1: 1 + 2 * 15, 2: 40}
    gestures.drag(
        [world[axis] for axis in order[1:]], [corner[axis] for axis in order[1:]]
    )
    ends = {0: 5, 1: 15, 2: 40}
    box = (*(place[a] for a in axes), *(ends[a] for a in axes))
    assert said.pop() == [("box", expected, pytest.approx(box))]

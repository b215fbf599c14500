# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.prompt_layers import COLORS, PromptLayers
from napari_sam.annotation.ports import PlaneKey
from napari_sam.structures.prompts import BoxPrompt, PointPrompt

FLAT = PlaneKey()
MIDDLE = PlaneKey((1, 2), (1,))


@pytest.fixture
def prompts(viewer):
    image = viewer.add_image(np.zeros((40, 60), np.uint8), scale=(2, 0.5))
    prompts = PromptLayers(PlaneMap(image, (40, 60), (1.0, 1.0)))
    prompts.add_to(viewer)
    prompts.connect()
    return prompts


@pytest.fixture
def stack_prompts(viewer):
    image = viewer.add_image(np.zeros((3, 40, 60), np.uint8), scale=(5, 2, 0.5))
    prompts = PromptLayers(PlaneMap(image, (3, 40, 60), (1.0,) * 3))
    prompts.add_to(viewer)
    prompts.connect()
    return prompts


@pytest.fixture
def changes(prompts):
    seen = []
    prompts.changed.connect(lambda: seen.append(prompts.collect(FLAT).prompts))
    return seen


def rectangle(y0, x0, y1, x1):
    return np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]], float)


def test_points_with_both_polarities(prompts, changes):
    prompts.points.add([10, 20])
    prompts.set_polarity("negative")
    prompts.points.add([30, 40.5])
    assert changes[-1].points == (
        PointPrompt((10, 20), 1),
        PointPrompt((30, 40.5), 0),
    )
    assert len(prompts.points.data) == 2


def test_first_negative_point_has_the_colour_of_negative_points(prompts):
    prompts.set_polarity("negative")
    prompts.points.add([10, 20])
    prompts.set_polarity("positive")
    prompts.points.add([12, 20])
    from napari.utils.colormaps.standardize_color import transform_color

    expected = transform_color([COLORS["negative"], COLORS["positive"]])
    np.testing.assert_allclose(prompts.points.face_color, expected, atol=1e-6)
    assert [str(symbol) for symbol in prompts.points.symbol] == ["x", "disc"]


def test_toggle_leaves_the_points_that_exist_alone(prompts, changes):
    prompts.points.add([10, 20])
    prompts.points.selected_data = {0}
    prompts.set_polarity("negative")
    assert prompts.collect(FLAT).prompts.points == (PointPrompt((10, 20), 1),)
    assert prompts.polarity == "negative"


def test_moved_and_removed_points_are_announced(prompts, changes):
    prompts.points.add([10, 20])
    prompts.points.data = np.array([[11.0, 21.0]])
    assert changes[-1].points == (PointPrompt((11, 21), 1),)
    prompts.points.selected_data = {0}
    prompts.points.remove_selected()
    assert changes[-1].is_empty


def test_changed_polarity_of_a_point_is_announced(prompts, changes):
    prompts.points.add([10, 20])
    prompts.points.selected_data = {0}
    prompts.points.current_properties = {"polarity": np.array(["negative"])}
    assert changes[-1].points == (PointPrompt((10, 20), 0),)
    assert str(prompts.points.symbol[0]) == "x"


def test_picking_a_point_tells_the_toggle(prompts):
    seen = []
    prompts.set_polarity("negative")
    prompts.points.add([10, 20])
    prompts.set_polarity("positive")
    prompts.polarity_changed.connect(seen.append)
    prompts.points.selected_data = {0}
    assert seen[-1] == "negative"


def test_points_outside_are_counted_and_left_out(prompts):
    prompts.points.add([[-0.4, 0], [39.4, 59.4], [39.6, 10], [10, -0.6]])
    found = prompts.collect(FLAT)
    assert [point.yx for point in found.prompts.points] == [(-0.4, 0), (39.4, 59.4)]
    assert found.n_outside == 2


def test_box_is_read_in_pixel_edges(prompts, changes):
    prompts.boxes.add_rectangles(rectangle(9.5, 4.5, 30.5, 20.5))
    assert changes[-1].box == BoxPrompt(10, 5, 31, 21)


def test_ellipse_counts_as_its_box(prompts, changes):
    prompts.boxes.add_ellipses(rectangle(9.5, 4.5, 30.5, 20.5))
    assert changes[-1].box == BoxPrompt(10, 5, 31, 21)


def test_click_without_a_drag_is_no_box(prompts, changes):
    prompts.boxes.add_rectangles(rectangle(10, 10, 12.5, 12.5))
    assert changes[-1].box is None
    assert prompts.collect(FLAT).n_outside == 1


def test_of_several_boxes_the_one_touched_last_counts(prompts, changes):
    first, second = rectangle(1.5, 1.5, 9.5, 9.5), rectangle(20.5, 20.5, 30.5, 30.5)
    prompts.boxes.add_rectangles(first)
    prompts.boxes.add_rectangles(second)
    assert changes[-1].box == BoxPrompt(21, 21, 31, 31)
    assert prompts.collect(FLAT).n_boxes == 2
    prompts.boxes.remove([1])
    assert changes[-1].box == BoxPrompt(2, 2, 10, 10)


def test_only_prompts_of_the_plane_count(stack_prompts):
    stack_prompts.points.add([[0, 5, 5], [1, 6, 6], [2, 7, 7]])
    box = np.insert(rectangle(9.5, 4.5, 30.5, 20.5), 0, 1, axis=1)
    stack_prompts.boxes.add_rectangles(box)
    found = stack_prompts.collect(MIDDLE)
    assert found.prompts.points == (PointPrompt((6, 6), 1),)
    assert found.prompts.box == BoxPrompt(10, 5, 31, 21)
    assert stack_prompts.collect(PlaneKey((1, 2), (0,))).prompts.box is None


def test_clear_removes_the_prompts_of_one_plane(stack_prompts):
    seen = []
    stack_prompts.points.add([[0, 5, 5], [1, 6, 6]])
    stack_prompts.set_polarity("negative")
    stack_prompts.points.add([[2, 7, 7], [1, 8, 8]])
    for z in (0, 1):
        box = np.insert(rectangle(9.5, 4.5, 30.5, 20.5), 0, z, axis=1)
        stack_prompts.boxes.add_rectangles(box)
    stack_prompts.changed.connect(lambda: seen.append(1))
    stack_prompts.clear(MIDDLE)
    assert seen == [1]
    assert stack_prompts.collect(MIDDLE).prompts.is_empty
    np.testing.assert_array_equal(stack_prompts.points.data, [[0, 5, 5], [2, 7, 7]])
    # What is left keeps its own polarity.
    assert list(stack_prompts.points.features["polarity"]) == ["positive", "negative"]
    assert len(stack_prompts.boxes.data) == 1


def test_drawing_with_the_mouse_on_a_transposed_stack(viewer, stack_prompts):
    viewer.dims.order = (0, 2, 1)
    viewer.dims.set_point(0, 5.0)  # plane 1
    stack_prompts.points.add(stack_prompts.points.world_to_data(viewer.dims.point))
    assert len(stack_prompts.collect(MIDDLE).prompts.points) == 1


def test_disconnected_layers_are_silent(prompts, changes):
    prompts.points.add([10, 20])
    prompts.disconnect()
    n_changes = len(changes)
    prompts.points.add([11, 20])
    prompts.boxes.add_rectangles(rectangle(1, 1, 9, 9))
    assert len(changes) == n_changes
    prompts.connect()
    prompts.points.add([12, 20])
    assert len(changes[-1].points) == 3


def test_remove_takes_both_layers(viewer, prompts):
    prompts.remove_from(viewer)
    assert len(viewer.layers) == 1
    assert prompts.is_gone


@pytest.mark.parametrize("tool", ["point", "box"])
def test_tool_of_a_removed_layer_makes_it_anew(viewer, prompts, changes, tool):
    layer = prompts.points if tool == "point" else prompts.boxes
    viewer.layers.remove(layer)
    prompts.forget(layer)
    prompts.use_tool(viewer, tool)
    anew = prompts.points if tool == "point" else prompts.boxes
    assert anew in viewer.layers
    assert viewer.layers.selection.active == anew
    assert len(viewer.layers) == 3
    prompts.points.add([10, 20])
    assert changes[-1].points == (PointPrompt((10, 20), 1),)
    prompts.boxes.add_rectangles(rectangle(9.5, 4.5, 30.5, 20.5))
    assert changes[-1].points == (PointPrompt((10, 20), 1),)
    assert changes[-1].box == BoxPrompt(10, 5, 31, 21)

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.prompt_layers import COLORS, PromptLayers
from napari_sam.annotation.ports import PlaneKey
from napari_sam.structures.drawn import DrawnPrompts, DrawnShape, ShapeKind
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompts import PointPrompt

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
    prompts.changed.connect(lambda: seen.append(prompts.collect(FLAT).drawn))
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
    assert prompts.collect(FLAT).drawn.points == (PointPrompt((10, 20), 1),)
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
    assert [point.yx for point in found.drawn.points] == [(-0.4, 0), (39.4, 59.4)]
    assert found.n_outside == 2


def test_only_negative_prompts_say_so(prompts):
    prompts.set_polarity("negative")
    prompts.shapes.add_lines(np.array([[1, 3], [5, 5]], float))
    assert prompts.collect(FLAT).is_only_negative
    prompts.set_polarity("positive")
    prompts.points.add([10, 10])
    assert not prompts.collect(FLAT).is_only_negative


def move_shape(layer, index, by):
    """Move a shape and announce it as napari's select tool does."""
    vertices = layer.data[index] + by
    layer._data_view.edit(index, vertices)
    layer.events.data(
        value=layer.data,
        action="changed",
        data_indices=(index,),
        vertex_indices=((),),
    )


def test_only_prompts_of_the_plane_count(stack_prompts):
    stack_prompts.points.add([[0, 5, 5], [1, 6, 6], [2, 7, 7]])
    box = np.insert(rectangle(9.5, 4.5, 30.5, 20.5), 0, 1, axis=1)
    stack_prompts.shapes.add_rectangles(box)
    found = stack_prompts.collect(MIDDLE)
    assert found.drawn.points == (PointPrompt((6, 6), 1),)
    assert [shape.kind for shape in found.drawn.shapes] == [ShapeKind.RECTANGLE]
    assert stack_prompts.collect(PlaneKey((1, 2), (0,))).drawn.shapes == ()


def test_clear_removes_the_prompts_of_one_plane(stack_prompts):
    seen = []
    stack_prompts.points.add([[0, 5, 5], [1, 6, 6]])
    stack_prompts.set_polarity("negative")
    stack_prompts.points.add([[2, 7, 7], [1, 8, 8]])
    for z in (0, 1):
        box = np.insert(rectangle(9.5, 4.5, 30.5, 20.5), 0, z, axis=1)
        stack_prompts.shapes.add_rectangles(box)
    stack_prompts.changed.connect(lambda: seen.append(1))
    stack_prompts.clear(MIDDLE)
    assert seen == [1]
    assert stack_prompts.collect(MIDDLE).drawn.is_empty
    np.testing.assert_array_equal(stack_prompts.points.data, [[0, 5, 5], [2, 7, 7]])
    # What is left keeps its own polarity.
    assert list(stack_prompts.points.features["polarity"]) == ["positive", "negative"]
    assert len(stack_prompts.shapes.data) == 1


def test_drawing_with_the_mouse_on_a_transposed_stack(viewer, stack_prompts):
    viewer.dims.order = (0, 2, 1)
    viewer.dims.set_point(0, 5.0)  # plane 1
    stack_prompts.points.add(stack_prompts.points.world_to_data(viewer.dims.point))
    assert len(stack_prompts.collect(MIDDLE).drawn.points) == 1


def test_disconnected_layers_are_silent(prompts, changes):
    prompts.points.add([10, 20])
    prompts.disconnect()
    n_changes = len(changes)
    prompts.points.add([11, 20])
    prompts.shapes.add_rectangles(rectangle(1, 1, 9, 9))
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
    layer = prompts.points if tool == "point" else prompts.shapes
    viewer.layers.remove(layer)
    prompts.forget(layer)
    prompts.use_tool(viewer, tool)
    anew = prompts.points if tool == "point" else prompts.shapes
    assert anew in viewer.layers
    assert viewer.layers.selection.active == anew
    assert len(viewer.layers) == 3
    prompts.points.add([10, 20])
    assert changes[-1].points == (PointPrompt((10, 20), 1),)
    prompts.shapes.add_rectangles(rectangle(9.5, 4.5, 30.5, 20.5))
    assert changes[-1].points == (PointPrompt((10, 20), 1),)
    assert len(changes[-1].shapes) == 1


EVERYTHING = DrawnPrompts(
    points=(PointPrompt((10.3, 20.7)), PointPrompt((1 / 3, 2 / 3), 0)),
    shapes=(
        DrawnShape("rectangle", ((1.1, 2.2), (1.1, 9.9), (8.3, 9.9), (8.3, 2.2))),
        DrawnShape("path", ((3.7, 3.1), (5.9, 5.3), (5.1, 50.7)), 0),
        DrawnShape("polygon", ((1.3, 1.7), (9.9, 1.1), (9.1, 30.3))),
        DrawnShape("line", ((1.3, 3.3), (5.1, 5.3))),
        DrawnShape("ellipse", ((1.7, 2), (1.7, 9), (8.1, 9), (8.1, 2))),
    ),
)


def test_what_is_shown_is_read_back_unchanged_and_in_silence(prompts, changes):
    prompts.show(FLAT, EVERYTHING)
    assert changes == []
    assert prompts.collect(FLAT).drawn == EVERYTHING
    # A further prompt leaves the others the very same values.
    prompts.points.add([30, 30])
    assert changes[-1].extends(EVERYTHING)
    assert len(changes[-1].points) == 3


def test_shown_prompts_have_their_colours_and_select_nothing(prompts):
    from napari.utils.colormaps.standardize_color import transform_color

    seen = []
    prompts.set_polarity("negative")
    prompts.polarity_changed.connect(seen.append)
    prompts.show(FLAT, EVERYTHING)
    expected = transform_color([COLORS["positive"], COLORS["negative"]])
    np.testing.assert_allclose(prompts.points.face_color, expected, atol=1e-6)
    assert [str(symbol) for symbol in prompts.points.symbol] == ["disc", "x"]
    np.testing.assert_allclose(prompts.shapes.edge_color[:2], expected, atol=1e-6)
    assert not prompts.points.selected_data
    assert not prompts.shapes.selected_data
    assert prompts.polarity == "negative"
    assert seen == []


def test_showing_what_is_there_touches_nothing(prompts, changes):
    seen = []
    prompts.points.add([10, 20])
    prompts.shapes.add_rectangles(rectangle(9.7, 4.3, 30.1, 20.9))
    drawn = changes[-1]
    prompts.points.selected_data = {0}
    prompts.points.events.data.connect(seen.append)
    prompts.shapes.events.data.connect(seen.append)
    prompts.show(FLAT, drawn)
    assert seen == []
    assert prompts.points.selected_data == {0}


def test_undo_of_a_moved_point_and_of_a_moved_box(prompts, changes):
    prompts.points.add([10, 20])
    for start in (1.5, 20.5):
        prompts.shapes.add_rectangles(rectangle(start, start, start + 8, start + 8))
    before = changes[-1]
    prompts.points.data = np.array([[11.0, 21.0]])
    move_shape(prompts.shapes, 0, 2.0)
    assert changes[-1] != before
    prompts.show(FLAT, before)
    np.testing.assert_array_equal(prompts.points.data, [[10, 20]])
    assert prompts.collect(FLAT).drawn == before


def test_other_planes_are_left_alone(stack_prompts):
    stack_prompts.points.add([[0, 5, 5], [1, 6, 6]])
    stack_prompts.points.selected_data = set()
    for z in (0, 1):
        box = np.insert(rectangle(9.5, 4.5, 30.5, 20.5), 0, z, axis=1)
        stack_prompts.shapes.add_rectangles(box)
    elsewhere = stack_prompts.collect(PlaneKey((1, 2), (0,))).drawn
    stack_prompts.show(MIDDLE, EVERYTHING)
    assert stack_prompts.collect(MIDDLE).drawn == EVERYTHING
    assert stack_prompts.collect(PlaneKey((1, 2), (0,))).drawn == elsewhere
    stack_prompts.show(MIDDLE, DrawnPrompts())
    assert stack_prompts.collect(PlaneKey((1, 2), (0,))).drawn == elsewhere
    assert len(stack_prompts.points.data) == len(stack_prompts.shapes.data) == 1


def test_an_object_s_mask_stays_with_its_prompts(prompts, changes):
    mask = MaskWindow(3, 4, np.ones((2, 2), bool))
    prompts.show(FLAT, DrawnPrompts(mask=mask))
    prompts.points.add([10, 20])
    assert changes[-1] == DrawnPrompts((PointPrompt((10, 20)),), mask=mask)
    prompts.clear(FLAT)
    assert changes[-1].is_empty


def test_unusable_prompts_go_with_the_last_usable_one(prompts):
    prompts.points.add([[10, 20], [100, 100]])
    prompts.shapes.add_rectangles(rectangle(10, 10, 12.5, 12.5))
    prompts.show(FLAT, DrawnPrompts((PointPrompt((10, 20)),)))
    assert len(prompts.points.data) == 2
    prompts.show(FLAT, DrawnPrompts())
    assert len(prompts.points.data) == len(prompts.shapes.data) == 0


def test_one_more_prompt_leaves_the_others_alone(prompts):
    prompts.show(FLAT, EVERYTHING)
    removed = []
    for layer in (prompts.points, prompts.shapes):
        layer.events.data.connect(
            lambda event: (
                removed.append(event)
                if str(getattr(event.action, "value", event.action)) == "removed"
                else None
            )
        )
    line = DrawnShape("line", ((2, 3), (9, 9)), 0)
    more = DrawnPrompts(
        (*EVERYTHING.points, PointPrompt((7, 8), 0)), (*EVERYTHING.shapes, line)
    )
    prompts.show(FLAT, more)
    assert removed == []
    assert prompts.collect(FLAT).drawn == more
    prompts.show(FLAT, EVERYTHING)
    assert [event.data_indices for event in removed] == [(2,), (5,)]
    assert prompts.collect(FLAT).drawn == EVERYTHING

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.prompt_layers import COLORS, PromptLayers
from napari_sam.annotation.ports import PlaneKey
from napari_sam.structures.drawn import DrawnPrompts, DrawnShape, ShapeKind

FLAT = PlaneKey()


@pytest.fixture
def prompts(viewer):
    image = viewer.add_image(np.zeros((40, 60), np.uint8), scale=(2, 0.5))
    prompts = PromptLayers(PlaneMap(image, (40, 60), (1.0, 1.0)))
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


def test_shapes_are_read_as_they_were_drawn(prompts, changes):
    prompts.shapes.add_rectangles(rectangle(9.5, 4.5, 30.5, 20.5))
    prompts.shapes.add_ellipses(rectangle(1, 2, 8, 9))
    prompts.shapes.add_polygons(np.array([[1, 1], [9, 1], [9, 30]], float))
    prompts.shapes.add_paths(np.array([[3, 3], [5, 5], [5, 50]], float))
    prompts.shapes.add_lines(np.array([[1, 3], [5, 5]], float))
    assert changes[-1].shapes == (
        DrawnShape("rectangle", ((9.5, 4.5), (9.5, 20.5), (30.5, 20.5), (30.5, 4.5))),
        DrawnShape("ellipse", ((1, 2), (1, 9), (8, 9), (8, 2))),
        DrawnShape("polygon", ((1, 1), (9, 1), (9, 30))),
        DrawnShape("path", ((3, 3), (5, 5), (5, 50))),
        DrawnShape("line", ((1, 3), (5, 5))),
    )
    assert len(changes) == 5
    assert prompts.collect(FLAT).n_boxes == 3


@pytest.mark.parametrize(
    ("add", "vertices"),
    [
        ("add_rectangles", rectangle(10, 10, 12.5, 12.5)),
        ("add_rectangles", rectangle(10, 100, 32, 120)),
        ("add_polygons", [[1, 1], [1, 30], [2, 30]]),
        ("add_lines", [[4, 4], [4, 4.5]]),
        ("add_paths", [[-4, 4], [-7, 9], [-9, 9]]),
    ],
)
def test_shapes_too_small_or_beside_the_image_are_left_out(
    prompts, changes, add, vertices
):
    getattr(prompts.shapes, add)(np.array(vertices, float))
    assert changes[-1].is_empty
    assert prompts.collect(FLAT).n_outside == 1


def test_scribbles_have_a_polarity_and_outlines_do_not(prompts, changes):
    prompts.set_polarity("negative")
    prompts.shapes.add_paths(np.array([[3, 3], [5, 5], [5, 50]], float))
    prompts.shapes.add_rectangles(rectangle(10, 10, 20, 20))
    prompts.set_polarity("positive")
    prompts.shapes.add_lines(np.array([[1, 3], [5, 5]], float))
    assert [shape.label for shape in changes[-1].shapes] == [0, 1, 1]
    from napari.utils.colormaps.standardize_color import transform_color

    names = ["negative", "positive", "positive"]
    expected = transform_color([COLORS[name] for name in names])
    np.testing.assert_allclose(prompts.shapes.edge_color, expected, atol=1e-6)


def test_changed_polarity_of_a_scribble_is_announced(prompts, changes):
    prompts.shapes.add_lines(np.array([[1, 3], [5, 5]], float))
    prompts.shapes.selected_data = {0}
    prompts.shapes.current_properties = {"polarity": np.array(["negative"])}
    assert [shape.label for shape in changes[-1].shapes] == [0]
    assert prompts.polarity == "negative"


def test_of_several_boxes_the_one_touched_last_is_last(prompts, changes):
    def starts():
        return [shape.vertices_yx[0] for shape in changes[-1].shapes]

    for start in (1.5, 10.5, 20.5):
        prompts.shapes.add_rectangles(rectangle(start, start, start + 8, start + 8))
    assert starts() == [(1.5, 1.5), (10.5, 10.5), (20.5, 20.5)]
    assert prompts.collect(FLAT).n_boxes == 3
    move_shape(prompts.shapes, 0, 2.0)
    assert starts() == [(10.5, 10.5), (20.5, 20.5), (3.5, 3.5)]
    prompts.shapes.remove([2])
    assert starts() == [(10.5, 10.5), (3.5, 3.5)]
    prompts.shapes.remove([0])
    assert starts() == [(10.5, 10.5)]


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


@pytest.mark.parametrize(
    ("tool", "kind"), [("box", "rectangle"), ("ellipse", "ellipse")]
)
def test_dragged_shapes(viewer, prompts, changes, gestures, tool, kind):
    prompts.use_tool(viewer, tool)
    gestures.drag((20, 5), (40, 10), (60, 20))
    assert [shape.kind for shape in changes[-1].shapes] == [ShapeKind(kind)]
    ys, xs = zip(*changes[-1].shapes[0].vertices_yx, strict=True)
    assert (min(ys), min(xs), max(ys), max(xs)) == (10, 10, 30, 40)
    assert len(changes) == 1


def test_polygon_drawn_by_clicks(viewer, prompts, changes, gestures):
    prompts.use_tool(viewer, "polygon")
    for yx in ((10, 5), (10, 25), (60, 25), (70, 5)):
        gestures.hover(yx)
        gestures.click(yx)
    gestures.hover((20, 2))
    assert changes == []
    prompts.shapes._finish_drawing()  # what Escape calls
    assert changes[-1].shapes == (
        DrawnShape("polygon", ((5, 10), (5, 50), (30, 50), (35, 10))),
    )
    assert len(changes) == 1


def test_lasso_is_a_polygon_and_a_scribble_a_path(viewer, prompts, changes, gestures):
    circle = [(40 + 30 * np.sin(t), 15 + 8 * np.cos(t)) for t in np.linspace(0, 6, 40)]
    prompts.use_tool(viewer, "lasso")
    gestures.drag(*circle)
    assert [shape.kind for shape in changes[-1].shapes] == [ShapeKind.POLYGON]
    prompts.set_polarity("negative")
    prompts.use_tool(viewer, "scribble")
    gestures.drag(*circle[:20])
    kinds = [shape.kind for shape in changes[-1].shapes]
    assert kinds == [ShapeKind.POLYGON, ShapeKind.PATH]
    assert [shape.label for shape in changes[-1].shapes] == [1, 0]
    assert len(changes) == 2


def test_prompts_that_vanish_while_napari_finishes_a_polygon(viewer, gestures):
    image = viewer.add_image(np.zeros((40, 60), np.uint8))
    later = []
    prompts = PromptLayers(PlaneMap(image, (40, 60), (1.0, 1.0)), later.append)
    prompts.add_to(viewer)
    prompts.connect()
    prompts.changed.connect(lambda: prompts.show(FLAT, DrawnPrompts()))
    prompts.use_tool(viewer, "polygon")
    for yx in ((10, 5), (10, 25), (30, 25)):
        gestures.hover(yx)
        gestures.click(yx)
    gestures.hover((30, 8))
    prompts.shapes._finish_drawing()
    assert len(later) == 1
    later.pop()()
    assert len(prompts.shapes.data) == 0
    prompts.shapes.add_lines(np.array([[1, 3], [5, 5]], float))
    assert len(prompts.shapes.data) == 1


def test_a_degenerate_polygon_leaves_no_row_behind(viewer, prompts, changes, gestures):
    prompts.set_polarity("negative")
    prompts.use_tool(viewer, "polygon")
    gestures.hover((10, 5))
    gestures.click((10, 5))
    prompts.shapes._finish_drawing()  # what Escape calls
    assert len(prompts.shapes.data) == len(prompts.shapes.features) == 0
    assert prompts.polarity == "negative"
    prompts.set_polarity("positive")
    prompts.shapes.add_lines(np.array([[1, 3], [5, 5]], float))
    assert [shape.label for shape in changes[-1].shapes] == [1]


def test_rubber_band_is_seen_but_not_read(prompts, changes):
    prompts.shapes.add_lines(np.array([[1, 3], [5, 5]], float))
    drawn = changes.pop()
    for size in (5, 9):
        prompts.show_rubber_band(FLAT, (1, 2, 1 + size, 2 + size))
        assert len(prompts.shapes.data) == 2
        np.testing.assert_allclose(
            prompts.shapes.data[1], rectangle(1, 2, 1 + size, 2 + size), atol=1e-5
        )
        assert prompts.collect(FLAT).drawn == drawn
    prompts.show_rubber_band(FLAT, None)
    assert len(prompts.shapes.data) == 1
    assert changes == []

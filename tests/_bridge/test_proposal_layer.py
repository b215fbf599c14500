# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from napari.utils._proxies import ReadOnlyWrapper
from napari.utils.interactions import (
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)

from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.image_source import LayerImageSource
from napari_sam._bridge.prompt_layers import is_own_helper
from napari_sam._bridge.proposal_layer import (
    HIGHLIGHT,
    N_SHADES,
    ProposalLayer,
    colors,
)
from napari_sam.annotation.ports import PlaneKey
from napari_sam.annotation.proposals import Proposals, ProposalStatus
from napari_sam.structures.candidates import MaskRecord
from napari_sam.structures.rle import encode_window

SHAPE = (40, 60)
BOXES = [
    (4, 4, 12, 12),
    (20, 20, 30, 40),
    (22, 25, 28, 31),
]  # the last is in the second


def record_of(box, iou):
    y0, x0, y1, x1 = box
    window = np.ones((y1 - y0, x1 - x0), bool)
    return MaskRecord(
        rle=encode_window(window, y0, x0, SHAPE),
        bbox=box,
        area=window.size,
        predicted_iou=iou,
        stability_score=0.9,
        point_yx=(0.0, 0.0),
        crop_box=(0, 0, *SHAPE),
    )


@dataclass
class Mouse:
    """An event as napari's dispatchers pass it on."""

    type: str
    position: tuple[float, ...]
    pos: Any = (0.0, 0.0)
    button: int = 1
    modifiers: tuple[str, ...] = ()
    is_dragging: bool = False
    handled: bool = False
    native: Any = None
    dims_displayed: list[int] = field(default_factory=lambda: [0, 1])


def send(dispatch, layer, **fields):
    dispatch(layer, ReadOnlyWrapper(Mouse(**fields), exceptions=("handled",)))


def click(layer, world, moved=0.0, **fields):
    send(mouse_press_callbacks, layer, type="mouse_press", position=world, **fields)
    send(
        mouse_move_callbacks,
        layer,
        type="mouse_move",
        position=world,
        pos=(moved, 0.0),
        is_dragging=True,
        **fields,
    )
    send(mouse_release_callbacks, layer, type="mouse_release", position=world, **fields)


def shown_on(viewer, plane=None, **transforms):
    """A layer with three proposals on an image of the viewer, ids 1 to 3."""
    plane = PlaneKey() if plane is None else plane
    shape = SHAPE if not plane.index else (3, *SHAPE)
    image = viewer.add_image(np.zeros(shape), **transforms)
    records = [record_of(box, 0.9 - 0.2 * i) for i, box in enumerate(BOXES)]
    proposals = Proposals.measured(plane, np.zeros(SHAPE), records)
    layer = ProposalLayer(PlaneMap.of(image, LayerImageSource(image)))
    layer.show(viewer, proposals)
    return layer, proposals


@pytest.fixture
def shown(viewer):
    return shown_on(viewer)


def test_fills_and_outlines_by_score(shown, viewer):
    layer, _ = shown
    data = layer.layer.data
    assert data.shape == SHAPE
    assert data.dtype == np.uint8
    best, middle, worst = (data[6, 6], data[21, 35], data[25, 28])
    assert (best, worst) == (N_SHADES, 1)
    assert worst < middle < best
    assert data[4, 4] == 2 * N_SHADES  # the outline of the best
    assert data[22, 25] == 1 + N_SHADES
    assert data[0, 0] == 0
    table = colors()
    assert set(np.unique(data).tolist()) <= set(table)
    assert table[1][3] < table[1 + N_SHADES][3]


def test_layer_is_a_helper_and_selects_nothing(viewer):
    image = viewer.add_image(np.zeros(SHAPE))
    layer, _ = shown_on(viewer)
    assert is_own_helper(layer.layer)
    assert viewer.layers.selection.active is not layer.layer
    assert image in viewer.layers
    layer.activate(viewer)
    assert viewer.layers.selection.active is layer.layer


def test_filters_paint_what_is_left_into_the_same_array(shown):
    layer, proposals = shown
    before = layer.layer.data
    proposals.set_filter("area", 50, 100)  # drops the one of 200 px and that of 36
    layer.refresh()
    assert layer.layer.data is before
    assert np.count_nonzero(layer.layer.data) == 64
    proposals.apply(proposals.changes([1], ProposalStatus.TAKEN))
    layer.refresh()
    assert not layer.layer.data.any()


def test_layer_shows_the_new_pixels(shown):
    """What is drawn is the layer's slice, not only its array."""
    layer, proposals = shown
    proposals.set_filter("area", 50, 100)
    layer.refresh()
    view = np.asarray(layer.layer._slice.image.raw)
    np.testing.assert_array_equal(view, layer.layer.data)


def test_click_takes_and_ctrl_or_right_click_drops(shown):
    layer, _ = shown
    taken, dropped = [], []
    layer.taken.connect(taken.append)
    layer.dropped.connect(dropped.append)
    click(layer.layer, (6.0, 6.0))
    click(layer.layer, (25.0, 28.0))  # the small one inside the large one
    click(layer.layer, (21.0, 35.0), modifiers=("Control",))
    click(layer.layer, (6.0, 6.0), button=2)
    click(layer.layer, (0.0, 0.0))
    click(layer.layer, (6.0, 6.0), moved=30.0)  # the view was moved
    assert taken == [1, 3]
    assert dropped == [2, 1]


def test_hover_tells_the_numbers_and_marks_the_outline(shown):
    layer, proposals = shown
    seen = []
    layer.hovered.connect(seen.append)
    for world in [(6, 6), (6, 7), (25, 28), (0, 0)]:
        send(mouse_move_callbacks, layer.layer, type="mouse_move", position=world)
    assert seen == [1, 3, None]
    assert not (layer.layer.data == HIGHLIGHT).any()
    send(mouse_move_callbacks, layer.layer, type="mouse_move", position=(25.0, 28.0))
    assert layer.layer.data[22, 25] == HIGHLIGHT
    assert layer.under_pointer == 3
    proposals.apply(proposals.changes([3], ProposalStatus.DROPPED))
    layer.refresh()
    assert seen[-1] is None


def test_scaled_and_moved_image(viewer):
    layer, _ = shown_on(viewer, scale=(2.0, 0.5), translate=(10.0, -3.0))
    taken = []
    layer.taken.connect(taken.append)
    click(layer.layer, (6 * 2 + 10, 6 * 0.5 - 3))
    assert taken == [1]
    world = layer.layer.data_to_world((6, 6))
    np.testing.assert_allclose(world, (22, 0))


def test_plane_of_a_stack(viewer):
    plane = PlaneKey((1, 2), (2,))
    layer, _ = shown_on(viewer, plane)
    taken = []
    layer.taken.connect(taken.append)
    assert layer.layer.data.shape == (1, *SHAPE)
    assert layer.layer.data_to_world((0, 0, 0))[0] == 2
    viewer.dims.set_current_step(0, 0)
    click(layer.layer, (0.0, 6.0, 6.0))  # another plane is shown
    viewer.dims.set_current_step(0, 2)
    click(layer.layer, (2.0, 6.0, 6.0))
    assert taken == [1]


def test_removed_layer_is_made_anew(shown, viewer):
    layer, proposals = shown
    viewer.layers.remove(layer.layer)
    layer.show(viewer, proposals)
    assert layer.layer in viewer.layers
    assert layer.layer.data.any()
    layer.clear()
    assert not layer.layer.visible
    layer.remove_from(viewer)
    assert [one.name for one in viewer.layers if is_own_helper(one)] == []
    layer.refresh()  # harmless


def test_many_proposals_are_painted_at_once(viewer):
    import time

    rng = np.random.default_rng(0)
    shape = (1024, 1024)
    image = viewer.add_image(np.zeros(shape))
    window = np.ones((20, 20), bool)
    records = []
    for y, x in rng.integers(0, 1000, (2000, 2)).tolist():
        rle = encode_window(window, y, x, shape)
        box = (y, x, y + 20, x + 20)
        records.append(
            MaskRecord(rle, box, 400, float(rng.random()), 0.9, (0, 0), (0, 0, *shape))
        )
    proposals = Proposals.measured(PlaneKey(), np.zeros(shape), records)
    layer = ProposalLayer(PlaneMap.of(image, LayerImageSource(image)))
    layer.show(viewer, proposals)
    best = np.inf
    for low in (0.1, 0.2, 0.3):
        start = time.perf_counter()
        proposals.set_filter("predicted_iou", low, 1.0)
        layer.refresh()
        best = min(best, time.perf_counter() - start)
    assert best < 0.2  # about 30 ms on an idle core

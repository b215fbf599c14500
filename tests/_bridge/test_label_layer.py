# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.label_layer import LayerLabelStore, forget_history
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import LabelsError
from napari_sam.structures.labels import LabelEdit

SHAPE = (3, 20, 30)
KEY = PlaneKey((1, 2), (1,))
BOX = (4, 5, 8, 11)


def store_for(data, **arguments) -> LayerLabelStore:
    image = Image(np.zeros(SHAPE, np.uint8))
    plane_map = PlaneMap(image, SHAPE, (1.0,) * 3)
    return LayerLabelStore(Labels(data, **arguments), plane_map)


def edit_of(store: LayerLabelStore, object_id: int) -> LabelEdit:
    old = store.read(KEY, BOX)
    return LabelEdit(BOX, old, np.where(old == 0, old.dtype.type(object_id), old))


def test_write_touches_the_box_on_its_plane_and_can_be_taken_back():
    store = store_for(np.zeros(SHAPE, np.uint32))
    edit = edit_of(store, 7)
    store.write(KEY, edit)
    expected = np.zeros(SHAPE, np.uint32)
    expected[1, 4:8, 5:11] = 7
    np.testing.assert_array_equal(store.layer.data, expected)
    store.layer.undo()  # napari's own: it has nothing to replay
    np.testing.assert_array_equal(store.layer.data, expected)
    store.write(KEY, edit.inverse())
    assert store.layer.data.max() == 0


def test_dask_labels_are_written_too():
    store = store_for(da.zeros(SHAPE, dtype=np.uint32, chunks=(1, 20, 30)))
    edit = edit_of(store, 7)
    store.write(KEY, edit)
    assert (np.asarray(store.layer.data[1, 4:8, 5:11]) == 7).all()
    assert int(np.asarray(store.layer.data).astype(bool).sum()) == 24
    assert store.next_id() == 8
    store.write(KEY, edit.inverse())
    assert not np.asarray(store.layer.data).any()


def test_ids_are_counted_not_searched():
    data = np.zeros(SHAPE, np.uint32)
    data[0, 0, 0] = 41
    store = store_for(data)
    assert store.next_id() == 42
    store.write(KEY, edit_of(store, 42))
    store.layer.data[1][:] = 0  # erased: its id is not given out again
    assert store.next_id() == 43


def test_painted_ids_are_not_given_out_again():
    store = store_for(np.zeros(SHAPE, np.uint32))
    assert store.next_id() == 1
    store.layer.selected_label = 9
    store.layer.paint((0, 5, 5), 9)
    assert store.next_id() == 10


def test_another_array_is_counted_anew():
    store = store_for(np.zeros(SHAPE, np.uint32))
    assert store.next_id() == 1
    store.layer.data = np.full(SHAPE, 3, np.uint32)
    assert store.next_id() == 4


def test_full_dtype_is_an_error_with_advice():
    store = store_for(np.full(SHAPE, 255, np.uint8))
    with pytest.raises(LabelsError, match="Convert it to uint32"):
        store.next_id()


@pytest.mark.parametrize("how", ["locked", "editable"])
def test_locked_layer_is_not_written(how):
    store = store_for(np.zeros(SHAPE, np.uint32))
    if how == "locked":
        if not hasattr(store.layer, "locked"):
            pytest.skip("this napari has no layer locks")
        store.layer.locked = True
    else:
        store.layer.editable = False
    with pytest.raises(LabelsError, match="locked"):
        store.write(KEY, edit_of(store, 7))
    assert store.layer.data.max() == 0


def test_preserve_labels_is_reported():
    store = store_for(np.zeros(SHAPE, np.uint32))
    assert not store.keeps_existing
    store.layer.preserve_labels = True
    assert store.keeps_existing


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        (np.zeros((20, 30), np.uint32), {}, "shape"),
        (np.zeros(SHAPE, np.uint32), {"scale": (1, 2, 2)}, "does not lie on the image"),
        (np.zeros(SHAPE, np.uint32), {"translate": (0, 0, 3)}, "does not lie on"),
    ],
)
def test_layers_that_do_not_fit_are_refused(data, arguments, message):
    with pytest.raises(LabelsError, match=message):
        store_for(data, **arguments)


def test_disconnect_leaves_no_callback():
    store = store_for(np.zeros(SHAPE, np.uint32))
    n_paint = len(store.layer.events.paint.callbacks)
    n_data = len(store.layer.events.data.callbacks)
    store.disconnect()
    assert len(store.layer.events.paint.callbacks) == n_paint - 1
    assert len(store.layer.events.data.callbacks) == n_data - 1


def strokes(store):
    """Edits that the store reports, as (plane, box-independent) before and after."""
    seen = []
    store.painted.connect(seen.append)
    return seen


def replayed(edits, data, *, back=False):
    """Apply edits, or take them back, on a copy of an array."""
    data = np.array(data)
    for plane_edit in edits:
        edit = plane_edit.edit.inverse() if back else plane_edit.edit
        y0, x0, y1, x1 = edit.box
        where = plane_edit.plane.locate(slice(y0, y1), slice(x0, x1))
        np.testing.assert_array_equal(data[where], edit.old)
        data[where] = edit.new
    return data


def painted_viewer(viewer, data):
    image = viewer.add_image(np.zeros(data.shape, np.uint8))
    layer = viewer.add_labels(data)
    plane_map = PlaneMap(image, data.shape, (1.0,) * data.ndim)
    viewer.layers.selection.active = layer
    layer.selected_label = 5
    layer.brush_size = 4
    return LayerLabelStore(layer, plane_map)


@pytest.mark.parametrize("mode", ["paint", "fill", "erase", "polygon"])
@pytest.mark.parametrize("kind", ["numpy", "copying", "dask"])
def test_strokes_of_napari_s_tools_are_reported(viewer, gestures, mode, kind):
    before = np.zeros((30, 40), np.uint32)
    before[5:20, 5:20] = 3
    store = painted_viewer(viewer, array_of(kind, before))
    seen = strokes(store)
    store.layer.mode = mode
    if mode == "polygon":
        store.layer.paint_polygon([[2, 2], [2, 30], [25, 12]], 5)
    else:
        gestures.drag((8, 8), (9, 12), (10, 25), (22, 25))
    assert len(seen) == 1
    after = np.array(store.layer.data)
    assert (after != before).any()
    np.testing.assert_array_equal(replayed(seen[0], before), after)
    np.testing.assert_array_equal(replayed(seen[0], after, back=True), before)
    store.layer.undo()
    np.testing.assert_array_equal(np.array(store.layer.data), after)


def array_of(kind, data):
    if kind == "dask":
        return da.from_array(
            data.copy(), chunks=tuple(max(1, n // 2) for n in data.shape)
        )
    return CopyingArray(data.copy()) if kind == "copying" else data.copy()


class CopyingArray:
    """Gives copies away and takes pieces back, as zarr and HDF5 arrays do."""

    def __init__(self, data):
        self._data = data
        self.shape, self.dtype, self.ndim = data.shape, data.dtype, data.ndim

    def __getitem__(self, key):
        return np.array(self._data[key])

    def __setitem__(self, key, value):
        self._data[key] = value

    def __array__(self, dtype=None, copy=None):
        return np.array(self._data, dtype=dtype)

    def __len__(self):
        return len(self._data)


def test_pixels_are_written_when_a_stroke_is_reported(viewer):
    """napari announces a polygon before it writes it."""
    store = painted_viewer(viewer, np.zeros((30, 40), np.uint32))
    seen = []
    store.painted.connect(lambda edits: seen.append(np.array(store.layer.data)))
    store.layer.paint_polygon([[2, 2], [2, 30], [25, 12]], 5)
    np.testing.assert_array_equal(seen[0], store.layer.data)
    assert seen[0].max() == 5


def test_three_dimensional_strokes_are_reported_plane_by_plane(viewer, gestures):
    store = painted_viewer(viewer, np.zeros((9, 30, 40), np.uint32))
    store.layer.n_edit_dimensions = 3
    store.layer.brush_size = 6
    store.layer.mode = "paint"
    viewer.dims.set_point(0, 4)
    seen = strokes(store)
    gestures.drag((8, 8), (12, 20))
    planes = [edit.plane for edit in seen[0]]
    assert len(planes) > 3
    assert {plane.axes for plane in planes} == {(1, 2)}
    empty = np.zeros((9, 30, 40), np.uint32)
    np.testing.assert_array_equal(replayed(seen[0], empty), store.layer.data)


def test_strokes_in_another_orientation(viewer, gestures):
    store = painted_viewer(viewer, np.zeros((9, 30, 40), np.uint32))
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_point(1, 7)
    store.axes = (0, 2)
    store.layer.mode = "paint"
    seen = strokes(store)
    gestures.drag((3, 8), (6, 20))
    assert [edit.plane for edit in seen[0]] == [PlaneKey((0, 2), (7,))]
    empty = np.zeros((9, 30, 40), np.uint32)
    np.testing.assert_array_equal(replayed(seen[0], empty), store.layer.data)


def test_own_writes_are_not_reported(viewer):
    store = painted_viewer(viewer, np.zeros(SHAPE, np.uint32))
    seen, changes = strokes(store), []
    store.changed.connect(lambda: changes.append(1))
    edit = edit_of(store, 7)
    store.write(KEY, edit)
    store.write(KEY, edit.inverse())
    assert seen == changes == []


def test_pixels_set_by_others_are_reported(viewer):
    store = painted_viewer(viewer, np.zeros(SHAPE, np.uint32))
    seen = strokes(store)
    indices = (np.array([0, 2, 2]), np.array([3, 4, 5]), np.array([6, 7, 8]))
    store.layer.data_setitem(indices, np.array([11, 12, 13]))
    assert [edit.plane.index for edit in seen[0]] == [(0,), (2,)]
    empty = np.zeros(SHAPE, np.uint32)
    np.testing.assert_array_equal(replayed(seen[0], empty), store.layer.data)
    assert store.next_id() == 14


def test_preserve_labels_limits_a_reported_stroke(viewer, gestures):
    before = np.zeros((30, 40), np.uint32)
    before[5:20, 5:20] = 3
    store = painted_viewer(viewer, before.copy())
    store.layer.preserve_labels = True
    store.layer.mode = "paint"
    seen = strokes(store)
    gestures.drag((10, 2), (10, 30))
    np.testing.assert_array_equal(replayed(seen[0], before), store.layer.data)
    assert (store.layer.data == 3).sum() == 225


def test_a_stroke_of_an_unknown_kind_is_found_by_comparing(viewer, monkeypatch):
    store = painted_viewer(viewer, np.zeros((30, 40), np.uint32))
    seen = strokes(store)
    monkeypatch.setattr(
        "napari_sam._bridge.label_layer.edits_of_stroke", lambda *_: None
    )
    store.layer.paint((8, 8), 5)
    assert store.layer.data.any()
    empty = np.zeros((30, 40), np.uint32)
    np.testing.assert_array_equal(replayed(seen[0], empty), store.layer.data)
    replaced = []
    store.replaced.connect(lambda: replaced.append(1))
    monkeypatch.setattr("napari_sam._bridge.label_layer.MAX_COMPARED_PX", 10)
    store.layer.paint((20, 20), 6)
    assert len(seen) == 1
    assert replaced == [1]
    assert store.next_id() == 7


def test_another_array_is_announced_and_nothing_old_is_replayed_into_it(viewer):
    store = painted_viewer(viewer, np.zeros(SHAPE, np.uint32))
    replaced = []
    store.replaced.connect(lambda: replaced.append(1))
    store.write(KEY, edit_of(store, 7))
    store.layer.paint((0, 5, 5), 9)
    assert replaced == []
    store.layer.data = np.full(SHAPE, 3, np.uint32)
    assert replaced == [1]
    store.layer.undo()
    assert (store.layer.data == 3).all()


def test_ids_that_do_not_fit_are_refused():
    store = store_for(np.zeros(SHAPE, np.uint8))
    old = store.read(KEY, BOX).astype(np.uint32)
    with pytest.raises(LabelsError, match="does not fit into the uint8"):
        store.write(KEY, LabelEdit(BOX, old, old + 300))
    assert store.layer.data.max() == 0


def test_labels_on_disk_are_written_and_taken_back():
    store = store_for(array_of("copying", np.zeros(SHAPE, np.uint32)))
    edit = edit_of(store, 7)
    store.write(KEY, edit)
    assert (np.asarray(store.layer.data[1])[4:8, 5:11] == 7).all()
    store.write(KEY, edit.inverse())
    assert not np.asarray(store.layer.data[:]).any()


def test_large_edits_are_written_as_a_box(monkeypatch):
    monkeypatch.setattr("napari_sam._bridge.label_layer.MAX_SCATTERED_PX", 5)
    store = store_for(np.zeros(SHAPE, np.uint32))
    edit = edit_of(store, 7)
    store.write(KEY, edit)
    assert (store.layer.data == 7).sum() == 24
    store.write(KEY, edit.inverse())
    assert store.layer.data.max() == 0


def test_history_is_emptied_without_the_private_method(viewer, monkeypatch):
    store = painted_viewer(viewer, np.zeros((30, 40), np.uint32))
    store.disconnect()
    store.layer.mode = "paint"
    store.layer.paint((8, 8), 5)
    after = store.layer.data.copy()
    reset = type(store.layer)._reset_history

    class Newer(type(store.layer)):
        @property
        def _reset_history(self):
            raise AttributeError

        def _on_editable_changed(self):
            super_mode = self.mode
            if not self.editable:
                self.mode = "pan_zoom"
                reset(self)
            assert super_mode

    store.layer.__class__ = Newer
    forget_history(store.layer)
    store.layer.undo()
    np.testing.assert_array_equal(store.layer.data, after)
    assert store.layer.editable
    assert str(store.layer.mode) == "paint"


@pytest.mark.parametrize("side", [4096, pytest.param(8192, marks=pytest.mark.slow)])
def test_cost_of_a_write_does_not_depend_on_the_layer(side):
    def best(side):
        image = Image(np.zeros((2, 2), np.uint8))
        layer = Labels(np.zeros((side, side), np.uint32))
        store = LayerLabelStore(layer, PlaneMap(image, (side, side), (1.0, 1.0)))
        box = (50, 60, 150, 160)
        old = store.read(PlaneKey(), box)
        edit = LabelEdit(box, old, old + np.uint32(4))
        times = []
        for _ in range(5):
            for turn in (edit, edit.inverse()):
                start = time.perf_counter()
                store.write(PlaneKey(), turn)
                times.append(time.perf_counter() - start)
        return min(times)

    assert best(side) < 3 * best(256) + 0.004

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.label_layer import LayerLabelStore
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


def test_write_touches_the_box_on_its_plane_and_can_be_undone():
    store = store_for(np.zeros(SHAPE, np.uint32))
    store.write(KEY, edit_of(store, 7))
    expected = np.zeros(SHAPE, np.uint32)
    expected[1, 4:8, 5:11] = 7
    np.testing.assert_array_equal(store.layer.data, expected)
    store.layer.undo()
    assert store.layer.data.max() == 0


def test_dask_labels_are_written_too():
    store = store_for(da.zeros(SHAPE, dtype=np.uint32, chunks=(1, 20, 30)))
    store.write(KEY, edit_of(store, 7))
    assert (np.asarray(store.layer.data[1, 4:8, 5:11]) == 7).all()
    assert int(np.asarray(store.layer.data).astype(bool).sum()) == 24
    assert store.next_id() == 8


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
        (
            [np.zeros(SHAPE, np.uint32), np.zeros((3, 10, 15), np.uint32)],
            {"multiscale": True},
            "multiscale",
        ),
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

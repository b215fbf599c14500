# SPDX-License-Identifier: Apache-2.0
"""Labels with coarser levels: written whole, shown at every zoom, undone as well."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_sam._bridge import label_layer, label_pyramid
from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.label_layer import LayerLabelStore, make_label_layer
from napari_sam._bridge.label_pyramid import finest, level_shapes, needs_levels
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import OutputError
from napari_sam.io import labels_zarr
from napari_sam.structures.labels import LabelEdit

SHAPE = (3, 90, 131)


@pytest.fixture
def plane_map():
    return PlaneMap(Image(np.zeros(SHAPE, np.uint8)), SHAPE, (1.0,) * 3)


def levels_of(shape, factors):
    return [
        np.zeros((*shape[:-2], *(-(-side // f) for side in shape[-2:])), np.uint32)
        for f in factors
    ]


def store_with_levels(plane_map, factors=(1, 2, 4)):
    layer = Labels(levels_of(SHAPE, factors), multiscale=True)
    return LayerLabelStore(layer, plane_map)


def edit_of(box, value, store, key):
    old = store.read(key, box)
    return LabelEdit(box, old, np.full_like(old, value))


def check_levels(layer):
    """Each pixel of a level shows one in the middle of what it covers."""
    levels = [np.asarray(level) for level in layer]
    for finer, coarser in itertools.pairwise(levels):
        rows, columns = (
            [min(int((i + 0.5) * n / m), n - 1) for i in range(m)]
            for n, m in zip(finer.shape[-2:], coarser.shape[-2:], strict=True)
        )
        assert np.array_equal(coarser, finer[..., rows, :][..., columns])


@pytest.mark.parametrize("factors", [(1, 2, 4), (1, 3), (1, 7, 50)])
def test_every_level_shows_what_was_written(plane_map, factors):
    store = store_with_levels(plane_map, factors)
    rng = np.random.default_rng(0)
    for value in range(1, 25):
        key = PlaneKey((1, 2), (int(rng.integers(3)),))
        y, x = int(rng.integers(88)), int(rng.integers(129))
        height, width = rng.integers(1, 40, 2)
        box = (y, x, min(y + int(height), 90), min(x + int(width), 131))
        store.write(key, edit_of(box, value, store, key))
        full = finest(store.layer)
        assert (full[key.index[0], box[0] : box[2], box[1] : box[3]] == value).all()
        check_levels(store.layer.data)


def test_undo_restores_every_level(plane_map):
    store = store_with_levels(plane_map)
    key = PlaneKey((1, 2), (1,))
    first = edit_of((10, 10, 60, 80), 1, store, key)
    store.write(key, first)
    before = [level.copy() for level in store.layer.data]
    second = edit_of((30, 40, 88, 120), 2, store, key)
    store.write(key, second)
    store.write(key, LabelEdit(second.box, second.new, second.old))
    for level, was in zip(store.layer.data, before, strict=True):
        assert np.array_equal(level, was)


def test_planes_of_other_axes_are_shown_too(plane_map):
    store = store_with_levels(plane_map)
    key = PlaneKey((0, 2), (45,))  # the stack seen from the side
    store.write(key, edit_of((0, 8, 3, 40), 5, store, key))
    assert (finest(store.layer)[:, 45, 8:40] == 5).all()
    assert (store.layer.data[1][:, 22, 4:20] == 5).all()


def test_what_is_on_screen_is_drawn_anew(plane_map):
    viewer = ViewerModel()
    layer = viewer.add_labels(levels_of(SHAPE, (1, 2, 4)), multiscale=True)
    store = LayerLabelStore(layer, plane_map)
    viewer.dims.set_current_step(0, 1)
    key = PlaneKey((1, 2), (1,))
    store.write(key, edit_of((20, 20, 70, 100), 3, store, key))
    shown = layer._slice.image.raw
    assert (shown == 3).any()
    assert shown.shape == layer.data[layer.data_level].shape[1:]


def test_only_large_labels_get_levels(plane_map, monkeypatch):
    assert not needs_levels((8192, 8192))
    assert needs_levels((3, 100, 8193))
    assert level_shapes((2, 5000, 3000)) == [
        (2, 5000, 3000),
        (2, 2500, 1500),
        (2, 1250, 750),
    ]
    assert not make_label_layer(plane_map, "small").multiscale
    monkeypatch.setattr(label_layer, "needs_levels", lambda _: True)
    monkeypatch.setattr(label_pyramid, "COARSEST_SIDE_PX", 100)
    layer = make_label_layer(plane_map, "large")
    assert layer.multiscale
    assert [level.shape for level in layer.data] == [SHAPE, (3, 45, 66)]


def test_labels_past_memory_lie_in_a_folder_that_stays(
    plane_map, monkeypatch, tmp_path
):
    monkeypatch.setenv("NAPARI_SAM_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(label_layer, "needs_levels", lambda _: True)
    monkeypatch.setattr(label_pyramid, "MAX_IN_MEMORY_PX", 1000)
    monkeypatch.setattr(labels_zarr, "CHUNK_SIDE", 32)
    layers = [make_label_layer(plane_map, "my image: 1/2") for _ in range(2)]
    folders = sorted((tmp_path / "labels").iterdir())
    assert len(folders) == 2
    assert all(folder.name.startswith("my_image_1_2_") for folder in folders)
    store = LayerLabelStore(layers[0], plane_map, is_empty=True)
    key = PlaneKey((1, 2), (1,))
    store.write(key, edit_of((10, 20, 70, 110), 9, store, key))
    assert store.next_id() == 10
    written = [f for f in folders if labels_zarr.open_labels(f).array[1, 40, 60] == 9]
    assert len(written) == 1
    levels = labels_zarr.open_labels(written[0]).levels
    full = np.asarray(levels[0])
    assert np.count_nonzero(full) == 60 * 90
    assert len(levels) == 4
    check_levels(levels)


def test_one_folder_that_cannot_be_written_is_told(plane_map, monkeypatch, tmp_path):
    taken = tmp_path / "labels"
    taken.write_text("a file")
    monkeypatch.setenv("NAPARI_SAM_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(label_layer, "needs_levels", lambda _: True)
    monkeypatch.setattr(label_pyramid, "MAX_IN_MEMORY_PX", 1000)
    with pytest.raises(OutputError, match="labels"):
        make_label_layer(plane_map, "image")


def test_ids_of_an_empty_layer_are_not_searched_for(plane_map, monkeypatch):
    monkeypatch.setattr(label_layer, "highest_label", lambda _: 1 / 0)
    layer = Labels(levels_of(SHAPE, (1, 2)), multiscale=True)
    assert LayerLabelStore(layer, plane_map, is_empty=True).next_id() == 1


def test_whoever_made_the_levels_an_erased_object_leaves_no_ghost(tmp_path):
    """Files of the command line, results of a run and accepted masks fit together."""
    shape = (2051, 1300)
    written = labels_zarr.create_labels(tmp_path / "a.zarr", shape)
    rng = np.random.default_rng(0)
    labels = np.zeros(shape, np.uint32)
    for number in range(1, 40):
        y, x = rng.integers(0, 2000), rng.integers(0, 1250)
        labels[y : y + 37, x : x + 29] = number
    written.write((0, 0, *shape), labels)
    written.finish()
    levels = [np.asarray(level) for level in written.levels]
    check_levels(levels)
    layer = Labels(levels, multiscale=True)
    plane_map = PlaneMap(Image(np.zeros(shape, np.uint8)), shape, (1.0, 1.0))
    store = LayerLabelStore(layer, plane_map)
    old = store.read(PlaneKey(), (0, 0, *shape))
    store.write(PlaneKey(), LabelEdit((0, 0, *shape), old, np.zeros_like(old)))
    assert [np.count_nonzero(level) for level in layer.data] == [0, 0, 0]


def test_a_full_disk_leaves_what_was_there_in_every_level(plane_map, monkeypatch):
    store = store_with_levels(plane_map)
    key = PlaneKey((1, 2), (1,))
    store.write(key, edit_of((10, 10, 60, 80), 1, store, key))
    before = [level.copy() for level in store.layer.data]
    edit = edit_of((30, 40, 88, 120), 2, store, key)
    draw, calls = label_pyramid._draw, []

    def full(*given):
        calls.append(1)
        if len(calls) == 1:
            raise OSError(28, "No space left on device")
        draw(*given)

    monkeypatch.setattr(label_pyramid, "_draw", full)
    with pytest.raises(OutputError, match="No space left"):
        store.write(key, edit)
    for level, was in zip(store.layer.data, before, strict=True):
        assert np.array_equal(level, was)


def test_ids_of_stored_labels_are_read_chunk_by_chunk(tmp_path):
    labels = labels_zarr.create_labels(tmp_path / "a.zarr", SHAPE, axes="ZYX")
    labels.array[2, 80, 130] = 77
    reads = []

    class Counted:
        shape, dtype, chunks, ndim = SHAPE, labels.array.dtype, (1, 90, 131), 3

        def __getitem__(self, place):
            reads.append(place)
            return labels.array[place]

    assert label_layer.highest_label(Counted()) == 77
    assert len(reads) == 3

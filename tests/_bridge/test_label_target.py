# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from napari_sam._bridge import label_pyramid
from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.label_target import LabelTarget, folder_of
from napari_sam.annotation.ports import PlaneKey
from napari_sam.structures.labels import LabelEdit

SIDE = 9000


@pytest.fixture
def told(monkeypatch):
    texts = []
    monkeypatch.setattr("napari.utils.notifications.show_info", texts.append)
    return texts


def make(viewer, shape):
    image = viewer.add_image(np.broadcast_to(np.uint8(0), shape), name="slide")
    return LabelTarget(viewer, image, PlaneMap(image, shape, (1.0,) * len(shape)))


def test_labels_past_memory_are_kept_where_the_user_is_told(
    viewer, told, tmp_path, monkeypatch
):
    monkeypatch.setenv("NAPARI_SAM_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(label_pyramid, "MAX_IN_MEMORY_PX", SIDE**2 - 1)
    store = make(viewer, (SIDE, SIDE)).store
    folder = folder_of(store.layer)
    assert tmp_path in folder.parents
    assert len(told) == 1
    assert str(folder) in told[0]
    box = (8000, 7000, 8030, 7040)
    old = store.read(PlaneKey(), box)
    store.write(PlaneKey(), LabelEdit(box, old, np.full_like(old, 5)))
    import zarr

    written = zarr.open_group(folder, mode="r")["0"]
    assert written.shape == (SIDE, SIDE)
    assert int((written[7900:8100, 6900:7100] == 5).sum()) == 30 * 40


def test_labels_in_memory_need_no_word(viewer, told):
    store = make(viewer, (300, 200)).store
    assert folder_of(store.layer) is None
    assert told == []

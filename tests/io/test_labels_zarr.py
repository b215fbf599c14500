# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import zarr

from napari_sam.annotation.array_ports import ArrayLabels
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import LabelsError, OutputError
from napari_sam.io import labels_zarr
from napari_sam.io.labels_zarr import create_labels, open_labels
from napari_sam.io.open_image import open_image
from napari_sam.structures.labels import LabelEdit

LABELS = np.random.default_rng(0).integers(1, 2**32, (70, 90), dtype=np.uint32)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(labels_zarr, "CHUNK_SIDE", 16)


def test_boxes_anywhere_and_their_levels(tmp_path):
    path = tmp_path / "out" / "a_labels.zarr"
    labels = create_labels(path, (70, 90), pixel_size_um=(0.5, 0.25))
    for y in range(0, 70, 23):
        for x in range(0, 90, 31):
            part = LABELS[y : y + 23, x : x + 31]
            labels.write((y, x, y + part.shape[0], x + part.shape[1]), part)
    np.testing.assert_array_equal(labels.read((0, 0, 70, 90)), LABELS)
    np.testing.assert_array_equal(labels.read((3, 5, 9, 80)), LABELS[3:9, 5:80])
    assert len(labels.levels) == 1
    labels.finish()
    labels.finish()
    image = open_image(path)
    assert (image.axes, image.pixel_size_um) == ("YX", (0.5, 0.25))
    assert image.data.dtype == np.uint32
    shapes = image.plane_pixels().level_shapes
    assert shapes == ((70, 90), (35, 45), (18, 23), (9, 12))
    expected = LABELS
    for array in (image.data, *image.coarser):
        rows, columns = (
            [min(int((i + 0.5) * n / m), n - 1) for i in range(m)]
            for n, m in zip(expected.shape, array.shape, strict=True)
        )
        expected = expected[np.ix_(rows, columns)]
        np.testing.assert_array_equal(array, expected)


def test_stacks_and_their_metadata(tmp_path):
    labels = create_labels(
        tmp_path / "a.zarr", (2, 3, 70, 90), axes="TZYX", z_step_um=2
    )
    labels.write((0, 0, 70, 90), LABELS, (1, 2))
    labels.finish()
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    about = group.attrs["ome"]
    assert about["version"] == "0.5"
    assert about["image-label"] == {}
    (image,) = about["multiscales"]
    assert image["axes"] == [
        {"name": "t", "type": "time"},
        {"name": "z", "type": "space", "unit": "micrometer"},
        {"name": "y", "type": "space"},
        {"name": "x", "type": "space"},
    ]
    scales = [d["coordinateTransformations"][0]["scale"] for d in image["datasets"]]
    assert scales == [[1, 2, 2**n, 2**n] for n in range(4)]
    assert group["0"].metadata.dimension_names == ("t", "z", "y", "x")
    assert not group["0"][1, 1].any()
    np.testing.assert_array_equal(group["0"][1, 2], LABELS)
    found = open_image(tmp_path / "a.zarr")
    assert (found.axes, found.z_step_um) == ("TZYX", 2)


def test_nothing_is_stored_where_nothing_is(tmp_path):
    labels = create_labels(tmp_path / "a.zarr", (10**7, 10**7))
    labels.write((10**6, 10**6, 10**6 + 9, 10**6 + 9), LABELS[:9, :9])
    labels.write((0, 0, 16, 16), np.zeros((16, 16), int))
    assert len(list((tmp_path / "a.zarr").rglob("c/*/*"))) == 1


def test_napari_reads_the_levels(tmp_path):
    from napari_builtins.io import napari_get_reader

    path = tmp_path / "a.zarr"
    labels = create_labels(path, (70, 90))
    labels.write((0, 0, 70, 90), LABELS)
    labels.finish()
    ((levels,),) = napari_get_reader(str(path))(str(path))
    assert [level.shape for level in levels] == [(70, 90), (35, 45), (18, 23), (9, 12)]
    np.testing.assert_array_equal(levels[1], LABELS[1::2, 1::2])


def test_work_goes_on_later(tmp_path):
    create_labels(tmp_path / "a.zarr", (70, 90)).write((0, 0, 9, 9), LABELS[:9, :9])
    again = open_labels(tmp_path / "a.zarr")
    again.write((9, 0, 18, 9), LABELS[9:18, :9])
    np.testing.assert_array_equal(again.read((0, 0, 18, 9)), LABELS[:18, :9])


def test_an_annotator_can_write_them(tmp_path):
    labels = create_labels(tmp_path / "a.zarr", (2, 70, 90), axes="ZYX")
    store = ArrayLabels(labels.array)
    key = PlaneKey((1, 2), (1,))
    new = np.full((5, 6), 7, np.uint32)
    store.write(key, LabelEdit((3, 4, 8, 10), np.zeros((5, 6), np.uint32), new))
    assert store.next_id() == 8
    assert ArrayLabels(labels.array).next_id() == 8
    np.testing.assert_array_equal(labels.read((3, 4, 8, 10), (1,)), new)
    assert not labels.read((0, 0, 70, 90), (0,)).any()


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((5, 6), "ZYX"), ((5, 6), "XY"), ((0, 6), "YX"), ((2,) * 6, "ABCDYX"), ((), "")],
)
def test_axes_that_do_not_fit(shape, axes, tmp_path):
    with pytest.raises(LabelsError, match="do not fit"):
        create_labels(tmp_path / "a.zarr", shape, axes=axes)
    assert not (tmp_path / "a.zarr").exists()


def test_what_is_there_is_kept_unless_told_otherwise(tmp_path):
    create_labels(tmp_path / "a.zarr", (70, 90)).write((0, 0, 9, 9), LABELS[:9, :9])
    with pytest.raises(OutputError, match="there already"):
        create_labels(tmp_path / "a.zarr", (70, 90))
    assert open_labels(tmp_path / "a.zarr").read((0, 0, 9, 9)).all()
    fresh = create_labels(tmp_path / "a.zarr", (70, 90), replaces=True)
    assert not fresh.read((0, 0, 70, 90)).any()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("x")
    for path in (tmp_path / "folder", tmp_path / "folder" / "thesis.txt"):
        with pytest.raises(OutputError, match="no zarr folder"):
            create_labels(path, (70, 90), replaces=True)
    assert (tmp_path / "folder" / "thesis.txt").read_text() == "x"
    (tmp_path / "empty").mkdir()
    create_labels(tmp_path / "empty", (70, 90))


@pytest.mark.parametrize(
    ("box", "labels"),
    [
        ((0, 0, 5, 5), LABELS[:5, :4]),
        ((68, 0, 73, 5), LABELS[:5, :5]),
        ((-5, 0, 0, 5), LABELS[:5, :5]),
        ((0, 0, 1, 1), np.array([[-1]])),
        ((0, 0, 1, 1), np.array([[2**32]])),
    ],
)
def test_boxes_and_numbers_that_do_not_fit(box, labels, tmp_path):
    target = create_labels(tmp_path / "a.zarr", (70, 90))
    with pytest.raises(LabelsError):
        target.write(box, labels)
    assert not target.read((0, 0, 70, 90)).any()


def test_what_is_no_label_image(tmp_path):
    with pytest.raises(LabelsError, match="no label image"):
        open_labels(tmp_path / "no.zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    with pytest.raises(LabelsError, match="damaged"):
        open_labels(tmp_path / "a.zarr")
    group.create_array("0", shape=(5, 6), dtype=float)
    group.attrs["ome"] = {"multiscales": [{"datasets": [{"path": "0"}]}]}
    with pytest.raises(LabelsError, match="no label image"):
        open_labels(tmp_path / "a.zarr")


def test_folders_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="Cannot write"):
        create_labels(tmp_path / "file" / "a.zarr", (70, 90))

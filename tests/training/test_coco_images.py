# SPDX-License-Identifier: Apache-2.0
"""COCO and SA-1B annotations become label images."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from napari_sam.errors import ImageError, LabelsError
from napari_sam.structures.rle import encode
from napari_sam.training.coco_images import decompress_counts, draw_labels, from_coco

SHAPE = (12, 16)
SQUARE = [[2, 3, 6, 3, 6, 8, 2, 8]]  # x, y: columns 2 to 5, rows 3 to 7


def filled(y0, x0, y1, x1):
    mask = np.zeros(SHAPE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def write(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(2):
        pixels = np.full((*SHAPE, 3), 40 * i, np.uint8)
        Image.fromarray(pixels).save(folder / f"p{i}.png")
    return folder


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_compressed_counts_are_read_back(mask):
    rle = encode(mask)
    assert decompress_counts(rle.to_coco()["counts"]) == rle.counts.tolist()


def test_long_runs_are_read_back():
    mask = np.zeros((400, 500), bool)
    mask[3:390, 100:499] = True
    mask[7, 2] = True
    rle = encode(mask)
    assert decompress_counts(rle.to_coco()["counts"]) == rle.counts.tolist()
    with pytest.raises(ValueError, match="too early"):
        decompress_counts("oo")


def test_all_ways_of_writing_a_mask():
    mask = filled(3, 2, 8, 6)
    rle = encode(mask)
    for segmentation in (SQUARE, rle.to_coco(), rle.to_dict()):
        labels = draw_labels([{"segmentation": segmentation}], SHAPE, "file")
        assert (labels == mask).all()


def test_parts_of_a_polygon_are_one_object():
    two = [*SQUARE, [10, 3, 14, 3, 14, 8, 10, 8]]
    labels = draw_labels([{"segmentation": two}], SHAPE, "file")
    assert (labels == (filled(3, 2, 8, 6) | filled(3, 10, 8, 14))).all()


def test_smaller_masks_are_in_front():
    inner, outer = filled(4, 4, 6, 6), filled(2, 2, 10, 10)
    for order in ((inner, outer), (outer, inner)):
        given_masks = [{"segmentation": encode(mask).to_dict()} for mask in order]
        labels = draw_labels(given_masks, SHAPE, "file")
        number = 1 + [m is inner for m in order].index(True)
        assert (labels[inner] == number).all()
        assert (labels[outer & ~inner] == 3 - number).all()


@given(
    st.lists(
        arrays(bool, (5, 6), elements=st.booleans()).filter(lambda mask: mask.any()),
        min_size=1,
        max_size=6,
    )
)
def test_overlaps_are_as_if_painted_from_the_largest_to_the_smallest(masks):
    expected = np.zeros((5, 6), int)
    for number in sorted(range(len(masks)), key=lambda i: -int(masks[i].sum())):
        expected[masks[number]] = number + 1
    given_masks = [{"segmentation": encode(mask).to_dict()} for mask in masks]
    assert (draw_labels(given_masks, (5, 6), "file") == expected).all()


def test_many_large_masks_are_not_held_together():
    side = 1000
    whole = {"size": [side, side], "counts": [0, side * side]}
    annotations = [{"segmentation": whole}] * 60  # 60 MB as masks
    tracemalloc.start()
    try:
        labels = draw_labels(annotations, (side, side), "file")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (labels == 60).all()
    assert peak < 30e6  # the labels, and what one mask of the whole image takes


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [],
        [[1, 2, 3]],
        [[1, 2, 3, 4]],
        [["a", "b", "c", "d", "e", "f"]],
        {"size": [5, 5], "counts": [25]},
        {"size": list(SHAPE), "counts": [3, 4]},
        {"size": list(SHAPE), "counts": "o"},
        {"counts": [1]},
        "text",
    ],
)
def test_segmentations_that_make_no_sense(segmentation):
    with pytest.raises(LabelsError) as caught:
        draw_labels([{"segmentation": segmentation, "id": 17}], SHAPE, "file.json")
    assert "file.json, annotation 17" in str(caught.value)


def test_coco_file(tmp_path, pictures):
    def annotation(image, **more):
        return {"image_id": image, "segmentation": SQUARE, **more}

    path = write(
        tmp_path / "instances.json",
        {
            "images": [
                {"id": 5, "file_name": "p0.png"},
                {"id": 6, "file_name": "p1.png"},
                {"id": 7, "file_name": "not-annotated.png"},
            ],
            "annotations": [annotation(6), annotation(6, iscrowd=1), annotation(5)],
        },
    )
    first, second = from_coco(path, pictures)
    assert (first.name, second.name) == ("p0.png", "p1.png")
    (plane,) = second.open()
    box = (0, 0, *SHAPE)
    assert (plane.labels.read(box) == filled(3, 2, 8, 6)).all()
    assert (plane.pixels.read(box) == 40).all()


def test_folder_of_sa_1b(tmp_path, pictures):
    folder = tmp_path / "sa"
    folder.mkdir()
    for i in range(2):
        mask = encode(filled(3, 2 + i, 8, 6 + i)).to_coco()
        write(
            folder / f"sa_{i}.json",
            {
                "image": {"file_name": f"p{i}.png"},
                "annotations": [{"segmentation": mask}],
            },
        )
    found = from_coco(folder, pictures)
    assert [image.name for image in found] == ["p0.png", "p1.png"]
    labels = found[1].open()[0].labels.read((0, 0, *SHAPE))
    assert (labels == filled(3, 3, 8, 7)).all()


def test_annotations_of_a_folder_are_not_held(tmp_path, pictures):
    folder = tmp_path / "sa"
    folder.mkdir()
    for i in range(20):
        polygon = SQUARE[0] * 1001  # 64 kB as a list; filled, since odd
        write(
            folder / f"sa_{i}.json",
            {
                "image": {"file_name": "p0.png"},
                "annotations": [{"segmentation": [polygon]}],
            },
        )
    tracemalloc.start()
    try:
        found = from_coco(folder, pictures)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == 20
    assert held < 200e3
    labels = found[7].open()[0].labels.read((0, 0, *SHAPE))
    assert (labels == filled(3, 2, 8, 6)).all()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([], "no JSON object"),
        ({"images": []}, "lacks the lists"),
        ({"images": [], "annotations": []}, "no image with annotations"),
        ({"images": ["x"], "annotations": []}, "is no image"),
        (
            {
                "images": [{"id": 1, "file_name": "gone.png"}],
                "annotations": [{"image_id": 1}],
            },
            "gone.png",
        ),
        (
            {"images": [{"id": 1}], "annotations": [{"image_id": 1}]},
            "names the image None",
        ),
    ],
)
def test_files_that_make_no_sense(tmp_path, pictures, content, text):
    path = write(tmp_path / "bad.json", content)
    with pytest.raises(ImageError) as caught:
        from_coco(path, pictures)
    assert text in str(caught.value)
    assert "bad.json" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path, pictures):
    with pytest.raises(ImageError, match="Cannot read the annotations"):
        from_coco(tmp_path / "no.json", pictures)
    (tmp_path / "cut.json").write_text('{"images": [')
    with pytest.raises(ImageError, match=r"cut\.json"):
        from_coco(tmp_path / "cut.json", pictures)
    with pytest.raises(ImageError, match="no folder"):
        from_coco(tmp_path / "cut.json", tmp_path / "nowhere")
    write(pictures / "x.json", {"images": []})
    with pytest.raises(ImageError, match="SA-1B"):
        from_coco(pictures, pictures)

# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam.errors import ImageError, LabelsError, SettingsError
from napari_sam.io.labels_tiff import write_labels
from napari_sam.io.pairs import Pair, find_pairs, read_names, read_pair


@pytest.fixture
def folders(tmp_path):
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    for name in "abc":
        Image.fromarray(np.full((6, 7), ord(name), np.uint8)).save(
            images / f"{name}.png"
        )
    write_labels(labels / "a.tif", np.ones((6, 7), int))
    write_labels(labels / "c_labels.tif", np.full((6, 7), 3))
    (images / "notes.txt").write_text("no image")
    return images, labels


def test_matched_by_name(folders):
    images, labels = folders
    assert find_pairs(images, labels) == [
        Pair("a", images / "a.png", labels / "a.tif"),
        Pair("c", images / "c.png", labels / "c_labels.tif"),
    ]
    assert [p.name for p in find_pairs(images, labels, ["c", "a"])] == ["c", "a"]


def test_one_folder_may_hold_both(folders):
    images, _ = folders
    write_labels(images / "b_masks.tif", np.ones((6, 7), int))
    pairs = [(p.name, p.labels.name) for p in find_pairs(images, images)]
    assert pairs == [("b", "b_masks.tif")]


def test_no_image_is_its_own_truth(folders):
    images, _ = folders
    with pytest.raises(ImageError, match="has labels"):
        find_pairs(images, images)


def test_two_files(folders):
    images, labels = folders
    (pair,) = find_pairs(images / "b.png", labels / "a.tif")
    assert pair.name == "b"


def test_what_is_missing_is_named(folders, tmp_path):
    images, labels = folders
    with pytest.raises(ImageError, match=r"images holds no file for 'd'"):
        find_pairs(images, labels, ["a", "d"])
    with pytest.raises(ImageError, match=r"labels holds no file for 'b'"):
        find_pairs(images, labels, ["b"])
    with pytest.raises(ImageError, match="no folder"):
        find_pairs(tmp_path / "nowhere", labels)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="has labels"):
        find_pairs(images, tmp_path / "empty")


def test_read_flat_pair(folders):
    pairs = find_pairs(*folders)
    ((name, image, labels),) = read_pair(pairs[1])
    assert name == "c"
    assert image[0, 0] == ord("c")
    assert (labels == 3).all()


def test_read_stack_plane_by_plane(tmp_path):
    stack = np.arange(3 * 6 * 7, dtype=np.uint8).reshape(3, 6, 7)
    tifffile.imwrite(tmp_path / "s.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    write_labels(tmp_path / "s_labels.tif", stack // 5, axes="ZYX")
    (pair,) = [p for p in find_pairs(tmp_path, tmp_path) if p.name == "s"]
    planes = list(read_pair(pair))
    assert [name for name, _, _ in planes] == ["s[Z=0]", "s[Z=1]", "s[Z=2]"]
    np.testing.assert_array_equal(planes[2][1], stack[2])
    np.testing.assert_array_equal(planes[2][2], stack[2] // 5)


def test_files_that_do_not_fit(folders, tmp_path):
    images, labels = folders
    write_labels(labels / "b.tif", np.ones((6, 8), int))
    with pytest.raises(LabelsError, match="6 x 8"):
        list(read_pair(Pair("b", images / "b.png", labels / "b.tif")))
    tifffile.imwrite(labels / "f.tif", np.ones((6, 7), np.float32))
    with pytest.raises(LabelsError, match="no label image"):
        list(read_pair(Pair("b", images / "b.png", labels / "f.tif")))
    Image.fromarray(np.ones((6, 7, 3), np.uint8)).save(labels / "rgb.png")
    with pytest.raises(LabelsError, match="3 channels"):
        list(read_pair(Pair("b", images / "b.png", labels / "rgb.png")))


def test_names_from_text_and_json(tmp_path):
    (tmp_path / "list.txt").write_text("a\n\n b \n")
    assert read_names(tmp_path / "list.txt") == ["a", "b"]
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps({"set": {"train": ["x"], "val": ["y", "z"]}}))
    assert read_names(f"{splits}:set/val") == ["y", "z"]
    (tmp_path / "plain.json").write_text('["q"]')
    assert read_names(tmp_path / "plain.json") == ["q"]


@pytest.mark.parametrize(
    ("ending", "text"),
    [(":set/test", "no key 'test'"), (":set", "no list"), ("", "no list")],
)
def test_wrong_keys_are_named(tmp_path, ending, text):
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps({"set": {"train": ["x"]}}))
    with pytest.raises(SettingsError, match=text):
        read_names(f"{splits}{ending}")


def test_list_that_cannot_be_read(tmp_path):
    with pytest.raises(SettingsError, match="Cannot read"):
        read_names(tmp_path / "no.txt")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(SettingsError, match="no JSON"):
        read_names(tmp_path / "bad.json")


def test_labels_may_be_numbers_of_a_palette(tmp_path):
    Image.fromarray(np.full((6, 7), 9, np.uint8)).save(tmp_path / "a.png")
    picture = Image.fromarray(np.eye(6, 7, dtype=np.uint8))
    picture.putpalette([0, 0, 0, 255, 0, 0])
    picture.save(tmp_path / "a_masks.png")
    ((_, _, labels),) = read_pair(*find_pairs(tmp_path, tmp_path))
    np.testing.assert_array_equal(labels, np.eye(6, 7))


def test_images_that_are_left_out_are_told(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(np.ones((6, 7), np.uint8), metadata=None)
        writer.write(np.ones((4, 5), np.uint8), metadata=None)
    write_labels(tmp_path / "a_labels.tif", np.ones((6, 7), int))
    with pytest.warns(UserWarning, match=r"a\.tif holds 2 images"):
        next(read_pair(*find_pairs(tmp_path, tmp_path)))

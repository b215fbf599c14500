# SPDX-License-Identifier: Apache-2.0
"""A folder of images with its results; every file is looked at after the call."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam.errors import ImageError, LabelsError, OutputError
from napari_sam.io.folder_project import FolderProject
from napari_sam.io.folder_state import STATE_FILE, ImageState
from napari_sam.io.labels_tiff import write_labels

SHAPE = (6, 8)


def picture(path, shape=SHAPE):
    Image.fromarray(np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)).save(path)


def labelled(*ids):
    labels = np.zeros(SHAPE, np.uint32)
    labels.flat[: len(ids)] = ids
    return labels


def save(project, index, labels):
    image = project.images[index]
    return project.write_labels(image, labels, project.read_image(image))


@pytest.fixture
def folder(tmp_path):
    for name in ("cell10.png", "cell2.png", "Cell1.png"):
        picture(tmp_path / name)
    return tmp_path


@pytest.fixture
def project(folder):
    return FolderProject(folder)


def names(project):
    return [image.name for image in project.images]


def states(project):
    return [project.state(image).value for image in project.images]


def test_images_in_natural_order_without_results(folder):
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes(b"x")
    for ending in ("_labels.tif", "_masks.png", "_partial_labels.tif"):
        picture(folder / f"cell2{ending.replace('tif', 'png')}")
        write_labels(folder / f"cell10{ending.replace('png', 'tif')}", labelled(1))
    picture(folder / "lone_mask.png")  # of no image: an image itself
    assert names(FolderProject(folder)) == [
        "Cell1.png",
        "cell2.png",
        "cell10.png",
        "lone_mask.png",
    ]


def test_pattern_picks(folder):
    assert names(FolderProject(folder, pattern="cell*")) == ["cell2.png", "cell10.png"]


@pytest.mark.parametrize(
    ("place", "pattern", "text"),
    [
        ("", "*.czi", r"no image whose name fits '\*\.czi'.*tif"),
        ("empty", "*", "holds no image. Choose"),
        ("missing", "*", "Cannot list"),
        ("cell2.png", "*", "is a file. Choose the folder"),
    ],
)
def test_folder_without_images_is_told(folder, place, pattern, text):
    (folder / "empty").mkdir()
    with pytest.raises(ImageError, match=text):
        FolderProject(folder / place, pattern=pattern)
    assert not (folder / "empty" / STATE_FILE).exists()


def test_list_of_files_keeps_its_order(folder):
    files = [folder / name for name in ("cell10.png", "gone.png", "Cell1.png")]
    project = FolderProject(files)
    assert names(project) == ["cell10.png", "Cell1.png"]
    assert project.folder == folder
    assert "gone.png" in project.notices[0]
    with pytest.raises(ImageError, match="None of the files"):
        FolderProject([folder / "gone.png"])


def test_same_name_twice_is_refused(folder, tmp_path):
    (tmp_path / "other").mkdir()
    picture(tmp_path / "other" / "cell2.png")
    with pytest.raises(ImageError, match="same name"):
        FolderProject([folder / "cell2.png", tmp_path / "other" / "cell2.png"])


def test_an_image_is_never_the_place_of_labels(folder):
    write_labels(folder / "cell2_labels.tif", labelled(1))
    with pytest.raises(ImageError, match="would replace the image"):
        FolderProject([folder / "cell2.png", folder / "cell2_labels.tif"])


def test_one_stem_two_formats_get_two_results(folder):
    write_labels(folder / "cell2.tif", labelled(1, 2))
    project = FolderProject(folder)
    assert [image.labels.name for image in project.images] == [
        "Cell1_labels.tif",
        "cell2_labels.tif",
        "cell2.tif_labels.tif",
        "cell10_labels.tif",
    ]


def test_results_keep_their_names_when_files_come(folder):
    project = FolderProject(folder, pattern="*.png")
    save(project, 1, labelled(5))
    picture(folder / "cell2.bmp")  # sorts before cell2.png
    again = FolderProject(folder)
    by_name = {image.name: image.labels.name for image in again.images}
    assert by_name["cell2.png"] == "cell2_labels.tif"
    assert by_name["cell2.bmp"] == "cell2.bmp_labels.tif"


def test_labels_are_read_back(project):
    image = project.images[0]
    pixels = project.read_image(image)
    assert project.read_labels(image, pixels) is None
    assert save(project, 0, labelled(3, 70000)) is None
    assert np.array_equal(project.read_labels(image, pixels), labelled(3, 70000))


def test_states_and_resume(folder):
    project = FolderProject(folder)
    assert states(project) == ["todo"] * 3
    with pytest.raises(LabelsError, match="no labels yet"):
        project.mark_done(project.images[1])
    save(project, 1, labelled(1))
    project.set_current(project.images[1])
    assert states(project) == ["todo", "started", "todo"]
    assert FolderProject(folder).resume_index() == 1
    project.mark_done(project.images[1])
    again = FolderProject(folder)
    assert states(again) == ["todo", "done", "todo"]
    assert (again.n_done, again.resume_index()) == (1, 2)
    save(again, 1, labelled(1, 2))
    assert states(again)[1] == "done"
    for index in (0, 2):
        save(again, index, labelled())
        again.mark_done(again.images[index])
    assert (again.n_done, again.resume_index()) == (3, 0)
    again.mark_done(again.images[2], is_done=False)
    assert FolderProject(folder).resume_index() == 2


def test_results_go_to_a_folder_of_their_own(folder, tmp_path):
    before = {path.name for path in folder.iterdir()}
    out = tmp_path.parent / f"{tmp_path.name}-out" / "deep"
    project = FolderProject(folder, out)
    save(project, 0, labelled(1))
    assert {path.name for path in folder.iterdir()} == before
    assert {path.name for path in out.iterdir()} == {STATE_FILE, "Cell1_labels.tif"}


def test_labels_of_another_program_are_read_and_kept(folder):
    """A file that we did not write is copied before it is replaced, once."""
    theirs = folder / "cell2_labels.tif"
    tifffile.imwrite(theirs, labelled(7, 7).astype(np.float32))
    original = theirs.read_bytes()
    project = FolderProject(folder)
    image = project.images[1]
    assert project.state(image) is ImageState.STARTED
    pixels = project.read_image(image)
    assert np.array_equal(project.read_labels(image, pixels), labelled(7, 7))
    copy = save(project, 1, labelled(7, 7, 8))
    assert copy == folder / "cell2_labels.tif.bak"
    assert copy.read_bytes() == original
    assert save(project, 1, labelled(7)) is None
    assert save(FolderProject(folder), 1, labelled(7, 9)) is None
    assert copy.read_bytes() == original
    assert np.array_equal(project.read_labels(image, pixels), labelled(7, 9))


def test_labels_changed_by_another_program_meanwhile_are_kept(project, folder):
    save(project, 1, labelled(1))
    (folder / "cell2_labels.tif.bak").write_bytes(b"an older copy")
    write_labels(folder / "cell2_labels.tif", labelled(4, 4))
    theirs = (folder / "cell2_labels.tif").read_bytes()
    copy = save(project, 1, labelled(2))
    assert copy is not None
    assert copy.name == "cell2_labels.tif.bak2"
    assert copy.read_bytes() == theirs
    assert (folder / "cell2_labels.tif.bak").read_bytes() == b"an older copy"


@pytest.mark.parametrize("shape", [(3, 8), (8, 6), (6, 9), (1, 6, 8), (5, 5)])
def test_labels_of_another_shape_are_not_written(project, folder, shape):
    save(project, 1, labelled(1, 2))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    image = project.images[1]
    with pytest.raises(LabelsError, match=r"cell2\.png.*6 x 8.*same planes"):
        project.write_labels(
            image, np.zeros(shape, np.uint32), project.read_image(image)
        )
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_our_own_file_is_kept_if_asked_for(project, folder):
    save(project, 1, labelled(1, 2))
    image = project.images[1]
    pixels = project.read_image(image)
    before = image.labels.read_bytes()
    copy = project.write_labels(image, labelled(9), pixels, is_older_kept=True)
    assert copy == folder / "cell2_labels.tif.bak"
    assert copy.read_bytes() == before
    assert np.array_equal(project.read_labels(image, pixels), labelled(9))
    assert save(project, 1, labelled(8)) is None
    first = project.images[0]
    new = project.write_labels(
        first, labelled(1), project.read_image(first), is_older_kept=True
    )
    assert new is None, "there was no older file"
    project.write_annotation(image, lambda path: path.write_text("one"))
    copy = project.write_annotation(
        image, lambda path: path.write_text("two"), is_older_kept=True
    )
    assert copy is not None
    assert (copy.read_text(), image.annotation.read_text()) == ("one", "two")


def test_annotation_file_is_guarded_in_the_same_way(project, folder):
    (folder / "cell2.sam.json").write_text("theirs")
    image = project.images[1]
    copy = project.write_annotation(image, lambda path: path.write_text("ours"))
    assert copy is not None
    assert copy.read_text() == "theirs"
    assert image.annotation.read_text() == "ours"
    assert project.write_annotation(image, lambda p: p.write_text("ours 2")) is None


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda p: write_labels(p, labelled(1)[:3]), LabelsError, "3 x 8.*6 x 8"),
        (lambda p: p.write_bytes(b"II*\0 nonsense"), ImageError, "cannot be read"),
        (lambda p: tifffile.imwrite(p, np.full(SHAPE, 0.5)), LabelsError, "0.5"),
        (
            lambda p: tifffile.imwrite(p, np.full(SHAPE, -1, np.int16)),
            LabelsError,
            "from -1",
        ),
        (
            lambda p: tifffile.imwrite(p, np.zeros((*SHAPE, 3), np.uint8)),
            LabelsError,
            "does not fit",
        ),
    ],
)
def test_unfit_labels_are_refused_and_survive(project, folder, make, error, text):
    image = project.images[1]
    make(image.labels)
    before = image.labels.read_bytes()
    project.refresh()
    with pytest.raises(error, match=text):
        project.read_labels(image, project.read_image(image))
    copy = save(project, 1, labelled(1))
    assert copy is not None
    assert copy.read_bytes() == before


def test_image_that_cannot_be_read_leaves_the_others(project, folder):
    (folder / "cell2.png").write_bytes(b"\x89PNG cut off")
    with pytest.raises(ImageError):
        project.read_image(project.images[1])
    assert project.read_image(project.images[2]).plane_shape == SHAPE


def test_files_come_and_go(project, folder):
    save(project, 0, labelled(1))
    project.mark_done(project.images[0])
    project.set_current(project.images[2])
    (folder / "cell10.png").unlink()
    (folder / "Cell1_labels.tif").unlink()
    picture(folder / "cell3.png")
    project.refresh()
    assert names(project) == ["Cell1.png", "cell2.png", "cell3.png"]
    assert states(project) == ["todo"] * 3, "labels that are gone are not done"
    assert project.index_of("cell10.png") is None
    assert FolderProject(folder).resume_index() == 0
    picture(folder / "cell10.png")
    project.refresh()
    assert FolderProject(folder).resume_index() == 3


def test_two_viewers_on_one_folder_keep_each_others_states(folder):
    first, second = FolderProject(folder), FolderProject(folder)
    save(first, 0, labelled(1))
    first.mark_done(first.images[0])
    save(second, 1, labelled(2))
    second.mark_done(second.images[1])
    assert states(FolderProject(folder)) == ["done", "done", "todo"]


@pytest.mark.parametrize("content", ["{", "[]", '{"format": "another"}', '"text"'])
def test_damaged_state_is_put_aside_and_labels_count(project, folder, content):
    save(project, 1, labelled(1))
    project.mark_done(project.images[1])
    (folder / STATE_FILE).write_text(content)
    again = FolderProject(folder)
    assert states(again) == ["todo", "started", "todo"]
    assert "damaged" in again.notices[0]
    assert (folder / f"{STATE_FILE}.bak").read_text() == content


def test_nonsense_in_a_record_is_passed_over(project, folder):
    found = json.loads((folder / STATE_FILE).read_text())
    found["images"] = {"cell2.png": 3, "Cell1.png": {"state": "?", "written": []}}
    (folder / STATE_FILE).write_text(json.dumps(found))
    assert states(FolderProject(folder)) == ["todo"] * 3


def test_newer_state_is_refused_and_left(project, folder):
    found = json.loads((folder / STATE_FILE).read_text())
    found["version"] = 99
    (folder / STATE_FILE).write_text(json.dumps(found))
    with pytest.raises(OutputError, match="newer napari-sam"):
        FolderProject(folder)
    assert json.loads((folder / STATE_FILE).read_text()) == found


def test_output_that_cannot_be_written_is_told_before_the_work(folder):
    (folder / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"Cannot (write|read).*Choose"):
        FolderProject(folder, folder / "file" / "out")


def test_labels_that_cannot_be_written_leave_the_old_ones(project, monkeypatch):
    save(project, 0, labelled(1))
    before = project.images[0].labels.read_bytes()

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tifffile.imwrite", full)
    with pytest.raises(OutputError, match="No space left"):
        save(project, 0, labelled(1, 2))
    assert project.images[0].labels.read_bytes() == before


def test_stack_keeps_axes_and_pixel_size(tmp_path):
    data = np.zeros((2, 3, 5, 7), np.uint16)
    metadata = {
        "axes": "TZYX",
        "PhysicalSizeX": 0.5,
        "PhysicalSizeY": 0.5,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeYUnit": "µm",
    }
    tifffile.imwrite(tmp_path / "a.ome.tif", data, ome=True, metadata=metadata)
    project = FolderProject(tmp_path)
    image = project.images[0]
    assert image.labels.name == "a_labels.tif"
    labels = np.zeros(data.shape, np.uint32)
    labels[1, 2, 3, 4] = 9
    pixels = project.read_image(image)
    project.write_labels(image, labels, pixels)
    from napari_sam.io.images import read_image

    written = read_image(image.labels, as_labels=True)
    assert (written.axes, written.pixel_size_um) == ("TZYX", (0.5, 0.5))
    assert np.array_equal(written.data, labels)


def test_too_many_axes_are_told_when_read(tmp_path):
    data = np.zeros((2, 2, 2, 2, 4, 5), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", data, metadata={"axes": "PTZQYX"})
    project = FolderProject(tmp_path)
    with pytest.raises(ImageError, match="at most 3 axes"):
        project.read_image(project.images[0])

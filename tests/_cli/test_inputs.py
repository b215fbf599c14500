# SPDX-License-Identifier: Apache-2.0
import pytest
import zarr

from napari_sam._cli.inputs import (
    Existing,
    Work,
    check_writable,
    check_writable_file,
    find_inputs,
    plan_outputs,
)
from napari_sam.errors import ImageError, OutputError


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.ome.tif", "notes.txt", ".hidden.png", "a_labels.tif"):
        (tmp_path / name).write_text("x")
    return tmp_path


def test_results_of_a_stopped_run_are_no_images_either(folder):
    for name in ("b_partial_labels.tif", "c_partial.png", "d_labels.tif"):
        (folder / name).write_text("x")
    found = [path.name for path in find_inputs([folder])]
    assert found == ["a.ome.tif", "b.png", "c_partial.png", "d_labels.tif"]


def test_folders_give_their_images_but_not_old_results(folder):
    assert [p.name for p in find_inputs([folder])] == ["a.ome.tif", "b.png"]


def test_files_and_patterns(folder):
    found = find_inputs([folder / "b.png", folder / "*.tif"])
    assert [p.name for p in found] == ["b.png", "a.ome.tif", "a_labels.tif"]


@pytest.mark.parametrize("name", ["no.tif", "empty", "*.jpg"])
def test_what_holds_no_image(folder, name):
    (folder / "empty").mkdir()
    with pytest.raises(ImageError, match=r"no file|no image"):
        find_inputs([folder / name])


def test_names_of_results(tmp_path):
    (work,) = plan_outputs([tmp_path / "a.ome.tif"], tmp_path / "o", Existing.ERROR)
    assert work == Work(
        tmp_path / "a.ome.tif",
        tmp_path / "o" / "a_labels.tif",
        tmp_path / "o" / "a_objects.csv",
    )


def test_two_inputs_for_one_result(tmp_path):
    with pytest.raises(OutputError, match=r"different folders"):
        plan_outputs([tmp_path / "a.tif", tmp_path / "a.png"], tmp_path, Existing.ERROR)


def test_results_that_are_there(tmp_path):
    inputs = [tmp_path / "a.tif", tmp_path / "b.tif"]
    (tmp_path / "b_objects.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"b_objects\.csv.*--existing"):
        plan_outputs(inputs, tmp_path, Existing.ERROR)
    kept = plan_outputs(inputs, tmp_path, Existing.SKIP)
    assert [work.source.name for work in kept] == ["a.tif", "b.tif"]
    (tmp_path / "b_labels.tif").write_text("mine")
    kept = plan_outputs(inputs, tmp_path, Existing.SKIP)
    assert [work.source.name for work in kept] == ["a.tif"]
    assert len(plan_outputs(inputs, tmp_path, Existing.OVERWRITE)) == 2


def test_writable_folder_is_made_and_stays_empty(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"Cannot write .*b: ") as caught:
        check_writable(tmp_path / "file" / "b")
    assert "probe" not in str(caught.value)


def test_a_folder_is_no_file_to_write(tmp_path):
    with pytest.raises(OutputError, match="it is a folder"):
        check_writable_file(tmp_path)
    check_writable_file(tmp_path / "new" / "a.csv")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.fixture
def large(folder):
    """Images past memory, and what is no image, in a folder of images."""
    for name in ("c.ome.zarr", "b_labels.zarr", "no_suffix"):
        zarr.create_array(folder / name, shape=(5, 6), dtype="u1")
    (folder / "empty.zarr").mkdir()
    (folder / "d.H5").write_text("x")
    return folder


def test_zarr_folders_and_hdf5_files_of_a_folder(large):
    found = [path.name for path in find_inputs([large])]
    assert found == ["a.ome.tif", "b.png", "c.ome.zarr", "d.H5"]


def test_zarr_folders_by_name_and_pattern(large):
    words = [large / "no_suffix", large / "c*.zarr"]
    assert find_inputs(words) == [large / "no_suffix", large / "c.ome.zarr"]
    with pytest.raises(ImageError, match=r"no image.*\.zarr"):
        find_inputs([large / "empty.zarr"])


def test_an_array_in_a_file(large):
    words = [large / "d.H5::/raw/data", large / "c.ome.zarr::0"]
    assert find_inputs(words) == words
    plan = plan_outputs(words, large / "o", Existing.ERROR)
    names = [work.labels.name for work in plan]
    assert names == ["d_raw_data_labels.tif", "c_0_labels.tif"]
    with pytest.raises(ImageError, match="no file"):
        find_inputs([large / "no.h5::/raw"])


def test_large_labels_count_as_a_result(large):
    (work,) = plan_outputs([large / "c.ome.zarr"], large, Existing.ERROR)
    assert work.large_labels == large / "c_labels.zarr"
    assert work.partial.large_labels == large / "c_partial_labels.zarr"
    work.large_labels.mkdir()
    with pytest.raises(OutputError, match=r"c_labels\.zarr is there"):
        plan_outputs([work.source], large, Existing.ERROR)
    assert plan_outputs([work.source], large, Existing.SKIP) == [work]
    work.table.write_text("x")
    assert plan_outputs([work.source], large, Existing.SKIP) == []

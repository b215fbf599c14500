# SPDX-License-Identifier: Apache-2.0
"""Through a folder of images in a headless viewer; layers and files are looked at."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam._bridge.folder_session import FolderSession
from napari_sam._bridge.model_segmenter import ModelSpec
from napari_sam.acceleration.engine import Engine
from napari_sam.annotation.objects import Origin
from napari_sam.annotation.ports import PlaneKey
from napari_sam.io.annotation_file import load_annotation
from napari_sam.io.folder_project import FolderProject
from napari_sam.io.images import read_image
from napari_sam.structures.view_settings import ViewSettings

FLAT = PlaneKey()


@pytest.fixture
def folder(tmp_path, blobs):
    """Three pictures of blobs: as they are, mirrored, upside down."""
    for number, view in enumerate(
        (blobs.image, blobs.image[:, ::-1], blobs.image[::-1]), start=1
    ):
        Image.fromarray(np.ascontiguousarray(view)).save(tmp_path / f"b{number}.png")
    return tmp_path


@pytest.fixture
def begin(viewer, session):
    """Open a folder; the sessions end with the test."""
    begun = []

    def open_folder(source, **options):
        project = FolderProject(source, **options)
        walk = FolderSession(viewer, session, project, lambda: ModelSpec("tiny"))
        begun.append(walk)
        walk.messages = []
        walk.message_changed.connect(walk.messages.append)
        walk.resume()
        settle(session)
        return walk

    yield open_folder
    for walk in begun:
        walk.release()


@pytest.fixture
def walk(begin, folder):
    return begin(folder)


def settle(session):
    """Let threads finish and deliver."""
    while session.is_busy:
        session.errands.wait()
        session.pump()


def go(walk, session, move, *arguments):
    getattr(walk, move)(*arguments)
    settle(session)


def accept_at(session, y, x):
    """Make one object by a click, as far as the annotator sees it."""
    annotator = session.controller.annotator
    annotator.add_point(FLAT, (y, x))
    return annotator.commit()


def layer_names(viewer):
    return [layer.name for layer in viewer.layers]


def written(path):
    return read_image(path, as_labels=True).data


def open_name(walk):
    return walk.opened.entry.name


def test_first_image_is_open_and_prompted(walk, viewer, session, blobs):
    assert open_name(walk) == "b1.png"
    assert {"b1.png", "b1_labels"} <= set(layer_names(viewer))
    assert np.array_equal(viewer.layers["b1.png"].data, blobs.image)
    assert session.controller.image == viewer.layers["b1.png"]
    assert session.controller.labels_layer == viewer.layers["b1_labels"]
    assert "b1.png (1 of 3)" in walk.messages


def test_next_saves_what_was_made(walk, viewer, session, folder, centres):
    y, x, _ = centres[0]
    made = accept_at(session, y, x)
    mask = viewer.layers["b1_labels"].data.copy()
    go(walk, session, "next")
    assert open_name(walk) == "b2.png"
    assert not {"b1.png", "b1_labels"} & set(layer_names(viewer))
    assert np.array_equal(written(folder / "b1_labels.tif"), mask)
    assert mask.max() == made.object_id
    state = load_annotation(folder / "b1.sam.json")
    assert [item.object_id for item in state.objects] == [made.object_id]
    assert state.objects[0].turns == made.turns
    assert not list(folder.glob("*.bak*"))


def test_coming_back_brings_objects_and_prompts(walk, session, viewer, centres):
    made = [accept_at(session, y, x) for y, x, _ in centres[:2]]
    go(walk, session, "next")
    go(walk, session, "previous")
    assert open_name(walk) == "b1.png"
    annotator = session.controller.annotator
    assert list(annotator.objects) == made
    assert annotator.objects[FLAT, made[0].object_id].turns == made[0].turns
    third = accept_at(session, *centres[2][:2])
    assert third.object_id == 3, "ids go on where they were"
    assert viewer.layers["b1_labels"].data.max() == 3


def test_looking_writes_nothing(walk, session, folder):
    before = {path.name for path in folder.iterdir()}
    for move in ("next", "next", "next", "previous"):
        go(walk, session, move)
    assert open_name(walk) == "b2.png"
    assert walk.messages[-2] == "This is the last image."
    assert {path.name for path in folder.iterdir()} == before
    assert not walk.is_changed


def test_prompts_not_accepted_come_back(walk, session, viewer, centres):
    """Prompts alone are worth saving: the mask is on offer again."""
    y, x, _ = centres[0]
    session.controller.annotator.add_point(FLAT, (y, x))
    offered = session.controller.annotator.shown.mask
    go(walk, session, "next")
    assert session.controller.annotator.shown is None
    go(walk, session, "previous")
    assert session.controller.annotator.shown.mask == offered
    assert viewer.layers["SAM points"].data.tolist() == [[y, x]]


def test_a_new_start_resumes(begin, walk, session, folder, viewer, centres):
    go(walk, session, "next")
    accept_at(session, 100.0, 100.0)
    assert walk.close()
    assert "b2.png" in layer_names(viewer), "closing leaves the layers"
    again = begin(folder)
    assert open_name(again) == "b2.png"
    assert len(session.controller.annotator.objects) == 1


def test_done_goes_to_the_next_that_is_not(walk, session, folder):
    go(walk, session, "open", 1)
    go(walk, session, "done_and_next")
    assert open_name(walk) == "b3.png"
    go(walk, session, "done_and_next")
    assert open_name(walk) == "b1.png"
    assert walk.project.n_done == 2
    assert written(folder / "b2_labels.tif").max() == 0, "empty labels are an answer"
    go(walk, session, "done_and_next")
    assert walk.messages[-1] == "All images are done."
    assert open_name(walk) == "b1.png"
    walk.mark_undone()
    assert walk.project.n_done == 2


def test_failing_save_stays_and_loses_nothing(
    walk, session, viewer, folder, centres, monkeypatch, warnings_shown
):
    accept_at(session, *centres[0][:2])

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("tifffile.imwrite", full)
        go(walk, session, "next")
        assert open_name(walk) == "b1.png"
        assert "could not be saved and stays open" in walk.messages[-1]
        assert "No space left" in warnings_shown[-1]
        assert not walk.close()
        go(walk, session, "done_and_next")
        assert walk.project.n_done == 0
    assert viewer.layers["b1_labels"].data.max() == 1
    assert walk.is_changed
    go(walk, session, "next")
    assert written(folder / "b1_labels.tif").max() == 1


def test_work_done_while_the_next_image_is_read_is_saved(
    walk, session, folder, centres, monkeypatch
):
    """Lesson 9 of the peers: nothing that the user does in between is lost."""
    accept_at(session, *centres[0][:2])
    walk.next()  # saving and reading are under way in the other thread
    accept_at(session, *centres[1][:2])
    settle(session)
    assert open_name(walk) == "b2.png"
    assert sorted(np.unique(written(folder / "b1_labels.tif"))) == [0, 1, 2]


def test_painting_by_hand_is_saved(walk, session, viewer, folder):
    viewer.layers["b1_labels"].paint((50, 50), 7)
    assert walk.is_changed
    go(walk, session, "save")
    assert written(folder / "b1_labels.tif")[50, 50] == 7
    assert walk.messages[-1] == "b1.png is saved."
    assert not walk.is_changed


def test_unreadable_image_is_skipped_in_both_directions(
    begin, session, folder, warnings_shown
):
    (folder / "b2.png").write_bytes(b"\x89PNG cut off")
    walk = begin(folder)
    go(walk, session, "next")
    assert open_name(walk) == "b3.png"
    assert "b2.png" in warnings_shown[-1]
    assert "b2.png" in walk.problems
    go(walk, session, "previous")
    assert open_name(walk) == "b1.png"


def test_unreadable_image_at_the_end_keeps_the_present_one(
    begin, session, folder, warnings_shown
):
    (folder / "b3.png").write_bytes(b"")
    walk = begin(folder)
    go(walk, session, "open", 1)
    go(walk, session, "next")
    assert open_name(walk) == "b2.png"
    assert "b3.png was skipped" in walk.messages[-1]


def test_labels_of_another_program_are_the_start(begin, session, viewer, folder, blobs):
    theirs = folder / "b1_labels.tif"
    tifffile.imwrite(theirs, blobs.labels.astype(np.uint16))
    original = theirs.read_bytes()
    walk = begin(folder)
    assert np.array_equal(viewer.layers["b1_labels"].data, blobs.labels)
    objects = list(session.controller.annotator.objects)
    assert len(objects) == len(np.unique(blobs.labels)) - 1
    assert {item.origin for item in objects} == {Origin.PAINTED}
    go(walk, session, "next")
    assert theirs.read_bytes() == original, "looking changes nothing"
    go(walk, session, "previous")
    viewer.layers["b1_labels"].paint((2, 2), 99)
    go(walk, session, "next")
    assert (folder / "b1_labels.tif.bak").read_bytes() == original
    assert "older file is kept as b1_labels.tif.bak" in walk.messages[-1]
    assert written(theirs)[2, 2] == 99


def test_labels_that_do_not_fit_are_put_aside(begin, session, viewer, folder):
    tifffile.imwrite(folder / "b1_labels.tif", np.ones((3, 3), np.uint8))
    walk = begin(folder)
    assert viewer.layers["b1_labels"].data.max() == 0
    assert "b1_labels.tif.bak" in walk.messages[-1]
    assert read_image(folder / "b1_labels.tif.bak").data.shape == (3, 3)


def test_annotation_of_another_image_is_put_aside(
    walk, begin, session, folder, centres
):
    accept_at(session, *centres[0][:2])
    go(walk, session, "next")
    walk.close()
    (folder / "b1.png").write_bytes((folder / "b3.png").read_bytes())
    again = begin(folder)
    go(again, session, "open", 0)
    assert "b1.sam.json.bak" in again.messages[-1]
    objects = list(session.controller.annotator.objects)
    assert [item.origin for item in objects] == [Origin.PAINTED], "labels are kept"


def test_pixels_changed_outside_make_painted_objects(
    walk, begin, session, folder, centres
):
    made = [accept_at(session, y, x) for y, x, _ in centres[:2]]
    walk.close()
    labels = written(folder / "b1_labels.tif").copy()
    labels[:2] = 2
    tifffile.imwrite(folder / "b1_labels.tif", labels)
    begin(folder)
    objects = session.controller.annotator.objects
    assert objects[FLAT, 1] == made[0]
    assert objects[FLAT, 2].origin is Origin.PAINTED


def test_annotation_alone_brings_the_labels(walk, begin, session, folder, viewer):
    accept_at(session, 100.0, 100.0)
    labels = viewer.layers["b1_labels"].data.copy()
    walk.close()
    (folder / "b1_labels.tif").unlink()
    begin(folder)
    assert np.array_equal(viewer.layers["b1_labels"].data, labels)


def test_layers_of_the_user_are_left_alone(walk, viewer, session, folder, centres):
    """Lesson 12 of the peers: no layer of the user's is touched."""
    points = viewer.add_points([[3, 4]], name="mine")
    own = viewer.add_labels(np.full((208, 256), 5, np.uint32), name="b1.png")
    before = own.data.copy()
    go(walk, session, "next")
    go(walk, session, "next")
    assert points in viewer.layers
    assert own in viewer.layers
    assert np.array_equal(own.data, before)


def test_labels_layer_chosen_by_the_user_is_what_is_saved(
    walk, viewer, session, folder, centres
):
    own = viewer.add_labels(np.zeros((208, 256), np.uint32), name="my labels")
    session.controller.use_labels(own)
    accept_at(session, *centres[0][:2])
    go(walk, session, "next")
    assert np.array_equal(written(folder / "b1_labels.tif"), own.data)
    assert own in viewer.layers


def kept(folder):
    return sorted(path.name for path in folder.glob("*.bak*"))


def saved_once(walk, session, folder, centres):
    """Make two objects, save them; returns what the files hold."""
    for y, x, _ in centres[:2]:
        accept_at(session, y, x)
    go(walk, session, "save")
    assert kept(folder) == []
    names = ("b1_labels.tif", "b1.sam.json")
    return {f"{name}.bak": (folder / name).read_bytes() for name in names}


def assert_kept(walk, folder, before):
    assert kept(folder) == sorted(before)
    for name, content in before.items():
        assert (folder / name).read_bytes() == content
        assert any(name in message for message in walk.messages)


def test_saved_labels_survive_the_choice_of_another_layer(
    walk, viewer, session, folder, centres
):
    before = saved_once(walk, session, folder, centres)
    own = viewer.add_labels(np.zeros((208, 256), np.uint32), name="my labels")
    session.controller.use_labels(own)
    accept_at(session, *centres[2][:2])
    go(walk, session, "save")
    assert_kept(walk, folder, before)
    assert np.array_equal(written(folder / "b1_labels.tif"), own.data)
    accept_at(session, *centres[3][:2])
    go(walk, session, "next")
    assert open_name(walk) == "b2.png"
    assert kept(folder) == sorted(before), "once is enough"
    assert np.array_equal(written(folder / "b1_labels.tif"), own.data)


def test_saved_labels_survive_the_removal_of_their_layer(
    walk, viewer, session, folder, centres
):
    before = saved_once(walk, session, folder, centres)
    viewer.layers.remove(viewer.layers["b1_labels"])
    session.controller.annotator.add_point(FLAT, centres[2][:2])
    session.controller.accept()
    go(walk, session, "next")
    assert open_name(walk) == "b2.png"
    assert_kept(walk, folder, before)
    assert np.unique(written(folder / "b1_labels.tif")).tolist() == [0, 1]


def test_saved_labels_survive_an_array_of_another_shape(
    walk, viewer, session, folder, centres
):
    before = saved_once(walk, session, folder, centres)
    viewer.layers["b1_labels"].data = np.zeros((5, 5), np.uint32)
    session.pump()  # a new layer takes its place
    go(walk, session, "next")
    assert open_name(walk) == "b2.png"
    assert_kept(walk, folder, before)
    assert written(folder / "b1_labels.tif").shape == (208, 256)


def test_an_array_that_does_not_fit_is_not_saved(
    walk, viewer, session, folder, centres, warnings_shown
):
    """Nobody makes a new layer while nothing is prompted."""
    before = saved_once(walk, session, folder, centres)
    session.stop_prompts()
    viewer.layers["b1_labels"].data = np.zeros((5, 5), np.uint32)
    go(walk, session, "next")
    assert open_name(walk) == "b1.png"
    assert "stays open" in walk.messages[-1]
    assert "5 x 5" in warnings_shown[-1]
    assert not walk.close()
    assert (folder / "b1_labels.tif").read_bytes() == before["b1_labels.tif.bak"]
    assert (folder / "b1.sam.json").read_bytes() == before["b1.sam.json.bak"]


def test_saved_labels_survive_another_array_and_closing(
    walk, viewer, session, folder, centres
):
    before = saved_once(walk, session, folder, centres)
    viewer.layers["b1_labels"].data = np.full((208, 256), 3, np.uint32)
    assert walk.close()
    assert_kept(walk, folder, before)
    assert written(folder / "b1_labels.tif").min() == 3


def test_stopping_and_starting_prompts_keeps_the_objects(
    walk, viewer, session, centres
):
    made = accept_at(session, *centres[0][:2])
    session.stop_prompts()
    assert walk.is_changed, "it is known and unsaved"
    session.start_prompts(
        viewer.layers["b1.png"], ModelSpec("tiny"), viewer.layers["b1_labels"]
    )
    assert list(session.controller.annotator.objects) == [made]


def test_next_image_is_embedded_meanwhile(begin, tmp_path, session, monkeypatch):
    """Lesson 18: what is made ahead is bounded, in main memory, and gives way.

    The encoder does not run again when the image kept ready is opened.

    Lesson 18 of the peers: one image ahead, at the lowest priority.
    """
    rng = np.random.default_rng(3)
    for number in range(3):  # of this test alone: the model knows the others already
        noise = rng.integers(0, 255, (64, 64), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"n{number}.png")
    runs = []
    encode = Engine.encode_image

    def counting(engine, *given):
        runs.append(1)
        return encode(engine, *given)

    monkeypatch.setattr(Engine, "encode_image", counting)
    walk = begin(tmp_path)
    assert len(runs) == 2, "the first image, and the second ahead"
    go(walk, session, "next")
    assert len(runs) == 3, "the third ahead; the second was known"
    session.controller.annotator.add_point(FLAT, (30.0, 30.0))
    assert len(runs) == 3


def test_image_kept_ready_is_read_again_if_its_file_changed(
    walk, session, folder, viewer
):
    assert walk.ahead.take(walk.project.images[0]) is None
    Image.fromarray(np.zeros((208, 256), np.uint8)).save(folder / "b2.png")
    go(walk, session, "next")
    assert viewer.layers["b2.png"].data.max() == 0


def test_stack_opens_in_the_middle_with_scale(tmp_path, begin, viewer, session, blobs):
    grey = blobs.image.mean(axis=2).astype(np.uint8)
    stack = np.stack([grey[::-1], grey, grey[:, ::-1]])
    metadata = {
        "axes": "ZYX",
        "PhysicalSizeX": 0.5,
        "PhysicalSizeY": 0.5,
        "PhysicalSizeZ": 2.0,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZUnit": "µm",
    }
    tifffile.imwrite(tmp_path / "s.ome.tif", stack, ome=True, metadata=metadata)
    walk = begin(tmp_path)
    assert viewer.layers["s.ome.tif"].scale.tolist() == [2.0, 0.5, 0.5]
    assert viewer.layers["s.ome.tif"].contrast_limits == [0, grey.max()]
    assert session.controller.plane == PlaneKey(axes=(1, 2), index=(1,))
    made = session.controller.annotator
    made.add_point(session.controller.plane, (100.0, 100.0))
    made.commit()
    go(walk, session, "save")
    labels = written(tmp_path / "s_labels.tif")
    assert [int(plane.max()) for plane in labels] == [0, 1, 0]
    state = load_annotation(tmp_path / "s.sam.json")
    assert state.objects[0].plane.index == (1,)


def test_channels_open_as_layers(tmp_path, begin, viewer, session, blobs):
    channels = np.moveaxis(blobs.image[..., :2], -1, 0)
    tifffile.imwrite(tmp_path / "c.tif", channels, metadata={"axes": "CYX"})
    begin(tmp_path)
    assert {"c.tif [0]", "c.tif [1]"} <= set(layer_names(viewer))
    assert viewer.layers["c_labels"].data.shape == (208, 256)
    assert session.controller.image == viewer.layers["c.tif [0]"]


def test_three_d_display_opens_the_image_without_prompts(
    begin, folder, viewer, session, warnings_shown
):
    viewer.dims.ndisplay = 3
    walk = begin(folder)
    assert open_name(walk) == "b1.png"
    assert session.controller is None
    assert "2-D" in warnings_shown[-1]
    viewer.layers["b1_labels"].data[3, 3] = 4
    viewer.dims.ndisplay = 2
    go(walk, session, "next")
    assert written(folder / "b1_labels.tif")[3, 3] == 4


def test_states_are_on_disk(walk, session, folder):
    go(walk, session, "done_and_next")
    found = json.loads((folder / "napari-sam-folder.json").read_text())
    assert found["images"]["b1.png"]["state"] == "done"
    assert found["current"] == "b2.png"


def test_folder_that_changes_underneath(walk, session, folder):
    (folder / "b2.png").unlink()
    (folder / "b1.png").rename(folder / "b9.png")
    walk.refresh()
    assert walk.index is None
    go(walk, session, "next")
    assert open_name(walk) == "b3.png"


def test_two_moves_at_once_are_one(walk, session):
    walk.next()
    walk.next()
    settle(session)
    assert open_name(walk) == "b2.png"


def test_release_lets_go(walk, session, viewer):
    walk.release()
    walk.next()
    settle(session)
    assert open_name(walk) == "b1.png"
    assert len(session.controller_changed) == 0


def test_view_settings_go_along(begin, tmp_path, session, blobs):
    """Channels and contrast chosen on one image hold for the next, by their place."""
    channels = np.moveaxis(blobs.image, -1, 0)
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / name, channels[:2], metadata={"axes": "CYX"})
    walk = begin(tmp_path)
    view = ViewSettings(channels=("a.tif [1]", None, "a.tif [0]"), gamma=0.5)
    opened = walk.opened
    session.start_prompts(
        opened.image, ModelSpec("tiny"), opened.labels, view, opened.images[1:]
    )
    go(walk, session, "next")
    source = session.controller.source
    shown = source.read_plane(FLAT)
    assert source.settings.gamma == 0.5
    assert not shown[..., 1].any()
    assert shown[..., 0].any()
    assert shown[..., 2].any()

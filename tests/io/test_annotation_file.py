# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_sam.annotation.objects import AnnotatedObject, Turn
from napari_sam.annotation.ports import PlaneKey
from napari_sam.annotation.state import AnnotationState
from napari_sam.errors import AnnotationFileError, OutputError
from napari_sam.io.annotation_file import load_annotation, read_facts, save_annotation
from napari_sam.structures.drawn import DrawnPrompts, DrawnShape, ShapeKind
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompts import PointPrompt

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "annotation-file.md"


@pytest.fixture
def state() -> AnnotationState:
    """Two objects on the second of two planes of 4 x 6 pixels."""
    plane = PlaneKey((1, 2), (1,))
    labels = np.zeros((4, 6), np.uint16)
    labels[0:2, 1:4] = 1
    labels[3, 4:6] = 2
    prompts = DrawnPrompts(
        points=(PointPrompt((0.5, 2.0)), PointPrompt((3.0, 0.0), 0)),
        shapes=(DrawnShape(ShapeKind.PATH, ((0.0, 1.0), (1.0, 3.0))),),
        mask=MaskWindow(0, 1, np.ones((1, 2), bool)),
    )
    clicked = AnnotatedObject(
        1,
        plane,
        (0, 1, 2, 4),
        6,
        (Turn(prompts, choice=2),),
        class_name="nucleus",
        candidate="medium",
        predicted_iou=0.875,
        seconds=3.5,
        model="embedded 0123456789ab",
    )
    painted = AnnotatedObject(2, plane, (3, 4, 4, 6), 2, origin="painted")
    return AnnotationState(
        image_identity="sha256:00ff",
        image_name="cells",
        image_path="/data/cells.tif",
        shape=(2, 4, 6),
        dtype="uint16",
        view={"gamma": 1.0},
        model={"model": "embedded", "weights": "sha256:0123456789ab"},
        objects=(clicked, painted),
        labels={plane: labels},
    )


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_annotation_comes_back(values, tmp_path, data):
    state = data.draw(values.states())
    path = save_annotation(tmp_path / "a.sam.json", state, is_other_replaced=True)
    found = load_annotation(path, state.image_identity)
    assert found == state
    assert all(labels.dtype.name == state.dtype for labels in found.labels.values())


def test_planes_without_labels_are_not_written(tmp_path, state):
    empty = {PlaneKey((1, 2), (0,)): np.zeros((4, 6), np.uint16)}
    path = save_annotation(
        tmp_path / "a.sam.json", replace(state, labels={**empty, **state.labels})
    )
    assert list(load_annotation(path).labels) == list(state.labels)


def test_label_image_has_all_planes(state):
    image = state.label_image()
    assert image.shape == (2, 4, 6)
    assert image.dtype == np.uint16
    assert image[1, 0].tolist() == [0, 1, 1, 1, 0, 0]
    assert not image[0].any()


def test_numpy_values_are_written(tmp_path, state):
    view = {"range": (np.float32(0.5), np.int64(3)), "colors": np.eye(2)}
    path = save_annotation(tmp_path / "a.sam.json", replace(state, view=view))
    assert load_annotation(path).view == {
        "range": [0.5, 3],
        "colors": [[1.0, 0.0], [0.0, 1.0]],
    }


@pytest.mark.parametrize("is_forced", [False, True])
def test_saving_again_keeps_when_it_was_created(
    tmp_path, state, monkeypatch, is_forced
):
    path = tmp_path / "a.sam.json"
    times = iter(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])
    monkeypatch.setattr("napari_sam.io.annotation_file.utc_now", lambda: next(times))
    save_annotation(path, state)
    save_annotation(path, replace(state, objects=()), is_other_replaced=is_forced)
    facts = read_facts(path)
    assert (facts.created, facts.modified) == (
        "2026-01-01T00:00:00Z",
        "2026-01-02T00:00:00Z",
    )
    assert load_annotation(path).objects == ()


def changed(path, **fields):
    """Change fields as somebody would who edits the file."""
    content = json.loads(path.read_text())
    content.pop("checksum")
    path.write_text(json.dumps(content | fields))
    return path


@pytest.fixture
def saved(tmp_path, state):
    return save_annotation(tmp_path / "a.sam.json", state)


def test_fields_of_a_later_version_are_ignored(saved, state):
    assert load_annotation(changed(saved, palette=["red"])) == state


def test_newer_version(saved, state):
    changed(saved, version=2)
    before = saved.read_bytes()
    with pytest.raises(AnnotationFileError, match=r"has version 2.*up to 1.*Update"):
        load_annotation(saved)
    with pytest.raises(AnnotationFileError, match=r"would be lost.*version 2"):
        save_annotation(saved, state)
    assert saved.read_bytes() == before


def test_other_image_is_named(saved):
    with pytest.raises(AnnotationFileError, match=r"'cells' \(sha256:00ff\).* other\."):
        load_annotation(saved, "other")


def test_file_of_another_image_is_not_overwritten(saved, state):
    before = saved.read_bytes()
    other = replace(state, image_identity="sha256:11", image_name="tissue")
    with pytest.raises(
        AnnotationFileError, match=r"'cells'.*'tissue'.*another name, or move"
    ) as told:
        save_annotation(saved, other)
    assert "say that" not in str(told.value), "a panel has nothing to say it with"
    assert saved.read_bytes() == before
    save_annotation(saved, other, is_other_replaced=True)
    assert load_annotation(saved).image_name == "tissue"


@pytest.mark.parametrize(
    "content", [b"my thesis", b"[1]", b"\xff\xfe\x00", b"{}", b"{ "]
)
def test_other_files_are_recognised_and_kept(tmp_path, state, content):
    path = tmp_path / "thesis.json"
    path.write_bytes(content)
    with pytest.raises(AnnotationFileError, match="no annotation file of napari-sam"):
        load_annotation(path)
    with pytest.raises(AnnotationFileError, match="would be lost"):
        save_annotation(path, state)
    assert path.read_bytes() == content


def test_cut_off_file(saved):
    content = saved.read_bytes()
    for n in (*range(60), *range(60, len(content) - 2, 97)):
        saved.write_bytes(content[:n])
        with pytest.raises(AnnotationFileError, match="is damaged"):
            load_annotation(saved)


@pytest.mark.parametrize("content", [b"", b"{", b"x", b"1", b"\xff"])
def test_next_to_nothing_is_a_damaged_file(tmp_path, state, content):
    path = tmp_path / "a.sam.json"
    path.write_bytes(content)
    with pytest.raises(AnnotationFileError, match=r"damaged: it has [01] bytes"):
        load_annotation(path)
    save_annotation(path, state, is_other_replaced=True)
    assert load_annotation(path) == state


def test_every_changed_letter_is_found(saved, state):
    content = saved.read_bytes()
    for place in range(100, len(content) - 3, 41):
        damaged = bytearray(content)
        damaged[place] ^= 1
        saved.write_bytes(damaged)
        try:
            assert load_annotation(saved) == state
        except AnnotationFileError:
            continue
        # White space and the case of digits say the same either way.
        assert chr(content[place]) in " \n"


@pytest.mark.parametrize(
    "fields",
    [
        {"objects": 5},
        {"label_image": {"shape": [2], "dtype": "uint16"}},
        {"label_image": {"shape": [2, 4, 5], "dtype": "uint16"}},
        {"label_image": {"shape": [1, 4, 6], "dtype": "uint16"}},
        {"label_image": {"shape": [4, 6], "dtype": "uint16"}},
        {"image": {}},
        {"settings": {"overlap": "fight"}},
        {"version": "1"},
        {"version": None},
    ],
    ids=str,
)
def test_nonsense_names_the_file(saved, fields):
    with pytest.raises(AnnotationFileError, match=re.escape(str(saved))):
        load_annotation(changed(saved, **fields))


def test_missing_file(tmp_path):
    with pytest.raises(AnnotationFileError, match=r"Cannot read .*nowhere.*No such"):
        load_annotation(tmp_path / "nowhere.sam.json")


def test_nothing_is_left_of_a_save_that_fails(saved, state, monkeypatch):
    before = saved.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match="No space left"):
        save_annotation(saved, state)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_page_shows_a_file_as_it_is_saved(tmp_path, saved, state):
    """The example of the reference is this state; its times and version vary.

    How labels are compressed may differ between machines, so they are read.
    """
    example = re.search(r"```json\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    assert example is not None
    copy = tmp_path / "copy.sam.json"
    copy.write_text(example[1], "utf-8")
    assert load_annotation(copy) == state
    shown, made = json.loads(example[1]), json.loads(saved.read_text())
    assert list(shown) == list(made)
    for name in ("created", "modified", "napari_sam", "checksum", "planes"):
        assert type(shown.pop(name)) is type(made.pop(name))
    assert shown == made


def test_page_reads_labels_without_napari_sam(saved, state):
    code = re.search(r"```python\n(import base64.*?)```", PAGE.read_text("utf-8"), re.S)
    assert code is not None
    namespace = {}
    exec(code[1], namespace)
    found = namespace["read_labels"](saved)
    np.testing.assert_array_equal(found, state.label_image())
    assert found.dtype == state.dtype


def test_page_names_every_field(saved):
    page = PAGE.read_text("utf-8")

    def names(content):
        if isinstance(content, dict):
            for name, value in content.items():
                yield name
                yield from names(value)
        elif isinstance(content, list):
            for value in content:
                yield from names(value)

    missing = {n for n in names(json.loads(saved.read_text())) if f"`{n}`" not in page}
    # What is inside these two is said elsewhere.
    assert missing <= {"gamma"}

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import os
import time
from dataclasses import replace

import numpy as np
import pytest

from napari_sam.annotation.history import PlaneEdit, Step
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import AnnotationFileError, OutputError
from napari_sam.io import journal as journal_module
from napari_sam.io.journal import Journal
from napari_sam.io.journal_reader import discard_journal, find_unfinished
from napari_sam.io.journal_replay import recover
from napari_sam.structures.labels import LabelEdit

FIRST, SECOND = PlaneKey((1, 2), (0,)), PlaneKey((1, 2), (1,))


@pytest.fixture
def scribe(values):
    return values.Scribe()


@pytest.fixture
def journal(scribe, tmp_path):
    journal = Journal(scribe, tmp_path / "journals")
    yield journal
    journal.close()


def ended(journal):
    """Let go of the file as the end of a process does; returns its path."""
    path = journal.path
    journal._file.close()
    return path


def files(tmp_path):
    return sorted((tmp_path / "journals").glob("*"))


def test_nothing_is_written_before_the_first_step(journal, tmp_path):
    assert journal.path is None
    assert files(tmp_path) == []


def test_everything_comes_back(scribe, journal):
    scribe.click(FIRST, (2.0, 3.0))
    scribe.accept(FIRST, (1, 1, 5, 6))
    scribe.click(SECOND, (4.0, 4.0))
    taken_back = scribe.accept(SECOND, (3, 3, 6, 7)).inverse()
    scribe.do(taken_back, "undo")
    recovery = recover(ended(journal))
    assert recovery.state == scribe.snapshot()
    assert recovery.state.draft == scribe.draft
    assert recovery.state.draft.plane == SECOND
    np.testing.assert_array_equal(recovery.state.label_image(), scribe.labels)
    assert (recovery.n_steps, recovery.notices) == (5, ())


def test_labels_from_before_come_back(scribe, journal):
    scribe.labels[:, :4, :4] = 40
    scribe.labels[2, 8:, 8:] = 41
    scribe.accept(SECOND, (1, 1, 5, 6))
    scribe.accept(FIRST, (0, 0, 2, 2))
    np.testing.assert_array_equal(
        recover(ended(journal)).state.label_image(), scribe.labels
    )


def test_many_planes_do_not_hold_up_the_first_step(scribe, journal, monkeypatch):
    """Only the plane that is changed is written at once, the others follow."""
    scribe.labels[:] = 40
    monkeypatch.setattr(journal_module, "_SLICE_SECONDS", 0.0)
    scribe.accept(SECOND, (1, 1, 5, 6))
    recovery = recover(journal.path)
    assert set(recovery.state.labels) == {SECOND}
    assert "may be missing" in recovery.notices[0]
    np.testing.assert_array_equal(recovery.state.labels[SECOND], scribe.labels[1])
    assert journal.write_pending(seconds=10.0)
    recovery = recover(ended(journal))
    np.testing.assert_array_equal(recovery.state.label_image(), scribe.labels)
    assert recovery.notices == ()


def test_edit_along_other_axes(scribe, journal, monkeypatch):
    scribe.labels[:] = 40
    monkeypatch.setattr(journal_module, "_SLICE_SECONDS", 0.0)
    scribe.accept(SECOND, (1, 1, 5, 6))
    scribe.accept(PlaneKey((0, 1), (7,)), (0, 2, 3, 9))
    np.testing.assert_array_equal(
        recover(ended(journal)).state.label_image(), scribe.labels
    )


def test_prompts_on_several_planes_come_back(scribe, journal, values):
    scribe.click(FIRST, (1.0, 1.0))
    first, scribe.draft = scribe.draft, None
    scribe.click(SECOND, (2.0, 2.0))
    state = recover(ended(journal)).state
    assert state.draft == scribe.draft
    assert state.other_drafts == (first,)


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_types_of_labels(values, tmp_path, dtype):
    scribe = values.Scribe((6, 8), dtype)
    journal = Journal(scribe, tmp_path)
    scribe.accept(PlaneKey(), (1, 1, 3, 3))
    state = recover(ended(journal)).state
    assert state.dtype == dtype
    assert state.label_image().dtype == scribe.labels.dtype
    assert state == scribe.snapshot()


def test_torn_last_line_costs_one_step(scribe, journal):
    scribe.accept(FIRST, (1, 1, 5, 6))
    before = journal.path.stat().st_size
    kept = scribe.snapshot()
    scribe.accept(SECOND, (1, 1, 5, 6))
    path = ended(journal)
    content = path.read_bytes()
    for n_bytes in range(before, len(content), 13):
        path.write_bytes(content[:n_bytes])
        recovery = recover(path)
        assert recovery.state == kept
        assert (recovery.n_steps, recovery.notices) == (1, ())


def test_beginning_that_is_torn(scribe, journal):
    scribe.accept(FIRST, (1, 1, 5, 6))
    path = ended(journal)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1]) + lines[1][:50])
    assert find_unfinished(folder=path.parent) == []
    with pytest.raises(AnnotationFileError, match="nothing to restore"):
        recover(path)
    path.write_bytes(lines[0][:50])
    with pytest.raises(AnnotationFileError, match="no journal"):
        recover(path)


@pytest.mark.parametrize("damage", ["bit", "line", "newline"])
def test_damage_in_the_middle_keeps_what_is_before(scribe, journal, damage):
    kept = []
    for i in range(4):
        scribe.accept(FIRST, (i, i, i + 5, i + 6))
        kept.append(scribe.snapshot())
    path = ended(journal)
    lines = path.read_bytes().splitlines(keepends=True)
    third = len(lines) - 2
    if damage == "bit":
        middle = bytearray(lines[third])
        middle[60] ^= 4
        lines[third] = bytes(middle)
    elif damage == "line":
        del lines[third]
    else:
        lines[third] = lines[third][:-1] + b" "
    path.write_bytes(b"".join(lines))
    recovery = recover(path)
    assert recovery.state == kept[1]
    assert recovery.n_steps == 2
    (notice,) = recovery.notices
    assert "'cells'" in notice
    assert "damaged after step 2" in notice


def test_step_that_this_version_does_not_know(scribe, journal):
    scribe.accept(FIRST, (1, 1, 5, 6))
    kept = scribe.snapshot()
    path = journal.path
    journal._file.append({"kind": "do", "step": {"text": "x", "edits": 3}})
    scribe.accept(FIRST, (3, 3, 5, 6))
    recovery = recover(path)
    assert recovery.state == kept
    assert "step 2 and later ones cannot be used: 'edits' is a list" in str(
        recovery.notices
    )


def test_box_outside_the_image_is_refused(scribe, journal):
    scribe.accept(FIRST, (1, 1, 5, 6))
    one = np.ones((3, 3), np.uint32)
    edit = PlaneEdit(FIRST, LabelEdit((11, 0, 14, 3), one, one))
    scribe.stepped.emit(Step("x", edits=(edit,)), "do")
    assert "leaves a plane of 12 x 16" in recover(ended(journal)).notices[0]


def test_newer_journal_is_refused(scribe, journal, monkeypatch):
    monkeypatch.setattr(journal_module, "VERSION", 2)
    scribe.accept(FIRST, (1, 1, 5, 6))
    with pytest.raises(AnnotationFileError, match="version 2"):
        recover(journal.path)


def test_journals_in_use_are_not_offered(scribe, journal, tmp_path):
    scribe.accept(FIRST, (1, 1, 5, 6))
    folder = tmp_path / "journals"
    assert find_unfinished(folder=folder) == []
    with pytest.raises(AnnotationFileError, match="being written"):
        discard_journal(journal.path)
    path = ended(journal)
    (info,) = find_unfinished("abc", folder)
    assert (info.path, info.image_name, info.pid) == (path, "cells", os.getpid())
    assert info.started <= info.modified
    assert find_unfinished("another image", folder) == []
    discard_journal(path)
    assert files(tmp_path) == []


def test_other_files_in_the_folder_are_left_alone(tmp_path):
    (tmp_path / "a.journal").write_text("dear diary")
    (tmp_path / "b.journal").write_bytes(b"")
    assert find_unfinished(folder=tmp_path) == []
    assert find_unfinished(folder=tmp_path / "missing") == []
    assert len(list(tmp_path.iterdir())) == 2


def test_two_annotators_do_not_share_a_file(values, tmp_path):
    scribes = [values.Scribe(), values.Scribe()]
    journals = [Journal(scribe, tmp_path) for scribe in scribes]
    for i, scribe in enumerate(scribes):
        scribe.accept(FIRST, (i, i, i + 3, i + 3))
    paths = [ended(journal) for journal in journals]
    assert len(set(paths)) == 2
    for path, scribe in zip(paths, scribes, strict=True):
        assert recover(path).state == scribe.snapshot()


def test_clean_end_leaves_nothing(scribe, journal, tmp_path):
    scribe.accept(FIRST, (1, 1, 5, 6))
    journal.close()
    assert files(tmp_path) == []
    scribe.accept(FIRST, (3, 3, 5, 6))
    assert files(tmp_path) == []


def test_end_that_is_not_clean_leaves_everything(scribe, journal, monkeypatch):
    monkeypatch.setattr(journal_module, "_SLICE_SECONDS", 0.0)
    scribe.labels[:] = 40
    scribe.accept(FIRST, (1, 1, 5, 6))
    path = journal.path
    journal.close(is_clean=False)
    assert recover(path).state == scribe.snapshot()


def test_long_journal_begins_anew(values, tmp_path):
    scribe = values.Scribe()
    journal = Journal(scribe, tmp_path, max_bytes=20_000)
    scribe.click(SECOND, (1.0, 1.0))
    paths = set()
    for i in range(60):
        scribe.accept(FIRST, (i % 7, 0, i % 7 + 3, 9))
        scribe.click(SECOND, (float(i % 7), 2.0))
        assert len(list(tmp_path.iterdir())) == 1
        paths.add(journal.path)
    assert len(paths) > 2
    assert len(list(tmp_path.iterdir())) == 1
    recovery = recover(ended(journal))
    assert recovery.state == scribe.snapshot()
    assert recovery.n_steps < 120


def test_new_file_that_is_not_whole_does_not_count(scribe, journal, tmp_path):
    """The process ended while it began the next generation."""
    scribe.labels[2] = 9
    scribe.accept(FIRST, (1, 1, 5, 6))
    old = journal.path.read_bytes(), journal.path
    journal.rebase()
    new = ended(journal)
    lines = new.read_bytes().splitlines(keepends=True)
    old[1].write_bytes(old[0])
    new.write_bytes(b"".join(lines[:-1]))
    (info,) = find_unfinished(folder=tmp_path / "journals")
    assert info.path == old[1]
    new.write_bytes(b"".join(lines))
    (info,) = find_unfinished(folder=tmp_path / "journals")
    assert info.path == new
    discard_journal(new)
    assert files(tmp_path) == []


def test_generations_belong_together_whatever_the_image_is_called(
    scribe, journal, tmp_path, monkeypatch
):
    scribe.accept(FIRST, (1, 1, 5, 6))
    old = journal.path.read_bytes(), journal.path
    named = replace(scribe.snapshot(), image_name="other-name")
    monkeypatch.setattr(scribe, "snapshot", lambda: named)
    journal.rebase()
    new = ended(journal)
    assert new.name.startswith("other-name-")
    old[1].write_bytes(old[0])
    assert [info.path for info in find_unfinished(folder=new.parent)] == [new]
    discard_journal(new)
    assert files(tmp_path) == []


def test_labels_that_were_replaced(scribe, journal, tmp_path):
    scribe.accept(FIRST, (1, 1, 5, 6))
    scribe.labels[:] = 0
    scribe.labels[1, 2:4] = 77
    scribe.objects.clear()
    scribe.objects_changed.emit(())
    assert recover(journal.path).state == scribe.snapshot()
    scribe.accept(SECOND, (1, 1, 5, 6))
    assert len(files(tmp_path)) == 1
    recovery = recover(ended(journal))
    assert recovery.state == scribe.snapshot()
    assert recovery.n_steps == 1


def test_restored_annotation_is_safe_at_once(scribe, journal):
    scribe.labels[1, 2:4] = 77
    journal.rebase()
    assert recover(ended(journal)).state == scribe.snapshot()


class FullDisk:
    """A file that takes only the beginning of what is written."""

    def __init__(self, file):
        self.file = file

    def write(self, data):
        if len(data) > 30:
            return self.file.write(data[:30])
        raise OSError(errno.ENOSPC, "No space left on device")

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_full_disk_is_told_once_and_made_good(scribe, journal):
    heard = []
    journal.failed.connect(heard.append)
    scribe.accept(FIRST, (1, 1, 5, 6))
    kept = scribe.snapshot()
    file = journal._file
    file._file = FullDisk(file._file)
    scribe.accept(FIRST, (3, 3, 5, 6))
    scribe.accept(FIRST, (4, 4, 6, 6))
    (error,) = heard
    assert isinstance(error, OutputError)
    assert "No space left" in str(error)
    recovery = recover(journal.path)
    assert (recovery.state, recovery.notices) == (kept, ())
    file._file = file._file.file
    scribe.accept(SECOND, (4, 4, 6, 6))
    recovery = recover(ended(journal))
    assert recovery.state == scribe.snapshot()
    assert recovery.n_steps == 4


def test_folder_that_cannot_be_made(values, tmp_path):
    (tmp_path / "file").write_text("x")
    scribe = values.Scribe()
    journal = Journal(scribe, tmp_path / "file" / "journals")
    heard = []
    journal.failed.connect(heard.append)
    scribe.accept(FIRST, (1, 1, 5, 6))
    scribe.accept(FIRST, (2, 2, 5, 6))
    assert len(heard) == 1
    # Not tried again with every step: each try takes a copy of all labels.
    assert scribe.n_snapshots == 1
    with pytest.raises(OutputError):
        journal.rebase()


def test_old_file_stays_when_the_new_one_fails(scribe, journal, tmp_path, monkeypatch):
    scribe.accept(FIRST, (1, 1, 5, 6))
    path = journal.path

    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="No space"):
            journal.rebase()
    assert files(tmp_path) == [path]
    scribe.accept(SECOND, (1, 1, 5, 6))
    assert recover(ended(journal)).state == scribe.snapshot()


def test_folder_comes_from_the_environment(scribe, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SAM_DATA_DIR", str(tmp_path))
    journal = Journal(scribe)
    scribe.accept(FIRST, (1, 1, 5, 6))
    assert journal.path.parent == tmp_path / "journals"
    ended(journal)
    assert [info.path for info in find_unfinished("abc")] == [journal.path]


def test_name_of_the_file_is_safe(values, tmp_path):
    scribe = values.Scribe()
    named = replace(scribe.snapshot(), image_name="../Zelle 5/ä:*?" + "x" * 100)
    scribe.snapshot = lambda: named
    journal = Journal(scribe, tmp_path)
    scribe.click(FIRST, (1.0, 1.0))
    assert journal.path.parent == tmp_path
    assert journal.path.name.startswith("Zelle_5_")
    assert len(journal.path.name) < 120
    journal.close()


def test_synced_steps_reach_the_disk(values, tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    scribe = values.Scribe()
    journal = Journal(scribe, tmp_path, is_synced=True)
    scribe.click(FIRST, (1.0, 1.0))
    n_first = len(synced)
    scribe.click(FIRST, (2.0, 1.0))
    assert len(synced) > n_first > 0
    journal.close()


def test_step_of_a_usual_object_takes_no_time(values, tmp_path):
    """An object of 100 x 100 pixels on a plane of 2048 x 2048 that is not empty."""
    scribe = values.Scribe((2048, 2048))
    scribe.labels[::300, ::300] = np.arange(49).reshape(7, 7)
    journal = Journal(scribe, tmp_path)
    plane = PlaneKey()
    scribe.accept(plane, (0, 0, 100, 100))
    seconds = []
    for i in range(20):
        scribe.stepped.disconnect()
        step = scribe.accept(plane, (i * 50, 40, i * 50 + 100, 140))
        started = time.perf_counter()
        journal._on_step(step, "do")
        seconds.append(time.perf_counter() - started)
    # The fastest, as other work on the machine makes some slower.
    assert min(seconds) < 0.005
    journal.close()

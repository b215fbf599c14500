# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_sam._bridge import preferences
from napari_sam._bridge.embeddings import (
    apply_embedding_settings,
    chosen_folder,
    clear_kept,
    count_kept,
    fit_kept,
    is_folder_fixed,
    shared_library,
)
from napari_sam._bridge.model_segmenter import ModelSpec, load_segmenter
from napari_sam._bridge.preferences import (
    EmbeddingSettings,
    embedding_settings,
    save_embedding_settings,
)
from napari_sam.io.embedding_store import Usage
from napari_sam.structures.embedding import ImageEmbedding

MIB = 1 << 20
MINI = Path(__file__).parents[1] / "data" / "parity" / "mini.safetensors"


@pytest.fixture(autouse=True)
def _without_preferences(monkeypatch):
    monkeypatch.setattr(preferences, "_settings", lambda: None)
    preferences._CHOSEN.clear()
    yield
    preferences._CHOSEN.clear()


def made_of(number: int) -> ImageEmbedding:
    values = np.full((1, 256, 32, 32), number, np.float32)  # 1 MiB
    return ImageEmbedding(values, (), (9, 9), (9, 9), "m", f"{number:064x}", "d")


def change(**changes) -> None:
    save_embedding_settings(replace(embedding_settings(), **changes))
    apply_embedding_settings()


def put(*numbers: int) -> None:
    for number in numbers:
        shared_library().put(made_of(number))
    assert shared_library().flush()


def test_embeddings_are_kept_on_disk_from_the_beginning():
    assert embedding_settings() == EmbeddingSettings()
    put(1, 2)
    kept = count_kept()
    assert kept.in_memory == Usage(2, 2 * MIB)
    assert kept.on_disk.n_embeddings == 2
    shared_library.cache_clear()  # another session
    assert count_kept().in_memory == Usage(0, 0)
    found = shared_library().get(made_of(2).digest)
    np.testing.assert_array_equal(found.features, made_of(2).features)


def test_switched_off_nothing_is_written_or_read():
    put(1)
    change(is_on_disk=False)
    put(2)
    shared_library().clear_memory()
    assert shared_library().get(made_of(1).digest) is None
    assert count_kept().on_disk.n_embeddings == 1
    change(is_on_disk=True)
    assert shared_library().get(made_of(1).digest) is not None


def test_half_precision_takes_half_the_space():
    put(1)
    whole = count_kept().on_disk.n_bytes
    clear_kept()
    change(is_half=True)
    put(1)
    assert count_kept().on_disk.n_bytes < 0.51 * whole


def test_a_lower_limit_is_kept_at_once():
    put(1, 2, 3, 4, 5)
    change(max_gib=3.5 / 1024)
    kept = fit_kept()
    assert 0 < kept.on_disk.n_bytes <= 3.5 * MIB
    assert kept.in_memory.n_embeddings == 5


def test_clear_leaves_nothing():
    put(1, 2)
    assert clear_kept() == (Usage(0, 0), Usage(0, 0))
    assert shared_library().get(made_of(1).digest) is None


def test_where_they_are(tmp_path, monkeypatch):
    change(folder=str(tmp_path / "mine"))
    assert is_folder_fixed()  # by the tests themselves
    assert chosen_folder() != tmp_path / "mine"
    monkeypatch.delenv("NAPARI_SAM_EMBEDDINGS_DIR")
    assert not is_folder_fixed()
    assert chosen_folder() == tmp_path / "mine"
    apply_embedding_settings()
    put(1)
    assert len(list((tmp_path / "mine").iterdir())) == 1
    change(folder="")
    assert chosen_folder().name == "embeddings"


def test_a_folder_that_cannot_be_written_is_told_once(
    tmp_path, monkeypatch, warnings_shown
):
    monkeypatch.delenv("NAPARI_SAM_EMBEDDINGS_DIR")
    (tmp_path / "file").write_text("in the way", "utf-8")
    change(folder=str(tmp_path / "file"))
    put(1, 2)
    assert len(warnings_shown) == 1
    assert str(tmp_path / "file") in warnings_shown[0]
    assert shared_library().get(made_of(1).digest) is not None


def test_napari_s_preferences_keep_what_is_chosen(monkeypatch):
    class Page:
        on_disk, limit_gib, half_precision = True, 5, False
        folder, ahead = "", True

    class Settings:
        embeddings = Page

    monkeypatch.setattr(preferences, "_settings", lambda: Settings)
    assert embedding_settings() == EmbeddingSettings()
    chosen = EmbeddingSettings(
        is_on_disk=False, max_gib=2.5, is_half=True, folder="/x", is_ahead=False
    )
    save_embedding_settings(chosen)
    assert embedding_settings() == chosen
    assert Page.limit_gib == 2.5


def test_models_of_all_viewers_share_what_was_made(blobs):
    spec = ModelSpec("mini", str(MINI), "cpu")
    first = load_segmenter(spec).embed(blobs.image)
    assert shared_library().flush()
    assert count_kept().on_disk.n_embeddings == 1
    shared_library().clear_memory()
    second = load_segmenter(spec).embed(blobs.image)
    assert count_kept().in_memory.n_embeddings == 1  # from disk
    np.testing.assert_array_equal(first.whole.features, second.whole.features)

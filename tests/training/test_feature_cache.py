# SPDX-License-Identifier: Apache-2.0
"""Embeddings of a frozen encoder: made once, read back, made again when damaged."""

import numpy as np
import pytest
import torch

from napari_sam.io import atomic
from napari_sam.modeling.sam import ImageFeatures
from napari_sam.training import feature_cache
from napari_sam.training.feature_cache import FeatureCache, weights_digest
from napari_sam.training.frame_decoder import encode_frame
from napari_sam.training.frames import FrameSource
from napari_sam.training.recipe import Frames

GIGABYTE = 10**9


@pytest.fixture
def frame(tiny, scene):
    return FrameSource([scene], tiny, Frames()).views(0)[0]


@pytest.fixture
def encodings(monkeypatch):
    """Count how often the encoder runs."""
    made = []

    def counted(model, frame):
        made.append(frame)
        return encode_frame(model, frame)

    monkeypatch.setattr(feature_cache, "encode_frame", counted)
    return made


def test_what_is_kept_equals_what_the_encoder_says(
    tiny, frame, tmp_path, encodings
) -> None:
    with torch.no_grad():
        plain = encode_frame(tiny, frame).embedding
    cache = FeatureCache(tiny, tmp_path, GIGABYTE)
    for _ in range(3):
        found = cache.get(0, lambda: frame)
        assert torch.equal(found.features.embedding, plain)
        assert not found.features.embedding.requires_grad
    assert len(encodings) == 1


def test_a_restart_reads_files_and_repairs_damaged_ones(
    tiny, frame, tmp_path, encodings
) -> None:
    first = FeatureCache(tiny, tmp_path, GIGABYTE).get(0, lambda: frame)
    again = FeatureCache(tiny, tmp_path, GIGABYTE).get("other key", lambda: frame)
    assert torch.equal(first.features.embedding, again.features.embedding)
    assert len(encodings) == 1
    (file,) = (tmp_path / "features").iterdir()
    file.write_bytes(b"nonsense")
    third = FeatureCache(tiny, tmp_path, GIGABYTE).get(0, lambda: frame)
    assert torch.equal(first.features.embedding, third.features.embedding)
    assert len(encodings) == 2


def test_finer_maps_are_kept_in_their_order(tmp_path) -> None:
    finer = (torch.randn(1, 4, 8, 8), torch.randn(1, 2, 16, 16))
    path = tmp_path / "x.safetensors"
    features = ImageFeatures(torch.randn(1, 8, 4, 4), finer)
    tensors = feature_cache._tensors(features)
    feature_cache._save({str(i): x for i, x in enumerate(tensors)}, path)
    found = feature_cache._read(path)
    assert torch.equal(found.embedding, features.embedding)
    for one, other in zip(found.high_res, finer, strict=True):
        assert torch.equal(one, other)


def test_other_weights_do_not_read_these_files(
    tiny, frame, tmp_path, encodings
) -> None:
    FeatureCache(tiny, tmp_path, GIGABYTE).get(0, lambda: frame)
    before = weights_digest(tiny.image_encoder)
    with torch.no_grad():
        tiny.image_encoder.pos_embed.add_(0.1)
    assert weights_digest(tiny.image_encoder) != before
    FeatureCache(tiny, tmp_path, GIGABYTE).get(0, lambda: frame)
    assert len(encodings) == 2


def test_another_precision_does_not_read_these_files(
    tiny, frame, tmp_path, encodings
) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float32):
        FeatureCache(tiny, tmp_path, GIGABYTE, dtype).get(0, lambda: frame)
    assert len(encodings) == 2
    assert len(list((tmp_path / "features").iterdir())) == 2


def test_the_disk_is_bounded_and_may_be_full(
    tiny, frame, tmp_path, monkeypatch, caplog
) -> None:
    FeatureCache(tiny, tmp_path, 100).get(0, lambda: frame)
    assert not (tmp_path / "features").exists()

    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.Path, "replace", full)
    found = FeatureCache(tiny, tmp_path, GIGABYTE).get(0, lambda: frame)
    assert np.isfinite(found.features.embedding.numpy()).all()
    assert "in memory only" in caplog.text
    assert list((tmp_path / "features").iterdir()) == []


def test_without_a_frame_there_is_nothing(tiny, tmp_path) -> None:
    assert FeatureCache(tiny, tmp_path, GIGABYTE).get(0, lambda: None) is None


def test_the_end_of_a_run_deletes_only_its_own_files(tiny, frame, tmp_path) -> None:
    cache = FeatureCache(tiny, tmp_path, GIGABYTE)
    cache.get(0, lambda: frame)
    mine = tmp_path / "features" / "mine.safetensors"
    mine.write_text("x")
    cache.clear()
    assert list((tmp_path / "features").iterdir()) == [mine]
    mine.unlink()
    cache.clear()
    assert not (tmp_path / "features").exists()

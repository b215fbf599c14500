# SPDX-License-Identifier: Apache-2.0
"""Embeddings that come back from memory and from disk answer as the model's own do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_sam.io.embedding_store import EmbeddingStore
from napari_sam.prediction.embedding_library import EmbeddingLibrary
from napari_sam.prediction.model_segmenter import ModelSegmenter
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.structures.plane_pixels import ArrayPixels
from napari_sam.structures.plane_view import PlaneView


class Counted(SamPredictor):
    """A predictor that counts how often the encoder runs."""

    def __init__(self, model, library) -> None:
        super().__init__(model, library=library)
        self.n_encoded = 0
        encode = self._engine.encode_image

        def count(*arguments):
            self.n_encoded += 1
            return encode(*arguments)

        self._engine.encode_image = count


@pytest.fixture
def centres(blobs):
    from scipy.ndimage import center_of_mass

    labels = np.unique(blobs.labels)[1:]
    return center_of_mass(blobs.labels > 0, blobs.labels, labels)


def masks_of(predictor, embedding, centres):
    return [
        predictor.predict(embedding, [centre], multimask_output=True).masks
        for centre in centres
    ]


def test_a_second_predictor_encodes_nothing(tiny_sam, blobs, centres):
    library = EmbeddingLibrary()
    first, second = Counted(tiny_sam, library), Counted(tiny_sam, library)
    made, found = first.embed(blobs.image), second.embed(blobs.image)
    assert (first.n_encoded, second.n_encoded) == (1, 0)
    np.testing.assert_array_equal(
        masks_of(first, made, centres), masks_of(second, found, centres)
    )


def test_another_session_encodes_nothing(tiny_sam, blobs, centres, tmp_path):
    library = EmbeddingLibrary(EmbeddingStore(tmp_path))
    predictor = Counted(tiny_sam, library)
    made = predictor.embed(blobs.image)
    assert library.flush()
    later = Counted(tiny_sam, EmbeddingLibrary(EmbeddingStore(tmp_path)))
    found = later.embed(blobs.image)
    assert later.n_encoded == 0
    assert found.digest == made.digest
    assert (found.input_size, found.original_size) == ((208, 256), (208, 256))
    np.testing.assert_array_equal(found.features, made.features)
    np.testing.assert_array_equal(
        masks_of(later, found, centres), masks_of(predictor, made, centres)
    )
    assert later.recall(made.digest) == made
    assert later.recall("0" * 64) is None


def test_other_pixels_other_weights_another_size_are_encoded(tiny_sam, blobs):
    library = EmbeddingLibrary()
    predictor = Counted(tiny_sam, library)
    predictor.embed(blobs.image)
    changed = blobs.image.copy()
    changed[100, 100] ^= 1
    predictor.embed(changed)
    predictor.embed(blobs.image[:-1])
    assert predictor.n_encoded == 3
    other = Counted(tiny_sam, library)
    digest, tiny_sam.digest = tiny_sam.digest, "0" * 64
    try:
        other.embed(blobs.image)
    finally:
        tiny_sam.digest = digest
    assert other.n_encoded == 1


def test_the_precision_of_the_encoder_is_part_of_the_key(tiny_sam, blobs, monkeypatch):
    digest = SamPredictor(tiny_sam)._embedder.digest_of(blobs.image)
    monkeypatch.setattr(
        tiny_sam.image_encoder, "compute_dtype", torch.bfloat16, raising=False
    )
    assert SamPredictor(tiny_sam)._embedder.digest_of(blobs.image) != digest


def test_the_same_plane_shown_in_two_sizes_is_two_embeddings(tiny_sam):
    """Both fill the frame with the same pixels; the masks differ in size."""
    predictor = Counted(tiny_sam, EmbeddingLibrary())
    small = predictor.embed(np.full((128, 128, 3), 90, np.uint8))
    large = predictor.embed(np.full((512, 512, 3), 90, np.uint8))
    assert small != large
    assert predictor.predict(large, [(5, 5)]).masks.shape[1:] == (512, 512)


def test_half_precision_changes_next_to_nothing(tiny_sam, blobs, centres, tmp_path):
    predictor = SamPredictor(tiny_sam)
    made = predictor.embed(blobs.image)
    store = EmbeddingStore(tmp_path, is_half=True)
    store.put(made)
    rounded = replace(store.get(made.digest), digest="1" * 64)
    assert not np.array_equal(rounded.features, made.features)
    pairs = zip(
        masks_of(predictor, made, centres),
        masks_of(predictor, rounded, centres),
        strict=True,
    )
    ious = [
        (a & b).sum() / (a | b).sum()
        for one, two in pairs
        for a, b in zip(one, two, strict=True)
    ]
    assert len(ious) == 33
    assert np.mean(ious) >= 0.9998


def test_without_a_library_nothing_is_recalled(tiny_sam, blobs):
    predictor = SamPredictor(tiny_sam)
    assert predictor.recall(predictor.embed(blobs.image).digest) is None


class Reads:
    """Pixels of a plane that count how often they are read."""

    def __init__(self, array: np.ndarray) -> None:
        self._pixels = ArrayPixels([array])
        self.shape = self._pixels.shape
        self.level_shapes = self._pixels.level_shapes
        self.dtype = self._pixels.dtype
        self.n_reads = 0

    def read(self, box, level=0):
        self.n_reads += 1
        return self._pixels.read(box, level)


def test_a_remembered_digest_stands_for_the_pixels(tiny_sam, blobs, centres):
    segmenter = ModelSegmenter(tiny_sam, EmbeddingLibrary())
    digests: dict = {}
    first = segmenter.embed(blobs.image, digests=digests)
    assert list(digests.values()) == [first.whole.digest]
    pixels = Reads(blobs.image)
    second = segmenter.embed(pixels, digests=digests)
    assert pixels.n_reads == 0
    for centre in centres[:3]:
        for one, two in zip(
            segmenter.preview(first, centre).masks,
            segmenter.preview(second, centre).masks,
            strict=True,
        ):
            assert one.box == two.box
            np.testing.assert_array_equal(one.crop, two.crop)


def test_a_digest_that_nobody_knows_any_more_reads_the_pixels(tiny_sam, blobs):
    library = EmbeddingLibrary()
    segmenter = ModelSegmenter(tiny_sam, library)
    digests: dict = {}
    made = segmenter.embed(blobs.image, digests=digests)
    library.clear_memory()
    pixels = Reads(blobs.image)
    again = segmenter.embed(pixels, digests=digests)
    assert pixels.n_reads > 0
    np.testing.assert_array_equal(again.whole.features, made.whole.features)


def test_of_a_large_plane_each_region_is_remembered(tiny_sam, blobs):
    library = EmbeddingLibrary()
    picture = np.tile(blobs.image, (4, 4, 1))
    view = PlaneView((300.0, 300.0, 500.0, 500.0), 1.0)
    digests: dict = {}
    ModelSegmenter(tiny_sam, library).embed(picture, view=view, digests=digests)
    assert len(digests) == 1
    pixels = Reads(picture)
    later = ModelSegmenter(tiny_sam, library)
    embedding = later.embed(pixels, view=view, digests=digests)
    assert pixels.n_reads == 0
    assert later.is_ready(embedding, next(iter(digests)))


@pytest.mark.parametrize("times", [1, 4])
def test_what_was_seen_ahead_is_embedded_as_it_is(tiny_sam, blobs, times):
    grey = np.tile(blobs.image[..., 1].astype(np.uint16) * 100 + 7, (times, times))
    segmenter = ModelSegmenter(tiny_sam)
    pixels = Reads(grey)
    seen = segmenter.see(pixels)
    n_reads = pixels.n_reads
    assert n_reads > 0
    ahead, direct = segmenter.embed(seen), segmenter.embed(grey)
    assert ahead.whole.digest == direct.whole.digest
    if times == 1:
        assert pixels.n_reads == n_reads


def test_planes_encoded_together_are_those_encoded_singly(tiny_sam, blobs, monkeypatch):
    singly = SamPredictor(tiny_sam)
    planes = [blobs.image, blobs.image[::-1].copy(), blobs.image[:150, :160].copy()]
    expected = [singly.embed(plane) for plane in planes]
    together = SamPredictor(tiny_sam)
    monkeypatch.setattr(
        type(together._engine), "frames_at_once", property(lambda _: 2), raising=True
    )
    batches = []
    encode = together._engine.encode_image

    def counting(x, check=None):
        batches.append(len(x))
        return encode(x, check)

    monkeypatch.setattr(together._engine, "encode_image", counting)
    together.embed_ahead([*planes, planes[0]])
    assert batches == [2, 1]
    for plane, one in zip(planes, expected, strict=True):
        found = together.embed(plane)
        assert found.digest == one.digest
        np.testing.assert_allclose(found.features, one.features, atol=2e-5)
    assert batches == [2, 1]

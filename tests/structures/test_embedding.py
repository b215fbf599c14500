# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from napari_sam.structures.embedding import ImageEmbedding


def embedding_of(digest):
    return ImageEmbedding(
        features=np.zeros((1, 8, 4, 4), np.float32),
        high_res=(np.zeros((1, 2, 8, 8), np.float32),),
        input_size=(60, 64),
        original_size=(120, 128),
        model="tiny",
        digest=digest,
    )


def test_features_cannot_be_changed_behind_a_digest():
    embedding = embedding_of("a")
    with pytest.raises(ValueError, match="read-only"):
        embedding.features[0] = 1


def test_embeddings_are_known_by_their_digest():
    assert embedding_of("a") == embedding_of("a")
    assert embedding_of("a") != embedding_of("b")
    assert len({embedding_of("a"), embedding_of("a")}) == 1


def test_mask_inputs_are_four_times_the_grid():
    assert embedding_of("a").mask_input_shape == (16, 16)
    assert embedding_of("a").nbytes == 4 * (8 * 16 + 2 * 64)

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import pickle
import subprocess
import sys
import zlib

import numpy as np
import pytest
from safetensors import safe_open

from napari_sam.io.embedding_file import VERSION, attributes_of, from_bytes, to_bytes
from napari_sam.structures.embedding import ImageEmbedding

DIGEST = "0123456789abcdef" * 4


@pytest.fixture
def embedding() -> ImageEmbedding:
    numbers = np.random.default_rng(0)
    return ImageEmbedding(
        features=numbers.normal(size=(1, 8, 4, 4)).astype(np.float32),
        high_res=(
            numbers.normal(size=(1, 2, 8, 8)).astype(np.float32),
            numbers.normal(size=(1, 1, 16, 16)).astype(np.float32),
        ),
        input_size=(52, 64),
        original_size=(416, 512),
        model="vit_ü",
        digest=DIGEST,
        model_digest="f" * 64,
    )


def same(one: ImageEmbedding, two: ImageEmbedding) -> bool:
    def arrays(embedding):
        return (embedding.features, *embedding.high_res)

    facts = ("input_size", "original_size", "model", "digest", "model_digest")
    return all(getattr(one, name) == getattr(two, name) for name in facts) and all(
        a.dtype == b.dtype and np.array_equal(a, b)
        for a, b in zip(arrays(one), arrays(two), strict=True)
    )


def with_attributes(content: bytes, **changed: str | None) -> bytes:
    """The same arrays under other attributes, with the right checksum."""
    from safetensors import numpy as safetensors_numpy

    from napari_sam.io.embedding_file import checksum

    arrays = safetensors_numpy.load(content)
    attributes = {**attributes_of(content), **changed}
    attributes = {name: text for name, text in attributes.items() if text is not None}
    attributes["crc32"] = checksum(attributes, arrays)
    return safetensors_numpy.save(arrays, attributes)


def test_written_and_read_back_to_the_bit(embedding):
    found = from_bytes(to_bytes(embedding))
    assert same(found, embedding)
    assert not found.features.flags.writeable


def test_half_precision_halves_the_size_and_keeps_eleven_bits(embedding):
    content = to_bytes(embedding, is_half=True)
    assert len(content) < 0.8 * len(to_bytes(embedding))
    assert attributes_of(content)["dtype"] == "float16"
    found = from_bytes(content)
    assert found.features.dtype == found.high_res[1].dtype == np.float32
    np.testing.assert_allclose(found.features, embedding.features, rtol=2**-11)


@pytest.mark.parametrize("value", [70000.0, np.inf, np.nan])
def test_what_does_not_fit_into_half_precision_is_not_rounded(embedding, value):
    finer = np.array(embedding.high_res[0])
    finer[0, 0, 0, 0] = value
    embedding = ImageEmbedding(
        embedding.features, (finer,), (4, 4), (4, 4), "m", DIGEST, "d"
    )
    content = to_bytes(embedding, is_half=True)
    assert attributes_of(content)["dtype"] == "float32"
    np.testing.assert_array_equal(from_bytes(content).high_res[0], finer)


def test_any_safetensors_reader_can_read_it(embedding, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(to_bytes(embedding))
    with safe_open(path, "numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("features"), embedding.features)
        np.testing.assert_array_equal(
            file.get_tensor("high_res.1"), embedding.high_res[1]
        )
        assert file.metadata() == {
            "format": "napari-sam embedding",
            "version": str(VERSION),
            "digest": DIGEST,
            "model": "vit_ü",
            "model_digest": "f" * 64,
            "input_size": "[52, 64]",
            "original_size": "[416, 512]",
            "dtype": "float32",
            "crc32": attributes_of(path.read_bytes())["crc32"],
        }


def test_the_checksum_is_the_one_that_is_documented(embedding):
    content = to_bytes(embedding)
    attributes = attributes_of(content)
    stated = attributes.pop("crc32")
    text = "".join(f"{name}={attributes[name]}\n" for name in sorted(attributes))
    arrays = {
        "features": embedding.features,
        "high_res.0": embedding.high_res[0],
        "high_res.1": embedding.high_res[1],
    }
    data = text.encode()
    for name, array in arrays.items():
        data += f"{name} float32 {list(array.shape)}\n".encode() + array.tobytes()
    assert stated == f"{zlib.crc32(data):08x}"


def test_every_flipped_bit_is_noticed(embedding):
    content = to_bytes(embedding)
    chance = np.random.default_rng(1)
    places = [*range(0, 40), *chance.integers(0, len(content), 400).tolist()]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(chance.integers(8))
        found = from_bytes(bytes(damaged))
        # A bit of the header's padding or spelling may change nothing at all.
        assert found is None or same(found, embedding), place


def test_every_truncation_is_noticed(embedding):
    content = to_bytes(embedding)
    for length in (0, 1, 7, 8, 9, 100, 600, len(content) // 2, len(content) - 1):
        assert from_bytes(content[:length]) is None
    assert from_bytes(content + b"x") is None


@pytest.mark.parametrize(
    "changed",
    [
        {"version": str(VERSION + 1)},
        {"version": None},
        {"format": "weights"},
        {"input_size": "[52]"},
        {"input_size": "[0, 64]"},
        {"input_size": '["a", "b"]'},
        {"original_size": "nonsense"},
        {"original_size": "null"},
        {"digest": None},
    ],
)
def test_other_files_are_not_taken_for_embeddings(embedding, changed):
    content = to_bytes(embedding)
    assert same(from_bytes(with_attributes(content)), embedding)
    assert from_bytes(with_attributes(content, **changed)) is None


@pytest.mark.parametrize(
    "arrays",
    [
        {"other": np.zeros((1, 2, 3, 3), np.float32)},
        {"features": np.zeros((2, 3, 3), np.float32)},
        {"features": np.zeros((1, 2, 3, 3), np.int32)},
        {"features": np.zeros((1, 2, 3, 3), np.float32), "more": np.zeros((1,), "f4")},
    ],
)
def test_arrays_that_are_no_features_are_refused(embedding, arrays):
    from safetensors import numpy as safetensors_numpy

    from napari_sam.io.embedding_file import checksum

    attributes = attributes_of(to_bytes(embedding))
    attributes["crc32"] = checksum(attributes, arrays)
    assert from_bytes(safetensors_numpy.save(arrays, attributes)) is None


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'sprung')!r}, 'w')",)

    header = json.dumps({"__metadata__": {"format": "x"}}).encode()
    for content in (
        pickle.dumps(Trap()),
        len(header).to_bytes(8, "little") + header + pickle.dumps(Trap()),
    ):
        assert from_bytes(content) is None
    assert not (tmp_path / "sprung").exists()


def test_torch_is_not_needed():
    code = "import sys, napari_sam.io.embedding_store; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

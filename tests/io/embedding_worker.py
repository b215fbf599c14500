# SPDX-License-Identifier: Apache-2.0
"""Writes and reads embeddings in a folder without end; a program of its own.

``embedding_worker.py FOLDER SEED MAX_BYTES SECONDS``. What is read has to be what was
written; the exit code says so.
"""

from __future__ import annotations

import hashlib
import random
import sys
import time
from pathlib import Path

import numpy as np

from napari_sam.io.embedding_store import EmbeddingStore
from napari_sam.structures.embedding import ImageEmbedding

N_DIFFERENT = 40


def made_of(number: int) -> ImageEmbedding:
    """Return the same embedding of 64 kB for the same number."""
    values = np.full((1, 64, 16, 16), number, np.float32)
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return ImageEmbedding(values, (), (16, 16), (16, 16), "m", digest, "d")


def main() -> int:
    folder, seed, max_bytes, seconds = sys.argv[1:]
    store = EmbeddingStore(Path(folder), max_bytes=int(max_bytes))
    chance = random.Random(int(seed))
    end = time.monotonic() + float(seconds)
    n_found = 0
    print("begun", flush=True)
    while time.monotonic() < end:
        wanted = made_of(chance.randrange(N_DIFFERENT))
        found = store.get(wanted.digest)
        if found is None:
            store.put(wanted)
        elif not np.array_equal(found.features, wanted.features):
            return 1
        else:
            n_found += 1
    return 0 if n_found else 2


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""Embeddings that all viewers of a process share, and those that are made ahead."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from napari_sam._bridge.preferences import embedding_settings
from napari_sam.annotation.plane_ahead import PlanesAhead
from napari_sam.io.embedding_store import (
    FOLDER_VARIABLE,
    EmbeddingStore,
    Usage,
    embedding_folder,
)
from napari_sam.prediction.embedding_library import EmbeddingLibrary

if TYPE_CHECKING:
    from napari_sam._bridge.controller import PromptController
    from napari_sam._bridge.preferences import EmbeddingSettings
    from napari_sam.annotation.ports import JobRunner
    from napari_sam.errors import NapariSamError


class Kept(NamedTuple):
    """What is kept at present.

    Attributes
    ----------
    in_memory, on_disk : Usage
        How many embeddings, and how many bytes.
    """

    in_memory: Usage
    on_disk: Usage


@functools.cache
def shared_library() -> EmbeddingLibrary:
    """Return the library of this process, with the store that is set up."""
    library = EmbeddingLibrary(on_problem=_show)
    library.store = _store(embedding_settings())
    return library


def apply_embedding_settings() -> None:
    """Use what the preferences say now; embeddings in memory stay."""
    shared_library().store = _store(embedding_settings())


def chosen_folder() -> Path:
    """Return where embeddings are kept: environment, preference, system's place."""
    folder = embedding_settings().folder
    if folder and not is_folder_fixed():
        return Path(folder).expanduser().absolute()
    return embedding_folder()


def is_folder_fixed() -> bool:
    """Whether the environment says where embeddings are kept."""
    return bool(os.environ.get(FOLDER_VARIABLE))


def count_kept() -> Kept:
    """Count embeddings; looks at every file, so not in the main thread.

    Those on disk count whether the store is switched on or not.
    """
    in_memory = Usage(*shared_library().in_memory)
    return Kept(in_memory, EmbeddingStore(chosen_folder()).usage())


def clear_kept() -> Kept:
    """Forget all embeddings and delete their files; returns what is left."""
    library = shared_library()
    library.flush()  # or a file would come back
    library.clear_memory()
    EmbeddingStore(chosen_folder()).clear()
    return count_kept()


def fit_kept() -> Kept:
    """Delete files until the limit that is set now is kept; returns what is left."""
    store = _store(embedding_settings())
    if store is not None:
        store.trim()
    return count_kept()


def planes_ahead_of(
    controller: PromptController, runner: JobRunner, reader: JobRunner
) -> PlanesAhead:
    """Return what embeds neighbouring planes of an image, if the user wants that.

    Parameters
    ----------
    controller : PromptController
        Of the image.
    runner, reader : JobRunner
        Where the model runs, and another thread, where pixels are read.
    """
    return PlanesAhead(
        controller.annotator,
        runner,
        reader,
        controller.source.shape,
        is_on=embedding_settings().is_ahead,
    )


def _store(settings: EmbeddingSettings) -> EmbeddingStore | None:
    if not settings.is_on_disk:
        return None
    return EmbeddingStore(
        chosen_folder(),
        max_bytes=int(settings.max_gib * 2**30),
        is_half=settings.is_half,
    )


def _show(error: NapariSamError) -> None:
    """Tell the user; napari takes notifications from any thread."""
    from napari.utils.notifications import show_warning

    show_warning(f"Embeddings are not kept on disk; work goes on. {error}")

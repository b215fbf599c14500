# SPDX-License-Identifier: Apache-2.0
"""A headless viewer with the blobs picture and the tiny model, nothing in threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari.components import ViewerModel

    from napari_sam._bridge.model_segmenter import ModelSegmenter
    from napari_sam._bridge.sessions import ViewerSession


@pytest.fixture(scope="session")
def segmenter(tiny_sam) -> ModelSegmenter:
    from napari_sam._bridge.model_segmenter import ModelSegmenter

    return ModelSegmenter(tiny_sam)


@pytest.fixture
def viewer() -> ViewerModel:
    from napari.components import ViewerModel

    return ViewerModel()


@pytest.fixture
def session(viewer, segmenter) -> Iterator[ViewerSession]:
    from napari_sam._bridge.sessions import ViewerSession
    from napari_sam.annotation.jobs import InlineRunner

    session = ViewerSession(viewer, InlineRunner(), lambda spec: segmenter)
    yield session
    session.close()


@pytest.fixture(scope="session")
def centres(blobs) -> list[tuple[int, int, int]]:
    """(y, x, label) of a pixel in the middle of every blob."""
    from scipy.ndimage import distance_transform_edt

    found = []
    for label in np.unique(blobs.labels)[1:].tolist():
        distance = distance_transform_edt(np.pad(blobs.labels == label, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(distance.argmax(), distance.shape)
        found.append((int(y), int(x), label))
    return found


@pytest.fixture(scope="session")
def iou() -> Callable[[np.ndarray, np.ndarray], float]:
    def measure(first: np.ndarray, second: np.ndarray) -> float:
        return float((first & second).sum() / (first | second).sum())

    return measure


@pytest.fixture
def warnings_shown(monkeypatch) -> list[str]:
    """Texts of the notifications instead of notifications."""
    shown: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", shown.append)
    return shown

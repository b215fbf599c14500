# SPDX-License-Identifier: Apache-2.0
"""A world without model and napari: an image of flat regions, a model that fills them.

The fake model answers a prompt with the region of equal value under the first point
(or under the middle of the box), so tests can compare masks with the image itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_sam.errors import Cancelled
from napari_sam.structures.candidates import Candidates, MaskRecord
from napari_sam.structures.embedding import ImageEmbedding
from napari_sam.structures.geometry import mask_bounding_box
from napari_sam.structures.rle import encode

if TYPE_CHECKING:
    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.structures.labels import LabelEdit
    from napari_sam.structures.prompts import PromptSet


@dataclass
class ArraySource:
    """Planes of an array."""

    array: np.ndarray
    n_reads: int = 0

    def plane_shape(self, key: PlaneKey) -> tuple[int, int]:
        return self.array.shape[key.axes[0]], self.array.shape[key.axes[1]]

    def read_plane(self, key: PlaneKey) -> np.ndarray:
        self.n_reads += 1
        return self.array[key.locate(slice(None), slice(None))]


@dataclass
class ArrayStore:
    """Labels in an array; remembers which boxes were written."""

    array: np.ndarray
    keeps_existing: bool = False
    written: list[tuple[int, int, int, int]] = field(default_factory=list)

    def next_id(self) -> int:
        return int(self.array.max()) + 1

    def read(self, key: PlaneKey, box: tuple[int, int, int, int]) -> np.ndarray:
        y0, x0, y1, x1 = box
        return self.array[key.locate(slice(y0, y1), slice(x0, x1))].copy()

    def write(self, key: PlaneKey, edit: LabelEdit) -> None:
        y0, x0, y1, x1 = edit.box
        self.written.append(edit.box)
        self.array[key.locate(slice(y0, y1), slice(x0, x1))] = edit.new


@dataclass
class RegionSegmenter:
    """Fills the region of equal value that a prompt points at."""

    name: str = "regions"
    auto_defaults: dict[str, float] = field(default_factory=dict)
    n_embedded: int = 0
    error: Exception | None = None

    def describe(self) -> dict[str, str]:
        return {"model": self.name}

    def embed(self, plane: np.ndarray, *, cancel: Any = None) -> ImageEmbedding:
        if cancel is not None and cancel.is_set():
            msg = "stopped"
            raise Cancelled(msg)
        if self.error is not None:
            raise self.error
        self.n_embedded += 1
        features = plane[None, None].astype(np.float32)
        return ImageEmbedding(features, (), plane.shape, plane.shape, self.name, "x")

    def predict(self, embedding: ImageEmbedding, prompts: PromptSet) -> Candidates:
        if self.error is not None:
            raise self.error
        plane = embedding.features[0, 0]
        if prompts.points:
            y, x = prompts.points[0].yx
        else:
            y0, x0, y1, x1 = prompts.box_yx or (0, 0, 0, 0)
            y, x = (y0 + y1) / 2, (x0 + x1) / 2
        region = plane == plane[round(y), round(x)]
        nothing = np.zeros_like(region)
        return Candidates(
            masks=np.stack([nothing, region, nothing]),
            predicted_iou=np.array([0.1, 0.9, 0.2], np.float32),
            low_res_logits=np.zeros((3, 4, 4), np.float32),
        )

    def segment_everything(
        self, plane: np.ndarray, settings: Any, *, progress: Any, cancel: Any
    ) -> tuple[np.ndarray, list[MaskRecord]]:
        labels = np.zeros(plane.shape, np.uint32)
        records: list[MaskRecord] = []
        values = [v for v in np.unique(plane) if v]
        for step, value in enumerate(values):
            if cancel.is_set():
                break
            mask = plane == value
            labels[mask] = len(records) + 1
            box = mask_bounding_box(mask)
            assert box is not None
            records.append(
                MaskRecord(
                    rle=encode(mask),
                    bbox=box,
                    area=int(mask.sum()),
                    predicted_iou=0.5 + value / 1000,
                    stability_score=0.75,
                    point_yx=(0.0, 0.0),
                    crop_box=(0, 0, *plane.shape),
                )
            )
            progress(step + 1, len(values))
        return labels, records


@pytest.fixture
def regions() -> np.ndarray:
    """(40, 60) picture: rectangle 7 in the upper left, 8 touching it, 9 far away."""
    picture = np.zeros((40, 60), np.uint8)
    picture[2:12, 3:13] = 7
    picture[2:12, 13:20] = 8
    picture[25:35, 40:55] = 9
    return picture


@pytest.fixture
def source(regions: np.ndarray) -> ArraySource:
    return ArraySource(regions)


@pytest.fixture
def stack_source(regions: np.ndarray) -> ArraySource:
    """The picture, and the same upside down, as a stack."""
    return ArraySource(np.stack([regions, regions[::-1]]))


@pytest.fixture
def store(regions: np.ndarray) -> ArrayStore:
    return ArrayStore(np.zeros(regions.shape, np.uint32))


@pytest.fixture
def segmenter() -> RegionSegmenter:
    return RegionSegmenter()

# SPDX-License-Identifier: Apache-2.0
"""A world without model and napari: an image of flat regions, a model that fills them.

The fake model answers prompts with the regions of equal value under the positive points
(or under the middle of the box), without those under negative ones, so that tests can
compare masks with the image itself. As a SAM it has four answers: the region (single),
one pixel of it (small), the region (medium, the best), the whole plane (large).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.jobs import ModelThread
from napari_sam.errors import Cancelled, LabelsError
from napari_sam.structures.candidates import Answer, MaskRecord
from napari_sam.structures.embedding import ImageEmbedding
from napari_sam.structures.geometry import mask_bounding_box
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.plane_pixels import ArrayPixels
from napari_sam.structures.prompts import PointPrompt, PromptSet
from napari_sam.structures.rle import encode

if TYPE_CHECKING:
    from napari_sam.annotation.job import Job
    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.structures.labels import LabelEdit


@dataclass
class ArraySource:
    """Planes of an array."""

    array: np.ndarray
    n_reads: int = 0

    def plane_shape(self, key: PlaneKey) -> tuple[int, int]:
        return self.array.shape[key.axes[0]], self.array.shape[key.axes[1]]

    @property
    def identity(self) -> str:
        return f"array {self.array.shape} {int(self.array.sum())}"

    def read_plane(self, key: PlaneKey) -> np.ndarray:
        self.n_reads += 1
        return self.array[key.locate(slice(None), slice(None))]

    def plane_pixels(self, key: PlaneKey) -> ArrayPixels:
        self.n_reads += 1
        return ArrayPixels((self.array[key.locate(slice(None), slice(None))],))


@dataclass
class ArrayStore:
    """Labels in an array; remembers which boxes were written.

    After `n_allowed` writes one is refused; None is no limit.
    """

    array: np.ndarray
    keeps_existing: bool = False
    written: list[tuple[int, int, int, int]] = field(default_factory=list)
    n_allowed: int | None = None

    def next_id(self) -> int:
        following = int(self.array.max()) + 1
        if following > np.iinfo(self.array.dtype).max:
            msg = f"No id is left in {self.array.dtype}."
            raise LabelsError(msg)
        return following

    def forget_id(self, object_id: int) -> None:
        """Nothing is counted here."""

    def read(self, key: PlaneKey, box: tuple[int, int, int, int]) -> np.ndarray:
        y0, x0, y1, x1 = box
        return self.array[key.locate(slice(y0, y1), slice(x0, x1))].copy()

    def write(self, key: PlaneKey, edit: LabelEdit) -> None:
        if self.n_allowed is not None:
            self.n_allowed -= 1
            if self.n_allowed == -1:  # once: what was written can be taken back
                msg = "The layer is locked."
                raise LabelsError(msg)
        y0, x0, y1, x1 = edit.box
        self.written.append(edit.box)
        region = self.array[key.locate(slice(y0, y1), slice(x0, x1))]
        is_changed = edit.old != edit.new
        region[is_changed] = edit.new[is_changed]


@dataclass
class RegionSegmenter:
    """Fills the region of equal value that a prompt points at."""

    name: str = "regions"
    auto_defaults: dict[str, float] = field(default_factory=dict)
    n_embedded: int = 0
    error: Exception | None = None
    asked: list[PromptSet] = field(default_factory=list)

    def describe(self) -> dict[str, str]:
        return {"model": self.name}

    def see(self, pixels: Any) -> Any:
        return pixels

    def embed(
        self,
        pixels: Any,
        *,
        view: Any = None,
        cancel: Any = None,
        digests: Any = None,
    ) -> Any:
        if cancel is not None and cancel.is_set():
            msg = "stopped"
            raise Cancelled(msg)
        if self.error is not None:
            raise self.error
        self.n_embedded += 1
        is_array = isinstance(pixels, np.ndarray)
        plane = pixels if is_array else pixels.read((0, 0, *pixels.shape))
        features = plane[None, None].astype(np.float32)
        return ImageEmbedding(features, (), plane.shape, plane.shape, self.name, "x")

    def scale_for(self, embedding: Any, view: Any, extent: Any = None) -> None:
        return None

    def region_at(self, embedding: Any, yx: Any, scale: Any) -> None:
        return None

    def predict(
        self,
        embedding: ImageEmbedding,
        prompts: PromptSet,
        *,
        scale: Any = None,
        cancel: Any = None,
    ) -> Answer:
        if self.error is not None:
            raise self.error
        self.asked.append(prompts)
        plane = embedding.features[0, 0]
        inside = [p.yx for p in prompts.points if p.label == 1]
        if prompts.box_yx is not None:
            y0, x0, y1, x1 = prompts.box_yx
            inside = inside or [((y0 + y1) / 2, (x0 + x1) / 2)]
        elif prompts.mask is not None and not inside:
            ys, xs = np.nonzero(prompts.mask.crop)
            inside = [(prompts.mask.y0 + ys[0], prompts.mask.x0 + xs[0])]
        values = [plane[round(y), round(x)] for y, x in inside]
        # Points on several regions mean all of them; a negative one leaves its out.
        region = np.isin(plane, values)
        for point in prompts.points:
            if point.label == 0:
                y, x = point.yx
                region &= plane != plane[round(y), round(x)]
        small = np.zeros_like(region)
        small[round(inside[0][0]), round(inside[0][1])] = True
        masks = [region, small, region, np.ones_like(region)]
        return Answer(
            masks=tuple(MaskWindow.of_mask(mask) for mask in masks),
            predicted_iou=np.array([0.8, 0.1, 0.9, 0.2], np.float32),
            low_res_logits=np.stack(
                [
                    np.full((4, 4), len(self.asked) + i / 10, np.float32)
                    for i in range(4)
                ]
            ),
        )

    def preview(
        self, embedding: ImageEmbedding, yx: tuple[float, float], *, scale: Any = None
    ) -> Answer:
        answer = self.predict(embedding, PromptSet(points=(PointPrompt(yx),)))
        return Answer(
            answer.masks[2:3], answer.predicted_iou[2:3], answer.low_res_logits[2:3]
        )

    def predict_many(
        self,
        embedding: ImageEmbedding,
        prompts: Any,
        *,
        progress: Any = None,
        cancel: Any = None,
    ) -> list[Answer]:
        answers = []
        for i, one in enumerate(prompts):
            if cancel is not None and cancel.is_set():
                break
            answer = self.predict(embedding, one)
            index = 2 if one.is_ambiguous else 0
            answers.append(
                Answer(
                    answer.masks[index : index + 1],
                    answer.predicted_iou[index : index + 1],
                    answer.low_res_logits[index : index + 1],
                )
            )
            if progress is not None:
                progress(i + 1, len(prompts))
        return answers

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


class HeldRunner(ModelThread):
    """The model thread's queue without the thread: a test says when work runs."""

    def _start(self) -> None:
        """Start nothing."""

    @property
    def n_waiting(self) -> int:
        return len(self._queue)

    def begin(self) -> Job:
        """Take the next job, as the thread does before it works on it."""
        job = self._take(above=99)
        assert job is not None, "nothing to do"
        return job

    def finish(self, job: Job) -> None:
        """Do the work of a job that was begun, and deliver."""
        self._run(job)
        self.drain()

    def run_all(self) -> None:
        while self._queue:
            self.finish(self.begin())


@pytest.fixture(scope="session")
def fakes() -> SimpleNamespace:
    """The classes above, for tests that make worlds of their own."""
    return SimpleNamespace(
        Source=ArraySource,
        Store=ArrayStore,
        Segmenter=RegionSegmenter,
        HeldRunner=HeldRunner,
    )


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


@pytest.fixture
def annotator(
    source: ArraySource, store: ArrayStore, segmenter: RegionSegmenter
) -> Annotator:
    """An annotator with a model that answers at once."""
    annotator = Annotator(source, store)
    annotator.attach(segmenter)
    return annotator


@pytest.fixture
def held(
    source: ArraySource, store: ArrayStore, segmenter: RegionSegmenter
) -> tuple[Annotator, HeldRunner]:
    """An annotator whose model works when the test says so."""
    runner = HeldRunner()
    annotator = Annotator(source, store, runner)
    annotator.attach(segmenter)
    return annotator, runner

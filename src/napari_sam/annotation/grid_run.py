# SPDX-License-Identifier: Apache-2.0
"""Segment everything on a plane, inside a region of it, or on all planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from psygnal import Signal

from napari_sam.annotation.found_in_part import FoundInPart
from napari_sam.annotation.job import Job, JobContext, Priority
from napari_sam.annotation.scope import PlaneContext, PlanesResult, over_planes
from napari_sam.errors import PhaseError, SettingsError
from napari_sam.structures.geometry import grow_box, intersect_boxes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from psygnal import SignalInstance

    from napari_sam.annotation.ports import (
        ImageSource,
        JobRunner,
        PlaneKey,
        Segmenter,
    )
    from napari_sam.structures.arrays import BoolMask, HalfOpenBox, LabelImage
    from napari_sam.structures.candidates import MaskRecord
    from napari_sam.structures.mask_window import MaskWindow
    from napari_sam.structures.plane_pixels import PlanePixels
    from napari_sam.structures.tile_result import FoundObjects

REGION_MARGIN_PX = 32
"""Context that the model sees around a region, so that objects are not cut there."""


@dataclass(frozen=True, slots=True)
class GridResult:
    """Objects found on a plane.

    Attributes
    ----------
    plane : PlaneKey
    box : (y0, x0, y1, x1)
        Half-open pixel box of the plane that `labels` covers.
    labels : (h, w) uint32 array
        Ids 1..n in the order of `records`.
    records : tuple of MaskRecord
        One per id; their coordinates are those of `labels`.
    is_partial : bool
        Whether the run was cancelled on the way.
    """

    plane: PlaneKey
    box: HalfOpenBox
    labels: LabelImage
    records: tuple[MaskRecord, ...]
    is_partial: bool = False


@dataclass(frozen=True, slots=True)
class LargeResult:
    """Objects found on a large plane, in tiles or in a part of it.

    Attributes
    ----------
    plane : PlaneKey
    part : (y0, x0, y1, x1)
        Half-open pixel box of the plane that was searched.
    objects : FoundObjects
        Labels by box.
    is_partial : bool
        Whether the run was cancelled on the way; objects of finished tiles are there.
    """

    plane: PlaneKey
    part: HalfOpenBox
    objects: FoundObjects
    is_partial: bool = False


class GridRun:
    """One run at a time of the automatic mode; results arrive as signals.

    Parameters
    ----------
    runner : JobRunner
        Where the model runs.

    Attributes
    ----------
    progressed : Signal(int, int)
        Steps done and steps in all.
    finished : Signal(GridResult)
        A run of `start` has ended; also after `cancel`, with what was found by then.
    planes_finished : Signal(PlanesResult)
        The same of `start_planes`: each a `GridResult`, or what was made of it.
    failed : Signal(Exception)
    """

    progressed: ClassVar[Signal] = Signal(int, int)
    finished: ClassVar[Signal] = Signal(object)
    planes_finished: ClassVar[Signal] = Signal(object)
    failed: ClassVar[Signal] = Signal(Exception)

    def __init__(self, runner: JobRunner) -> None:
        self._runner = runner
        self._job: Job | None = None
        self._is_running = False

    @property
    def is_running(self) -> bool:
        """Whether a result is still to come."""
        return self._is_running

    @property
    def is_cancelled(self) -> bool:
        """Whether the run was asked to stop and its result is still to come."""
        job = self._job
        return self._is_running and job is not None and job.cancel_event.is_set()

    def start(
        self,
        segmenter: Segmenter,
        source: ImageSource,
        plane: PlaneKey,
        settings: Mapping[str, Any],
        region: MaskWindow | None = None,
    ) -> None:
        """Begin; exactly one of `finished` and `failed` follows.

        Parameters
        ----------
        segmenter : Segmenter
            The model.
        source : ImageSource
            The pixels.
        plane : PlaneKey
            Which plane of them.
        settings : mapping
            Automatic settings that differ from the model's defaults.
        region : MaskWindow, optional
            Only objects that lie with more than half of their pixels inside are kept.

        Raises
        ------
        PhaseError
            If a run is under way.
        """
        self._refuse_second()

        def work(context: JobContext) -> GridResult:
            return segment_plane(segmenter, source, plane, settings, region, context)

        self._submit(work, self.finished)

    def start_planes(
        self,
        segmenter: Segmenter,
        source: ImageSource,
        planes: Sequence[PlaneKey],
        settings: Mapping[str, Any],
        region: MaskWindow | None = None,
        finish: Callable[[Any, PlaneContext], Any] | None = None,
        *,
        is_large: bool = False,
    ) -> None:
        """Begin on several planes; `planes_finished` or `failed` follows.

        Parameters
        ----------
        segmenter, source, settings
            See `start`.
        planes : sequence of PlaneKey
            Where to segment, in this order.
        region : MaskWindow, optional
            The same on every plane.
        finish : callable, optional
            Makes of a plane's result what is delivered, in the model thread.
        is_large : bool
            Whether results are `LargeResult`. Planes are then read tile by tile; with a
            region, nothing but its surroundings is read.

        Raises
        ------
        PhaseError
            If a run is under way.
        """
        self._refuse_second()

        def on_plane(plane: PlaneKey, context: PlaneContext) -> Any:
            found: GridResult | LargeResult
            if is_large and region is None:
                found = search_plane(segmenter, source, plane, settings, context)
            else:
                found = segment_plane(
                    segmenter, source, plane, settings, region, context
                )
                if is_large:
                    found = _as_large(found, source.plane_shape(plane))
            return found if finish is None else finish(found, context)

        def work(context: JobContext) -> PlanesResult[Any]:
            return over_planes(planes, on_plane, context)

        self._submit(work, self.planes_finished)

    def cancel(self) -> None:
        """Stop soon; what was found by then is delivered by `finished`."""
        if self._is_running and self._job is not None:
            self._job.cancel()

    def _refuse_second(self) -> None:
        if self._is_running:
            msg = "A run is under way. Wait for its end or cancel it first."
            raise PhaseError(msg)

    def _submit(
        self, work: Callable[[JobContext], Any], ending: SignalInstance
    ) -> None:
        def receive(result: Any) -> None:
            self._is_running = False
            ending.emit(result)

        self._is_running = True
        self._job = self._runner.submit(
            work,
            priority=Priority.GRID,
            on_result=receive,
            on_error=self._receive_error,
            on_progress=self.progressed.emit,
        )

    def _receive_error(self, error: Exception) -> None:
        self._is_running = False
        self.failed.emit(error)


def segment_plane(
    segmenter: Segmenter,
    source: ImageSource,
    plane: PlaneKey,
    settings: Mapping[str, Any],
    region: MaskWindow | None,
    context: JobContext | PlaneContext,
) -> GridResult:
    """Segment one plane; see `segment_region`."""
    pixels = source.plane_pixels(plane)
    box, labels, records = segment_region(segmenter, pixels, settings, region, context)
    return GridResult(plane, box, labels, tuple(records), context.cancel.is_set())


def search_plane(
    segmenter: Segmenter,
    source: ImageSource,
    plane: PlaneKey,
    settings: Mapping[str, Any],
    context: JobContext | PlaneContext,
) -> LargeResult:
    """Segment one plane of any size; one tile of it is read at a time."""
    objects = segmenter.find_everything(
        source.plane_pixels(plane),
        settings,
        progress=context.progress,
        cancel=context.cancel,
    )
    whole = (0, 0, *source.plane_shape(plane))
    return LargeResult(plane, whole, objects, context.cancel.is_set())


def _as_large(result: GridResult, shape: tuple[int, int]) -> LargeResult:
    objects = FoundInPart(shape, result.box, result.labels, result.records)
    return LargeResult(result.plane, result.box, objects, result.is_partial)


def segment_region(
    segmenter: Segmenter,
    plane: PlanePixels,
    settings: Mapping[str, Any],
    region: MaskWindow | None,
    context: JobContext | PlaneContext,
) -> tuple[HalfOpenBox, LabelImage, list[MaskRecord]]:
    """Segment a plane, or the surroundings of a region of it; nothing else is read.

    Returns
    -------
    box : (y0, x0, y1, x1)
        What was looked at.
    labels : (y1 - y0, x1 - x0) uint32 array
    records : list of MaskRecord
        One per id, in the frame of `labels`.

    Raises
    ------
    SettingsError
        If the region holds no pixel of the plane.
    """
    box: HalfOpenBox = (0, 0, *plane.shape)
    if region is not None:
        inside = intersect_boxes(region.box, box)
        if inside is None:
            msg = "The region does not touch the image. Draw it on the image."
            raise SettingsError(msg)
        box = grow_box(inside, REGION_MARGIN_PX, plane.shape)
    labels, records = segmenter.segment_everything(
        plane.read(box), settings, progress=context.progress, cancel=context.cancel
    )
    if region is not None:
        labels, records = keep_inside(labels, records, region.inside(box))
    return box, labels, records


def keep_inside(
    labels: LabelImage, records: list[MaskRecord], region: BoolMask
) -> tuple[LabelImage, list[MaskRecord]]:
    """Keep objects with more than half of their pixels in a region; renumber them."""
    n_objects = len(records)
    area = np.bincount(labels.ravel(), minlength=n_objects + 1)
    inside = np.bincount(labels[region], minlength=n_objects + 1)
    is_kept = (2 * inside > area)[1:]
    new_ids = np.zeros(n_objects + 1, dtype=labels.dtype)
    new_ids[1:][is_kept] = np.arange(1, int(is_kept.sum()) + 1)
    kept = [record for record, keep in zip(records, is_kept, strict=True) if keep]
    return new_ids[labels], kept

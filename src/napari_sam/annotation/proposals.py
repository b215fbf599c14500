# SPDX-License-Identifier: Apache-2.0
"""Masks that nobody asked for yet: stored, measured once, filtered without a run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.annotation.history import ProposalChange
from napari_sam.annotation.record_stats import (
    STATISTICS,
    Values,
    is_background,
    measure_records,
)
from napari_sam.annotation.run_table import RunTable, crop_of
from napari_sam.errors import LabelsError, SettingsError
from napari_sam.structures.mask_window import MaskWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy.typing as npt

    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.structures.arrays import (
        BoolMask,
        HalfOpenBox,
        LabelImage,
        Plane,
    )
    from napari_sam.structures.candidates import MaskRecord

MAX_PROPOSALS = 20_000
"""Of more masks than this on a plane, those of the highest predicted IoU are kept."""
COVERED_FROM = 0.5
"""A mask with more than this part on objects that exist is not proposed."""
OUTLINE_PART = 700
"""An outline is one pixel wide for so many pixels of the plane's longer side."""
BACKGROUND, COVERED = "background", "covered"
"""The two rules beside the filters, by the names under which their drops are told."""


class ProposalStatus(StrEnum):
    """What became of a proposal."""

    OPEN = "open"
    TAKEN = "taken"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class FilterCounts:
    """What the filters and rules let through.

    Attributes
    ----------
    n_all : int
        Proposals stored.
    n_kept : int
        Those that pass everything.
    dropped : dict of str to int
        By statistic or rule: how many it drops.
    dropped_alone : dict of str to int
        How many it drops that all others would keep.
    """

    n_all: int
    n_kept: int
    dropped: dict[str, int]
    dropped_alone: dict[str, int]


class Proposals:
    """Proposals of one plane, best predicted IoU first.

    A proposal is known by its id; `first_id` and the ids after it, in order of score.
    What is shown and can be taken is `is_visible`: open, and passing every filter.

    Parameters
    ----------
    plane : PlaneKey
        Where they lie.
    shape : (H, W)
        Size of the plane.
    records : sequence of n MaskRecord
        In the frame of the part, in any order.
    statistics : mapping of str to (n,) array
        See `measure_records`.
    first_id : int
        Ids are unique among all proposals of an annotator.
    part : (y0, x0, y1, x1), optional
        Half-open box of the plane that was searched; the whole plane by default.
        Nothing here takes memory for what lies beside it.

    Attributes
    ----------
    part : (y0, x0, y1, x1)
    n_left_out : int
        Masks beyond `MAX_PROPOSALS`, which are not stored.
    """

    def __init__(
        self,
        plane: PlaneKey,
        shape: tuple[int, int],
        records: Sequence[MaskRecord],
        statistics: Mapping[str, npt.ArrayLike],
        first_id: int = 1,
        part: HalfOpenBox | None = None,
    ) -> None:
        scores = np.asarray(statistics["predicted_iou"], dtype=np.float64)
        order = np.argsort(-scores, kind="stable")[:MAX_PROPOSALS]  # NaN comes last
        self.plane, self.shape, self.first_id = plane, shape, first_id
        self.part = (0, 0, *shape) if part is None else part
        self.records = tuple(records[i] for i in order.tolist())
        self.n_left_out = len(records) - len(self.records)
        self.statistics: dict[str, Values] = {
            name: np.asarray(statistics[name], dtype=np.float64)[order]
            for name in STATISTICS
        }
        size = self.size
        self._runs = RunTable(self.records, size)
        width = max(1, round(max(size) / OUTLINE_PART))
        self._outlines = RunTable(self.records, size, width)
        self._is_background = np.array(
            [is_background(self._box(r), r.area, shape) for r in self.records],
            dtype=np.bool_,
        )
        n = len(self.records)
        self._filters: dict[str, tuple[float, float]] = {}
        self._fails = {
            name: np.zeros(n, dtype=np.bool_)
            for name in (*STATISTICS, BACKGROUND, COVERED)
        }
        self._fails[BACKGROUND] = self._is_background
        self._is_settled = np.zeros(n, dtype=np.bool_)
        self._status = [ProposalStatus.OPEN] * n

    @classmethod
    def measured(
        cls,
        plane: PlaneKey,
        pixels: Plane,
        records: Sequence[MaskRecord],
        first_id: int = 1,
        check: Callable[[], None] | None = None,
        part: HalfOpenBox | None = None,
        shape: tuple[int, int] | None = None,
    ) -> Proposals:
        """Measure masks on the pixels shown and store them.

        Parameters
        ----------
        plane : PlaneKey
            Where they lie.
        pixels : (h, w) or (h, w, 3 | 4) array
            The plane, or the part of it.
        records : sequence of MaskRecord
            In the frame of `pixels`.
        first_id : int
            Id of the best one.
        check : callable, optional
            Called before each record: it may give way to other work, or raise to stop.
        part, shape : (y0, x0, y1, x1), (H, W), optional
            Where the pixels lie, and on how large a plane, if they are not all of it.
        """
        if shape is None:
            shape = (pixels.shape[0], pixels.shape[1])
        statistics = measure_records(records, pixels, check)
        return cls(plane, shape, records, statistics, first_id, part)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the part."""
        y0, x0, y1, x1 = self.part
        return y1 - y0, x1 - x0

    @property
    def ids(self) -> range:
        """All ids, best score first."""
        return range(self.first_id, self.first_id + len(self.records))

    def number(self, proposal_id: int) -> int:
        """Position of an id; raises LabelsError if there is no such proposal."""
        if proposal_id not in self.ids:
            msg = (
                f"There is no proposal {proposal_id} on this plane; there are "
                f"{self.first_id} to {self.ids.stop - 1}."
            )
            raise LabelsError(msg)
        return proposal_id - self.first_id

    def describe(self, proposal_id: int) -> dict[str, float]:
        """Return the statistics of one proposal."""
        number = self.number(proposal_id)
        return {name: float(self.statistics[name][number]) for name in STATISTICS}

    def mask(self, proposal_id: int) -> MaskWindow:
        """Return the mask of one proposal."""
        record = self.records[self.number(proposal_id)]
        return MaskWindow(*self._box(record)[:2], crop_of(record))

    # What passes

    @property
    def drops_background(self) -> bool:
        """Whether masks that look like background are dropped."""
        return self._fails[BACKGROUND] is self._is_background

    @drops_background.setter
    def drops_background(self, is_on: bool) -> None:
        nothing = np.zeros(len(self), dtype=np.bool_)
        self._fails[BACKGROUND] = self._is_background if is_on else nothing

    @property
    def n_background(self) -> int:
        """How many masks look like background, dropped or not."""
        return int(np.count_nonzero(self._is_background))

    def extent(self, statistic: str) -> tuple[float, float]:
        """Lowest and highest finite value of a statistic; zeros if there is none."""
        values = self.statistics[_known(statistic)]
        values = values[np.isfinite(values)]
        return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)

    def filter_of(self, statistic: str) -> tuple[float, float]:
        """Lowest and highest value that pass."""
        return self._filters.get(_known(statistic), (-np.inf, np.inf))

    def set_filter(self, statistic: str, low: float, high: float) -> None:
        """Let only proposals through whose value lies in [low, high].

        A proposal without a value (the stability of an empty mask) passes only a filter
        that is open at both ends.

        Raises
        ------
        SettingsError
            If the statistic is unknown or the range is empty.
        """
        values = self.statistics[_known(statistic)]
        if not low <= high:
            msg = f"The range of {statistic} must not be empty: {low} to {high}."
            raise SettingsError(msg)
        self._filters[statistic] = (low, high)
        is_open = low == -np.inf and high == np.inf
        passes = np.isnan(values) & is_open | ((values >= low) & (values <= high))
        self._fails[statistic] = ~passes

    def clear_filters(self) -> None:
        """Let everything through again; the two rules stay."""
        for statistic in tuple(self._filters):
            self.set_filter(statistic, -np.inf, np.inf)
        self._filters.clear()

    def hide_covered(self, labels: LabelImage) -> None:
        """Drop what mostly lies on objects that exist now.

        Parameters
        ----------
        labels : (h, w) integer array
            The labels of the part.
        """
        inside = self._runs.count_inside(labels)
        self._fails[COVERED] = inside > COVERED_FROM * self._runs.areas

    def n_touching(self, box: HalfOpenBox) -> int:
        """Count the proposals whose box has pixels in common with a box."""
        return len(self._touching(box))

    def update_covered(
        self, box: HalfOpenBox, read: Callable[[HalfOpenBox], LabelImage]
    ) -> None:
        """Do the same after the labels inside a box have changed.

        Parameters
        ----------
        box : (y0, x0, y1, x1)
            Where they have changed.
        read : callable
            Returns the labels inside a box.
        """
        for number in self._touching(box):
            record = self.records[number]
            inside = np.count_nonzero(read(self._box(record))[crop_of(record)])
            self._fails[COVERED][number] = inside > COVERED_FROM * record.area

    @property
    def is_kept(self) -> BoolMask:
        """What passes every filter and rule, (n,) bool."""
        return np.asarray(~np.logical_or.reduce(list(self._fails.values())))

    @property
    def is_visible(self) -> BoolMask:
        """What is kept and still open, (n,) bool."""
        return self.is_kept & ~self._is_settled

    def counts(self) -> FilterCounts:
        """Count what filters and rules drop."""
        fails = np.stack(list(self._fails.values()))
        n_fails = fails.sum(axis=0)
        alone = fails & (n_fails == 1)
        return FilterCounts(
            n_all=len(self),
            n_kept=int(np.count_nonzero(n_fails == 0)),
            dropped=dict(zip(self._fails, fails.sum(axis=1).tolist(), strict=True)),
            dropped_alone=dict(
                zip(self._fails, alone.sum(axis=1).tolist(), strict=True)
            ),
        )

    def visible_ids(self) -> list[int]:
        """Ids of what can be taken, best score first."""
        return (np.flatnonzero(self.is_visible) + self.first_id).tolist()

    # What became of them

    def status(self, proposal_id: int) -> ProposalStatus:
        """Return what became of a proposal."""
        return self._status[self.number(proposal_id)]

    def n_of(self, status: ProposalStatus) -> int:
        """Count the proposals of a status, whether they pass the filters or not."""
        return self._status.count(status)

    def changes(
        self, ids: Iterable[int], status: ProposalStatus
    ) -> tuple[ProposalChange, ...]:
        """Return what `apply` needs to give some proposals another status."""
        return tuple(
            ProposalChange(i, str(self.status(i)), str(status))
            for i in ids
            if self.status(i) is not status
        )

    def apply(self, changes: Iterable[ProposalChange]) -> None:
        """Make changes; those of proposals that are not here are passed over."""
        for change in changes:
            if change.proposal_id in self.ids:
                number = self.number(change.proposal_id)
                self._status[number] = ProposalStatus(change.after)
                self._is_settled[number] = change.after != ProposalStatus.OPEN

    # Where they are

    def at(self, yx: tuple[int, int]) -> int | None:
        """Id of the visible proposal under a pixel, the smallest of several."""
        y, x = yx[0] - self.part[0], yx[1] - self.part[1]
        number = self._runs.at((y, x), self.is_visible)
        return None if number is None else number + self.first_id

    def paint(
        self,
        canvas: npt.NDArray[np.integer],
        fills: npt.ArrayLike,
        outlines: npt.ArrayLike | None = None,
    ) -> None:
        """Draw visible proposals, small ones on top.

        Parameters
        ----------
        canvas : (h, w) integer array
            Of the part. Cleared first; fastest in column order.
        fills, outlines : (n,) integer array-like
            What each is drawn with, best score first; no outline if None.
        """
        canvas[...] = 0
        is_visible = self.is_visible
        self._runs.paint(canvas, np.where(is_visible, np.asarray(fills), 0))
        if outlines is not None:
            self._outlines.paint(canvas, np.where(is_visible, np.asarray(outlines), 0))

    def _box(self, record: MaskRecord) -> HalfOpenBox:
        """Return the box around a mask, in the frame of the plane."""
        y, x = self.part[:2]
        y0, x0, y1, x1 = record.bbox
        return y0 + y, x0 + x, y1 + y, x1 + x

    def _touching(self, box: HalfOpenBox) -> list[int]:
        """Numbers of masks whose box has pixels in common with one of the plane."""
        y, x = self.part[:2]
        return self._runs.touching((box[0] - y, box[1] - x, box[2] - y, box[3] - x))


def _known(statistic: str) -> str:
    """Return the name of a statistic; raises SettingsError if it is none."""
    if statistic not in STATISTICS:
        msg = (
            f"Unknown statistic {statistic!r}. Choose one of: {', '.join(STATISTICS)}."
        )
        raise SettingsError(msg)
    return statistic

# SPDX-License-Identifier: Apache-2.0
"""Progress of work whose amount is found out on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_sam.prediction.grid_search import Progress

STEPS = 100
"""In which such progress is counted."""


class ProgressRange:
    """A range of the whole progress.

    Parameters
    ----------
    progress : callable or None
        Called with ``(steps done, STEPS)``.
    start, stop : float
        The range as parts of the whole, 0 to 1.
    """

    def __init__(
        self, progress: Progress | None, start: float = 0.0, stop: float = 1.0
    ) -> None:
        self._progress = progress
        self._start = start
        self._stop = stop

    def part(self, start: float, stop: float) -> ProgressRange:
        """Return a part of this range."""
        length = self._stop - self._start
        return ProgressRange(
            self._progress, self._start + start * length, self._start + stop * length
        )

    def __call__(self, done: int, total: int) -> None:
        """Report that a part of the range is done."""
        if self._progress is not None:
            share = self._start + (self._stop - self._start) * done / max(total, 1)
            self._progress(round(share * STEPS), STEPS)

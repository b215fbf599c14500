# SPDX-License-Identifier: Apache-2.0
"""What a training run writes down: rows of a CSV file, TensorBoard events on request.

A row is ``step, part, name, value``; parts are ``train`` and ``validation``.
"""

from __future__ import annotations

import csv
import logging
from typing import TYPE_CHECKING, Any

from napari_sam.errors import OutputError, SettingsError
from napari_sam.io.atomic import written_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)
LOG_FILE = "log.csv"


class RunLog:
    """Writes the log of one run; a run that goes on appends.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    tensorboard : bool
        Whether to write events as well.

    Raises
    ------
    SettingsError
        If TensorBoard is wanted but not installed.
    OutputError
        If the folder cannot be made.
    """

    def __init__(self, folder: Path, *, tensorboard: bool = False) -> None:
        self._folder = folder
        self.path = folder / LOG_FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"Cannot make the folder {folder}: {error}. Choose another one."
            raise OutputError(msg) from error
        self._events = _open_events(folder) if tensorboard else None

    def write(self, step: int, part: str, row: Mapping[str, float]) -> None:
        """Write the named values of a step.

        Raises
        ------
        OutputError
            If the disk is full or the file cannot be written.
        """
        text = " ".join(f"{key} {value:.4f}" for key, value in row.items())
        logger.info("step %d %s: %s", step, part, text)
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                for key, value in row.items():
                    writer.writerow([step, part, key, f"{value:.5f}"])
        except OSError as error:
            msg = (
                f"Cannot write the log {self.path}: {error.strerror or error}. Free "
                "some space and start again: the run goes on from its last saved state."
            )
            raise OutputError(msg) from error
        if self._events is not None:
            for key, value in row.items():
                self._events.add_scalar(f"{part}/{key}", value, step)

    def forget_after(self, step: int) -> None:
        """Drop what a run that was killed logged after its last saved state.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        if not self.path.exists():
            return
        with self.path.open(newline="", encoding="utf-8") as file:
            # A row may have been cut off by the end of the process.
            rows = [row for row in csv.reader(file) if len(row) == 4]
        kept = [row for row in rows if int(row[0]) <= step]
        with (
            written_atomically(self.path) as unfinished,
            unfinished.open("w", newline="", encoding="utf-8") as file,
        ):
            csv.writer(file).writerows(kept)

    def close(self) -> None:
        """Write out what TensorBoard holds back."""
        if self._events is not None:
            self._events.close()


def _open_events(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        msg = (
            "TensorBoard was asked for but is not installed. Install it "
            "(pip install tensorboard) or switch it off: log.csv holds the same."
        )
        raise SettingsError(msg) from error
    return SummaryWriter(str(folder))

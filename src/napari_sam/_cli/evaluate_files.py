# SPDX-License-Identifier: Apache-2.0
"""The files that ``napari-sam evaluate`` writes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam._cli.inputs import check_writable_file
from napari_sam.io.atomic import written_atomically
from napari_sam.io.object_table import write_table

if TYPE_CHECKING:
    from napari_sam.evaluation.cases import Case
    from napari_sam.evaluation.report import Report, Row


@dataclass(frozen=True, slots=True)
class EvaluationFiles:
    """Where results go; None leaves a file out.

    Attributes
    ----------
    csv : Path or None
        A row for each image.
    objects : Path or None
        A row for each object.
    json : Path or None
        Everything.
    html : Path or None
        A page to look at.
    """

    csv: Path | None = None
    objects: Path | None = None
    json: Path | None = None
    html: Path | None = None

    def check(self) -> None:
        """Try all places before the work.

        Raises
        ------
        OutputError
            If one cannot be written.
        """
        for path in (self.csv, self.objects, self.json, self.html):
            if path is not None:
                check_writable_file(path)

    def write(self, report: "Report", cases: Sequence["Case"]) -> None:
        """Write what was asked for.

        Raises
        ------
        OutputError
            If a file cannot be written.
        """
        self.write_data(report)
        if self.html is not None:
            from napari_sam.evaluation.html_report import html_page

            _write_text(self.html, html_page(report.to_dict(), cases))

    def write_data(self, report: "Report") -> None:
        """Write all but the page.

        Raises
        ------
        OutputError
            If a file cannot be written.
        """
        if self.csv is not None:
            _write_rows(self.csv, report.image_rows())
        if self.objects is not None:
            _write_rows(self.objects, list(report.object_rows()))
        if self.json is not None:
            text = json.dumps(report.to_dict(), indent=1, allow_nan=False)
            _write_text(self.json, text + "\n")


def _write_rows(path: Path, rows: Sequence["Row"]) -> None:
    """Write rows that may lack columns, such as those of images without objects."""
    write_table(path, rows, dict.fromkeys(column for row in rows for column in row))


def _write_text(path: Path, text: str) -> None:
    with written_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")

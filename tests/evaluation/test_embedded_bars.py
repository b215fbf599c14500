# SPDX-License-Identifier: Apache-2.0
"""The shipped weights keep what the model card promises, on some of the val images.

The card's own figures come from all of them: ``scripts/score_embedded.py``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from napari_sam._cli.main import app

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def scores(data: Path, name: str, out: Path, *options: str) -> dict[str, float]:
    """Return the values of a run, and the number of objects."""
    result = CliRunner().invoke(
        app,
        [
            *("evaluate", str(data / name / "images"), str(data / name / "labels")),
            *("--names-from", f"{data / 'splits.json'}:{name}/val"),
            *("--json", str(out), *options),
        ],
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    whole = json.loads(out.read_text())["whole"]
    values = {key: score["value"] for key, score in whole["scores"].items()}
    return values | {"images": whole["images"], "objects": whole["objects"]}


def test_clicks_and_boxes_on_nuclei(data_folder: Path, tmp_path: Path) -> None:
    modes = ("--mode", "point", "--mode", "box", "--limit", "20")
    found = scores(data_folder, "dsb2018", tmp_path / "scores.json", *modes)
    assert found["images"] == 20
    # One image of small nuclei has a third of the objects of these twenty.
    assert found["point_iou"] >= 0.65
    assert found["box_iou"] >= 0.78


def test_boxes_on_axons(data_folder: Path, tmp_path: Path) -> None:
    found = scores(data_folder, "axon_sem", tmp_path / "a.json", "--mode", "box")
    assert found["objects"] > 300
    assert found["box_iou"] >= 0.60


def test_grid_on_nuclei(data_folder: Path, tmp_path: Path) -> None:
    modes = ("--mode", "grid", "--limit", "6")
    found = scores(data_folder, "dsb2018", tmp_path / "g.json", *modes)
    assert found["grid_ap"] >= 0.50

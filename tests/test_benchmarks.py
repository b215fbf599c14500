# SPDX-License-Identifier: Apache-2.0
"""What benchmarks measured comes out as it was; what they did not is named."""

from __future__ import annotations

import importlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[1]
MACHINE = {"processor": "Abacus", "cores": 2, "load before": 0.1}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a script of the folder by its name."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


def a_row(paired: ModuleType, **given: Any) -> dict[str, Any]:
    samples = [(0.4, 0.1), (0.6, 0.2), (0.5, 0.1)]
    row = paired.Row(**({"what": "click", "unit": "ms", "must": 2.5} | given))
    result: dict[str, Any] = paired.fill(row, samples, 1000).as_dict()
    return result


def test_ratios_are_of_neighbours_and_the_table_says_them(script: Any) -> None:
    paired, report = script("paired"), script("write_report")
    lines = report.table([a_row(paired, check="equal")]).splitlines()
    assert lines[-1] == "| click | 500 ms | 100 ms | 4x | 2.5x |  | 3 | equal |"
    starred = report.table([a_row(paired, note="maker", is_same=False, check="two")])
    assert starred.splitlines()[-1].startswith("| click * | 500 ms |")
    assert starred.splitlines()[-1].endswith("| **no**: two |")


def test_what_was_not_measured_says_so(script: Any, tmp_path: Path) -> None:
    report = script("write_report")
    row = script("paired").Row("grid", must=6.0, note="absolute").as_dict()
    assert "| grid |  | unmeasured |  | 6 s |" in report.table([row])


@pytest.mark.parametrize(
    ("load", "is_loaded"),
    [({"load before": 0.1}, False), ({"load before": 1.2}, True), ({}, False)],
)
def test_a_machine_that_was_not_quiet_is_named(
    script: Any, load: dict[str, float], is_loaded: bool
) -> None:
    report = script("write_report")
    text = report.about({"cores": 2, **load}, "compare.py")
    assert ("Other programs ran" in text) == is_loaded
    later = report.about({"cores": 2, **load, "load after": 1.9}, "hover.py")
    assert "Other programs ran" in later


def test_the_page_holds_every_result(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, paired = script("write_report"), script("paired")
    results = tmp_path / "performance"
    results.mkdir()
    for name, what in (("compare", "last"), ("compare-old", "older")):
        content = {"machine": MACHINE, "rows": [a_row(paired, what=what)]}
        (results / f"{name}.json").write_text(json.dumps(content))
    monkeypatch.setattr(report, "DOCS", tmp_path)
    monkeypatch.setattr(report, "RESULTS", results)
    report.main()
    page = (tmp_path / "performance.md").read_text()
    assert page.index("| last | 500 ms") < page.index("| older | 500 ms")
    assert "Unmeasured: `benchmarks/compare_gpu.py` was not run." in page


def test_rows_of_the_same_machine_stay(script: Any, tmp_path: Path) -> None:
    paired = script("paired")
    path = tmp_path / "found.json"

    def whats() -> list[str]:
        return [row["what"] for row in json.loads(path.read_text())["rows"]]

    paired.save(path, MACHINE, [paired.Row("one"), paired.Row("two")])
    paired.save(path, {**MACHINE, "load before": 0.9}, [paired.Row("two")])
    assert whats() == ["one", "two"]
    paired.save(path, {**MACHINE, "processor": "Quipu"}, [paired.Row("three")])
    assert whats() == ["three"]


def test_the_load_is_of_this_moment(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    paired = script("paired")
    started = time.perf_counter()
    found = paired.busy_cores(0.2)
    assert time.perf_counter() - started >= 0.2
    assert 0 <= found <= (paired.os.cpu_count() or 1)
    monkeypatch.setattr(paired.psutil, "cpu_percent", lambda interval: 50.0)
    monkeypatch.setattr(paired.os, "cpu_count", lambda: 4)
    assert paired.busy_cores() == 2.0

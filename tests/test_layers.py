# SPDX-License-Identifier: Apache-2.0
"""Where code may live and how long it may grow."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
OWN_CODE = SOURCES + sorted((ROOT / "tests").rglob("*.py"))
OWN_CODE += sorted((ROOT / "scripts").rglob("*.py"))

MOST_LINES_IN_A_FILE = 400
MOST_LINES_IN_A_FUNCTION = 60


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Length of a body; docstrings and option tables in signatures do not count."""
    body = function.body
    if ast.get_docstring(function) is not None and len(body) > 1:
        body = body[1:]
    return function.end_lineno - body[0].lineno + 1


def lint_imports(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the package found in a folder."""
    run = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    options = ["--config", str(config), "--no-cache", "--no-logo"]
    return subprocess.run(
        [sys.executable, "-c", run, *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_imports_keep_the_contracts():
    answer = lint_imports(ROOT / "pyproject.toml", ROOT / "src")
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize(
    ("room", "statement", "contract"),
    [
        ("annotation", "import napari_sam.prediction", "Imports point down"),
        ("_bridge", "import qtpy", "Qt stays in _widgets"),
        ("structures", "import torch", "Values, annotation rules and files"),
        ("prediction", "import napari", "napari is known to"),
        ("modeling", "import torchvision", "No Qt binding is named"),
        ("attic", "import numpy", "Imports point down"),
    ],
)
def test_contracts_notice(tmp_path, room, statement, contract):
    package = tmp_path / "napari_sam"
    for path in (ROOT / "src" / "napari_sam").glob("*/__init__.py"):
        (package / path.parent.name).mkdir(parents=True)
        (package / path.parent.name / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "errors.py").touch()
    (package / room).mkdir(exist_ok=True)
    (package / room / "__init__.py").write_text(f"{statement}\n", "utf-8")
    answer = lint_imports(ROOT / "pyproject.toml", tmp_path)
    assert answer.returncode == 1
    assert contract in answer.stdout


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_file_and_functions_can_be_read_in_one_sitting(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= MOST_LINES_IN_A_FILE
    lengths = {
        node.name: lines_of_code(node)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    too_long = {n: k for n, k in lengths.items() if k > MOST_LINES_IN_A_FUNCTION}
    assert not too_long


def test_each_file_names_its_licence():
    spdx = "# SPDX-License-Identifier: Apache-2.0"
    without = [
        relative(path)
        for path in OWN_CODE
        if not path.read_text("utf-8").startswith(spdx)
    ]
    assert not without


def test_tests_stand_beside_their_twins():
    rooms = {path.name for path in (ROOT / "src" / "napari_sam").iterdir()}
    rooms.add("parity")  # answers of whole models, across rooms
    strangers = {
        relative(path)
        for path in (ROOT / "tests").rglob("test_*.py")
        if path.parent != ROOT / "tests"
        and path.relative_to(ROOT / "tests").parts[0] not in rooms
    }
    assert not strangers

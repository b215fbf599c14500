# SPDX-License-Identifier: Apache-2.0
"""What users of other annotators complain about is tested here, each complaint.

The complaints are numbered from 1 to 25. A test that holds one of them down begins its
docstring with "Lesson N:".
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
N_LESSONS = 25


def functions_of(path: Path) -> dict[str, str]:
    """Docstrings of the tests of a file by their names."""
    tree = ast.parse(path.read_text("utf-8"))
    return {
        node.name: ast.get_docstring(node) or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.fixture(scope="module")
def named() -> dict[int, list[str]]:
    """Tests by the number of the lesson that their docstring names."""
    found = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for name, text in functions_of(path).items():
            if match := re.match(r"Lesson (\d+)( of the peers)?: \S", text):
                found[int(match[1])].append(f"{path.relative_to(TESTS)}::{name}")
    return found


def test_every_lesson_has_a_test_that_names_it(named):
    assert sorted(named) == list(range(1, N_LESSONS + 1))


def test_the_oldest_napari_that_is_promised_is_tried_and_no_private_name_is_used():
    """Lesson 5: a new napari breaks nothing, because we keep to what is public."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    promised = re.search(r'"napari>=([\d.]+)"', project)[1]
    workflows = [p.read_text("utf-8") for p in (ROOT / ".github").rglob("*.yml")]
    assert any(f"=={promised}.*" in text for text in workflows)
    private = {}
    for path in (ROOT / "src/napari_sam").rglob("*.py"):
        if path.parent.name not in ("_bridge", "_widgets"):
            continue
        for name in private_names_of_napari(path):
            private.setdefault(name, set()).add(path.name)
    # Each has a public way beside it, for a napari without the private one.
    allowed = {
        "_canvas_size": {"view_region.py"},
        "_reset_history": {"label_layer.py"},
    }
    assert {n: p for n, p in private.items() if n in allowed} == {
        n: p for n, p in allowed.items() if n in private
    }
    assert set(private) <= set(allowed), private


def private_names_of_napari(path: Path) -> set[str]:
    """Private names imported from napari, or asked of objects by their name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "napari."
        ):
            parts = [*node.module.split("."), *(alias.name for alias in node.names)]
            found |= {part for part in parts if part.startswith("_")}
        is_getattr = isinstance(node, ast.Call) and (
            getattr(node.func, "id", "") in ("getattr", "setattr", "hasattr")
        )
        if is_getattr and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
            name = str(node.args[1].value)
            if name.startswith("_") and not name.startswith("__"):
                found.add(name)
    return found

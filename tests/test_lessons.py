# SPDX-License-Identifier: Apache-2.0
"""What users of other annotators complain about, and where each is tested here.

The complaints are numbered from 1 to 25. Tests written for one of them begin their
docstring with "Lesson N:"; for others the tests below hold it down anyway.
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

ELSEWHERE = {
    17: (
        "A grid never holds all masks in full size; batches shrink with the memory.",
        ("prediction/test_grid_search.py", "test_only_one_enlarged_mask_is_held"),
        ("prediction/test_grid_search.py", "test_when_memory_runs_out_smaller_batches"),
        (
            "prediction/test_batching.py",
            "test_when_memory_runs_out_the_batch_is_halved",
        ),
    ),
    18: (
        "What is made ahead is bounded, in the computer's own memory, and gives way.",
        ("annotation/test_jobs.py", "test_a_prefetch_gives_way_to_a_click_and_goes_on"),
        ("annotation/test_answers.py", "test_memory_of_embeddings_is_bounded"),
        ("_bridge/test_folder_session.py", "test_next_image_is_embedded_meanwhile"),
    ),
    22: (
        "Weights: a local file is enough, hashes count, nothing is fetched in silence.",
        ("weights/test_download.py", "test_wrong_hash_is_shown_beside_the_right_one"),
        ("weights/test_download.py", "test_offline_folder_needs_no_network"),
        ("weights/test_store.py", "test_hand_instructions_name_everything_needed"),
        ("_bridge/test_sessions.py", "test_missing_weights_are_never_fetched_in"),
    ),
    23: (
        "Installing needs torch, numpy and napari, no second package of the model.",
        ("test_packaging.py", "test_dependencies_leave_qt_and_the_originals_out"),
        ("test_packaging.py", "test_every_import_is_declared_and_every_dependency"),
    ),
    24: (
        "Nothing reaches a device in float64, which some devices do not have.",
        ("parity/test_no_float64.py", "test_model"),
        ("parity/test_no_float64.py", "test_predictor"),
    ),
    25: (
        "Large images are looked at in regions of full resolution.",
        ("prediction/test_image_view.py", "test_clicks_on_small_objects_are_answered"),
        ("prediction/test_regions.py", "test_prompts_go_to_the_region_whose_inner"),
    ),
}
"""For each lesson that is tested elsewhere: what it says, and (file, test) pairs."""


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


def test_every_lesson_has_a_test_that_names_it_or_is_known_elsewhere(named):
    assert sorted({*named, *ELSEWHERE}) == list(range(1, N_LESSONS + 1))


@pytest.mark.parametrize("number", ELSEWHERE)
def test_tests_named_elsewhere_are_there(number):
    text, *places = ELSEWHERE[number]
    assert text.endswith(".")
    assert places
    for file, name in places:
        tests = functions_of(TESTS / file)
        assert any(test.startswith(name) for test in tests), (file, name)


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
    allowed = {"_reset_history": {"label_layer.py"}}
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

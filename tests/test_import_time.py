# SPDX-License-Identifier: Apache-2.0
"""What a first import may not drag in: menus and help texts open at once."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import napari_sam

QT = {"qtpy", "superqt", "PyQt5", "PyQt6", "PySide2", "PySide6"}
HEAVY = QT | {"napari", "torch"}


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return {name.partition(".")[0] for name in json.loads(answer.stdout)}


def modules_of(room: str) -> list[str]:
    """Dotted names of all modules in a room, itself included."""
    folder = Path(napari_sam.__file__).parent / room
    name = f"napari_sam.{room}"
    return [name, *(m.name for m in pkgutil.walk_packages([str(folder)], f"{name}."))]


def test_package_loads_nothing_heavy():
    loaded = modules_after("import napari_sam; dir(napari_sam); napari_sam.__version__")
    assert loaded.isdisjoint(HEAVY | {"numpy", "scipy", "skimage"})


@pytest.mark.parametrize("room", ["structures", "annotation", "io"])
def test_rooms_of_values_and_rules_load_no_torch_qt_or_napari(room):
    imports = "; ".join(f"import {name}" for name in modules_of(room))
    assert modules_after(imports).isdisjoint(HEAVY)


def test_command_line_loads_no_torch_qt_or_napari():
    imports = "; ".join(f"import {name}" for name in modules_of("_cli"))
    assert modules_after(imports).isdisjoint(HEAVY)


def test_prediction_and_weights_load_no_qt_or_napari():
    names = modules_of("prediction") + modules_of("weights") + modules_of("evaluation")
    imports = "; ".join(f"import {name}" for name in names)
    assert modules_after(imports).isdisjoint(QT | {"napari"})


def test_bridge_loads_no_torch_and_no_qt():
    imports = "; ".join(f"import {name}" for name in modules_of("_bridge"))
    assert modules_after(imports).isdisjoint(QT | {"torch"})


@pytest.mark.viewer
def test_widgets_load_no_torch():
    imports = "; ".join(f"import {name}" for name in modules_of("_widgets"))
    assert "torch" not in modules_after(imports)

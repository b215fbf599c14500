# SPDX-License-Identifier: Apache-2.0
"""What is shipped, and what it says of itself."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "napari_sam"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]


def requirements(*parts: list) -> set[str]:
    """Names of the distributions asked for in lists of requirements."""
    return {
        canonicalize_name(Requirement(line).name)
        for part in parts
        for line in part
        if isinstance(line, str)
    }


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d"]
    subprocess.run([*command, str(folder)], cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    assert path.name == "napari_sam_live-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_manifest_on_top_is_the_one_in_the_package():
    on_top = ROOT / "napari.yaml"
    text = on_top.read_text("utf-8").strip()
    if on_top.is_symlink():
        assert on_top.resolve() == PACKAGE / "napari.yaml"
    else:
        # A checkout without symbolic links holds the link's target as text.
        assert text == "src/napari_sam/napari.yaml"


def test_manifest_entry_point_and_distribution_have_one_name():
    manifest = yaml.safe_load((PACKAGE / "napari.yaml").read_text("utf-8"))
    entry_points = PROJECT["entry-points"]["napari.manifest"]
    assert entry_points == {PROJECT["name"]: "napari_sam:napari.yaml"}
    assert manifest["name"] == PROJECT["name"]


def test_wheel_ships_every_file_of_the_package_and_no_other(wheel):
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    here = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert shipped == here
    assert {"napari_sam/napari.yaml", "napari_sam/py.typed"} <= shipped
    assert "napari_sam/weights/data/embedded.safetensors" in shipped


def test_wheel_is_small_enough_to_carry_its_model(wheel):
    weights = wheel.getinfo("napari_sam/weights/data/embedded.safetensors")
    assert 1e6 < weights.file_size <= 18e6
    assert sum(info.compress_size for info in wheel.infolist()) < 25e6


def test_wheel_carries_licence_notice_and_readme(wheel):
    files = {Path(name).name for name in wheel.namelist() if "/licenses/" in name}
    assert files == {"LICENSE", "NOTICE"}
    metadata = wheel.read("napari_sam_live-0.1.0.dist-info/METADATA").decode()
    headers = Parser().parsestr(metadata)
    assert headers["License-Expression"] == "Apache-2.0"
    assert "Framework :: napari" in headers.get_all("Classifier")
    assert headers.get_payload().startswith("# napari-sam")


def test_dependencies_leave_qt_and_the_originals_out():
    """Lesson 23: installing needs torch, numpy and napari, no second package of
    the model.
    """
    asked = requirements(PROJECT["dependencies"])
    qt = {"pyqt5", "pyqt6", "pyside2", "pyside6"}
    originals = {"torchvision", "opencv-python", "segment-anything", "timm"}
    assert asked.isdisjoint(qt | originals)
    extras = {
        extra
        for line in PROJECT["dependencies"]
        for extra in Requirement(line).extras
        if Requirement(line).name == "napari"
    }
    assert not extras, "napari[...] would bring a Qt binding along"


def imported_modules() -> dict[str, str]:
    """Top-level modules that the package imports, with one file that does."""
    found: dict[str, str] = {}
    for path in PACKAGE.rglob("*.py*"):
        if path.suffix not in {".py", ".pyi"}:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            for name in names:
                found.setdefault(name.partition(".")[0], path.name)
    return found


def test_every_import_is_declared_and_every_dependency_used():
    """Lesson 23: installing needs torch, numpy and napari, no second package of
    the model.
    """
    homes = packages_distributions()
    foreign = {
        name: where
        for name, where in imported_modules().items()
        if name not in sys.stdlib_module_names | {"napari_sam"}
    }
    used = {
        canonicalize_name(home)
        for name in foreign
        for home in homes.get(name, [name.replace("_", "-")])
    }
    optional = requirements(*PROJECT["optional-dependencies"].values())
    declared = requirements(PROJECT["dependencies"])
    assert used <= declared | optional, foreign
    assert declared <= used


def test_constraints_pin_everything_and_name_no_index():
    text = (ROOT / "constraints.txt").read_text("utf-8")
    assert not re.search(r"^\s*-|://|\+", text, re.M)
    wanted = requirements(
        PROJECT["dependencies"],
        *PROJECT["optional-dependencies"].values(),
        *PYPROJECT["dependency-groups"].values(),
    )
    assert wanted <= set(pins())
    assert pins()["torch"] == "2.13.0"


def test_constraints_satisfy_the_lower_bounds():
    asked = PROJECT["dependencies"] + [
        line
        for group in PYPROJECT["dependency-groups"].values()
        for line in group
        if isinstance(line, str)
    ]
    for line in asked:
        requirement = Requirement(line)
        version = pins()[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), line

# SPDX-License-Identifier: Apache-2.0
"""The names that scripts may build on."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

import napari_sam

PUBLIC = {
    "Annotator": "napari_sam.annotation.annotator",
    "ArrayImage": "napari_sam.annotation.array_ports",
    "ArrayLabels": "napari_sam.annotation.array_ports",
    "AutomaticMaskGenerator": "napari_sam.prediction.automatic_mask_generator",
    "ModelSegmenter": "napari_sam.prediction.model_segmenter",
    "SamPredictor": "napari_sam.prediction.predictor",
    "list_models": "napari_sam.weights.catalogue",
    "load_model": "napari_sam.weights.load",
    "segment_image": "napari_sam.prediction.segmenter",
}
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def test_public_names_are_exactly_these():
    assert set(napari_sam.__all__) == {*PUBLIC, "__version__"}
    assert set(dir(napari_sam)) >= set(PUBLIC)


@pytest.mark.parametrize(("name", "home"), PUBLIC.items())
def test_public_name_is_the_one_defined_in_its_room(name, home):
    public = getattr(napari_sam, name)
    assert public is getattr(importlib.import_module(home), name)
    assert public.__doc__, f"{name} has no docstring"


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="no_such_name"):
        napari_sam.no_such_name  # noqa: B018


def test_version_is_the_distribution_s():
    stated = re.search(r'^version = "(.+)"$', PYPROJECT.read_text("utf-8"), re.M)
    assert stated is not None
    assert napari_sam.__version__ == stated.group(1)


def test_stub_says_what_the_package_offers():
    stub = Path(napari_sam.__file__).with_suffix(".pyi").read_text("utf-8")
    offered = {
        alias.asname
        for node in ast.parse(stub).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert offered == set(PUBLIC)

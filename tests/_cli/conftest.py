# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

CHECKPOINT = Path(__file__).parents[1] / "data" / "parity" / "mini.safetensors"


class Outcome(NamedTuple):
    """Exit code and what was printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Call the command line in this process, as the console script does."""
    from napari_sam._cli.main import main

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")

    def call(*words: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Outcome(ended.value.code or 0, out, err)

    return call


@pytest.fixture(scope="session")
def mini() -> list[str]:
    """Options that choose a tiny trained model, and a grid that suits it."""
    return ["--checkpoint", str(CHECKPOINT), "--device", "cpu"]


@pytest.fixture
def picture(tmp_path, blobs):
    """A photograph of blobs as a file."""
    path = tmp_path / "blobs.png"
    Image.fromarray(blobs.image).save(path)
    return path


@pytest.fixture
def out(tmp_path):
    """Where results go; not made yet."""
    return tmp_path / "out"

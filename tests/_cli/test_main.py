# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import pytest

from napari_sam.errors import NapariSamError


def test_help_names_the_commands(run):
    outcome = run("--help")
    assert outcome.code == 0
    for word in ("segment", "models", "evaluate", "demo"):
        assert word in outcome.out
        assert run(word, "--help").code == 0


def test_version(run):
    outcome = run("--version")
    assert outcome.code == 0
    assert outcome.out.startswith("napari-sam-live ")


def test_without_words_there_is_help(run):
    outcome = run()
    assert outcome.code == 2
    assert "Usage: napari-sam" in outcome.out + outcome.err


def test_only_own_errors_become_messages(run, monkeypatch):
    def fail(error):
        def raise_it(*_args, **_kwargs):
            raise error

        monkeypatch.setattr("napari_sam._cli.models.store.status_rows", raise_it)

    fail(NapariSamError("plain words"))
    outcome = run("models")
    assert outcome.code == 2
    assert outcome.err == "napari-sam: plain words\n"
    from napari_sam._cli.main import main

    fail(RuntimeError("a fault of ours"))
    with pytest.raises(RuntimeError, match="a fault of ours"):
        main(["models"])


@pytest.mark.parametrize(
    ("words", "forbidden"),
    [
        (["--help"], ["torch", "qtpy", "napari", "napari.layers"]),
        (["models"], ["torch", "qtpy", "napari"]),
        (["segment", "IMAGE", "-o", "OUT", "--point=9,9"], ["qtpy", "napari", "PyQt6"]),
    ],
)
def test_what_commands_do_not_import(tmp_path, mini, words, forbidden):
    from PIL import Image

    Image.effect_noise((40, 30), 50).save(tmp_path / "a.png")
    places = {"IMAGE": str(tmp_path / "a.png"), "OUT": str(tmp_path / "out")}
    words = [places.get(word, word) for word in words]
    if words[0] == "segment":
        words += mini
    code = (
        "import sys\n"
        "from napari_sam._cli.main import main\n"
        f"try: main({words!r})\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"found = [m for m in {forbidden!r} if m in sys.modules]\n"
        "sys.exit(f'imported {found}' if found else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

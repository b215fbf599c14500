# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("killed_annotator.py")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forks")
def test_killed_at_any_moment_loses_at_most_what_is_in_flight(tmp_path):
    folder = tmp_path / "journals"
    folder.mkdir()
    ended = subprocess.run(
        [sys.executable, PROGRAM, folder, "12"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "", "")

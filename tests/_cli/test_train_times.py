# SPDX-License-Identifier: Apache-2.0
"""Times as people write them."""

import pytest

from napari_sam._cli.train import parse_duration
from napari_sam.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("1h30m", 5400),
        ("2.5m", 150),
        ("45", 45),
        (" 1H ", 3600),
    ],
)
def test_times(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "15 minutes", "-3s", "0", "1m2h", "1e3"])
def test_what_is_no_time(text):
    with pytest.raises(SettingsError, match="1h30m"):
        parse_duration(text)

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from napari_sam.errors import SettingsError
from napari_sam.structures.plane_view import PlaneView, Region


def test_the_middle_of_a_view() -> None:
    assert PlaneView((-10.0, 20.0, 30.0, 60.0), 2.0).centre_yx == (10.0, 40.0)


@pytest.mark.parametrize(
    ("box", "step"),
    [
        ((0.0, 0.0, 0.0, 9.0), 1.0),
        ((0.0, 9.0, 9.0, 0.0), 1.0),
        ((0.0, 0.0, float("nan"), 9.0), 1.0),
        ((0.0, 0.0, 9.0, float("inf")), 1.0),
        ((0.0, 0.0, 9.0, 9.0), 0.0),
        ((0.0, 0.0, 9.0, 9.0), float("nan")),
    ],
)
def test_a_view_of_nothing_is_refused(box, step) -> None:
    with pytest.raises(SettingsError, match="step above 0"):
        PlaneView(box, step)


def test_the_size_of_a_region() -> None:
    assert Region((10, 20, 40, 25), 4).size == (30, 5)

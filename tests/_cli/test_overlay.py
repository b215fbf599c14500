# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from PIL import Image

from napari_sam._cli.overlay import outline_panel, write_panels
from napari_sam.errors import OutputError


def test_outlines_lie_on_the_objects():
    image = np.full((20, 30), 50, np.uint8)
    labels = np.zeros((20, 30), int)
    labels[5:12, 8:20] = 3
    panel = outline_panel(image, labels)
    assert panel.shape == (40, 60, 3)
    drawn = (panel != 50).any(axis=2)
    big = labels.repeat(2, 0).repeat(2, 1) == 3
    assert drawn.any()
    assert not (drawn & ~big).any()
    assert not drawn[13:21, 19:37].any()


def test_neighbours_differ_in_colour_and_the_image_stays():
    image = np.zeros((10, 20, 3), np.uint8)
    labels = np.zeros((10, 20), int)
    labels[:, :10] = 1
    labels[:, 10:] = 2
    panel = outline_panel(image, labels)
    assert tuple(panel[4, 19]) != tuple(panel[4, 20])
    assert not image.any()


@pytest.mark.parametrize("point", [(0, 0), (9, 19), (5, 5)])
def test_crosses_stay_inside(point):
    empty = np.zeros((10, 20), int)
    panel = outline_panel(np.full((10, 20), 90, np.uint8), empty, [point])
    assert panel.shape == (20, 40, 3)
    assert tuple(panel[2 * point[0], 2 * point[1]]) == (255, 255, 255)


def test_sheet_holds_all_panels(tmp_path):
    panels = [
        (f"number {i}", np.full((30, 40, 3), 60 * i, np.uint8)) for i in (1, 2, 3)
    ]
    path = write_panels(tmp_path / "new" / "a.png", panels)
    with Image.open(path) as sheet:
        pixels = np.array(sheet)
    for value in (60, 120, 180):
        assert np.count_nonzero((pixels == value).all(axis=2)) >= 30 * 40
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_panels(tmp_path / "file" / "a.png", panels)

# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from napari_sam.errors import ImageError
from napari_sam.io import sample_data
from napari_sam.io.drawn_sample import draw_cells
from napari_sam.io.sample_data import load_sample, sample_names


def test_names():
    assert sample_names() == ("nuclei", "tissue", "axons", "drawn")
    with pytest.raises(ImageError, match="nuclei, tissue, axons, drawn"):
        load_sample("moon")


@pytest.mark.parametrize(
    ("name", "shape", "n_objects"),
    [
        ("nuclei", (360, 360), 43),
        ("tissue", (256, 320, 3), 20),
        ("axons", (320, 320), 23),
        ("drawn", (256, 256), 18),
    ],
)
def test_images_and_truth(name, shape, n_objects):
    sample = load_sample(name)
    assert sample.image.shape == shape
    assert sample.image.dtype == np.uint8
    assert sample.labels.shape == shape[:2]
    assert np.unique(sample.labels).tolist() == list(range(n_objects + 1))
    assert sample.credit
    assert sample.licence in {"CC0", "MIT"}


def test_pixel_size_where_stated():
    assert load_sample("axons").pixel_size_um == (0.093, 0.093)
    assert load_sample("nuclei").pixel_size_um is None


def test_files_stay_small():
    folder = sample_data._FOLDER
    assert sum(path.stat().st_size for path in folder.iterdir()) < 400_000


def test_drawing_is_the_same_every_time():
    first, second = draw_cells(), draw_cells()
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.array_equal(first[0], draw_cells(seed=8)[0])


def test_drawn_cells_do_not_touch_and_are_bright():
    image, labels = draw_cells()
    for label in range(1, labels.max() + 1):
        cell = labels == label
        ring = np.zeros_like(cell)
        ring[1:] |= cell[:-1]
        ring[:-1] |= cell[1:]
        ring[:, 1:] |= cell[:, :-1]
        ring[:, :-1] |= cell[:, 1:]
        assert set(np.unique(labels[ring])) <= {0, label}
        assert image[cell].mean() > image[labels == 0].mean() + 30

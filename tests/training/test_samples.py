# SPDX-License-Identifier: Apache-2.0
"""Samples are found once, read when asked for, and kept within bounds."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_sam.errors import Cancelled, ImageError, LabelsError
from napari_sam.prediction.intensity import to_rgb
from napari_sam.training import frames
from napari_sam.training.frames import FrameSource
from napari_sam.training.recipe import Frames
from napari_sam.training.samples import SampleSet, find_samples, tiles
from napari_sam.training.sources import from_arrays


class Counted:
    """An array that counts how many of its pixels are read."""

    def __init__(self, data):
        self.data, self.n_read = data, 0
        self.shape, self.dtype, self.ndim = data.shape, data.dtype, data.ndim

    def __getitem__(self, key):
        found = self.data[key]
        self.n_read += found.size
        return found


def discs(shape=(60, 80), n=3, size=10):
    """Numbered squares in a row."""
    labels = np.zeros(shape, np.uint16)
    for i in range(n):
        labels[20 : 20 + size, 5 + 25 * i : 5 + size + 25 * i] = i + 1
    return labels


def noise(shape=(60, 80), seed=0):
    return np.random.default_rng(seed).integers(0, 60_000, shape, np.uint16)


def test_planes_with_objects_are_samples_and_read_right():
    labels = np.stack([discs(n=2), discs(n=0), discs(n=3)])
    image = np.stack([noise(seed=i) for i in range(3)])
    samples = find_samples([from_arrays(image, labels, name="stack")])
    assert [s.name for s in samples] == ["stack[0]", "stack[2]"]
    found = SampleSet(samples)
    assert (found.n_images, found.n_objects, len(found)) == (1, 5, 2)
    second = found[1]
    assert (second.pixels == to_rgb(image[2])).all()
    assert second.pixels.dtype == np.uint8
    assert second.labels.dtype == np.int32
    assert (second.labels == labels[2]).all()
    assert found.names == ("stack[0]", "stack[2]")
    assert found.sizes == ((60, 80), (60, 80))
    assert [image.name for image in found] == list(found.names)
    assert found[1:].names == ("stack[2]",)
    with pytest.raises(IndexError):
        found[2]


def test_small_objects_do_not_count():
    labels = discs(n=2)
    labels[0, :24] = 7
    (sample,) = find_samples([from_arrays(noise(), labels)])
    assert sample.labels == {1, 2}
    (sample,) = find_samples([from_arrays(noise(), labels)], min_area=24)
    assert sample.labels == {1, 2, 7}


def test_too_small_objects_are_background_in_what_is_read():
    labels = discs(n=2)
    labels[0, :24] = 7
    (read,) = SampleSet(find_samples([from_arrays(noise(), labels)]))
    assert set(np.unique(read.labels)) == {0, 1, 2}
    found = SampleSet(find_samples([from_arrays(noise(), labels)], min_area=24))
    assert set(np.unique(found[0].labels)) == {0, 1, 2, 7}
    assert found.min_area == 24


def test_what_is_too_small_is_told_by_the_plane_not_by_the_tile():
    labels = np.zeros((60, 300), np.uint16)
    labels[20:30, 10:20] = 1
    labels[20:30, 98:108] = 2  # 20 pixels of it in the first tile
    labels[40:44, 98:102] = 3  # 16 pixels, 8 in either tile
    image = from_arrays(noise((60, 300)), labels)
    samples = find_samples([image], side=100)
    assert [sample.labels for sample in samples] == [{1}, {2}]
    first, second = SampleSet(samples)
    assert set(np.unique(first.labels)) == {0, 1, 2}
    assert np.count_nonzero(first.labels == 2) == 20
    assert set(np.unique(second.labels)) == {0, 2}


def test_digest_is_of_what_is_learned_from():
    first = [
        from_arrays(noise(), discs(), name="a"),
        from_arrays(noise(seed=1), discs()),
    ]
    digest = SampleSet(find_samples(first)).digest
    again = [
        from_arrays(noise(seed=1), discs()),
        from_arrays(noise(), discs(), name="b"),
    ]
    assert SampleSet(find_samples(again)).digest == digest
    labels = discs()
    labels[20, 5] = 0
    changed = [from_arrays(noise(), labels), from_arrays(noise(seed=1), discs())]
    assert SampleSet(find_samples(changed)).digest != digest
    other = [from_arrays(noise(seed=2), discs()), from_arrays(noise(seed=1), discs())]
    assert SampleSet(find_samples(other)).digest != digest


def test_tiles_cover_everything_once():
    seen = np.zeros((130, 70), int)
    sides = []
    for y0, x0, y1, x1 in tiles((0, 0, 130, 70), 40):
        seen[y0:y1, x0:x1] += 1
        sides += [y1 - y0, x1 - x0]
    assert (seen == 1).all()
    assert max(sides) <= 40
    assert list(tiles((3, 4, 63, 64), 40)) == [(3, 4, 63, 64)]


def test_large_planes_are_tiles_with_the_brightness_of_the_plane():
    image = np.zeros((60, 300), np.uint16)
    image[:, 250:] = 1000
    labels = discs((60, 300), n=12)
    samples = find_samples([from_arrays(image, labels, name="long")], side=100)
    assert [s.box for s in samples] == [
        (0, 0, 60, 100),
        (0, 100, 60, 200),
        (0, 200, 60, 300),
    ]
    assert samples[1].name == "long[y=0:60,x=100:200]"
    found = SampleSet(samples)
    assert (found[2].pixels == to_rgb(image)[:, 200:]).all()
    assert (found[1].labels == labels[:, 100:200]).all()
    # Objects on the border of two tiles count once.
    assert found.n_objects == 12


def test_labels_are_read_once_in_looking_and_samples_each_time_they_are_asked_for():
    image, labels = Counted(noise()), Counted(discs())
    samples = find_samples([from_arrays(image, labels)])
    assert (image.n_read, labels.n_read) == (60 * 80, 60 * 80)
    found = SampleSet(samples)
    for n in (2, 3):
        found[0]
        assert (image.n_read, labels.n_read) == (n * 60 * 80, n * 60 * 80)


def test_who_shows_samples_keeps_them_within_bounds(tiny, monkeypatch):
    """Once in memory, however often a frame of it is drawn; twice would be too much."""
    images = [Counted(noise(seed=i)) for i in range(3)]
    samples = find_samples([from_arrays(image, discs()) for image in images])
    one = 60 * 80 * (3 + 4)
    monkeypatch.setattr(frames, "CACHE_BYTES", 2 * one)
    source = FrameSource(SampleSet(samples), tiny, Frames())
    for image in images:
        image.n_read = 0
    for i in (0, 1, 0, 1):
        source.draw(i, np.random.default_rng(0))
    assert images[0].n_read == images[1].n_read == 60 * 80
    source.draw(2, np.random.default_rng(0))
    source.draw(0, np.random.default_rng(0))
    assert images[0].n_read == 2 * 60 * 80
    assert source._kept.nbytes <= 2 * one


def test_many_threads_read_the_same():
    found = SampleSet(
        find_samples([from_arrays(noise(seed=i), discs()) for i in range(4)])
    )
    expected = [to_rgb(noise(seed=i)) for i in range(4)]
    wrong = []

    def read():
        for i in range(4):
            if not (found[i].pixels == expected[i]).all():
                wrong.append(i)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    ("labels", "error", "text"),
    [
        (discs(n=0), LabelsError, "at least 25 pixels"),
        (discs(n=1), LabelsError, "only one object"),
        (discs(n=3, size=4), LabelsError, "at least 25 pixels"),
        (discs().astype(int) - 1, LabelsError, "from -1 to 2"),
        (discs().astype(np.uint64) << 40, LabelsError, "number the objects anew"),
    ],
)
def test_labels_that_nothing_can_be_learned_from(labels, error, text):
    with pytest.raises(error) as caught:
        find_samples([from_arrays(noise(), labels, name="my cells")])
    assert text in str(caught.value)
    assert "my cells" in str(caught.value)


def test_all_planes_empty_names_the_images():
    empty = np.zeros((4, 60, 80), int)
    images = [from_arrays(empty, empty, name=f"image{i}") for i in range(5)]
    with pytest.raises(LabelsError, match="image0, image1, image2 and 2 more"):
        find_samples(images)
    with pytest.raises(ImageError, match="no images to train on"):
        find_samples([])


def test_images_without_numbers_are_black_but_legal():
    image = np.full((60, 80), np.nan, np.float32)
    image[:30] = 1
    found = SampleSet(find_samples([from_arrays(image, discs())]))
    assert found[0].pixels.dtype == np.uint8


def test_progress_and_cancel():
    images = [from_arrays(noise(seed=i), discs()) for i in range(3)]
    told = []
    find_samples(images, progress=lambda done, n: told.append((done, n)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        find_samples(images, cancel=cancel)

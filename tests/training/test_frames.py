# SPDX-License-Identifier: Apache-2.0
"""What of an image the model is shown, and whether labels stay where they belong."""

import dataclasses

import numpy as np
import pytest

from napari_sam.errors import ImageError, LabelsError
from napari_sam.prediction.regions import Regions
from napari_sam.training.dataset import LabelledImage
from napari_sam.training.frames import FrameSource
from napari_sam.training.recipe import Frames

PLAIN = Frames()
VARIED = Frames(scale_jitter=(0.5, 2.0), flips=True, looks=0.0)


def stepped(height: int, width: int) -> LabelledImage:
    """Blocks of 16 pixels, each bright by its number and an object of its own."""
    rows, columns = np.arange(height) // 16, np.arange(width) // 16
    labels = rows[:, None] * (width // 16) + columns + 1
    pixels = np.repeat((labels % 32 * 8).astype(np.uint8)[..., None], 3, axis=2)
    return LabelledImage("stepped", "x", pixels, labels.astype(np.int32))


def test_an_image_fills_the_frame_and_mask_pixels_sample_it_evenly(tiny) -> None:
    source = FrameSource([stepped(32, 64)], tiny, PLAIN)
    (frame,) = source.views(0)
    assert frame.rgb.shape == (32, 64, 3)
    assert source.stride == 2
    assert frame.labels.shape == (32, 32)
    assert frame.labels[:16].tolist() == [
        [row // 8 * 4 + column // 8 + 1 for column in range(32)] for row in range(16)
    ]
    assert not frame.labels[16:].any()  # past the image


def test_smaller_and_larger_images_are_scaled_to_fill(tiny) -> None:
    source = FrameSource([stepped(32, 32), stepped(96, 80)], tiny, PLAIN)
    (small,), (large,) = source.views(0), source.views(1)
    assert small.scale == (2, 2)
    assert large.rgb.shape == (64, 53, 3)  # 96 is 1.5 frames: still seen as a whole
    assert large.box == (0, 0, 96, 80)


def test_larger_images_are_seen_in_regions_at_full_resolution(tiny) -> None:
    source = FrameSource([stepped(256, 320)], tiny, PLAIN)
    for frame in source.views(0):
        y0, x0, y1, x1 = frame.box
        assert (y1 - y0, x1 - x0) == (64, 64)
        assert frame.scale == (1, 1)
    rng = np.random.default_rng(0)
    scales = {source.draw(0, rng).scale for _ in range(60)}
    # regions at 1 and 1/2, and the whole image in the frame
    assert scales == {(1, 1), (0.5, 0.5), (51 / 256, 0.2)}


def test_labels_follow_the_pixels_through_every_change(tiny) -> None:
    image = stepped(96, 160)
    source = FrameSource([image], tiny, VARIED)
    rng = np.random.default_rng(0)
    checked = 0
    for _ in range(40):
        frame = source.draw(0, rng)
        height, width = frame.rgb.shape[:2]
        for row, column in rng.integers(0, 32, (40, 2)):
            y, x = int(row * 2 + 1), int(column * 2 + 1)
            if y + 1 >= height or x + 1 >= width:
                continue
            part = frame.rgb[y - 1 : y + 2, x - 1 : x + 2, 0]
            if np.ptp(part):  # at the edge of a block
                continue
            label = frame.labels[row, column]
            if label:
                assert abs(int(label) % 32 * 8 - part[0, 0]) <= 1
                checked += 1
    assert checked > 300


def test_what_is_drawn_depends_on_the_generator_only(tiny) -> None:
    varied = dataclasses.replace(VARIED, looks=1.0)
    image = stepped(96, 160)
    first = FrameSource([image], tiny, varied).draw(0, np.random.default_rng(3))
    source = FrameSource([image], tiny, varied)
    source.draw(0, np.random.default_rng(1))
    again = source.draw(0, np.random.default_rng(3))
    assert np.array_equal(first.rgb, again.rgb)
    assert np.array_equal(first.labels, again.labels)
    assert first.rgb.min() >= 0
    assert first.rgb.max() <= 255


def test_objects_to_score_are_seen_whole(tiny) -> None:
    source = FrameSource([stepped(256, 320)], tiny, PLAIN)
    for frame in source.views(0):
        y0, x0, y1, x1 = frame.box
        for label, (top, left, bottom, right) in source.objects(0, frame):
            assert y0 <= top < bottom <= y1
            assert x0 <= left < right <= x1
            mask = source.mask(0, label, (top, left, bottom, right))
            assert mask.shape == (16, 16)
            assert mask.all()


def test_the_least_area_to_score_is_chosen(tiny) -> None:
    image = stepped(32, 64)  # objects of 256 pixels
    for least, n in ((256, 8), (257, 0)):
        source = FrameSource([image], tiny, PLAIN, least)
        assert len(source.objects(0, source.views(0)[0])) == n


@pytest.mark.parametrize("height", [1, 31, 32, 33, 64])
def test_the_size_shown_ends_where_the_labels_end(tiny, height) -> None:
    labels = np.ones((height, 64), np.int32)
    image = LabelledImage("x", "x", (labels * 9).astype(np.uint8), labels)
    source = FrameSource([image], tiny, PLAIN)
    (frame,) = source.views(0)
    rows, columns = source.shown_size(frame)
    assert columns == 32
    assert rows == max(1, np.count_nonzero(frame.labels[:, 0]))


def test_images_without_objects_are_passed_over(tiny, scene) -> None:
    empty = dataclasses.replace(scene, labels=np.zeros_like(scene.labels))
    source = FrameSource([empty], tiny, PLAIN)
    assert source.draw(0, np.random.default_rng(0)) is None
    assert source.views(0) == []


def test_labels_with_gaps_without_background_or_of_one_object(tiny, scene) -> None:
    far = np.where(scene.labels > 0, scene.labels * 10**8, 0).astype(np.int64)
    full = np.ones((64, 64), bool)
    images = [
        dataclasses.replace(scene, labels=far),
        dataclasses.replace(scene, labels=full),
    ]
    source = FrameSource(images, tiny, PLAIN)
    (frame,) = source.views(0)
    assert np.array_equal(frame.labels > 0, scene.labels[1::2, 1::2] > 0)
    assert len(np.unique(frame.labels)) == 5
    (frame,) = source.views(1)
    assert (frame.labels == 1).all()


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (np.zeros((64, 32), int), r"scene: labels of shape \(64, 32\) do not fit"),
        (np.zeros((64, 64)), "whole numbers, not float64"),
        (np.zeros((1, 64, 64), int), "one .H, W. plane"),
        (np.full((64, 64), -1), "must not be negative; the lowest is -1"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(tiny, scene, labels, text) -> None:
    source = FrameSource([dataclasses.replace(scene, labels=labels)], tiny, PLAIN)
    with pytest.raises(LabelsError, match=text):
        source.views(0)


def test_pixels_that_are_no_image_are_refused(tiny, scene) -> None:
    odd = dataclasses.replace(scene, pixels=np.zeros((64, 64), complex))
    with pytest.raises(ImageError):
        FrameSource([odd], tiny, PLAIN).views(0)


def test_nan_is_shown_as_black(tiny, scene) -> None:
    pixels = scene.pixels.astype(np.float32)
    pixels[:20] = np.nan
    holed = dataclasses.replace(scene, pixels=pixels)
    (frame,) = FrameSource([holed], tiny, PLAIN).views(0)
    assert (frame.rgb[:20] == 0).all()
    assert frame.rgb[20:].max() == 255


def sized(side: int, shape: tuple[int, int] = (64, 64)) -> LabelledImage:
    """Squares of one size in a grid."""
    labels = np.zeros(shape, np.int32)
    step = side + 4
    for number, (y, x) in enumerate(
        (y, x)
        for y in range(2, shape[0] - side, step)
        for x in range(2, shape[1] - side, step)
    ):
        labels[y : y + side, x : x + side] = number + 1
    pixels = np.where(labels > 0, 200, 40).astype(np.uint8)
    return LabelledImage(f"squares of {side}", "x", pixels, labels)


def drawn_scales(source: FrameSource, n: int = 60) -> list[float]:
    rng = np.random.default_rng(0)
    return [source.draw(0, rng).scale[0] for _ in range(n)]


# A frame of 64 pixels shows the first image as it is, the second at half its size.
@pytest.mark.parametrize(
    ("side", "shape", "usual", "enlarged"),
    [
        (20, (64, 64), 1, 2),  # shown with 40 pixels, one and a half times 24
        (12, (64, 64), 1, 4),  # twice as large would be enough for 24, not for 36
        (24, (64, 64), 1, None),
        (4, (32, 32), 2, 8),
        (6, (32, 32), 2, 4),  # no region of 8 pixels shows it well
        (16, (96, 96), 2 / 3, 2),
    ],
)
def test_tiny_objects_are_shown_as_large_as_annotating_shows_them(
    tiny, side, shape, usual, enlarged
) -> None:
    tiny.min_object_px = 24
    image = sized(side, shape)
    always = FrameSource([image], tiny, Frames(enlarged_share=1.0))
    expected = usual if enlarged is None else enlarged
    assert drawn_scales(always, 10) == pytest.approx([expected] * 10, rel=0.02)
    # The rule of prompting: a predictor that saw the usual view asks for this region.
    regions = Regions(shape, 64, 24)
    corners = np.array([[2.0, 2.0], [2.0 + side, 2.0 + side]])
    region = regions.enlarging(corners, side, regions.best_for(corners))
    assert (None if region is None else 64 / region.size[0]) == enlarged


def test_a_share_of_tiny_objects_is_enlarged_and_of_other_models_none(tiny) -> None:
    some = Frames(enlarged_share=0.5)
    tiny.min_object_px = 24
    scales = drawn_scales(FrameSource([sized(12)], tiny, some), 200)
    assert set(scales) == {1, 4}
    assert 70 < scales.count(4) < 130
    assert set(drawn_scales(FrameSource([sized(12)], tiny, Frames()))) == {1}
    tiny.min_object_px = None
    assert set(drawn_scales(FrameSource([sized(12)], tiny, some))) == {1}


def test_an_enlarged_frame_shows_the_object_that_it_is_for(tiny) -> None:
    tiny.min_object_px = 24
    labels = np.zeros((64, 64), np.int32)
    labels[50:56, 3:9] = 1
    labels[2:42, 12:62] = 2  # too large for an enlarged frame
    image = LabelledImage("x", "x", (labels * 90).astype(np.uint8), labels)
    source = FrameSource([image], tiny, Frames(enlarged_share=1.0, flips=True))
    rng = np.random.default_rng(0)
    seen = {1: 0, 4: 0}
    for _ in range(40):
        frame = source.draw(0, rng)
        seen[frame.scale[0]] += 1
        if frame.scale[0] == 4:
            # 12 x 12 mask pixels, or what lies inside of the frame
            assert np.count_nonzero(frame.labels == 1) > 60
    assert min(seen.values()) > 8


def test_what_is_scored_has_an_enlarged_view_too(tiny) -> None:
    tiny.min_object_px = 24
    source = FrameSource([sized(12)], tiny, PLAIN)
    whole, enlarged = source.views(0)
    assert (whole.scale, enlarged.scale) == ((1, 1), (4, 4))
    assert source.objects(0, enlarged)
    assert np.array_equal(source.views(0)[1].rgb, enlarged.rgb)
    (only,) = FrameSource([sized(30)], tiny, PLAIN).views(0)
    assert only.scale == (1, 1)


def test_images_are_read_once_while_they_fit(tiny, scene) -> None:
    class Counted(list):
        n_read = 0

        def __getitem__(self, index):
            self.n_read += 1
            return super().__getitem__(index)

    images = Counted([scene, stepped(32, 32)])
    source = FrameSource(images, tiny, PLAIN)
    rng = np.random.default_rng(0)
    for index in (0, 1, 0, 1):
        frame = source.draw(index, rng)
        source.objects(index, frame)
    assert images.n_read == 2

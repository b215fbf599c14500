# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from napari_sam.prediction.transforms import (
    FrameTransform,
    interpolation_matrix,
    resize_rgb,
    resized_shape,
    upscale_logits,
)

sides = st.integers(1, 6000)


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((600, 800), (768, 1024)),
        ((1024, 1024), (1024, 1024)),
        ((1, 5000), (1, 1024)),
        ((1, 1), (1024, 1024)),
        ((1500, 2250), (683, 1024)),
    ],
)
def test_the_long_side_fills_the_frame(shape, wanted):
    assert resized_shape(shape, 1024) == wanted


@settings(deadline=None)
@given(sides, sides, st.sampled_from([256, 512, 1024]))
def test_the_resized_image_always_fits_the_frame(height, width, frame):
    size = resized_shape((height, width), frame)
    assert max(size) == frame
    assert min(size) >= 1


def test_an_image_of_the_right_size_is_not_touched():
    rgb = np.zeros((5, 6, 3), np.uint8)
    assert resize_rgb(rgb, (5, 6)) is rgb
    assert resize_rgb(rgb, (10, 12)).shape == (10, 12, 3)


@settings(deadline=None)
@given(
    st.tuples(sides, sides),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5),
)
def test_points_come_back_from_the_frame(shape, places):
    transform = FrameTransform(shape, resized_shape(shape, 1024), 1024)
    points_yx = np.array(places) * shape
    in_frame = transform.points_to_frame(points_yx)
    back = in_frame[:, ::-1] * np.divide(shape, transform.input_size)
    np.testing.assert_allclose(back, points_yx, atol=1e-4)
    boxes = np.concatenate([points_yx, points_yx], axis=1)
    corners = transform.boxes_to_frame(boxes)
    np.testing.assert_array_equal(corners, np.tile(in_frame, 2))


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_a_click_stays_in_its_pixel_however_much_it_is_enlarged(scale):
    """Pixel x fills the frame from x * scale on; models add half a frame pixel."""
    side = 512 // scale
    transform = FrameTransform((side, side), (512, 512), 512)
    pixels = np.array([[0, 0], [5, 17], [side - 1, side - 1]])
    y, x = (transform.points_to_frame(pixels)[:, ::-1] + 0.5).T
    np.testing.assert_array_equal(y // scale, pixels[:, 0])
    np.testing.assert_array_equal(x // scale, pixels[:, 1])
    centres = (pixels + 0.5) * scale
    away = np.abs(np.stack([y, x], axis=1) - centres) / scale
    assert away.max() == (1 - 1 / scale) / 2  # pixels of the image


def test_a_click_in_an_enlarged_part_by_hand():
    """At four times, pixel (5, 17) fills rows 20 to 24 and columns 68 to 72."""
    transform = FrameTransform((128, 128), (512, 512), 512)
    assert transform.points_to_frame([5.0, 17.0]).tolist() == [68, 20]
    assert transform.boxes_to_frame([5, 17, 6, 18]).tolist() == [68, 20, 72, 24]


@pytest.mark.parametrize(("n_from", "n_to"), [(64, 256), (100, 37), (37, 100), (1, 9)])
def test_weights_are_those_of_torch(n_from, n_to):
    samples = np.random.default_rng(0).normal(size=n_from).astype(np.float32)
    wanted = functional.interpolate(
        torch.from_numpy(samples)[None, None], size=n_to, mode="linear"
    )[0, 0].numpy()
    weights = interpolation_matrix(n_from, n_to)
    np.testing.assert_allclose(weights @ samples, wanted, atol=2e-5)
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_padding_is_cut_off_between_the_two_steps():
    transform = FrameTransform((30, 64), (30, 64), 64)
    logits = torch.zeros(1, 16, 16)
    logits[0, 8:] = 5.0  # the plane ends in the middle of row 7
    upscaled = upscale_logits(logits, transform)
    assert upscaled.shape == (1, 30, 64)
    in_frame = functional.interpolate(logits[None], (64, 64), mode="bilinear")[0]
    torch.testing.assert_close(upscaled, in_frame[:, :30])


def test_centred_points_keep_to_the_middle_of_their_pixels() -> None:
    """Index 3 of 64 pixels is 3.5 pixels from the border: 28 of 512, index 27.5."""
    plain = FrameTransform((64, 64), (512, 512), 512)
    centred = FrameTransform((64, 64), (512, 512), 512, is_centred=True)
    assert plain.points_to_frame([3.0, 5.0]).tolist() == [40.0, 24.0]
    assert centred.points_to_frame([3.0, 5.0]).tolist() == [43.5, 27.5]
    # Sides of boxes lie between pixels in any case.
    box = [1.0, 2.0, 3.0, 4.0]
    assert np.array_equal(plain.boxes_to_frame(box), centred.boxes_to_frame(box))

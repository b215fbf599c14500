# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image

from napari_sam._bridge.image_source import LayerImageSource
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import ImageError
from napari_sam.prediction import brightness_sample
from napari_sam.prediction.intensity import IntensityRule, to_rgb
from napari_sam.prediction.shown_pixels import ShownPixels
from napari_sam.structures.view_settings import ViewSettings

STACK = np.random.default_rng(0).integers(0, 255, (3, 4, 20, 30), dtype=np.uint8)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (PlaneKey((2, 3), (1, 2)), STACK[1, 2]),
        (PlaneKey((0, 3), (2, 5)), STACK[:, 2, 5]),
        (PlaneKey((0, 1), (5, 6)), STACK[:, :, 5, 6]),
    ],
)
def test_planes_of_a_stack(key, expected):
    source = LayerImageSource(Image(STACK))
    np.testing.assert_array_equal(source.read_plane(key), expected)
    assert source.plane_shape(key) == expected.shape


def test_rgb_keeps_its_colours():
    pixels = np.random.default_rng(1).integers(0, 255, (3, 20, 30, 3), dtype=np.uint8)
    source = LayerImageSource(Image(pixels, rgb=True))
    assert source.shape == (3, 20, 30)
    plane = source.read_plane(PlaneKey((1, 2), (2,)))
    np.testing.assert_array_equal(plane, pixels[2])


def test_lazy_array_is_sliced_before_it_is_computed():
    computed = []

    def load(block_info=None):
        computed.append(block_info[None]["chunk-location"][0])
        return np.full((1, 20, 30), len(computed), np.uint8)

    lazy = da.map_blocks(load, chunks=((1,) * 5, (20,), (30,)), dtype=np.uint8)
    source = LayerImageSource(Image(lazy, contrast_limits=(0, 255)))
    computed.clear()
    assert source.read_plane(PlaneKey((1, 2), (3,))).shape == (20, 30)
    assert computed == [3]


def test_reading_does_not_touch_the_layer_again():
    layer = Image(np.zeros((20, 30)))
    source = LayerImageSource(layer)
    layer.data = np.ones((20, 30))
    assert source.read_plane(PlaneKey()).max() == 0


KEY = PlaneKey((2, 3), (1, 0))
DEEP = np.random.default_rng(2).integers(0, 4000, (2, 3, 20, 30), dtype=np.uint16)
SPLIT = [
    Image(DEEP[:, channel], name=name) for channel, name in enumerate(["a", "b", "c"])
]


def test_default_settings_change_nothing():
    plain = LayerImageSource(Image(DEEP))
    same = LayerImageSource(Image(DEEP), ViewSettings())
    np.testing.assert_array_equal(plain.read_plane(KEY), DEEP[1, 0])
    np.testing.assert_array_equal(same.read_plane(KEY), DEEP[1, 0])
    assert same.identity == plain.identity == plain.image_identity


def test_channels_of_an_axis_become_colours():
    source = LayerImageSource(Image(DEEP), ViewSettings(channel_axis=1))
    assert source.shape == (2, 1, 20, 30)
    assert source.factors == (1, 3, 1, 1)
    np.testing.assert_array_equal(source.read_plane(KEY), to_rgb(DEEP[1], 0))
    chosen = ViewSettings(channel_axis=1, channels=(None, 2, 0))
    rgb = LayerImageSource(Image(DEEP), chosen).read_plane(KEY)
    np.testing.assert_array_equal(rgb[..., 1], to_rgb(DEEP[1, 2])[..., 0])
    np.testing.assert_array_equal(rgb[..., 2], to_rgb(DEEP[1, 0])[..., 0])
    assert not rgb[..., 0].any()


def test_channels_by_name():
    layer = Image(DEEP, metadata={"channel_names": ["DAPI", "actin", "tubulin"]})
    chosen = ViewSettings(channel_axis=1, channels=("actin", "actin", "actin"))
    rgb = LayerImageSource(layer, chosen).read_plane(KEY)
    np.testing.assert_array_equal(rgb, to_rgb(DEEP[1, 1]))


def test_layers_as_channels():
    first, *others = SPLIT
    key = PlaneKey((1, 2), (1,))
    chosen = ViewSettings(channels=("c", "a", None))
    source = LayerImageSource(first, chosen, others)
    assert source.shape == (2, 20, 30)
    rgb = source.read_plane(key)
    np.testing.assert_array_equal(rgb[..., 0], to_rgb(DEEP[1, 2])[..., 0])
    np.testing.assert_array_equal(rgb[..., 1], to_rgb(DEEP[1, 0])[..., 0])
    # Without a choice the layer is seen alone.
    alone = LayerImageSource(first, ViewSettings(gamma=0.5), others).read_plane(key)
    rule = IntensityRule(gamma=0.5)
    np.testing.assert_array_equal(alone, to_rgb(DEEP[1, 0], rule=rule))


def test_what_is_no_channel_is_refused():
    with pytest.raises(ImageError, match="no channel 'd'"):
        LayerImageSource(SPLIT[0], ViewSettings(channels=("d", None, None)), SPLIT[1:])
    with pytest.raises(ImageError, match=r"'small' has shape \(5, 5\)"):
        LayerImageSource(SPLIT[0], None, [Image(np.zeros((5, 5)), name="small")])
    with pytest.raises(ImageError, match="axis 4 cannot hold channels"):
        LayerImageSource(Image(DEEP), ViewSettings(channel_axis=4))
    with pytest.raises(ImageError, match="two more are needed"):
        LayerImageSource(Image(DEEP[0, 0]), ViewSettings(channel_axis=0))
    picture = Image(np.zeros((20, 30, 3), np.uint8), rgb=True)
    with pytest.raises(ImageError, match="red, green and blue"):
        LayerImageSource(picture, ViewSettings(channel_axis=0))
    source = LayerImageSource(Image(DEEP), ViewSettings(channel_axis=1))
    with pytest.raises(ImageError, match="cannot lie along"):
        source.read_plane(PlaneKey((1, 3), (0, 0)))


def test_contrast_of_one_channel():
    settings = ViewSettings(contrast="fixed range", limits=(0, 4000), gamma=2)
    rgb = LayerImageSource(Image(DEEP), settings).read_plane(KEY)
    expected = to_rgb(DEEP[1, 0], rule=IntensityRule(limits=(0, 4000), gamma=2))
    np.testing.assert_array_equal(rgb, expected)


def test_contrast_limits_are_those_of_the_layer_at_that_time():
    layer = Image(DEEP, contrast_limits=(100, 2000))
    source = LayerImageSource(layer, ViewSettings(contrast="contrast limits"))
    layer.contrast_limits = (0, 4000)
    assert source.settings.limits == ((100, 2000),)
    expected = to_rgb(DEEP[1, 0], rule=IntensityRule(limits=(100, 2000)))
    np.testing.assert_array_equal(source.read_plane(KEY), expected)


def test_colour_pictures_can_be_inverted():
    pixels = np.random.default_rng(1).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    source = LayerImageSource(Image(pixels, rgb=True), ViewSettings(invert=True))
    np.testing.assert_array_equal(source.read_plane(PlaneKey()), 255 - pixels)


def test_only_the_chosen_channels_of_a_lazy_array_are_computed():
    computed = []

    def load(block_info=None):
        computed.append(block_info[None]["chunk-location"][:2])
        return np.full((1, 1, 20, 30), len(computed), np.uint8)

    lazy = da.map_blocks(
        load, chunks=((1,) * 5, (1,) * 4, (20,), (30,)), dtype=np.uint8
    )
    layer = Image(lazy, contrast_limits=(0, 255))
    chosen = ViewSettings(channel_axis=1, channels=(3, 1, 3))
    source = LayerImageSource(layer, chosen)
    computed.clear()
    source.read_plane(PlaneKey((2, 3), (4, 0)))
    assert sorted(computed) == [(4, 1), (4, 3)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (ViewSettings(gamma=3, invert=True), DEEP[1, 0]),
        (ViewSettings(channel_axis=1, channels=(2, 2, 2)), DEEP[1, 2]),
        (
            ViewSettings(channel_axis=1, channels=(2, None, 0)),
            np.stack([DEEP[1, 2], DEEP[1, 0]], axis=-1),
        ),
    ],
)
def test_measurements_get_the_values_of_the_array(settings, expected):
    source = LayerImageSource(Image(DEEP), settings).unscaled
    found = source.read_plane(KEY)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == DEEP.dtype
    assert source.plane_shape(KEY) == (20, 30)
    assert source.identity == LayerImageSource(Image(DEEP)).identity


@pytest.mark.parametrize("shape", [(20, 30), (400, 300), (1, 1000), (321, 160)])
def test_thumbnails_are_small_and_show_the_same(shape):
    plane = np.linspace(0, 1, int(np.prod(shape))).reshape(shape)
    settings = ViewSettings(contrast="fixed range", limits=(0, 1), invert=True)
    source = LayerImageSource(Image(plane), settings)
    small = source.read_thumbnail(PlaneKey())
    assert max(small.shape[:2]) <= 160
    step = -(-max(shape) // 160)
    whole = source.read_plane(PlaneKey())
    np.testing.assert_array_equal(small, whole[::step, ::step])


def test_identity_tells_pixels_and_settings_apart():
    layer = Image(DEEP, contrast_limits=(0, 4000))
    changed = DEEP.copy()
    changed[0, 0, 0, 0] += 1
    views = [
        ViewSettings(),
        ViewSettings(gamma=0.5),
        ViewSettings(invert=True),
        ViewSettings(channel_axis=1),
        ViewSettings(channel_axis=1, channels=(0, 0, 0)),
        ViewSettings(contrast="contrast limits"),
        ViewSettings(contrast="fixed range", limits=(0, 4000)),
        ViewSettings(contrast="fixed range", limits=(0, 4001)),
        ViewSettings(percentiles=(1, 99)),
    ]
    found = [LayerImageSource(layer, view).identity for view in views]
    found.append(LayerImageSource(Image(changed)).identity)
    assert len(set(found)) == len(found)
    assert LayerImageSource(layer, views[1]).identity == found[1]
    assert LayerImageSource(layer, views[1]).image_identity == found[0]
    layer.contrast_limits = (1, 4000)
    assert LayerImageSource(layer, views[5]).identity != found[5]


def test_identity_does_not_hang_on_the_names_of_layers():
    first, other = (Image(layer.data, name=layer.name) for layer in SPLIT[:2])
    before = LayerImageSource(first, ViewSettings(channels=("b", "a", None)), [other])
    other.name = "renamed"
    after = ViewSettings(channels=("renamed", "a", None))
    assert LayerImageSource(first, after, [other]).identity == before.identity
    other.data = other.data + 1
    assert LayerImageSource(first, after, [other]).identity != before.identity


class Counted:
    """An array that counts the pixels that are read of it."""

    def __init__(self, array):
        self._array, self.shape, self.dtype = array, array.shape, array.dtype
        self.ndim, self.size, self.n_read = array.ndim, array.size, 0

    def __getitem__(self, key):
        part = self._array[key]
        self.n_read += np.size(part)
        return part


def pyramid_layer(data, *steps, **options):
    """A layer on counted levels; what napari reads itself does not count."""
    levels = [Counted(data[..., ::step, ::step]) for step in steps]
    options = {"contrast_limits": (0, 4000), "multiscale": True} | options
    layer = Image(levels, **options)
    for level in levels:
        level.n_read = 0
    return layer, levels


VIEWS = [
    ViewSettings(),
    ViewSettings(gamma=0.5),
    ViewSettings(channel_axis=1),
    ViewSettings(channel_axis=1, channels=(2, None, 0), invert=True),
    ViewSettings(contrast="fixed range", limits=(0, 4000)),
    ViewSettings(contrast="contrast limits"),
]


@pytest.mark.parametrize("view", VIEWS)
def test_pieces_are_those_of_the_plane(view):
    source = LayerImageSource(Image(DEEP), view)
    whole = source.read_plane(KEY)
    pixels = source.plane_pixels(KEY)
    assert pixels.shape == source.plane_shape(KEY) == (20, 30)
    assert pixels.level_shapes == ((20, 30),)
    assert pixels.dtype == whole.dtype
    np.testing.assert_array_equal(pixels.read((3, 4, 15, 29)), whole[3:15, 4:29])
    shown = ShownPixels(pixels)
    np.testing.assert_array_equal(shown.read((3, 4, 15, 29)), to_rgb(whole)[3:15, 4:29])
    np.testing.assert_array_equal(shown.whole(), to_rgb(whole))


def test_pieces_of_colour_pictures_and_of_layers_as_channels():
    picture = DEEP[0].transpose(1, 2, 0)
    layer = Image(picture, rgb=True, contrast_limits=(0, 4000))
    for view in (ViewSettings(), ViewSettings(gamma=2, channels=(2, 0, None))):
        source = LayerImageSource(layer, view)
        pixels, whole = source.plane_pixels(PlaneKey()), source.read_plane(PlaneKey())
        np.testing.assert_array_equal(pixels.read((3, 4, 15, 29)), whole[3:15, 4:29])
    key, chosen = PlaneKey((1, 2), (1,)), ViewSettings(channels=("c", "a", "c"))
    source = LayerImageSource(SPLIT[0], chosen, SPLIT[1:])
    pixels, whole = source.plane_pixels(key), source.read_plane(key)
    np.testing.assert_array_equal(pixels.read((3, 4, 15, 29)), whole[3:15, 4:29])


def test_all_levels_are_there_and_none_is_read_before_it_is_needed():
    layer, levels = pyramid_layer(DEEP, 1, 2, 4)
    source = LayerImageSource(layer)
    assert source.shape == (2, 3, 20, 30)
    assert source.factors == (1, 1, 1, 1)
    pixels = source.plane_pixels(KEY)
    assert pixels.level_shapes == ((20, 30), (10, 15), (5, 8))
    assert [level.n_read for level in levels] == [0, 0, 0]
    np.testing.assert_array_equal(
        pixels.read((1, 2, 5, 8), 2), DEEP[1, 0, ::4, ::4][1:5, 2:8]
    )
    np.testing.assert_array_equal(pixels.read((0, 0, 9, 9)), DEEP[1, 0, :9, :9])
    assert [level.n_read for level in levels] == [81, 0, 24]


def test_channels_of_a_pyramid_share_their_brightness_on_all_levels(monkeypatch):
    monkeypatch.setattr(brightness_sample, "MAX_WHOLE_PX", 500)
    monkeypatch.setattr(brightness_sample, "MIN_LEVEL_PX", 100)
    layer, levels = pyramid_layer(DEEP, 1, 2, 4)
    view = ViewSettings(channel_axis=1, channels=(2, 0, 2))
    pixels = LayerImageSource(layer, view).plane_pixels(KEY)
    part = pixels.read((0, 0, 8, 8))
    # Two channels of the middle level decide what is black and white.
    assert [level.n_read for level in levels] == [2 * 64, 2 * 150, 0]
    for colour, channel in enumerate((2, 0, 2)):
        sample = DEEP[1, channel, ::2, ::2]
        rule = IntensityRule(limits=tuple(np.percentile(sample, (0.1, 99.9))))
        expected = to_rgb(DEEP[1, channel], rule=rule)[..., 0]
        np.testing.assert_array_equal(part[..., colour], expected[:8, :8])
        coarse = pixels.read((0, 0, 5, 8), 2)[..., colour]
        np.testing.assert_array_equal(coarse, expected[::4, ::4])


def test_thumbnails_read_the_level_that_suits_them():
    data = np.add.outer(np.arange(1600), np.arange(2000)).astype(np.uint16)
    layer, levels = pyramid_layer(np.stack([data, data]), 1, 2, 4, 8, 16)
    small = LayerImageSource(layer).read_thumbnail(PlaneKey((1, 2), (1,)))
    assert [level.n_read for level in levels] == [0, 0, 0, 200 * 250, 0]
    np.testing.assert_array_equal(small, to_rgb(data[::16, ::16]))


def test_thumbnails_of_planes_past_memory_show_the_middle(monkeypatch):
    monkeypatch.setattr("napari_sam._bridge.image_source._MAX_THINNED_PX", 1000)
    monkeypatch.setattr("napari_sam._bridge.image_source._MIDDLE_SIDE", 40)
    plane = np.arange(6000).reshape(60, 100)
    small = LayerImageSource(Image(plane)).read_thumbnail(PlaneKey(), 20)
    np.testing.assert_array_equal(small, to_rgb(plane[10:50:2, 30:70:2]))


def test_planes_past_memory_are_not_read_at_once(monkeypatch):
    monkeypatch.setattr("napari_sam._bridge.image_source.MAX_PLANE_PX", 599)
    source = LayerImageSource(Image(DEEP))
    with pytest.raises(ImageError, match="20 x 30 pixels is too large"):
        source.read_plane(KEY)
    with pytest.raises(ImageError, match="too large"):
        source.unscaled.read_plane(KEY)
    assert source.plane_pixels(KEY).read((0, 0, 20, 30)).shape == (20, 30)


def test_planes_that_are_not_there_are_refused():
    with pytest.raises(ImageError, match="no plane 5"):
        LayerImageSource(Image(DEEP)).plane_pixels(PlaneKey((2, 3), (5, 0)))
    source = LayerImageSource(Image(DEEP), ViewSettings(channel_axis=1))
    with pytest.raises(ImageError, match="cannot lie along"):
        source.plane_pixels(PlaneKey((1, 3), (0, 0)))

# SPDX-License-Identifier: Apache-2.0
"""The pixel under the pointer, in every kind of image and view that napari offers."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points, Shapes

from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.image_source import LayerImageSource
from napari_sam.annotation.ports import PlaneKey
from napari_sam.errors import ImageError
from napari_sam.structures.view_settings import ViewSettings

AFFINE = [[0.9, 0.3, 5], [-0.2, 1.1, 7], [0, 0, 1]]


@dataclass
class Scene:
    """An image, how it lies in the world, and how it is looked at."""

    shape: tuple[int, ...]
    place: dict[str, Any] = field(default_factory=dict)
    order: tuple[int, ...] | None = None
    slider: tuple[int, ...] = ()  # pixel along each axis; those shown do not matter
    channel_axis: int | None = None
    rgb: bool = False
    levels: int = 1
    neighbour: tuple[int, ...] = ()  # shape of another image in the viewer
    axes: tuple[int, int] = (0, 1)
    index: tuple[int, ...] = ()


def stacked(ndim: int, **place: Any) -> dict[str, Any]:
    """Put an in-plane matrix into a larger one."""
    for name, size in (("affine", 3), ("rotate", 2), ("shear", 2)):
        if name in place:
            larger = np.eye(ndim + size - 2)
            larger[-size:, -size:] = place[name]
            place[name] = larger
    return place


TURN = [[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]]
SHEAR = [[1, 0.4], [0, 1]]
MIXED = {"scale": (3, 0.5, 2.0), "translate": (7, 100, -30)}

SCENES = {
    "2-D": Scene((20, 30)),
    "scale": Scene((20, 30), {"scale": (0.5, 2.0)}),
    "translate": Scene((20, 30), {"translate": (100, -30)}),
    "rotate": Scene((20, 30), {"rotate": 30}),
    "shear": Scene((20, 30), {"shear": [0.4]}),
    "affine": Scene((20, 30), {"affine": AFFINE}),
    "all of them": Scene(
        (20, 30),
        {
            "scale": (0.5, 2.0),
            "translate": (100, -30),
            "rotate": 30,
            "shear": [0.4],
            "affine": AFFINE,
        },
    ),
    "RGB": Scene((20, 30), {"scale": (0.5, 2.0)}, rgb=True),
    "RGB stack": Scene(
        (4, 20, 30), rgb=True, slider=(3, 0, 0), axes=(1, 2), index=(3,)
    ),
    "(Z, Y, X)": Scene(
        (4, 20, 30),
        stacked(3, rotate=TURN, shear=SHEAR, affine=AFFINE, **MIXED),
        slider=(2, 0, 0),
        axes=(1, 2),
        index=(2,),
    ),
    "(C, Y, X)": Scene(
        (5, 20, 30), MIXED, slider=(4, 0, 0), channel_axis=0, axes=(1, 2), index=(0,)
    ),
    "(C, Y, X), no channels": Scene(
        (5, 20, 30), slider=(4, 0, 0), axes=(1, 2), index=(4,)
    ),
    "(T, C, Z, Y, X)": Scene(
        (2, 3, 4, 20, 30),
        {"scale": (1, 1, 3, 0.5, 2.0), "translate": (5, 0, 7, 100, -30)},
        slider=(1, 2, 3, 0, 0),
        channel_axis=1,
        axes=(3, 4),
        index=(1, 0, 3),
    ),
    "(T, C, Z, Y, X), no channels": Scene(
        (2, 3, 4, 20, 30), slider=(1, 2, 3, 0, 0), axes=(3, 4), index=(1, 2, 3)
    ),
    "(Y, X, C)": Scene(
        (20, 30, 3),
        {"scale": (0.5, 2.0, 1)},
        order=(2, 0, 1),
        slider=(0, 0, 2),
        channel_axis=2,
        axes=(0, 1),
        index=(0,),
    ),
    "singleton": Scene((1, 20, 30), axes=(1, 2), index=(0,)),
    "singletons": Scene(
        (1, 4, 1, 20, 30),
        {"scale": (9, 3, 5, 0.5, 2.0)},
        slider=(0, 3, 0, 0, 0),
        axes=(3, 4),
        index=(0, 3, 0),
    ),
    "one row": Scene((1, 30)),
    "transposed": Scene((20, 30), {"scale": (0.5, 2.0)}, order=(1, 0)),
    "transposed stack": Scene(
        (4, 20, 30),
        MIXED,
        order=(0, 2, 1),
        slider=(2, 0, 0),
        axes=(1, 2),
        index=(2,),
    ),
    "rolled stack": Scene(
        (24, 20, 30),
        stacked(3, scale=(3, 0.5, 2.0), translate=(7, 100, -30)),
        order=(1, 2, 0),
        slider=(0, 11, 0),
        axes=(0, 2),
        index=(11,),
    ),
    "multiscale": Scene((40, 60), {"scale": (0.5, 2.0), "rotate": 30}, levels=3),
    "multiscale stack": Scene(
        (4, 40, 60), levels=2, slider=(3, 0, 0), axes=(1, 2), index=(3,)
    ),
    "flat among stacks": Scene(
        (20, 30), {"scale": (0.5, 2.0)}, neighbour=(3, 4, 50, 50)
    ),
    "fewer axes than the world, transposed": Scene(
        (4, 20, 30),
        order=(0, 1, 3, 2),
        neighbour=(2, 4, 20, 30),
        slider=(3, 0, 0),
        axes=(1, 2),
        index=(3,),
    ),
}


def build(scene: Scene) -> tuple[ViewerModel, Image, LayerImageSource, PlaneMap]:
    """Make the scene; every pixel has a value of its own."""
    viewer = ViewerModel()
    if scene.neighbour:
        viewer.add_image(np.zeros(scene.neighbour))
    n_pixels = int(np.prod(scene.shape))
    data = np.arange(n_pixels, dtype=np.uint32).reshape(scene.shape)
    if scene.rgb:
        data = np.stack([data % 256, data // 256 % 256, data // 65536], axis=-1)
        data = data.astype(np.uint8)
    if scene.levels > 1:
        data = [data[..., :: 2**n, :: 2**n] for n in range(scene.levels)]
    image = Image(data, rgb=scene.rgb, multiscale=scene.levels > 1, **scene.place)
    viewer.add_layer(image)
    if scene.levels > 1:
        image.locked_data_level = 0
    if scene.order is not None:
        viewer.dims.order = scene.order
    if scene.slider:
        world = image.data_to_world(scene.slider)
        for axis in viewer.dims.not_displayed:
            if axis >= viewer.dims.ndim - image.ndim:
                place = axis - (viewer.dims.ndim - image.ndim)
                viewer.dims.set_point(axis, world[place])
    settings = ViewSettings(channel_axis=scene.channel_axis)
    source = LayerImageSource(image, settings)
    return viewer, image, source, PlaneMap.of(image, source)


def at_pointer(viewer: ViewerModel, image: Image, yx: Any, axes: Any) -> np.ndarray:
    """World position of the pointer over data coordinates, as a mouse event tells it.

    The sliders stand where they stand: only the axes shown follow the pointer.
    """
    data = image.world_to_data(viewer.dims.point)
    data[list(axes)] = yx
    world = np.asarray(viewer.dims.point, dtype=float)
    shown = list(viewer.dims.displayed)
    moved = np.asarray(image.data_to_world(data))
    world[shown] = moved[np.asarray(shown) - (viewer.dims.ndim - image.ndim)]
    return world


@pytest.mark.parametrize("name", SCENES)
def test_a_prompt_hits_the_pixel_under_the_pointer(name):
    scene = SCENES[name]
    viewer, image, _, plane_map = build(scene)
    sides = np.asarray(plane_map.plane_shape(PlaneKey(scene.axes, scene.index)))
    random = np.random.default_rng(0)
    for _ in range(20):
        yx = random.uniform(-0.49, sides - 0.51)
        world = at_pointer(viewer, image, yx, scene.axes)
        found = plane_map.pointer_yx(viewer.dims, world)
        assert found is not None
        key, place = found
        assert key == PlaneKey(scene.axes, scene.index)
        np.testing.assert_allclose(place, yx, atol=1e-4)
        row, column = np.round(place).astype(int)
        # napari tells independently which value it draws there.
        drawn = image.get_value(world, world=True)
        value = drawn[1] if scene.levels > 1 else drawn
        raw = LayerImageSource(image).read_plane(_layer_plane(scene, key))
        assert np.array_equal(raw[row, column], value)


def _layer_plane(scene: Scene, key: PlaneKey) -> PlaneKey:
    """Put the slider's channel into a plane key that knows of none."""
    if scene.channel_axis is None:
        return key
    where = list(key.locate(None, None))
    where[scene.channel_axis] = scene.slider[scene.channel_axis]
    return PlaneKey(key.axes, tuple(place for place in where if place is not None))


@pytest.mark.parametrize("name", SCENES)
def test_a_labelled_pixel_is_drawn_on_its_pixel_of_the_image(name):
    scene = SCENES[name]
    viewer, image, source, plane_map = build(scene)
    key = PlaneKey(scene.axes, scene.index)
    height, width = plane_map.plane_shape(key)
    row, column = height // 3, 2 * width // 3
    data = np.zeros(source.shape, dtype=np.uint32)
    data[key.locate(row, column)] = 7
    labels = Labels(data, **plane_map.transforms())
    viewer.add_layer(labels)
    for yx, value in [
        ((row, column), 7),
        ((row + 0.4, column - 0.4), 7),
        ((row, column - 0.6), 0),
    ]:
        world = at_pointer(viewer, image, yx, scene.axes)
        assert labels.get_value(world, world=True) == value


@pytest.mark.parametrize("name", SCENES)
def test_beside_the_image_there_is_no_pixel(name):
    scene = SCENES[name]
    viewer, image, _, plane_map = build(scene)
    height, width = plane_map.plane_shape(PlaneKey(scene.axes, scene.index))
    for yx in [(-0.6, 1), (0, -0.6), (height - 0.4, 1), (0, width - 0.4)]:
        world = at_pointer(viewer, image, yx, scene.axes)
        assert plane_map.pointer_yx(viewer.dims, world) is None


def test_sliders_beyond_the_image_show_no_pixel_of_it():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((9, 20, 30)))
    image = viewer.add_image(np.zeros((4, 20, 30)))
    plane_map = PlaneMap.of(image, LayerImageSource(image))
    viewer.dims.set_point(0, 3)
    assert plane_map.pointer_yx(viewer.dims, (3, 5, 5)) == (
        PlaneKey((1, 2), (3,)),
        (5, 5),
    )
    viewer.dims.set_point(0, 4)
    assert plane_map.pointer_yx(viewer.dims, (4, 5, 5)) is None


def test_no_pixel_in_three_dimensions_or_along_a_missing_axis():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((4, 20, 30)))
    flat = viewer.add_image(np.zeros((20, 30)))
    plane_map = PlaneMap.of(flat, LayerImageSource(flat))
    viewer.dims.order = (1, 0, 2)
    assert plane_map.pointer_yx(viewer.dims, (1, 1, 1)) is None
    viewer.dims.order = (0, 1, 2)
    viewer.dims.ndisplay = 3
    assert plane_map.pointer_yx(viewer.dims, (1, 1, 1)) is None


def test_multiscale_images_are_met_in_pixels_of_the_finest_level():
    viewer, image, source, plane_map = build(SCENES["multiscale"])
    assert source.shape == (40, 60)
    world = at_pointer(viewer, image, (8.5, 14.4), (0, 1))
    assert plane_map.pointer_yx(viewer.dims, world) == (
        PlaneKey(),
        pytest.approx((8.5, 14.4)),
    )
    labels = Labels(np.arange(2400).reshape(40, 60), **plane_map.transforms())
    viewer.add_layer(labels)
    world = at_pointer(viewer, image, (8.6, 14.4), (0, 1))
    assert labels.get_value(world, world=True) == 9 * 60 + 14


def test_planes_sheared_against_each_other_are_met_where_they_are_drawn():
    viewer = ViewerModel()
    deskew = np.eye(4)
    deskew[1, 0] = 5  # each plane lies five rows further
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # napari: drawn without the shear
        image = viewer.add_image(np.zeros((4, 20, 30)), affine=deskew)
        viewer.dims.set_point(0, 2)
        plane_map = PlaneMap.of(image, LayerImageSource(image))
        # The part of the transform that napari hands to its canvas.
        drawn = image._transforms[1:].simplified.set_slice([1, 2])
        for yx in [(0, 0), (3.2, 17.9), (19, 29)]:
            world = (2, *drawn(yx))
            key, place = plane_map.pointer_yx(viewer.dims, world)
            assert key == PlaneKey((1, 2), (2,))
            np.testing.assert_allclose(place, yx, atol=1e-9)


def test_what_lies_on_the_image_stays_in_sight_on_every_channel():
    viewer, image, _, plane_map = build(SCENES["(T, C, Z, Y, X)"])
    place = plane_map.transforms()
    n_steps = viewer.dims.nsteps
    # Drawn with napari's tools while the slider stood on the first channel.
    first = np.asarray(image.data_to_world((1, 0, 3, 5, 6)))
    points = Points(np.zeros((0, 5)), ndim=5, **place)
    points.add(points.world_to_data(first))
    boxes = Shapes(ndim=5, **place)
    corners = [
        boxes.world_to_data(image.data_to_world((1, 0, 3, *corner)))
        for corner in [(2, 2), (2, 9), (9, 9), (9, 2)]
    ]
    boxes.add_rectangles(np.asarray(corners))
    labels = Labels(np.zeros(plane_map.shape, np.uint8), **place)
    labels.data[1, 0, 3, 5, 6] = 3
    for layer in (points, boxes, labels):
        viewer.add_layer(layer)
    assert viewer.dims.nsteps == n_steps  # no slider grew
    key = PlaneKey((3, 4), (1, 0, 3))
    for channel in range(3):
        world = np.asarray(image.data_to_world((1, channel, 3, 5, 6)))
        for axis in range(3):
            viewer.dims.set_point(axis, world[axis])
        assert plane_map.plane_key(viewer.dims) == key
        assert len(points._view_data) == 1
        assert boxes._data_view._displayed.tolist() == [True]
        assert labels.get_value(world, world=True) == 3
        labels.brush_size = 1
        beside = np.asarray(image.data_to_world((1, channel, 3, 9, 9)))
        labels.paint(labels.world_to_data(beside), 10 + channel)
        assert labels.get_value(beside, world=True) == 10 + channel
    assert (labels.data > 0).sum() == 2
    pixels = plane_map.layer_to_pixels(points, points.data)
    is_on, yx = plane_map.on_plane(key, pixels)
    assert is_on.tolist() == [True]
    np.testing.assert_allclose(yx, [[5, 6]], atol=1e-4)


def test_a_view_along_the_channels_is_refused():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((20, 30, 4)))
    source = LayerImageSource(image, ViewSettings(channel_axis=2))
    plane_map = PlaneMap.of(image, source)
    with pytest.raises(ImageError, match="holds its channels"):
        plane_map.plane_key(viewer.dims)
    assert plane_map.pointer_yx(viewer.dims, (1, 1, 1)) is None
    viewer.dims.order = (2, 0, 1)
    assert plane_map.plane_key(viewer.dims) == PlaneKey((0, 1), (0,))


def test_the_plane_of_a_tilted_stack_is_the_one_that_is_drawn():
    viewer = ViewerModel()
    tilt = np.eye(4)
    tilt[0, 1] = 0.5  # rows further down lie deeper
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = viewer.add_image(np.zeros((9, 20, 30)), affine=tilt)
        viewer.dims.set_point(0, 6)
        drawn = round(image._data_slice.point[0])
        plane_map = PlaneMap.of(image, LayerImageSource(image))
        assert plane_map.plane_key(viewer.dims) == PlaneKey((1, 2), (drawn,))

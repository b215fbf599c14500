# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Labels, Points, Shapes

from napari_sam._bridge.coordinates import PlaneMap
from napari_sam._bridge.image_source import LayerImageSource
from napari_sam._bridge.prompt_sources import read_prompts
from napari_sam.annotation.ports import PlaneKey
from napari_sam.annotation.prompting import to_prompt_set
from napari_sam.errors import PromptError

FLAT = PlaneKey()
SCALED = {"scale": (2.0, 0.5), "translate": (10.0, -3.0), "rotate": 30.0}


def map_of(image):
    return PlaneMap.of(image, LayerImageSource(image))


def flat_map(**transforms):
    return map_of(Image(np.zeros((40, 60)), **transforms))


def stack_map(**transforms):
    return map_of(Image(np.zeros((3, 40, 60)), **transforms))


def clicks(read, key=FLAT):
    return [drawn.points[0].yx for drawn in read.prompts[key]]


@pytest.mark.parametrize(
    "image", [{}, SCALED, {"affine": [[0, 1, 4], [1, 0, 2], [0, 0, 1]]}]
)
@pytest.mark.parametrize("other", [{}, SCALED, {"scale": (0.5, 0.5)}])
def test_points_lie_where_they_are_seen(image, other):
    """Lesson 3: scale, translation, rotation and affine of both layers count."""
    plane_map = flat_map(**image)
    points = Points(np.zeros((0, 2)), **other)
    wanted = [(3.0, 4.0), (20.25, 50.5)]
    points.data = [points.world_to_data(plane_map.pixel_to_world(p)) for p in wanted]
    read = read_prompts(points, plane_map, [FLAT])
    np.testing.assert_allclose(clicks(read), wanted, atol=1e-5)
    assert all(drawn.points[0].label == 1 for drawn in read.prompts[FLAT])
    assert read.n_prompts == 2


def test_points_beside_the_image_are_counted():
    points = Points([[5, 5], [-1, 5], [5, 59.6]])
    read = read_prompts(points, flat_map(), [FLAT])
    assert clicks(read) == [(5, 5)]
    assert read.n_unusable == 2


def test_points_of_a_stack_go_to_their_planes():
    planes = [PlaneKey((1, 2), (z,)) for z in range(3)]
    points = Points([[0, 5, 5], [2, 6, 7], [2.2, 8, 9], [1, 100, 0]])
    read = read_prompts(points, stack_map(), planes)
    assert [clicks(read, plane) for plane in planes] == [[(5, 5)], [], [(6, 7), (8, 9)]]
    assert read.n_unusable == 1
    one = read_prompts(points, stack_map(), planes[:1])
    assert one.n_prompts == 1
    assert one.n_unusable == 0  # of other planes, nobody asked


def test_flat_points_lie_on_every_plane():
    planes = [PlaneKey((1, 2), (z,)) for z in range(3)]
    points = Points([[5, 6]], scale=(2, 1))
    read = read_prompts(points, stack_map(scale=(7, 1, 1)), planes)
    assert [clicks(read, plane) for plane in planes] == [[(10, 6)]] * 3


def test_other_orientations_of_a_stack():
    key = PlaneKey((0, 2), (7,))  # rows are the first axis
    points = Points([[1, 7, 9], [1, 8, 9]])
    assert clicks(read_prompts(points, stack_map(), [key]), key) == [(1, 9)]


def test_shapes_are_what_our_tools_draw():
    shapes = Shapes(
        [
            [[4.5, 9.5], [4.5, 20.5], [14.5, 20.5], [14.5, 9.5]],
            [[20, 20], [20, 30], [30, 30], [30, 20]],
            [[5, 30], [15, 30], [5, 40]],
            [[35, 5], [35, 25]],
        ],
        shape_type=["rectangle", "ellipse", "polygon", "line"],
    )
    read = read_prompts(shapes, flat_map(), [FLAT])
    box, ellipse, polygon, line = (
        to_prompt_set(drawn, (40, 60)) for drawn in read.prompts[FLAT]
    )
    assert box.box_yx == (5, 10, 15, 21)
    assert box.mask is None
    assert ellipse.box_yx == (20.5, 20.5, 30.5, 30.5)
    assert polygon.mask.area == 66  # with the pixels on its edges
    assert line.box is None
    assert len(line.points) == 3


def test_shapes_that_cannot_be_used_are_counted():
    shapes = Shapes(
        [
            [[5, 5], [5, 6], [6, 6], [6, 5]],  # a slip of the mouse
            [[100, 5], [100, 20], [120, 20], [120, 5]],  # beside the image
            [[-5, -5], [-5, 90], [90, 90], [90, -5]],  # around all of it
        ],
    )
    read = read_prompts(shapes, flat_map(), [FLAT])
    assert read.n_prompts == 1
    assert read.n_unusable == 2


def test_shapes_across_planes_are_counted_once():
    planes = [PlaneKey((1, 2), (z,)) for z in range(3)]
    tilted = [[0, 5, 5], [0, 5, 15], [1, 15, 15], [1, 15, 5]]
    flat = [[2, 5, 5], [2, 5, 15], [2, 15, 15], [2, 15, 5]]
    read = read_prompts(Shapes([tilted, flat]), stack_map(), planes)
    assert [len(read.prompts[plane]) for plane in planes] == [0, 0, 1]
    assert read.n_unusable == 1


def test_labelled_objects_are_clicked_at_their_centre():
    data = np.zeros((20, 30), np.uint16)
    data[2:5, 4:9] = 3
    data[10:16, 10] = data[10:16, 20] = data[10, 10:21] = 7  # a bow around nothing
    read = read_prompts(Labels(data, scale=(2, 2)), flat_map(), [FLAT])
    first, second = clicks(read)
    assert first == (6.0, 12.0)
    y, x = (round(v / 2) for v in second)
    assert data[y, x] == 7


def test_labels_with_large_ids():
    data = np.zeros((20, 30), np.int64)
    data[2:5, 4:9], data[10, 10] = 2_000_000_000, 7
    full = np.where(data, data, 3_000_000_000)  # no background at all
    read = read_prompts(Labels(data), flat_map(), [FLAT])
    assert sorted(clicks(read)) == [(3.0, 6.0), (10.0, 10.0)]
    assert read_prompts(Labels(full), flat_map(), [FLAT]).n_prompts == 3


def test_labels_of_a_stack_plane_by_plane():
    planes = [PlaneKey((1, 2), (z,)) for z in range(3)]
    data = np.zeros((3, 40, 60), np.uint8)
    data[0, 5, 5] = data[2, 8, 9] = 4
    read = read_prompts(Labels(data), stack_map(), planes)
    assert [clicks(read, plane) for plane in planes] == [[(5, 5)], [], [(8, 9)]]
    shifted = Labels(data[:2], translate=(1, 0, 0))
    read = read_prompts(shifted, stack_map(), planes)
    assert [clicks(read, plane) for plane in planes] == [[], [(5, 5)], []]
    side = PlaneKey((0, 2), (8,))
    assert clicks(read_prompts(Labels(data), stack_map(), [side]), side) == [(2, 9)]


def test_flat_labels_on_a_stack():
    planes = [PlaneKey((1, 2), (z,)) for z in range(3)]
    data = np.zeros((40, 60), np.uint8)
    data[5, 6] = 1
    read = read_prompts(Labels(data), stack_map(), planes)
    assert [clicks(read, plane) for plane in planes] == [[(5, 6)]] * 3


def test_empty_layers_and_others():
    for layer in (Points(np.zeros((0, 2))), Shapes(), Labels(np.zeros((4, 4), int))):
        assert read_prompts(layer, flat_map(), [FLAT]).n_prompts == 0
    with pytest.raises(
        PromptError, match=r"is a Image layer.*points, shapes or labels"
    ):
        read_prompts(Image(np.zeros((4, 4))), flat_map(), [FLAT])

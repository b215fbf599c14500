# SPDX-License-Identifier: Apache-2.0
"""A Points layer that holds the point prompts of the object being made."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from napari_sam._bridge.prompt_matching import n_in_common
from napari_sam._bridge.prompt_style import (
    COLORS,
    NEGATIVE,
    POSITIVE,
    SYMBOLS,
    is_far_larger_than_a_screen,
    layer_arguments,
    layer_to_pixels,
    pixels_to_layer,
    point_size,
    polarity_of,
)
from napari_sam.structures.prompts import PointPrompt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Points

    from napari_sam._bridge.coordinates import PlaneMap
    from napari_sam.annotation.ports import PlaneKey


def make_points(plane_map: PlaneMap) -> Points:
    """Make the layer, empty; its next points are positive."""
    from napari.layers import Points

    # Of an image that is looked at from near, points go by the screen.
    largest = 14 if is_far_larger_than_a_screen(plane_map) else 10000
    points = Points(
        canvas_size_limits=(2, largest),
        name="SAM points",
        size=point_size(plane_map),
        property_choices={"polarity": [POSITIVE, NEGATIVE]},
        face_color="polarity",
        face_color_cycle=COLORS,
        border_color="white",
        border_width=0.1,
        **layer_arguments(plane_map),
    )
    set_next_point(points, POSITIVE)
    return points


def set_next_point(points: Points, polarity: str) -> None:
    """Let the next points be positive or negative; existing ones stay."""
    # With points selected, napari would change those as well.
    points.selected_data = set()
    points.current_symbol = SYMBOLS[polarity]
    points.feature_defaults = {"polarity": polarity}


def read_points(
    points: Points, plane_map: PlaneMap, key: PlaneKey
) -> tuple[list[PointPrompt], int]:
    """Read the points of a plane.

    Returns
    -------
    prompts : list of PointPrompt
        In the order in which they were added.
    n_outside : int
        Points on the plane, but beside the image.
    """
    prompts, _, outside = _read(points, plane_map, key)
    return prompts, len(outside)


def write_points(
    points: Points,
    plane_map: PlaneMap,
    key: PlaneKey,
    prompts: Sequence[PointPrompt],
) -> None:
    """Let a plane hold these points; other planes stay as they are.

    Points beside the image go with the last of the others. What the next point will be
    stays, and nothing is selected afterwards: selecting a point would make its
    polarity that of the next one.
    """
    found, rows, outside = _read(points, plane_map, key)
    polarity = polarity_of(points)
    points.selected_data = set()
    n_kept = n_in_common(found, prompts)
    # Each change of a Points layer takes milliseconds: only what differs is touched.
    gone = [*rows[n_kept:], *(() if prompts else outside)]
    if gone:
        points.remove(gone)
    for label, group in groupby(prompts[n_kept:], key=lambda prompt: prompt.label):
        _set_next(points, POSITIVE if label else NEGATIVE)
        pixels = [[float(v) for v in key.locate(*p.yx)] for p in group]
        points.add(pixels_to_layer(plane_map, points, pixels))
        points.selected_data = set()
    _set_next(points, polarity)


def follow_polarity(points: Points) -> None:
    """Give every point the colour and symbol of its polarity."""
    polarity = points.features["polarity"].to_numpy()
    if len(polarity) == 0 or len(polarity) != len(points.data):
        return
    points.refresh_colors()
    points.symbol = [SYMBOLS.get(str(value), "disc") for value in polarity]


def _read(
    points: Points, plane_map: PlaneMap, key: PlaneKey
) -> tuple[list[PointPrompt], list[int], list[int]]:
    """Prompts of a plane, their rows in the layer, and rows beside the image."""
    pixels = layer_to_pixels(plane_map, points, points.data)
    is_on, yx = plane_map.on_plane(key, pixels)
    shape = np.asarray(plane_map.plane_shape(key))
    is_inside = ((yx >= -0.5) & (yx < shape - 0.5)).all(axis=1)
    labels = points.features["polarity"].to_numpy() != NEGATIVE
    rows = np.flatnonzero(is_on & is_inside).tolist()
    prompts = [
        PointPrompt((float(yx[i, 0]), float(yx[i, 1])), int(labels[i])) for i in rows
    ]
    return prompts, rows, np.flatnonzero(is_on & ~is_inside).tolist()


def _set_next(points: Points, polarity: str) -> None:
    if polarity_of(points) != polarity:
        set_next_point(points, polarity)

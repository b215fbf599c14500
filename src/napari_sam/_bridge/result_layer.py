# SPDX-License-Identifier: Apache-2.0
"""The result of an automatic run as a Labels layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._bridge.preview_layer import PLUGIN_NAME
from napari_sam.annotation.result_table import object_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from napari.layers import Labels

    from napari_sam._bridge.coordinates import PlaneMap
    from napari_sam.annotation.grid_run import GridResult


def make_result_layer(
    result: GridResult, plane_map: PlaneMap, name: str, about: dict[str, Any]
) -> Labels:
    """Make a Labels layer of the image's shape, filled on the plane of the result.

    Parameters
    ----------
    result : GridResult
        What was found.
    plane_map : PlaneMap
        The image that was segmented.
    name : str
        Name of the layer.
    about : dict
        Model and settings, kept in the layer's metadata.

    Returns
    -------
    napari.layers.Labels
        With a features table of area, scores and box in pixels of the plane.
    """
    return make_stack_layer([result], plane_map, name, about)


def make_stack_layer(
    results: Sequence[GridResult],
    plane_map: PlaneMap,
    name: str,
    about: dict[str, Any],
) -> Labels:
    """Make a Labels layer of results of several planes; ids differ between planes.

    Parameters
    ----------
    results : sequence of GridResult
        One for each plane, all of the same orientation.
    plane_map, name, about
        See `make_result_layer`.

    Returns
    -------
    napari.layers.Labels
        The features table has a column for each axis across the planes as well.
    """
    from napari.layers import Labels

    # Pages that are never touched cost no memory, so a stack may be large.
    data = np.zeros(plane_map.shape, dtype=np.uint32)
    tables = []
    n_before = 0
    for result in results:
        y0, x0, y1, x1 = result.box
        labels = result.labels
        if n_before:
            labels = np.where(labels, labels + np.uint32(n_before), labels)
        data[result.plane.locate(slice(y0, y1), slice(x0, x1))] = labels
        tables.append(_plane_table(result, n_before, plane_map.ndim))
        n_before += len(result.records)
    features = {
        column: np.concatenate([table[column] for table in tables])
        for column in (tables[0] if tables else {})
    }
    return Labels(
        data,
        name=name,
        features=features,
        metadata={PLUGIN_NAME: {"role": "result", **about}},
        **plane_map.transforms(),
    )


def _plane_table(
    result: GridResult, n_before: int, ndim: int
) -> dict[str, npt.NDArray[Any]]:
    """Measure the objects of one plane, with ids and boxes as in the layer."""
    y0, x0 = result.box[:2]
    table = object_table(result.labels, result.records)
    table["index"] = table["index"] + n_before
    for column, start in zip(("y0", "x0", "y1", "x1"), (y0, x0, y0, x0), strict=True):
        table[f"box_{column}"] = table[f"box_{column}"] + start
    fixed = [axis for axis in range(ndim) if axis not in result.plane.axes]
    for axis, place in zip(fixed, result.plane.index, strict=True):
        table[f"axis_{axis}"] = np.full(len(result.records), place)
    return table

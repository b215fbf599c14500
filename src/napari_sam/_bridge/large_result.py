# SPDX-License-Identifier: Apache-2.0
"""Labels of large images, filled block by block in the model thread."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._bridge.label_pyramid import make_levels
from napari_sam._bridge.preview_layer import PLUGIN_NAME
from napari_sam.structures.array_blocks import blocks_in
from napari_sam.structures.label_levels import sampled_pixels, showing_pixels

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari.layers import Labels

    from napari_sam._bridge.coordinates import PlaneMap
    from napari_sam.annotation.grid_run import LargeResult
    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.annotation.scope import PlaneContext
    from napari_sam.structures.arrays import HalfOpenBox
    from napari_sam.structures.tile_result import FoundObjects

_BLOCK_SIDE = 2048


class LargeLabels:
    """The results of one run on one or several large planes of an image.

    Parameters
    ----------
    plane_map : PlaneMap
        The image.
    image_name : str
        Names the folder of labels past memory.

    Attributes
    ----------
    n_objects : int
        On the planes so far.
    """

    def __init__(self, plane_map: PlaneMap, image_name: str) -> None:
        self._map = plane_map
        self._levels = make_levels(plane_map.shape, image_name)
        self._tables: list[dict[str, npt.NDArray[Any]]] = []
        self.n_objects = 0

    def add(self, result: LargeResult, context: PlaneContext) -> int:
        """Write the objects of a plane; may run in any thread.

        Returns
        -------
        int
            How many there are.
        """
        n_before = self.n_objects
        for box in blocks_in(result.part, _BLOCK_SIDE):
            # Looking at the flag lets clicks go first. What was found is written even
            # after a cancel: it is the partial result.
            context.cancel.is_set()
            labels = result.objects.labels_in(box)
            if labels.any():
                y0, x0, y1, x1 = box
                moved = np.where(labels, labels + np.uint32(n_before), 0)
                place = result.plane.locate(slice(y0, y1), slice(x0, x1))
                self._levels[0][place] = moved
        part = result.part
        for finer, coarser in pairwise(self._levels):
            part = _fill(finer, coarser, result.plane, part)
        self._tables.append(
            _table(result.objects, result.plane, n_before, self._map.ndim)
        )
        self.n_objects += len(result.objects)
        return len(result.objects)

    def make_layer(self, name: str, about: dict[str, Any]) -> Labels:
        """Make a Labels layer of all that was written.

        Parameters
        ----------
        name : str
            Name of the layer.
        about : dict
            Model and settings, kept in the layer's metadata.

        Returns
        -------
        napari.layers.Labels
            With a features table as `make_stack_layer` gives it.
        """
        from napari.layers import Labels

        features = {
            column: np.concatenate([table[column] for table in self._tables])
            for column in (self._tables[0] if self._tables else {})
        }
        is_multiscale = len(self._levels) > 1
        return Labels(
            self._levels if is_multiscale else self._levels[0],
            multiscale=is_multiscale,
            name=name,
            features=features,
            metadata={PLUGIN_NAME: {"role": "result", **about}},
            **self._map.transforms(),
        )


def _fill(finer: Any, coarser: Any, plane: PlaneKey, part: HalfOpenBox) -> HalfOpenBox:
    """Make a part of a plane of a level of the level before; return which part."""
    lengths = [(finer.shape[axis], coarser.shape[axis]) for axis in plane.axes]
    rows, columns = (
        showing_pixels(*length, start, stop)[0]
        for length, start, stop in zip(lengths, part[:2], part[2:], strict=True)
    )
    filled = rows.start, columns.start, rows.stop, columns.stop
    for y0, x0, y1, x1 in blocks_in(filled, _BLOCK_SIDE):
        down = sampled_pixels(*lengths[0], y0, y1)
        across = sampled_pixels(*lengths[1], x0, x1)
        read = finer[
            plane.locate(
                slice(int(down[0]), int(down[-1]) + 1),
                slice(int(across[0]), int(across[-1]) + 1),
            )
        ]
        if read.any():
            shown = read[np.ix_(down - down[0], across - across[0])]
            coarser[plane.locate(slice(y0, y1), slice(x0, x1))] = shown
    return filled


def _table(
    objects: FoundObjects, plane: PlaneKey, n_before: int, ndim: int
) -> dict[str, npt.NDArray[Any]]:
    """Measure the objects of one plane, with ids as in the layer."""
    n = len(objects)
    labels = range(1, n + 1)
    boxes = np.array([objects.box(label) for label in labels], np.int64).reshape(n, 4)
    scores = np.array([objects.scores(label) for label in labels], float).reshape(n, 2)
    table = {
        "index": np.arange(n_before + 1, n_before + n + 1),
        "area": np.array([objects.area(label) for label in labels], dtype=np.int64),
        "predicted_iou": scores[:, 0],
        "stability_score": scores[:, 1],
    }
    table |= {f"box_{name}": boxes[:, i] for i, name in enumerate(("y0", "x0"))}
    table |= {f"box_{name}": boxes[:, i + 2] for i, name in enumerate(("y1", "x1"))}
    fixed = [axis for axis in range(ndim) if axis not in plane.axes]
    for axis, position in zip(fixed, plane.index, strict=True):
        table[f"axis_{axis}"] = np.full(n, position)
    return table

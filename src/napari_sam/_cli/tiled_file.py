# SPDX-License-Identifier: Apache-2.0
"""One image file as tiles: what is left to do, what was done, and the result."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam import __version__
from napari_sam._cli.segment_file import FileResult, blank_notice, check_axes
from napari_sam._cli.tile_pixels import FilePixels, PixelsOfTile, stamp_of
from napari_sam._cli.tile_task import TileTask
from napari_sam._cli.tiled_result import ResultWriter
from napari_sam.errors import ImageError, OutputError
from napari_sam.io.open_image import open_image, split_path
from napari_sam.io.tile_file import decode_tile
from napari_sam.io.tile_store import TileStore, open_store
from napari_sam.structures.image_digest import image_digest
from napari_sam.structures.settings import LabelSettings

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from napari_sam._cli.inputs import Work
    from napari_sam._cli.tile_task import ModelReference
    from napari_sam.io.image_file import ImageFile
    from napari_sam.modeling.sam import Sam
    from napari_sam.prediction.intensity import IntensityRule
    from napari_sam.prediction.tile_painting import TilePainting
    from napari_sam.prediction.tile_work import ShownTiles
    from napari_sam.prediction.tiling import TilePlan
    from napari_sam.structures.arrays import HalfOpenBox
    from napari_sam.structures.tile_result import TileResult

# Settings that change how results are made or written, but not what they are.
_WITHOUT_EFFECT = ("points_per_batch", "output_mode")


@dataclass(frozen=True, slots=True)
class TiledOptions:
    """What is the same for all files of a run.

    Attributes
    ----------
    model : ModelReference
        The model; its weights are part of what makes tiles of two runs the same.
    frame : int
        Side of the frame that the model sees.
    grid : dict
        Values of `AutoSettings`, all of them.
    labels : LabelSettings
        What is an object.
    axes : str or None
        Meaning of the files' axes where the user states it.
    rule : IntensityRule or None
        How intensities are shown to the model.
    anew : bool
        Whether tiles of other runs, and results, may be thrown away.
    by_value : bool
        Whether pixels that are in memory travel with their tiles, to other machines.
    """

    model: ModelReference
    frame: int
    grid: dict[str, Any]
    labels: LabelSettings
    axes: str | None = None
    rule: IntensityRule | None = None
    anew: bool = False
    by_value: bool = False

    @classmethod
    def for_model(
        cls,
        model: Sam,
        reference: ModelReference,
        settings: Mapping[str, Any],
        **others: Any,
    ) -> TiledOptions:
        """Fill up the user's settings with the model's own, then with the usual ones.

        Raises
        ------
        SettingsError
            If a setting is unknown or out of range.
        """
        from napari_sam.prediction.automatic_mask_generator import (
            AutomaticMaskGenerator,
        )
        from napari_sam.prediction.segmenter import split_settings

        for_grid, for_labels = split_settings(settings)
        own = split_settings(model.auto_defaults)[1]
        return cls(
            model=reference,
            frame=model.image_size,
            grid=vars(AutomaticMaskGenerator(model, **for_grid).settings).copy(),
            labels=LabelSettings.from_defaults(own, for_labels),
            **others,
        )


class TiledFile:
    """The tiles of all planes of an image file.

    Parameters
    ----------
    number : int
        Of the file in its run.
    work : Work
        Where to read and write.
    options : TiledOptions
        How.

    Raises
    ------
    ImageError
        If the file is no image, or has too many axes.
    SettingsError
        If tiles of another run are there.
    OutputError
        If they cannot be written, or another process works on them.
    """

    def __init__(self, number: int, work: Work, options: TiledOptions) -> None:
        from napari_sam.prediction.tiling import plan_for

        self._number = number
        self._options = options
        self.work = work
        self._image = open_image(work.source, axes=options.axes)
        check_axes(self._image)
        self._plan = plan_for(self._image.plane_shape, options.labels, options.frame)
        self.n_tiles = self._image.n_planes * len(self._plan)
        self._store: TileStore | _Memory = _Memory()
        if self.n_tiles > 1 or self._image.is_lazy:
            n_cached = max(256, 6 * len(self._plan.columns))
            folder = work.tiles
            about = _about(self._image, self._plan, options)
            self._store = open_store(
                folder, about, anew=options.anew, n_cached=n_cached
            )
        self._done = self._store.finished()

    @property
    def n_done(self) -> int:
        """Number of tiles that are finished."""
        return len(self._done)

    @property
    def is_complete(self) -> bool:
        """Whether all tiles are finished."""
        return self.n_done == self.n_tiles

    @property
    def kept(self) -> str:
        """What is there if the run ends now; empty if that is nothing."""
        if not self._done or isinstance(self._store, _Memory):
            return ""
        return (
            f"{self.n_done} of {self.n_tiles} tiles of {self.work.source.name} are "
            f"finished and kept in {self._store.folder}: the same command goes on."
        )

    def tasks(self) -> Iterator[TileTask]:
        """Yield the tiles that are not finished."""
        for plane, index in enumerate(np.ndindex(self._image.stack_shape)):
            first = plane * len(self._plan)
            missing = [t for t in range(len(self._plan)) if first + t not in self._done]
            if not missing:
                continue
            shown = self._shown(index)
            for tile in missing:
                box = self._plan.box(tile)
                yield TileTask(
                    (self._number, first + tile),
                    self._portable(shown, box),
                    box,
                    self._options.grid,
                    self._options.labels,
                )

    def put(self, number: int, content: bytes) -> None:
        """Keep a finished tile."""
        self._store.put(number, content)
        self._done.add(number)

    def finish(self) -> FileResult:
        """Join the tiles, write labels and table, and forget the tiles.

        Raises
        ------
        OutputError
            If a result cannot be written, or a finished tile is gone; the tiles stay.
        """
        writer = ResultWriter(self.work, self._image, self.work.tiles)
        notices: list[str] = []
        for plane, index in enumerate(np.ndindex(self._image.stack_shape)):
            painting = self._join(plane)
            writer.add(index, painting)
            if not painting and self._is_blank(index):
                notices.append(blank_notice(self._image, index))
        writer.finish()
        self._store.remove()
        if not notices and not writer.n_objects:
            notices.append(f"{self.work.source.name}: no objects were found.")
        notices = [*self._image.notices, *notices]
        return FileResult(writer.n_objects, notices, writer.labels_path)

    def close(self) -> None:
        """Let other processes work on this file; finished tiles stay."""
        self._store.close()

    def _join(self, plane: int) -> TilePainting:
        from napari_sam.prediction.tile_run import join_tiles

        results = _PlaneResults(self._store, plane * len(self._plan), self._done)
        return join_tiles(self._plan, results, self._options.labels)

    def _shown(self, index: tuple[int, ...]) -> ShownTiles:
        """Return a plane as the model sees it."""
        from napari_sam.prediction.shown_pixels import ShownPixels

        image = self._image
        if not image.is_lazy:
            plane = image.data[index]
            return ShownPixels(
                np.asarray(plane), image.channel_axis, self._options.rule
            )
        pixels = FilePixels(str(image.path), self._options.axes, index)
        shown = ShownPixels(pixels, image.channel_axis, self._options.rule)
        # What is found here travels with the tiles: brightness is the same in all.
        _ = shown.limits
        return shown

    def _is_blank(self, index: tuple[int, ...]) -> bool:
        """Tell whether a plane that was read at once shows nothing."""
        if self._image.is_lazy:
            return False
        from napari_sam.prediction.intensity import is_blank

        shown = self._shown(index).read((0, 0, *self._plan.shape))
        return is_blank(self._image.data[index]) or is_blank(shown)

    def _portable(self, shown: ShownTiles, box: HalfOpenBox) -> ShownTiles:
        if self._options.by_value and not self._image.is_lazy:
            return PixelsOfTile(self._plan.shape, box, shown.read(box))
        return shown


def _about(image: ImageFile, plan: TilePlan, options: TiledOptions) -> dict[str, Any]:
    """Return what tiles of two runs must share to be mixed."""
    labels = dataclasses.asdict(options.labels)
    grid = {k: v for k, v in options.grid.items() if k not in _WITHOUT_EFFECT}
    rule = options.rule
    return {
        "version": __version__,
        "image": _identity(image),
        "axes": image.axes,
        "shape": [*image.stack_shape, *image.plane_shape],
        "tile_size": plan.tile_size,
        "n_tiles": len(plan),
        "model": options.model.name,
        "weights": options.model.digest,
        "precision": options.model.precision,
        "brightness": None if rule is None else dataclasses.asdict(rule),
        **grid,
        **{k: v for k, v in labels.items() if k not in ("tile", "tile_overlap")},
    }


def _identity(image: ImageFile) -> dict[str, Any]:
    """Tell an image from others without reading much of it."""
    try:
        stamp = stamp_of(image.path)
    except OSError as error:
        msg = f"{image.path} is gone: {error.strerror or error}."
        raise ImageError(msg) from error
    n_plane_axes = 2 if image.axes.endswith("X") else 3
    return {
        "name": image.path.name,
        "place": split_path(image.path)[1],
        "bytes": stamp.n_bytes,
        "changed_ns": stamp.changed_ns,
        "dtype": str(image.data.dtype),
        # The pixels of a zarr folder change without its metadata.
        "sample": image_digest(image.data, n_plane_axes),
    }


class _PlaneResults:
    """The tiles of one plane among those of a file."""

    def __init__(
        self, store: TileStore | _Memory, first: int, done: Container[int]
    ) -> None:
        self._store = store
        self._first = first
        self._done = done

    def get(self, number: int, /) -> TileResult | None:
        found = self._store.get(self._first + number)
        if found is None and self._first + number in self._done:
            msg = (
                f"Tile {self._first + number} was finished and is gone: something has "
                "deleted it. Repeat the command, which makes it again."
            )
            raise OutputError(msg)
        return found


class _Memory:
    """The only tile of a file; nothing is gained by keeping it in a folder."""

    def __init__(self) -> None:
        self._content: dict[int, bytes] = {}

    def finished(self) -> set[int]:
        return set(self._content)

    def get(self, number: int, /) -> TileResult | None:
        content = self._content.get(number)
        return None if content is None else decode_tile(content)

    def put(self, number: int, content: bytes) -> None:
        self._content[number] = content

    def remove(self) -> None:
        self._content.clear()

    def close(self) -> None:
        """Nothing is open."""

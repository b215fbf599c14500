# SPDX-License-Identifier: Apache-2.0
"""One tile as a task: on a thread of this process or on a machine of a cluster.

Everything a task needs travels with it: the image as what opens it, the model as its
name and hash. So the same function runs anywhere and gives the same bytes.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam.errors import Cancelled, WeightsError

if TYPE_CHECKING:
    from napari_sam.modeling.sam import Sam
    from napari_sam.prediction.grid_search import Progress
    from napari_sam.prediction.tile_work import ShownTiles
    from napari_sam.structures.arrays import HalfOpenBox, RgbPlane
    from napari_sam.structures.candidates import MaskRecord
    from napari_sam.structures.settings import LabelSettings


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A model as a worker can find it.

    Attributes
    ----------
    name : str
        In the catalogue.
    checkpoint : str or None
        Weights file of the user's.
    digest : str
        SHA-256 of the weights file; what a worker loads must have it.
    device : str
        As for `load_model`; ``"auto"`` is the best that each worker has.
    precision : str or None
        As for `load_model`.
    """

    name: str
    checkpoint: str | None
    digest: str
    device: str = "auto"
    precision: str | None = None


@dataclass(frozen=True, eq=False)
class TileTask:
    """A tile to be segmented.

    Attributes
    ----------
    key : tuple of int
        Names the task among those of a run: file, tile of the file.
    shown : ShownTiles
        The image.
    tile : (y0, x0, y1, x1)
        Half-open box of the tile.
    grid : dict
        Values of `AutoSettings`.
    labels : LabelSettings
        What is an object.
    """

    key: tuple[int, int]
    shown: ShownTiles
    tile: HalfOpenBox
    grid: dict[str, Any]
    labels: LabelSettings


@dataclass
class ModelHost:
    """One model and the one thread that runs it.

    torch uses all cores by itself, so that reading, painting and storing of other tiles
    go on in the threads that call.

    Attributes
    ----------
    model : Sam
    cancel : threading.Event
        When set, tasks end with `Cancelled`.
    """

    model: Sam
    cancel: threading.Event = field(default_factory=threading.Event)
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="model")
    )

    def __post_init__(self) -> None:
        """Make what answers for all tiles: what it prepares once serves them all."""
        from napari_sam.prediction.predictor import SamPredictor

        self._predictor = SamPredictor(self.model)

    def segment(self, task: TileTask) -> bytes:
        """Find the objects of a tile; see `napari_sam.io.tile_file` for the bytes.

        Raises
        ------
        Cancelled
            If the work is to end: there is no result.
        ImageError
            If the pixels cannot be read.
        """
        from napari_sam.io.tile_file import encode_tile
        from napari_sam.prediction.tile_work import segment_tile

        if self.cancel.is_set():
            raise Cancelled
        generator = _Generator(self, task.grid)
        result = segment_tile(
            task.shown, task.tile, generator, task.labels, cancel=self.cancel
        )
        if result.is_partial or self.cancel.is_set():
            raise Cancelled
        return encode_tile(result)

    def generate(
        self, grid: dict[str, Any], rgb: RgbPlane, **options: Any
    ) -> list[MaskRecord]:
        """Run the grid of points in the model's thread."""
        from napari_sam.prediction.automatic_mask_generator import (
            AutomaticMaskGenerator,
        )

        generator = AutomaticMaskGenerator(self._predictor, **grid)
        return self._thread.submit(generator.generate, rgb, **options).result()

    def close(self) -> None:
        """Let go of the thread."""
        self.cancel.set()
        self._thread.shutdown(wait=True, cancel_futures=True)


class _Generator:
    """A `MaskGenerator` that works in the thread of a model."""

    def __init__(self, host: ModelHost, grid: dict[str, Any]) -> None:
        self._host = host
        self._grid = grid

    def generate(
        self,
        image: RgbPlane,
        *,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> list[MaskRecord]:
        return self._host.generate(self._grid, image, progress=progress, cancel=cancel)


_hosts: dict[ModelReference, ModelHost] = {}
_loading = threading.Lock()


def segment_on_worker(
    task: TileTask, reference: ModelReference, weights: bytes | None
) -> bytes:
    """Segment a tile with this process's own copy of the model.

    Parameters
    ----------
    task : TileTask
        The tile.
    reference : ModelReference
        Loaded at the first call, and kept.
    weights : bytes or None
        Content of the weights file, for workers that do not find it.

    Returns
    -------
    bytes

    Raises
    ------
    WeightsError
        If the weights are not here, or are others.
    ImageError
        If the pixels cannot be read.
    """
    with _loading:
        host = _hosts.get(reference)
        if host is None:
            _hosts.clear()  # one model per worker
            host = _hosts[reference] = ModelHost(_load(reference, weights))
    return host.segment(task)


def finds_weights(reference: ModelReference) -> bool:
    """Tell whether this process finds a model's weights by their name."""
    path = _weights_path(reference)
    if path is None or not path.is_file():
        return False
    status = path.stat()
    digest = _digest(path, status.st_size, status.st_mtime_ns)
    return digest == reference.digest


def weights_bytes(reference: ModelReference) -> bytes:
    """Return the content of a model's weights file on this machine.

    Raises
    ------
    WeightsError
        If it is gone.
    """
    path = _weights_path(reference)
    if path is None or not path.is_file():
        msg = f"The weights of {reference.name!r} are no longer where they were loaded."
        raise WeightsError(msg)
    return path.read_bytes()


def _load(reference: ModelReference, weights: bytes | None) -> Sam:
    from napari_sam.weights.load import load_model

    options: dict[str, Any] = {
        "device": reference.device,
        "dtype": reference.precision,
    }
    if finds_weights(reference):
        path = reference.checkpoint
        model = load_model(reference.name, checkpoint=path, **options)
    elif weights is None:
        msg = (
            f"A worker does not find the weights of the model {reference.name!r} "
            f"(SHA-256 {reference.digest[:12]}...). Put them into its weights folder, "
            "or repeat the command: workers that are there at its start get them."
        )
        raise WeightsError(msg)
    else:
        with tempfile.TemporaryDirectory() as folder:
            sent = Path(folder) / f"{reference.name}.weights"
            sent.write_bytes(weights)
            model = load_model(reference.name, checkpoint=sent, **options)
    if model.digest != reference.digest:
        msg = (
            f"The weights of the model {reference.name!r} that were loaded (SHA-256 "
            f"{(model.digest or '')[:12]}...) are not those of this run "
            f"({reference.digest[:12]}...): they arrived damaged, or their file was "
            "replaced meanwhile. Repeat the command."
        )
        raise WeightsError(msg)
    return model


def _weights_path(reference: ModelReference) -> Path | None:
    from napari_sam.weights import store

    if reference.checkpoint is not None:
        return Path(reference.checkpoint)
    return store.find(reference.name)


@lru_cache(maxsize=16)
def _digest(path: Path, n_bytes: int, changed_ns: int) -> str:
    """Hash a file; size and time of change tell whether it is still the same."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

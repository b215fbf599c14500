# SPDX-License-Identifier: Apache-2.0
"""What annotation needs from the world, as protocols.

``ImageSource`` gives pixels, ``Segmenter`` answers prompts, ``LabelStore`` keeps the
result and ``JobRunner`` does the slow part elsewhere. Nothing here knows napari, Qt
or torch: other rooms satisfy these protocols by shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, MutableMapping, Sequence

    from napari_sam.annotation.job import Job, JobContext, Priority
    from napari_sam.structures.arrays import HalfOpenBox, LabelImage, Plane
    from napari_sam.structures.candidates import Answer, MaskRecord
    from napari_sam.structures.labels import LabelEdit
    from napari_sam.structures.mask_sketch import MaskSketch
    from napari_sam.structures.plane_pixels import PlanePixels
    from napari_sam.structures.plane_view import PlaneView, Region
    from napari_sam.structures.prompts import PromptSet
    from napari_sam.structures.tile_result import FoundObjects


@dataclass(frozen=True, slots=True)
class PlaneKey:
    """Which 2-D plane of an n-D image is meant.

    Attributes
    ----------
    axes : tuple of two int
        Array axes that are the plane's rows and columns, ascending.
    index : tuple of int
        Position along the other array axes, in array order. Empty for a flat image.
    """

    axes: tuple[int, int] = (0, 1)
    index: tuple[int, ...] = ()

    def locate(self, rows: Any, columns: Any) -> tuple[Any, ...]:
        """Put row and column indices (or slices) among the fixed axes.

        Returns
        -------
        tuple
            One entry per array axis: ``rows`` and ``columns`` at `axes`, the fixed
            positions elsewhere.
        """
        n_axes = len(self.index) + 2
        fixed = iter(self.index)
        placed = {self.axes[0]: rows, self.axes[1]: columns}
        return tuple(
            placed[axis] if axis in placed else next(fixed) for axis in range(n_axes)
        )


class ImageSource(Protocol):
    """Pixels of one image, plane by plane; read from the model thread."""

    def plane_shape(self, key: PlaneKey) -> tuple[int, int]:
        """Height and width in pixels of the plane."""
        ...

    @property
    def identity(self) -> str:
        """Tells this image, as the model is shown it, from others."""
        ...

    def read_plane(self, key: PlaneKey) -> Plane:
        """Return the plane's pixels, (H, W) or (H, W, 3 | 4), as a copy or a view."""
        ...

    def plane_pixels(self, key: PlaneKey) -> PlanePixels:
        """Return the plane to be read piece by piece; nothing is read yet."""
        ...


class LabelStore(Protocol):
    """The labels that accepted masks are written to."""

    @property
    def keeps_existing(self) -> bool:
        """Whether the store itself forbids to write over existing objects."""
        ...

    def next_id(self) -> int:
        """Return an id that no object has; raises LabelsError if none is left."""
        ...

    def forget_id(self, object_id: int) -> None:
        """Take note that no pixel has this id any more; it may be given again."""
        ...

    def read(self, key: PlaneKey, box: HalfOpenBox) -> LabelImage:
        """Return a copy of the labels inside `box` of one plane."""
        ...

    def write(self, key: PlaneKey, edit: LabelEdit) -> None:
        """Write the pixels in which ``edit.new`` differs from ``edit.old``.

        Others of the box may have been changed since and stay as they are. Raises
        LabelsError if nothing may be written.
        """
        ...


# What `Segmenter.embed` returned: only its `predict` looks into it.
Encoded: TypeAlias = Any


class Segmenter(Protocol):
    """A loaded model; methods run in the model thread unless they say otherwise."""

    @property
    def name(self) -> str:
        """Model name for messages."""
        ...

    @property
    def auto_defaults(self) -> Mapping[str, Any]:
        """Settings of the automatic mode that this model was tuned for."""
        ...

    def describe(self) -> dict[str, str]:
        """Facts for a bug report: architecture, device, hash of the weights."""
        ...

    def see(self, pixels: PlanePixels) -> PlanePixels:
        """Read what takes long to read, and return the plane as `embed` takes it.

        May be called in any thread.
        """
        ...

    def embed(
        self,
        pixels: PlanePixels,
        *,
        view: PlaneView | None = None,
        cancel: threading.Event | None = None,
        digests: MutableMapping[Region, str] | None = None,
    ) -> Encoded:
        """Encode a plane, or of a large one the region on screen.

        With digests, those of regions of this very plane that were encoded before:
        what the model has kept of them is used, and no pixels are read. Those of
        regions that are encoded now are added.

        Raises Cancelled when `cancel` is set on the way.
        """
        ...

    def scale_for(
        self,
        embedding: Encoded,
        view: PlaneView | None,
        extent: HalfOpenBox | None = None,
    ) -> int | None:
        """Scale that suits what is on screen, and an object of such an extent.

        The image's pixels that the model is shown as one. None is what suits without a
        view, and for planes that are always seen whole. May be called in any thread.
        """
        ...

    def region_at(
        self, embedding: Encoded, yx: tuple[float, float], scale: int | None
    ) -> Region | None:
        """Region that would answer a click; None for planes that are seen whole.

        May be called in any thread.
        """
        ...

    def is_ready(self, embedding: Encoded, region: Region) -> bool:
        """Whether a region is encoded; may be called in any thread."""
        ...

    def look(
        self,
        embedding: Encoded,
        region: Region,
        *,
        cancel: threading.Event | None = None,
    ) -> None:
        """Encode a region; raises Cancelled when `cancel` is set on the way."""
        ...

    def predict(
        self,
        embedding: Encoded,
        prompts: PromptSet,
        *,
        scale: int | None = None,
        cancel: threading.Event | None = None,
    ) -> Answer:
        """All masks of the decoder for one object, as the model drew them.

        No region finer than `scale` is looked at.
        """
        ...

    def preview(self, embedding: Encoded, yx: tuple[float, float]) -> Answer:
        """One mask for a click that may come: the best of the three readings."""
        ...

    def sketch(
        self, embedding: Encoded, yx: tuple[float, float], scale: int
    ) -> MaskSketch | None:
        """Return that mask of a large plane as far as it was looked at."""
        ...

    def predict_many(
        self,
        embedding: Encoded,
        prompts: Sequence[PromptSet],
        *,
        progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> list[Answer]:
        """One mask for each of many objects, in order; fewer when cancelled."""
        ...

    def segment_everything(
        self,
        plane: Plane,
        settings: Mapping[str, Any],
        *,
        progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> tuple[LabelImage, list[MaskRecord]]:
        """Label image and one record per id in order; partial when cancelled."""
        ...

    def find_everything(
        self,
        pixels: PlanePixels,
        settings: Mapping[str, Any],
        *,
        progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> FoundObjects:
        """Objects of a large plane, searched in tiles; partial when cancelled."""
        ...


class JobRunner(Protocol):
    """Runs work that needs the model, and delivers answers where the GUI lives.

    Attributes
    ----------
    on_ready : callable or None
        Called from the model thread whenever an answer waits to be drained.
    """

    on_ready: Callable[[], None] | None

    @property
    def has_thread(self) -> bool:
        """Whether work is done in a thread of its own, and not in `submit`."""
        ...

    @property
    def is_busy(self) -> bool:
        """Whether work or undelivered answers are left."""
        ...

    def submit(
        self,
        work: Callable[[JobContext], Any],
        *,
        priority: Priority,
        lane: str = "",
        on_result: Callable[[Any], None] | None = None,
        on_error: Callable[[Exception], None] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Job:
        """Queue `work`; a newer job of the same lane makes this one stale."""
        ...

    def forget(self, lane: str) -> None:
        """Make every job of the lane stale: its answer will not be delivered."""
        ...

    def drain(self) -> int:
        """Deliver waiting answers in the calling thread; returns how many."""
        ...

    def close(self) -> None:
        """Cancel everything and end; nothing is delivered afterwards."""
        ...

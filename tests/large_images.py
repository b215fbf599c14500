# SPDX-License-Identifier: Apache-2.0
"""A drawn plane of any size that counts what is read of it, and a model that sees it.

Discs of one colour lie on a plain ground. Pixels are computed when they are asked for,
so a plane of 32768 x 32768 takes no memory. The model answers a prompt with the pixels
of like colour that hang together, as far as its frame shows them: small, best and
large reading of a click are a part of that, that, and the whole frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import ndimage

from napari_sam.errors import Cancelled
from napari_sam.prediction.predictor import Decoded, SamPredictor
from napari_sam.structures.embedding import ImageEmbedding
from napari_sam.structures.plane_view import PlaneView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam.structures.mask_window import MaskWindow

GROUND, COLOUR = (40, 60, 90), (200, 120, 60)
Disc = tuple[float, float, float]


class Discs:
    """An array-like plane (side, side, 3) with discs ``(y, x, radius)``."""

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, discs: Sequence[Disc], side: int = 32768) -> None:
        self.discs = list(discs)
        self.shape = (side, side, 3)
        self.n_read = self.n_reads = 0

    def pyramid(self, n_levels: int) -> list[Discs]:
        """The plane and its coarser levels, each half as large."""
        return [
            self,
            *(
                Discs([(y / n, x / n, r / n) for y, x, r in self.discs], self.side // n)
                for n in (2**k for k in range(1, n_levels))
            ),
        ]

    @property
    def side(self) -> int:
        return self.shape[0]

    def __getitem__(self, where: Any) -> np.ndarray:
        where = where if isinstance(where, tuple) else (where,)
        rows, columns = (
            np.arange(self.side)[item] for item in (*where, slice(None))[:2]
        )
        self.n_reads += 1
        self.n_read += rows.size * columns.size
        seen = np.empty((rows.size, columns.size, 3), np.uint8)
        seen[:] = GROUND
        for y, x, radius in self.discs:
            top, bottom = np.searchsorted(rows, [y - radius - 1, y + radius + 1])
            left, right = np.searchsorted(columns, [x - radius - 1, x + radius + 1])
            down = rows[top:bottom, None] - y
            across = columns[None, left:right] - x
            seen[top:bottom, left:right][down**2 + across**2 <= radius**2] = COLOUR
        channels = where[2] if len(where) > 2 else slice(None)
        return seen[:, :, channels]


class Filling(SamPredictor):
    """Answers with what hangs together; encoding takes no time."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.encoded: list[tuple[int, int]] = []
        self._pictures: dict[str, np.ndarray] = {}

    def embed(self, image: Any, *args: Any, **how: Any) -> ImageEmbedding:
        cancel = how.get("cancel")
        if cancel is not None and cancel.is_set():
            msg = "stopped"
            raise Cancelled(msg)
        size = image.shape[:2]
        self.encoded.append(size)
        digest = f"{len(self._pictures)}"
        self._pictures[digest] = image
        g = self.model.grid_size
        features = np.zeros((1, 1, g, g), np.float32)
        return ImageEmbedding(features, (), size, size, self.model.name, digest)

    def recall(self, digest: str) -> ImageEmbedding | None:
        return None

    def decode(self, embedding: ImageEmbedding, prompts: Any) -> Decoded:
        found = self.attend(embedding, prompts)
        return Decoded(found.logits, found.predicted_iou)

    def attend(self, embedding: ImageEmbedding, prompts: Any) -> Any:
        picture = self._pictures[embedding.digest]
        logits = [self._logits(picture, xy) for xy in _places(prompts)]
        scores = torch.tensor([[0.8, 0.3, 0.9, 0.5]] * len(logits))
        return _Seen(torch.from_numpy(np.stack(logits)), scores)

    def draw(self, attended: Any) -> torch.Tensor:
        return attended.logits

    def _logits(self, picture: np.ndarray, xy: np.ndarray) -> np.ndarray:
        height, width = picture.shape[:2]
        x, y = (int(min(v, n - 1)) for v, n in zip(xy, (width, height), strict=True))
        far = np.abs(picture.astype(int) - picture[y, x]).max(axis=2)
        pieces, _ = ndimage.label(far < 40)
        mask = pieces == pieces[y, x]
        rows, columns = np.ogrid[:height, :width]
        part = mask & (np.hypot(rows - y, columns - x) < 6)
        side, n = self.model.image_size, 4 * self.model.grid_size
        frames = np.zeros((4, side, side), np.float32)
        for frame, found in zip(frames, (mask, part, mask, mask | True), strict=True):
            frame[:height, :width] = found
        step = side // n
        share = frames.reshape(4, n, step, n, step).mean(axis=(2, 4))
        return (20 * share - 10).astype(np.float32)


class _Seen:
    def __init__(self, logits: torch.Tensor, predicted_iou: torch.Tensor) -> None:
        self.logits, self.predicted_iou = logits, predicted_iou

    def of_outputs(self, chosen: torch.Tensor) -> _Seen:
        rows = torch.arange(len(chosen))
        return _Seen(
            self.logits[rows, chosen][:, None],
            self.predicted_iou[rows, chosen][:, None],
        )


def _places(prompts: Any) -> list[np.ndarray]:
    """A position on the object, x and y in frame pixels, of each prompt."""
    if prompts.points is None:
        return [(box[:2] + box[2:]) / 2 for box in prompts.boxes]
    places, labels = prompts.points
    return [
        p[int(np.argmax(marks == 1))] for p, marks in zip(places, labels, strict=True)
    ]


def iou_with_disc(mask: MaskWindow, disc: Disc) -> float:
    """IoU of a mask with a disc of the plane, counted where either is."""
    y, x, radius = disc
    y0, x0, y1, x1 = mask.box
    rows, columns = np.arange(y0, y1)[:, None] - y, np.arange(x0, x1)[None] - x
    common = int(((rows**2 + columns**2 <= radius**2) & mask.crop).sum())
    return common / (np.pi * radius**2 + mask.area - common)


def view_of(
    y: float, x: float, step: float, size: tuple[int, int] = (600, 800)
) -> PlaneView:
    """What a screen of (h, w) pixels shows around a position."""
    down, across = size[0] * step / 2, size[1] * step / 2
    return PlaneView((y - down, x - across, y + down, x + across), step)

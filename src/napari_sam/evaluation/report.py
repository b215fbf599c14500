# SPDX-License-Identifier: Apache-2.0
"""What an evaluation found, per image and for the whole set."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sam.evaluation.matching import MatchCounts
from napari_sam.evaluation.metrics import pooled_mean


@dataclass(frozen=True, slots=True)
class ImageScores:
    """Scores of one image; a part that was not asked for is None.

    The three arrays are of shape (n_objects,): IoU of the mask with the highest
    predicted IoU of three for the centre point, of the best of those three, and of
    output 0 for the tight box.
    """

    name: str
    n_objects: int
    point: NDArray[np.float64] | None = None
    point_oracle: NDArray[np.float64] | None = None
    box: NDArray[np.float64] | None = None
    grid: MatchCounts | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """Scores of a set of images under one protocol."""

    images: tuple[ImageScores, ...]
    min_area: int
    iou_threshold: float

    @property
    def n_objects(self) -> int:
        """True objects of at least ``min_area`` pixels in all images."""
        return sum(image.n_objects for image in self.images)

    @property
    def point(self) -> float:
        """Mean IoU over objects, centre point, mask of highest predicted IoU."""
        return pooled_mean([i.point for i in self.images if i.point is not None])

    @property
    def point_oracle(self) -> float:
        """Mean IoU over objects, centre point, best of the three masks."""
        return pooled_mean(
            [i.point_oracle for i in self.images if i.point_oracle is not None]
        )

    @property
    def box(self) -> float:
        """Mean IoU over objects, tight box, output 0."""
        return pooled_mean([i.box for i in self.images if i.box is not None])

    @property
    def average_precision(self) -> float:
        """Mean over images of ``TP / (TP + FP + FN)`` in the automatic mode."""
        scores = [i.grid.average_precision for i in self.images if i.grid is not None]
        return float(np.mean(scores)) if scores else float("nan")

    def to_dict(self) -> dict[str, object]:
        """Numbers of the set as plain values; a part not asked for is None."""
        means = {
            "point_iou": self.point,
            "point_oracle_iou": self.point_oracle,
            "box_iou": self.box,
            "average_precision": self.average_precision,
        }
        return {
            "images": len(self.images),
            "objects": self.n_objects,
            "min_area_px": self.min_area,
            "iou_threshold": self.iou_threshold,
            "seconds": round(sum(i.seconds for i in self.images), 2),
            **{k: None if np.isnan(v) else round(v, 4) for k, v in means.items()},
        }

    def rows(self) -> list[dict[str, object]]:
        """One plain dictionary per image, for a table."""
        return [_row(image) for image in self.images]

    def format(self) -> str:
        """Readable summary of several lines."""
        counts = f"{len(self.images)} images, {self.n_objects:,} objects"
        lines = [f"{counts} of at least {self.min_area} px"]
        means = (
            ("centre point, highest predicted IoU of three", self.point),
            ("centre point, best of the three (oracle)", self.point_oracle),
            ("tight box, output 0", self.box),
        )
        lines += [
            f"  {text:<46} mean IoU {value:.3f}"
            for text, value in means
            if not np.isnan(value)
        ]
        grids = [i.grid for i in self.images if i.grid is not None]
        if grids:
            text = f"automatic, AP at IoU {self.iou_threshold:g}"
            lines.append(
                f"  {text:<46} mean AP  {self.average_precision:.3f}   "
                f"(found {sum(g.true_positives for g in grids):,}, "
                f"invented {sum(g.false_positives for g in grids):,}, "
                f"missed {sum(g.false_negatives for g in grids):,})"
            )
        return "\n".join(lines)


def _row(image: ImageScores) -> dict[str, object]:
    """Flat numbers of one image; the IoUs are means over its objects."""
    row: dict[str, object] = {"name": image.name, "objects": image.n_objects}
    parts = (
        ("point_iou", image.point),
        ("point_oracle_iou", image.point_oracle),
        ("box_iou", image.box),
    )
    for key, values in parts:
        row[key] = None
        if values is not None and values.size:
            row[key] = round(float(values.mean()), 4)
    grid = image.grid
    row["average_precision"] = None if grid is None else grid.average_precision
    row["true_positives"] = None if grid is None else grid.true_positives
    row["false_positives"] = None if grid is None else grid.false_positives
    row["false_negatives"] = None if grid is None else grid.false_negatives
    row["seconds"] = round(image.seconds, 3)
    return row

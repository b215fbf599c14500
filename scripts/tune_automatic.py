# SPDX-License-Identifier: Apache-2.0
"""Compare thresholds of the automatic mode on the development part of the data.

    python scripts/tune_automatic.py DATA [--checkpoint FILE] [--images N] [--sides 16]

The grid is run once per image with open thresholds; the thresholds are then applied to
the stored records. Prints the mean AP at IoU 0.5 over images for each choice, best
first. ``AUTO_DEFAULTS`` of the embedded model come from here; ``val`` is never read.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.evaluation.matching import match_objects
from napari_sam.prediction.automatic_mask_generator import AutomaticMaskGenerator
from napari_sam.prediction.label_painting import is_background, paint_objects
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.structures.settings import LabelSettings
from napari_sam.training.dataset import LabelledImage, load_split, open_root
from napari_sam.weights.load import load_model

if TYPE_CHECKING:
    from napari_sam.structures.candidates import MaskRecord

MIN_AREA_PX = 25
LARGEST_SIDE = 700  # larger images are tiled, which this comparison leaves out
PRED_IOU = (0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8)
STABILITY = (0.0, 0.4, 0.6, 0.7, 0.8, 0.9)
N_SHOWN = 8


def main() -> None:
    """Parse the options, run the grids, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--sides", type=int, nargs="+", default=[16])
    options = parser.parse_args()
    predictor = SamPredictor(load_model(checkpoint=options.checkpoint))
    images = chosen_images(options.data, options.images)
    for side in options.sides:
        scores: dict[tuple[float, float], list[float]] = defaultdict(list)
        generator = AutomaticMaskGenerator(
            predictor,
            points_per_side=side,
            pred_iou_thresh=min(PRED_IOU),
            stability_score_thresh=0.0,
            box_nms_thresh=0.9,
        )
        for image in images:
            records = generator.generate(image.pixels)
            say(f"{image.name} {image.kind}: {len(records)} records")
            for choice in itertools.product(PRED_IOU, STABILITY):
                scores[choice].append(average_precision(image, records, *choice))
        ranked = sorted(scores, key=lambda choice: -np.mean(scores[choice]))
        say(f"{side} points a side, {len(images)} images, mean AP at IoU 0.5:")
        for choice in ranked[:N_SHOWN]:
            iou, stability = choice
            mean = np.mean(scores[choice])
            say(f"  pred_iou {iou:.2f}  stability {stability:.2f}  AP {mean:.3f}")


def chosen_images(data: Path, n: int) -> list[LabelledImage]:
    """Spread n development images over the kinds as evenly as possible."""
    rng = np.random.default_rng(0)
    by_kind: dict[str, list[LabelledImage]] = defaultdict(list)
    for image in load_split(open_root(data), "dev"):
        if max(image.labels.shape) <= LARGEST_SIDE:
            by_kind[image.kind].append(image)
    for some in by_kind.values():
        rng.shuffle(some)  # type: ignore[arg-type]
    turns = itertools.zip_longest(*by_kind.values())
    return [image for turn in turns for image in turn if image is not None][:n]


def average_precision(
    image: LabelledImage, records: list[MaskRecord], iou: float, stability: float
) -> float:
    """Apply thresholds to stored records and compare with the truth."""
    shape = image.labels.shape
    settings = LabelSettings()
    kept = [
        r
        for r in records
        if r.predicted_iou > iou
        and r.stability_score >= stability
        and not is_background(r, (0, 0, *shape), settings.background_fraction)
    ]
    labels, _ = paint_objects(kept, shape, settings)
    return match_objects(
        image.labels, labels, iou_threshold=0.5, min_area=MIN_AREA_PX
    ).average_precision


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

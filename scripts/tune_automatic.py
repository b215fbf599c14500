# SPDX-License-Identifier: Apache-2.0
"""Compare settings of the automatic mode on the development part of the data.

    python scripts/tune_automatic.py DATA [--checkpoint FILE] [--images N]
        [--methods grid fast fastest] [--sides 24] [--rules joined 0.5 0.65 0.8]

Each method is run once per image with open thresholds; the thresholds are then applied
to the stored records. Prints AP at IoU 0.5 and mean segmentation accuracy (AP over 0.5,
0.55 ... 0.95) for each choice, the mean over kinds of images of the means over their
images, best first. With ``--rules NAME VALUE ...`` the method "fastest" is run with
each value of a field of `RegionRule` instead. ``AUTO_DEFAULTS`` of the embedded model
and the defaults of `RegionRule` come from here; ``val`` is never read.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.evaluation.matching import drop_small, iou_matrix
from napari_sam.prediction.automatic_mask_generator import AutomaticMaskGenerator
from napari_sam.prediction.instances import RegionRule
from napari_sam.prediction.intensity import to_rgb
from napari_sam.prediction.label_painting import is_background, paint_objects
from napari_sam.prediction.object_decoder import SamObjectDecoder
from napari_sam.prediction.object_search import search_objects
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.structures.settings import METHODS, AutoSettings, LabelSettings
from napari_sam.training.dataset import LabelledImage, load_split, open_root
from napari_sam.weights.load import load_model

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_sam.prediction.object_decoder import ObjectDecoder
    from napari_sam.structures.arrays import HalfOpenBox, RgbPlane
    from napari_sam.structures.candidates import MaskRecord

    Scores = dict[str, list[npt.NDArray[np.float64]]]

MIN_AREA_PX = 25
LARGEST_SIDE = 700  # of larger images a corner is taken, so that nothing is tiled
PRED_IOU = (0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8)
STABILITY = (0.0, 0.4, 0.6, 0.7, 0.8, 0.9)
IOUS = np.arange(0.5, 1.0, 0.05)
N_SHOWN = 6


def main() -> None:
    """Parse the options, search, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--methods", nargs="+", default=["grid"], choices=METHODS)
    parser.add_argument("--sides", type=int, nargs="+", default=[24])
    parser.add_argument("--rules", nargs="+", metavar=("NAME", "VALUE"))
    options = parser.parse_args()
    predictor = SamPredictor(load_model(checkpoint=options.checkpoint))
    images = chosen_images(options.data, options.images)
    if options.rules:
        name, *values = options.rules
        compare_rules(predictor, images, name, [float(value) for value in values])
        return
    has_maps = predictor.model.has_object_maps
    for method in options.methods:
        needs_points = method == "grid" or not has_maps
        for side in options.sides if needs_points else options.sides[:1]:
            compare_thresholds(predictor, images, method, side)


def compare_thresholds(
    predictor: SamPredictor, images: list[LabelledImage], method: str, side: int
) -> None:
    """Search every image once, then apply all thresholds."""
    choices = list(itertools.product(PRED_IOU, STABILITY))
    scores: dict[tuple[float, float], Scores] = {c: defaultdict(list) for c in choices}
    generator = AutomaticMaskGenerator(
        predictor,
        method=method,
        points_per_side=side,
        pred_iou_thresh=min(PRED_IOU),
        stability_score_thresh=0.0,
        box_nms_thresh=0.9,
    )
    seconds = []
    for image in images:
        started = time.perf_counter()
        records = generator.generate(image.pixels)
        seconds.append(time.perf_counter() - started)
        say(f"{image.name} {image.kind}: {len(records)} records, {seconds[-1]:.1f} s")
        for iou, stability in choices:
            kept = [
                r
                for r in records
                if r.predicted_iou > iou and r.stability_score >= stability
            ]
            scores[iou, stability][image.kind].append(precisions(image, kept))
    say(f"{method}, {side} points a side, {len(images)} images, ")
    say(f"median of {np.median(seconds):.2f} s an image:")
    for iou, stability in ranked(scores)[:N_SHOWN]:
        text = summary(scores[iou, stability])
        say(f"  pred_iou {iou:.2f}  stability {stability:.2f}  {text}")


def compare_rules(
    predictor: SamPredictor,
    images: list[LabelledImage],
    name: str,
    values: list[float],
) -> None:
    """Find regions by each rule; the decoder is not asked."""
    scores: dict[float, Scores] = {value: defaultdict(list) for value in values}
    for image in images:
        decoder = decoder_of(predictor, to_rgb(image.pixels))
        own = predictor.model.auto_defaults.get("pred_iou_thresh", PRED_IOU[0])
        settings = AutoSettings(method="fastest", pred_iou_thresh=own)
        for value in values:
            rule = replace(RegionRule(), **{name: value})
            records = search_objects(
                image.labels.shape, settings, lambda _, d=decoder: d, rule=rule
            )
            scores[value][image.kind].append(precisions(image, records))
    say(f"fastest, {len(images)} images:")
    for value in ranked(scores):
        say(f"  {name} {value:g}  {summary(scores[value])}")


def decoder_of(predictor: SamPredictor, rgb: RgbPlane) -> ObjectDecoder:
    """Encode a picture."""
    return SamObjectDecoder(predictor, predictor.embed(rgb))


def chosen_images(data: Path, n: int) -> list[LabelledImage]:
    """Spread n development images over the kinds as evenly as possible."""
    rng = np.random.default_rng(0)
    by_kind: dict[str, list[LabelledImage]] = defaultdict(list)
    for image in load_split(open_root(data), "dev"):
        by_kind[image.kind].append(image)
    for some in by_kind.values():
        rng.shuffle(some)  # type: ignore[arg-type]
    turns = itertools.zip_longest(*by_kind.values())
    chosen = [image for turn in turns for image in turn if image is not None][:n]
    corner = (slice(LARGEST_SIDE), slice(LARGEST_SIDE))
    return [
        replace(image, pixels=image.pixels[corner], labels=image.labels[corner])
        for image in chosen
    ]


def precisions(
    image: LabelledImage, records: list[MaskRecord]
) -> npt.NDArray[np.float64]:
    """Return AP at `IOUS` of what records become as labels."""
    shape = image.labels.shape
    whole: HalfOpenBox = (0, 0, *shape)
    settings = LabelSettings()
    kept = [
        r for r in records if not is_background(r, whole, settings.background_fraction)
    ]
    labels, _ = paint_objects(kept, shape, settings)
    truth, found = (drop_small(one, MIN_AREA_PX) for one in (image.labels, labels))
    ious = iou_matrix(truth, found)
    n_objects = sum(ious.shape)
    # Above one half no object has two partners.
    n_pairs = (ious[None] > IOUS[:, None, None]).sum(axis=(1, 2))
    if n_objects == 0:
        return np.ones(len(IOUS))
    return np.asarray(n_pairs / (n_objects - n_pairs))


def ranked(scores: dict) -> list:  # type: ignore[type-arg]
    """Return choices by the sum of both figures, best first."""
    return sorted(scores, key=lambda choice: -sum(figures(scores[choice])))


def figures(scores: Scores) -> tuple[float, float]:
    """Return AP at 0.5 and mean segmentation accuracy, kinds counting alike."""
    means = np.array([np.mean(of_kind, axis=0) for of_kind in scores.values()])
    return float(means[:, 0].mean()), float(means.mean())


def summary(scores: Scores) -> str:
    """Write both figures, of all kinds and of each."""
    ap, accuracy = figures(scores)
    parts = [
        f"{kind} {np.mean(some, axis=0)[0]:.3f} / {np.mean(some):.3f}"
        for kind, some in scores.items()
    ]
    return f"AP {ap:.3f}  accuracy {accuracy:.3f}  ({', '.join(parts)})"


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

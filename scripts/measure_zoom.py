# SPDX-License-Identifier: Apache-2.0
"""Measure whether a model answers small objects better when they are enlarged.

    python scripts/measure_zoom.py DATA [--also NAME ...] [--per-image N] [--keep FILE]
    python scripts/measure_zoom.py DATA --rule PX [--also NAME ...] [--per-image N]

Every object of the development images is asked for by its centre point and by its box,
as the model sees the image usually and in regions so much smaller that the object
appears 2, 3, 4 and more times as large. Prints mean IoUs by the object's size in pixels
of the frame, and what rules that choose between the two would give. `val` is never
read; ``--also`` adds images of the training part that have many tiny objects.

With ``--rule`` images are asked as scripts ask them, once without and once with
enlarging what is smaller than so many pixels of the frame.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_sam.evaluation.metrics import iou_with_crop
from napari_sam.evaluation.prompts import TrueObject, true_objects
from napari_sam.prediction.image_view import ImageView
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.prediction.shown_pixels import ShownPixels
from napari_sam.prediction.tiling import TILE_FROM, tile_boxes
from napari_sam.training.dataset import LabelledImage, load_split, open_root
from napari_sam.weights.load import load_model

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_sam.structures.arrays import HalfOpenBox, RgbPlane

    _Floats = npt.NDArray[np.float64]

MIN_AREA_PX = 25
FACTORS = (1, 2, 3, 4, 8)
SIZES = (0, 8, 11, 14, 18, 24, 32, 48, 64, 1 << 20)
THRESHOLDS = (11, 14, 18, 24, 32, 40, 48, 64)
TARGETS = (24, 32, 48, 64)
BATCH = 16

COLUMNS = ("point", "oracle", "box", "predicted", "size")
"""Of each object and factor: IoU by one click, of the best of its three masks, by the
box; predicted IoU of the click's mask, and its size in pixels of the usual frame."""


def main() -> None:
    """Parse the options, ask, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--also", nargs="*", default=[])
    parser.add_argument("--per-image", type=int, default=40)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--rule", type=float)
    options = parser.parse_args()
    predictor = SamPredictor(load_model(checkpoint=options.checkpoint))
    images = chosen_images(options.data, options.also)
    if options.rule is not None:
        compare(predictor, images, options.rule, options.per_image)
        return
    sizes, results = [], []
    for image in images:
        asked = chosen_objects(image, options.per_image)
        if not asked:
            continue
        of_image, true_sizes = measure(predictor, image, asked)
        results.append(of_image)
        sizes.append(true_sizes)
        sys.stdout.write(f"{image.name} {image.kind} {len(asked)}\n")
        sys.stdout.flush()
        if options.keep is not None:
            np.savez(
                options.keep,
                results=np.concatenate(results),
                sizes=np.concatenate(sizes),
                images=np.repeat(np.arange(len(sizes)), [len(one) for one in sizes]),
            )
    print_tables(np.concatenate(results), np.concatenate(sizes))


def chosen_images(data: Path, also: list[str]) -> list[LabelledImage]:
    """Development images, and some of the training part by name."""
    root = open_root(data)
    images = load_split(root, "dev")
    if also:
        images += [one for one in load_split(root, "train") if one.name in also]
    return images


def chosen_objects(image: LabelledImage, most: int) -> list[TrueObject]:
    """At most so many objects of an image, the same ones at every call."""
    found = list(true_objects(image.labels, min_area=MIN_AREA_PX))
    order = np.random.default_rng(0).permutation(len(found))[:most]
    return [found[i] for i in sorted(order)]


def measure(
    predictor: SamPredictor, image: LabelledImage, asked: list[TrueObject]
) -> tuple[_Floats, _Floats]:
    """Ask for objects at every factor.

    Returns
    -------
    results : (n, factors, columns) array
        NaN where an object would fill more than a quarter of a region.
    sizes : (n,) array
        Geometric mean of the box's sides, in pixels of the usual frame.
    """
    rgb = ShownPixels(image.pixels).whole()
    if rgb is None:
        msg = f"{image.name} is too large for this comparison."
        raise ValueError(msg)
    frame, longest = predictor.model.image_size, max(rgb.shape[:2])
    usual = 1.0 if longest > TILE_FROM * frame else frame / longest
    results = np.full((len(asked), len(FACTORS), len(COLUMNS)), np.nan)
    for place, factor in enumerate(FACTORS):
        side = round(frame / usual / factor)
        most = side / 4 if factor > 1 else np.inf
        for box, members in in_regions(rgb.shape[:2], side, asked, most).items():
            results[members, place] = ask(
                predictor, rgb, box, [asked[i] for i in members]
            )
    results[..., COLUMNS.index("size")] *= usual
    sizes = usual * np.sqrt([one.crop.size for one in asked])
    return results, sizes


def in_regions(
    shape: tuple[int, int], side: int, asked: list[TrueObject], most: float
) -> dict[HalfOpenBox, list[int]]:
    """Group objects by the region in whose middle they lie; large ones are left out."""
    boxes = tile_boxes(shape, min(side, max(shape)), min(side, max(shape)) // 2)
    ends = np.array([0, 0, *shape])
    lattice = np.array(boxes)
    groups: dict[HalfOpenBox, list[int]] = {}
    for i, one in enumerate(asked):
        inside = np.array([1, 1, -1, -1]) * (np.array(one.box_yx) - lattice)
        spare = np.where(lattice == ends, np.inf, inside).min(axis=1)
        if max(one.crop.shape) <= most:
            groups.setdefault(boxes[int(np.argmax(spare))], []).append(i)
    return groups


def ask(
    predictor: SamPredictor, rgb: RgbPlane, box: HalfOpenBox, asked: list[TrueObject]
) -> _Floats:
    """Ask one region for its objects; returns (n, columns)."""
    y0, x0, y1, x1 = box
    embedding = predictor.embed(np.ascontiguousarray(rgb[y0:y1, x0:x1]))
    rows = []
    for start in range(0, len(asked), BATCH):
        part = asked[start : start + BATCH]
        points = np.array([one.centre_yx for one in part], float) - (y0, x0)
        boxes = np.array([one.box_yx for one in part], float) - (y0, x0, y0, x0)
        by_point = predictor.predict_batch(
            embedding, points_yx=points[:, None], multimask_output=True
        )
        by_box = predictor.predict_batch(
            embedding, boxes_yx=boxes, multimask_output=False
        )
        for one, clicked, boxed in zip(part, by_point, by_box, strict=True):
            corner = (one.corner_yx[0] - y0, one.corner_yx[1] - x0)
            ious = iou_with_crop(clicked.masks, one.crop, corner)
            best = int(np.argmax(clicked.predicted_iou))
            rows.append(
                (
                    ious[best],
                    ious.max(),
                    iou_with_crop(boxed.masks, one.crop, corner)[0],
                    clicked.predicted_iou[best],
                    size_of(clicked.masks[best]),
                )
            )
    return np.array(rows)


def size_of(mask: npt.NDArray[np.bool_]) -> float:
    """Geometric mean of the sides of a mask's box; 0 for an empty one."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return 0.0
    return float(np.sqrt(np.ptp(rows) + 1) * np.sqrt(np.ptp(columns) + 1))


def compare(
    predictor: SamPredictor, images: list[LabelledImage], least: float, most: int
) -> None:
    """Ask all images without and with the rule; print means and times."""
    found: dict[str, list[_Floats]] = {"without": [], "with": []}
    seconds = dict.fromkeys(found, 0.0)
    sizes = []
    for image in images:
        asked = chosen_objects(image, most)
        if not asked:
            continue
        longest, frame = max(image.labels.shape), predictor.model.image_size
        usual = 1.0 if longest > TILE_FROM * frame else frame / longest
        sizes.append(usual * np.sqrt([one.crop.size for one in asked]))
        for name, px in (("without", None), ("with", least)):
            predictor.model.min_object_px = px
            started = time.perf_counter()
            found[name].append(ask_view(ImageView(predictor, image.pixels), asked))
            seconds[name] += time.perf_counter() - started
    size = np.concatenate(sizes)
    sys.stdout.write("size       n  point, oracle, box without; the same with\n")
    for low, high in (*itertools.pairwise(SIZES), (0, SIZES[-1])):
        among = (size >= low) & (size < high)
        if among.any():
            means = [np.concatenate(one)[among].mean(axis=0) for one in found.values()]
            shown = "  ".join(f"{mean:.3f}" for mean in np.concatenate(means))
            sys.stdout.write(
                f"{low:>3}-{min(high, 999):<3} {among.sum():>5}  {shown}\n"
            )
    sys.stdout.write(", ".join(f"{n}: {s:.0f} s" for n, s in seconds.items()) + "\n")


def ask_view(view: ImageView, asked: list[TrueObject]) -> _Floats:
    """Ask an image for objects by point and by box; returns (n, 3) IoUs."""
    points = np.array([one.centre_yx for one in asked], float)
    boxes = np.array([one.box_yx for one in asked], float)
    by_point = view.predict_batch(points_yx=points, multimask_output=True)
    by_box = view.predict_batch(boxes_yx=boxes, multimask_output=False)
    rows = []
    for one, clicked, boxed in zip(asked, by_point, by_box, strict=True):
        ious = iou_with_crop(clicked.masks, one.crop, one.corner_yx)
        in_box = iou_with_crop(boxed.masks, one.crop, one.corner_yx)
        rows.append(
            (ious[int(np.argmax(clicked.predicted_iou))], ious.max(), in_box[0])
        )
    return np.array(rows)


def print_tables(results: _Floats, sizes: _Floats) -> None:
    """Print IoUs by size and factor, and what rules would give."""
    write = sys.stdout.write
    for column in ("point", "oracle", "box"):
        values = results[..., COLUMNS.index(column)]
        usual = values[:, :1]
        values = np.where(np.isnan(values), usual, values)
        write(f"\n{column}: mean IoU by size in the frame (rows) and factor\n")
        write("size       n  " + "  ".join(f"x{factor:<5}" for factor in FACTORS))
        for low, high in itertools.pairwise(SIZES):
            among = (sizes >= low) & (sizes < high)
            if among.any():
                means = "  ".join(f"{mean:.3f} " for mean in values[among].mean(axis=0))
                write(f"\n{low:>3}-{min(high, 999):<3} {among.sum():>5}  {means}")
        write("\n")
    print_rules(results, sizes)


def print_rules(results: _Floats, sizes: _Floats) -> None:
    """Print what choosing by the size answered at first, or by the box, would give."""
    write = sys.stdout.write
    write("\nrules: all objects, those < 14 px, those < 32 px\n")
    known = np.where(np.isnan(results), results[:, :1], results)
    rows = np.arange(len(sizes))
    tiny, small = sizes < 14, sizes < 32
    point, predicted, size = (
        COLUMNS.index(name) for name in ("point", "predicted", "size")
    )
    for column, seen in (("point", known[:, 0, size]), ("box", sizes)):
        values = known[..., COLUMNS.index(column)]
        for target in TARGETS:
            for least in THRESHOLDS:
                factor = steps_to(seen, least, target)
                chosen = values[rows, factor]
                means = [chosen.mean(), chosen[tiny].mean(), chosen[small].mean()]
                if column == "point":
                    is_surer = known[rows, factor, predicted] > known[:, 0, predicted]
                    surer = np.where(is_surer, chosen, known[:, 0, point])
                    means += [surer.mean(), surer[tiny].mean(), surer[small].mean()]
                share = float((factor > 0).mean())
                shown = " ".join(f"{mean:.4f}" for mean in means)
                write(
                    f"{column:>5} below {least:>2} to {target:>2}: {share:.2f} asked"
                    f" again, {shown}\n"
                )


def steps_to(seen: _Floats, least: int, target: int) -> npt.NDArray[np.int64]:
    """Return the place in FACTORS of the power of two that brings a size to a target.

    It is the least one that does, at most the largest; 0 for sizes from ``least`` on.
    """
    powers = [factor for factor in FACTORS if factor & (factor - 1) == 0]
    wanted = target / np.maximum(seen, 1)
    found = np.searchsorted(powers, wanted, side="left").clip(0, len(powers) - 1)
    places = np.array([FACTORS.index(power) for power in powers])[found]
    return np.where(seen < least, places, 0).astype(np.int64)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

# SPDX-License-Identifier: Apache-2.0
"""What refining a mask brings: correcting clicks, and a mask as its own prompt.

    python benchmarks/refinement.py DATA [--set NAME] [--images N] [--model NAME]

*Clicks*: one on the middle of each object, answered by the best of three masks; then
three corrections, each on the middle of the larger error, answered by the one mask for
clear prompts; mean IoU after each click, without and with the logits of the mask
before. *Masks*: the true mask as prompt, alone and beside its box; median IoU of what
comes back.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from napari_sam import load_model
from napari_sam.evaluation.prompts import TrueObject, centre_point, true_objects
from napari_sam.io.pairs import find_pairs, read_names, read_pair
from napari_sam.prediction.image_view import ImageView
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompts import BoxPrompt, PointPrompt, PromptSet

N_CLICKS = 4
MIN_AREA_PX = 25
MAX_OBJECTS = 12  # of one image, evenly chosen


def main() -> None:
    """Parse the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", default="dsb2018")
    parser.add_argument("--images", type=int, default=15)
    parser.add_argument("--model", default="embedded")
    options = parser.parse_args()
    predictor = SamPredictor(load_model(options.model))
    folder = options.data / options.set
    names = read_names(f"{options.data / 'splits.json'}:{options.set}/val")
    pairs = find_pairs(folder / "images", folder / "labels", names=names)
    clicks: dict[str, list[list[float]]] = defaultdict(list)
    masks: dict[str, list[float]] = defaultdict(list)
    for pair in pairs[: options.images]:
        for _, image, labels in read_pair(pair):
            view = ImageView(predictor, image)
            found = list(true_objects(labels, min_area=MIN_AREA_PX))
            for wanted in found[:: 1 + (len(found) - 1) // MAX_OBJECTS]:
                for name, gives_back in (("without", False), ("with logits", True)):
                    clicks[name].append(click(view, wanted, gives_back=gives_back))
                for name, iou in give_back(view, wanted).items():
                    masks[name].append(iou)
    report(clicks, masks)


def click(view: ImageView, wanted: TrueObject, *, gives_back: bool) -> list[float]:
    """Return the IoU after each click on one object."""
    truth = MaskWindow(*wanted.corner_yx, wanted.crop)
    points = (PointPrompt(as_floats(wanted.centre_yx)),)
    logits, ious = None, []
    for _ in range(N_CLICKS):
        prompts = PromptSet(points, mask_input=logits)
        answer = view.answer(prompts)
        index = 0
        if prompts.is_ambiguous:
            index = 1 + int(np.argmax(answer.predicted_iou[1:]))
        mask = answer.masks[index]
        ious.append(mask.iou(truth))
        if gives_back:
            logits = answer.low_res_logits[index]
        points = (*points, correction(mask, truth))
    return ious


def correction(mask: MaskWindow, truth: MaskWindow) -> PointPrompt:
    """Click on the middle of what is missing or, if that is more, of the surplus."""
    boxes = [window.box for window in (mask, truth) if window.area]
    sides = np.array(boxes)
    low, high = sides[:, :2].min(axis=0), sides[:, 2:].max(axis=0)
    frame = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    here, there = mask.inside(frame), truth.inside(frame)
    missing, surplus = there & ~here, here & ~there
    is_missing = np.count_nonzero(missing) >= np.count_nonzero(surplus)
    error = missing if is_missing else surplus
    y, x = centre_point(error) if error.any() else centre_point(there)
    return PointPrompt((float(y + low[0]), float(x + low[1])), int(is_missing))


def give_back(view: ImageView, wanted: TrueObject) -> dict[str, float]:
    """Return the IoU of a true mask with the answers to it."""
    truth = MaskWindow(*wanted.corner_yx, wanted.crop)
    box = BoxPrompt(*wanted.box_yx)
    point = PointPrompt(as_floats(wanted.centre_yx))
    prompts = {
        "mask": PromptSet(mask=truth),
        "mask and box": PromptSet(box=box, mask=truth),
        "mask and middle": PromptSet((point,), mask=truth),
        "box": PromptSet(box=box),
    }
    return {name: view.answer(one).masks[0].iou(truth) for name, one in prompts.items()}


def as_floats(yx: tuple[int, int]) -> tuple[float, float]:
    """Return a pixel as a position."""
    return float(yx[0]), float(yx[1])


def report(clicks: dict[str, list[list[float]]], masks: dict[str, list[float]]) -> None:
    """Print both tables."""
    lines = [f"{len(masks['mask'])} objects; mean IoU after click 1, 2, ..."]
    for name, ious in clicks.items():
        means = "  ".join(f"{mean:.3f}" for mean in np.mean(ious, axis=0))
        lines.append(f"  {name:16} {means}")
    lines.append("a true mask given back: median IoU, mean IoU")
    for name, scores in masks.items():
        lines.append(f"  {name:16} {np.median(scores):.3f}  {np.mean(scores):.3f}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

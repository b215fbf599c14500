# SPDX-License-Identifier: Apache-2.0
"""Fine-tune with recipes that differ in one field, and measure on an image held out.

    python scripts/compare_recipes.py DATA RUN --start WEIGHTS --set qpi_cells \
        --steps 40 --each optimiser.lr=1e-4,3e-4,1e-3

All images come from the training split of a set: the last of them is measured (centre
points, as `napari-sam evaluate` does), the others are learnt from. One image is not
much: it tells values that differ grossly, not the best one.

A second start with the same RUN goes on with the runs in it, without asking: where one
has ended, its weights are measured again. Name a new folder to begin anew.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from napari_sam.evaluation.protocol import evaluate_images
from napari_sam.evaluation.settings import EvaluationSettings
from napari_sam.training.dataset import LabelledImage, load_split, open_root
from napari_sam.training.fine_tuning import fine_tune
from napari_sam.training.presets import recipe_from
from napari_sam.training.run_folder import locked
from napari_sam.weights.load import load_checkpoint

if TYPE_CHECKING:
    from napari_sam.modeling.sam import Sam


def main() -> None:
    """Parse the options, tune with each value, print a line for each."""
    options = parsed()
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(options.threads)
    images = [
        image
        for part in ("train", "dev")  # both are cut from the published training split
        for image in load_split(open_root(options.data), part)
        if image.kind == options.set
    ]
    *train, held = images
    tell("before", 0, measure(load_checkpoint(options.start), held))
    section, field, values = options.each
    for value in values:
        settings: dict[str, Any] = {
            "preset": options.preset,
            "loop": {"seed": options.seed, "total_steps": options.steps},
        }
        for place, key, (common, *_) in options.common:
            settings.setdefault(place, {})[key] = common
        settings.setdefault(section, {})[field] = value
        model = load_checkpoint(options.start)
        folder = options.run / f"{field}_{value}"
        with locked(folder):
            result = fine_tune(model, train, [], recipe_from(settings), folder)
        tell(f"{section}.{field} = {value}", result.steps, measure(model, held))


def parsed() -> argparse.Namespace:
    """Parse the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path, help="a folder for the runs")
    parser.add_argument("--start", type=Path, required=True, help="weights")
    parser.add_argument("--set", default="qpi_cells")
    parser.add_argument("--preset", default="fine-tune")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--each", type=field_values, required=True, help="SECTION.FIELD=A,B,..."
    )
    parser.add_argument(
        "--with",
        dest="common",
        type=field_values,
        action="append",
        default=[],
        help="SECTION.FIELD=VALUE of all runs; may be repeated",
    )
    return parser.parse_args()


def field_values(text: str) -> tuple[str, str, list[Any]]:
    """Read ``section.field=value,value``."""
    place, _, values = text.partition("=")
    section, _, field = place.partition(".")
    return section, field, [json.loads(value) for value in values.split(",")]


def measure(model: Sam, image: LabelledImage) -> dict[str, Any]:
    """Return mean IoUs by one click on each object, with their intervals."""
    settings = EvaluationSettings(modes=("point",), resampled="objects")
    examples = [(image.name, image.pixels, image.labels)]
    scores: dict[str, Any] = evaluate_images(examples, model, settings).to_dict()
    return dict(scores["whole"]["scores"])


def tell(what: str, steps: int, scores: dict[str, Any]) -> None:
    """Print one line."""
    shown = ", ".join(
        f"{key} {score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"
        for key, score in scores.items()
    )
    sys.stdout.write(f"{what}, {steps} steps: {shown}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Fine-tune the embedded model on a set it has never seen, and measure what it gains.

    python scripts/prove_fine_tuning.py DATA RUN [--start WEIGHTS] [--minutes 15]

1. A variant of the embedded model is trained without any image of qpi_cells (without
   ``--start``, whose weights must not have seen the set either).
2. It is fine-tuned for some minutes on the training images of qpi_cells.
3. One click on each object of the two val images, before and after: mean IoU, and the
   gain of the same objects with its 95 % interval (bootstrap over objects).

The result goes to ``docs/reference/scores/fine-tuning.json``. A second start goes on
where the first stopped. Nothing is chosen by the val images.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from napari_sam.evaluation.comparison import compare
from napari_sam.evaluation.protocol import evaluate_images
from napari_sam.evaluation.settings import EvaluationSettings
from napari_sam.modeling.registry import build_model
from napari_sam.training.config import TrainConfig
from napari_sam.training.dataset import LabelledImage, load_split, open_root
from napari_sam.training.fine_tuning import fine_tune
from napari_sam.training.loop import LAST_FILE
from napari_sam.training.presets import recipe_from
from napari_sam.training.run_folder import locked
from napari_sam.training.start_weights import load_imagenet, read_imagenet_weights
from napari_sam.training.trainer import crop_training
from napari_sam.weights.load import load_checkpoint

if TYPE_CHECKING:
    from napari_sam.evaluation.report import Report
    from napari_sam.modeling.sam import Sam
    from napari_sam.training.fine_tuning import TrainingResult
    from napari_sam.training.recipe import Recipe

LEFT_OUT = "qpi_cells"
SCORES = Path(__file__).resolve().parents[1] / "docs" / "reference" / "scores"
OUT = "fine-tuning.json"
# Bounded by time alone: no run on a CPU gets that far in minutes.
NO_LIMIT = 1_000_000


def main() -> None:
    """Parse the options, train, tune, measure."""
    options = parsed()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    torch.set_num_threads(options.threads)
    start = options.start or train_variant(options)
    recipe = recipe_from(
        {
            "preset": options.preset,
            "loop": {
                "seed": options.seed,
                "total_steps": NO_LIMIT,
                "budget_seconds": 60 * options.minutes,
            },
        }
    )
    measured = EvaluationSettings(modes=("point", "box"), resampled="objects")
    val = images_of(options.data, "val")
    before = evaluate(load_checkpoint(start), val, measured)
    model = load_checkpoint(start)
    train = images_of(options.data, "train")
    folder = options.run / "tuned"
    with locked(folder):
        result = fine_tune(model, train, [], recipe, folder)
    after = evaluate(load_checkpoint(result.weights), val, measured)
    gain = compare(before.to_dict(), after.to_dict(), measured)
    report = summary(options, recipe, result, (before, after, gain))
    SCORES.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=1) + "\n"
    (options.out or SCORES / OUT).write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def parsed() -> argparse.Namespace:
    """Parse the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument(
        "--start", type=Path, help="weights that have not seen qpi_cells"
    )
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--preset", default="fine-tune")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--steps", type=int, default=600, help="of the variant")
    parser.add_argument(
        "--imagenet", type=Path, help="ImageNet weights (.pth) of the variant"
    )
    parser.add_argument("--out", type=Path, help="instead of docs/reference/scores")
    return parser.parse_args()


def train_variant(options: argparse.Namespace) -> Path:
    """Train the embedded model on all training images but those of the set."""
    root = open_root(options.data)
    config = TrainConfig(
        seed=options.seed, total_steps=options.steps, decay_steps=options.steps // 3
    )
    images = [i for i in load_split(root, "train") if i.kind != LEFT_OUT]
    torch.manual_seed(config.seed)
    model: Sam = build_model(config.architecture)
    load_imagenet(model.image_encoder, read_imagenet_weights(root, options.imagenet))
    folder = options.run / "variant"
    crop_training(model, images, folder, config).run()
    return Path(folder / LAST_FILE)


def images_of(data: Path, part: str) -> list[LabelledImage]:
    """Return the images of the set in one part of the data."""
    return [i for i in load_split(open_root(data), part) if i.kind == LEFT_OUT]


def evaluate(
    model: Sam, images: list[LabelledImage], settings: EvaluationSettings
) -> Report:
    """Measure a model as `napari-sam evaluate` does."""
    examples = ((image.name, image.pixels, image.labels) for image in images)
    return evaluate_images(examples, model, settings)


def summary(
    options: argparse.Namespace,
    recipe: Recipe,
    result: TrainingResult,
    measured: tuple[Report, Report, dict[str, Any]],
) -> dict[str, Any]:
    """Put everything together that the documentation states."""
    before, after, gain = measured
    whole = before.to_dict()["whole"]
    return {
        "command": "python scripts/prove_fine_tuning.py DATA RUN",
        "start": "given weights"
        if options.start
        else f"variant, {options.steps} steps",
        "left_out": LEFT_OUT,
        "minutes": options.minutes,
        "seconds": round(result.seconds, 1),
        "steps": result.steps,
        "preset": options.preset,
        "recipe": recipe.as_dict(),
        "processor": platform.processor() or platform.machine(),
        "threads": options.threads,
        "torch": torch.__version__,
        "objects": gain["scores"]["point_iou"]["n"],
        "before": whole["scores"],
        "after": after.to_dict()["whole"]["scores"],
        "gain": gain["scores"],
    }


if __name__ == "__main__":
    main()

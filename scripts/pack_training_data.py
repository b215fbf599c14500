# SPDX-License-Identifier: Apache-2.0
"""Pack the train split and the start weights into one zip file for another machine.

    python scripts/pack_training_data.py DATA OUT.zip [--start WEIGHTS]

Nothing of the ``val`` split goes in. The file stays below 50 MiB.
"""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from pathlib import Path

import torch

from napari_sam.training.start_weights import PACKED_WEIGHTS, read_imagenet_weights

LIMIT_BYTES = 50 * 2**20


def main() -> None:
    """Parse the options and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--start", type=Path, help="ImageNet weights (.pth)")
    options = parser.parse_args()
    pack(options.data, options.out, options.start)


def pack(data: Path, out: Path, start: Path | None) -> None:
    """Write ``out``; raise ValueError when it would be too large to carry."""
    splits = json.loads((data / "splits.json").read_text(encoding="utf-8"))
    train_only = {name: {"train": parts["train"]} for name, parts in splits.items()}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("splits.json", json.dumps(train_only))
        archive.write(data / "dsb2018" / "index.csv", "dsb2018/index.csv")
        for set_name, parts in train_only.items():
            for folder in ("images", "labels"):
                for name in parts["train"]:
                    for path in (data / set_name / folder).glob(f"{name}.*"):
                        archive.write(path, f"{set_name}/{folder}/{path.name}")
        buffer = io.BytesIO()
        weights = read_imagenet_weights(data, start)
        torch.save({key: value.half() for key, value in weights.items()}, buffer)
        archive.writestr(PACKED_WEIGHTS, buffer.getvalue())
    size = out.stat().st_size
    if size > LIMIT_BYTES:
        msg = f"{out} has {size / 2**20:.1f} MiB; at most 50 MiB can be carried."
        raise ValueError(msg)


if __name__ == "__main__":
    main()

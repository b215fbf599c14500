# SPDX-License-Identifier: Apache-2.0
"""What a trained model says of itself: data, scores, settings, parent, machine.

The card goes with the weights three times: as JSON in the metadata of the safetensors
file, as ``card.json`` and, for people, as ``card.md``.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import torch
from safetensors.torch import load_file

from napari_sam.errors import CheckpointError, OutputError, UnknownModelError
from napari_sam.io.atomic import written_atomically
from napari_sam.training.card_text import card_text
from napari_sam.training.checkpoints import export_weights
from napari_sam.weights import trained
from napari_sam.weights.catalogue import CATALOGUE, get_row

if TYPE_CHECKING:
    from napari_sam.modeling.sam import Sam
    from napari_sam.training.fine_tuning import TrainingResult
    from napari_sam.training.run_config import RunConfig
    from napari_sam.training.splitting import Split
    from napari_sam.weights.model_row import ModelRow

CARD_KEY = "napari_sam_card"
DISTRIBUTION = "napari-sam-live"
_AS_BEFORE = "as the start weights"
_NAMED = 3  # images named in what a model was trained for
_LISTED = 50  # images listed in a card


@dataclass(frozen=True, slots=True)
class Parent:
    """The model that training started from.

    Attributes
    ----------
    name : str
    digest : str
        SHA-256 of its file.
    licence : str or None
        Of its weights; None if it is not known.
    citation : str
        What its authors want to be cited.
    """

    name: str
    digest: str
    licence: str | None = None
    citation: str = ""


def parent_of(model: Sam, *, is_listed: bool) -> Parent:
    """Describe a model before it is trained, for it is another one afterwards.

    Parameters
    ----------
    model : Sam
        As it was loaded.
    is_listed : bool
        Whether it was loaded by its name in the list of models, not from a file.
    """
    if not is_listed:
        return Parent(model.name, model.digest)
    try:
        row = get_row(model.name)
    except UnknownModelError:
        return Parent(model.name, model.digest)
    return Parent(row.name, model.digest, row.licence, row.citation)


def published_names() -> tuple[str, ...]:
    """Names that a trained model cannot have."""
    return tuple(row.name for row in CATALOGUE)


def keep_model(
    result: TrainingResult,
    *,
    parent: Parent,
    split: Split,
    config: RunConfig,
    device: str,
) -> ModelRow:
    """Put the best weights of a run, with their card, into the list of models.

    The card is also written beside the weights of the run, with the hash of the model.

    Parameters
    ----------
    result : TrainingResult
        What `fine_tune` returned.
    parent : Parent
        What it started from.
    split : Split
        What it was trained with and checked by.
    config : RunConfig
        Its ``model.name`` is the name to keep it under; if that is empty or was taken
        meanwhile, a free one is found.
    device : str
        Where it was trained.

    Raises
    ------
    OutputError
        If it cannot be written; the files of the run stay.
    """
    wish = config.model.name or f"{parent.name}_tuned"
    name = trained.free_name(wish, published_names())
    card = make_card(
        result, name=name, parent=parent, split=split, config=config, device=device
    )
    text = card_text(card)
    row = trained.add(
        lambda path: save_with_card(result.weights, path, card),
        card,
        text,
        name=name,
        taken=published_names(),
    )
    # Last: the card beside the run says that its weights are kept, see `step_kept`.
    beside = {**card, "weights": {"sha256": (row.hash or "").removeprefix("sha256:")}}
    for file_name, content in (
        (trained.TEXT_NAME, text),
        (trained.CARD_NAME, json.dumps(beside, indent=1) + "\n"),
    ):
        with written_atomically(result.weights.with_name(file_name)) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return row


def step_kept(folder: Path) -> int:
    """Return the step of the weights that `keep_model` kept last of a run; 0 if none.

    They count while the model is in the list, under any name. A card that cannot be
    read counts as none: keeping weights twice loses nothing.
    """
    card = _card_beside(folder)
    try:
        step, kept = int(card["run"]["best_step"]), str(card["weights"]["sha256"])
    except (ValueError, LookupError, TypeError):
        return 0
    is_listed = any(row.hash == f"sha256:{kept}" for row in trained.trained_rows())
    return step if is_listed else 0


def names_kept(folder: Path) -> set[str]:
    """Return the name that a run was kept under last, and the one that was asked for.

    A run that goes on may ask for either again: `keep_model` finds a free one.
    """
    card = _card_beside(folder)
    try:
        return {str(card["name"]), str(card["config"]["model"]["name"])}
    except (LookupError, TypeError):
        return set()


def forget_kept(folder: Path) -> None:
    """Delete the card of an earlier run in a folder in which a new one begins.

    Raises
    ------
    OutputError
        If it cannot be deleted.
    """
    for name in (trained.CARD_NAME, trained.TEXT_NAME):
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            msg = (
                f"Cannot delete {folder / name}, which an earlier run left: "
                f"{error.strerror or error}. Delete it, or choose another folder."
            )
            raise OutputError(msg) from error


def make_card(
    result: TrainingResult,
    *,
    name: str,
    parent: Parent,
    split: Split,
    config: RunConfig,
    device: str,
) -> dict[str, Any]:
    """Return the card as JSON values; see `keep_model`."""
    names = list(dict.fromkeys(s.image.name for s in split.train.samples))
    shown = ", ".join(names[:_NAMED]) + (" ..." if len(names) > _NAMED else "")
    data = {
        "digest": split.train.digest,
        "images": split.train.n_images,
        "planes_or_tiles": len(split.train),
        "objects": split.train.n_objects,
        "names": names[:_LISTED],
        "validation_digest": split.validation.digest,
        "validation_images": split.validation.n_images,
        "validation_objects": split.validation.n_objects,
        "is_validation_independent": split.is_independent,
        "warnings": list(split.warnings),
    }
    inherited = parent.licence or "unconfirmed"
    if not inherited.startswith(_AS_BEFORE):
        inherited = f"{_AS_BEFORE} ({inherited}) and your images"
    trained_for = config.model.trained_for or (
        f"tuned from {parent.name} on {data['objects']} objects of {shown}"
    )
    cited = ["napari-sam", *filter(None, parent.citation.split("; "))]
    return {
        "format": trained.CARD_FORMAT,
        "version": 1,
        "name": name,
        "architecture": _metadata(result.weights).get("architecture", "unknown"),
        "trained_for": trained_for,
        "licence": config.model.licence or inherited,
        "citation": "; ".join(dict.fromkeys(cited)),
        "parent": asdict(parent),
        "data": data,
        "scores": {"before": result.scores_before, "after": result.scores},
        "seed": config.recipe.loop.seed,
        "run": {
            "ended": result.ended,
            "steps": result.steps,
            "best_step": result.best_step,
            "seconds": round(result.seconds, 1),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            **_machine(device),
        },
        "config": _without_places(config.as_dict()),
    }


def save_with_card(source: Path, target: Path, card: dict[str, Any]) -> None:
    """Copy the weights of a run, with the card in the metadata of the file.

    Raises
    ------
    OutputError
        If the copy cannot be written.
    """
    metadata = _metadata(source) | {CARD_KEY: json.dumps(card)}
    export_weights(target, load_file(source), metadata, torch.float32)


def card_of(path: Path) -> dict[str, Any] | None:
    """Return the card in a safetensors file, None if there is none.

    Raises
    ------
    CheckpointError
        If the file cannot be read.
    """
    text = _metadata(path).get(CARD_KEY)
    try:
        card = None if text is None else json.loads(text)
    except ValueError:
        return None
    return card if isinstance(card, dict) else None


def _card_beside(folder: Path) -> Any:
    try:
        return json.loads((folder / trained.CARD_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _without_places(config: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Shorten absolute paths to names: a card travels, and says nothing of a disk."""
    return {
        table: {
            key: Path(value).name
            if isinstance(value, str) and Path(value).is_absolute()
            else value
            for key, value in keys.items()
        }
        for table, keys in config.items()
    }


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, safetensors.SafetensorError) as error:
        msg = f"Cannot read the weights {path}: {error}."
        raise CheckpointError(msg) from error


def _machine(device: str) -> dict[str, Any]:
    try:
        software = f"{DISTRIBUTION} {version(DISTRIBUTION)}"
    except PackageNotFoundError:
        software = f"{DISTRIBUTION}, not installed as a package"
    is_gpu = device.startswith("cuda") and torch.cuda.is_available()
    return {
        "software": software,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if is_gpu else device,
    }

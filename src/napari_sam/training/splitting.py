# SPDX-License-Identifier: Apache-2.0
"""Which images a model learns from, and which ones check it.

Whole images are divided, never crops: two crops of one image show the same staining,
focus and cells, and a score on them promises too much. All planes of a stack, and all
images of a group, stay together.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.errors import LabelsError, SettingsError
from napari_sam.training.samples import (
    MIN_AREA_PX,
    SAMPLE_SIDE,
    Sample,
    SampleSet,
    look_at,
    tiles,
    too_small,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam.structures.arrays import HalfOpenBox
    from napari_sam.training.sources import LabelledPlane, TrainingImage

ONE_IMAGE_WARNING = (
    "There is only one image (or one group of them), so nothing independent can check "
    "the training. One half of it is used to train and the other to check; objects on "
    "the line between them are left out. Scores on new images will be lower than the "
    "ones shown: label a second image for an honest figure."
)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Samples for training and for validation.

    Attributes
    ----------
    train, validation : SampleSet
    warnings : tuple of str
        What the user should know about the division.
    """

    train: SampleSet
    validation: SampleSet
    warnings: tuple[str, ...] = ()

    @property
    def is_independent(self) -> bool:
        """Whether training and validation share no image."""
        used = {id(sample.image) for sample in self.train.samples}
        return not any(id(s.image) in used for s in self.validation.samples)


def split_samples(
    samples: Sequence[Sample],
    *,
    share: float = 0.2,
    seed: int = 0,
    min_area: int = MIN_AREA_PX,
    side: int = SAMPLE_SIDE,
) -> Split:
    """Divide samples by image and group; one image alone is divided in halves.

    Images that say where they belong are obeyed; if some do, all have to. The others
    are drawn by a hash of seed and name, so that an image keeps its place when others
    are added.

    Parameters
    ----------
    samples : sequence of Sample
        What `find_samples` found.
    share : float
        Part of the groups for validation, at least one group.
    seed : int
        Another seed divides otherwise.
    min_area, side
        As for `find_samples`; used when one image is divided in halves.

    Raises
    ------
    SettingsError
        If `share` is not between 0 and 1, or the images' own division is unfinished or
        leaves one part empty.
    LabelsError
        If the halves of a single image do not both have an object.
    """
    if not 0 < share < 1:
        msg = (
            f"validation_share is {share}; allowed is more than 0 and less than 1, for "
            "instance 0.2."
        )
        raise SettingsError(msg)
    if any(sample.image.part is not None for sample in samples):
        return _as_decided(samples)
    groups = {_group(sample) for sample in samples}
    if len(groups) == 1:
        return _halves(samples, min_area, side)
    order = sorted(groups, key=lambda group: _rank(seed, group))
    held = set(order[: min(max(1, round(share * len(order))), len(order) - 1)])
    return Split(
        SampleSet(s for s in samples if _group(s) not in held),
        SampleSet(s for s in samples if _group(s) in held),
    )


def _group(sample: Sample) -> str:
    """Group of an image, or its own name; names and groups are never mixed up."""
    image = sample.image
    return f"group {image.group}" if image.group else f"image {image.name}"


def _rank(seed: int, group: str) -> bytes:
    return hashlib.sha256(f"{seed} {group}".encode()).digest()


def _as_decided(samples: Sequence[Sample]) -> Split:
    name = next((s.image.name for s in samples if s.image.part is None), None)
    if name is not None:
        msg = (
            f"Some images say whether they are for training or for validation, but "
            f"{name} does not. Say it of every image or of none."
        )
        raise SettingsError(msg)
    parts = {
        part: SampleSet(s for s in samples if s.image.part == part)
        for part in ("train", "validation")
    }
    for part, found in parts.items():
        if not found:
            msg = (
                f"The images were divided by hand, but none with objects is for {part}."
                " Give both parts an image, or leave the division to the program."
            )
            raise SettingsError(msg)
    split = Split(parts["train"], parts["validation"])
    return replace(split, warnings=_shared_groups(split))


def _shared_groups(split: Split) -> tuple[str, ...]:
    """Warn of groups that a division by hand has torn apart."""
    train, validation = (
        {s.image.group for s in part.samples if s.image.group}
        for part in (split.train, split.validation)
    )
    shared = sorted(train & validation)
    if not shared:
        return ()
    warning = (
        f"The group {shared[0]!r} is in the training and in the validation part: "
        "scores on its images promise too much."
    )
    return (warning,)


def _halves(samples: Sequence[Sample], min_area: int, side: int) -> Split:
    """Divide every plane in two, along its longer side first."""
    for way in ("longer", "shorter"):
        halves: tuple[list[Sample], list[Sample]] = ([], [])
        for image, number in _planes(samples):
            plane = image.open()[number]
            boxes = _cut(plane.pixels.shape, way)
            if boxes is None:
                continue
            dropped = _on_the_line(plane, boxes)
            dropped |= too_small(image, plane, min_area, side)
            for half, box in zip(halves, boxes, strict=True):
                for tile in tiles(box, side):
                    sample = look_at(image, number, plane, tile, min_area, dropped)
                    if sample is not None:
                        half.append(sample)
        if all(halves):
            first, second = halves
            return Split(SampleSet(first), SampleSet(second), (ONE_IMAGE_WARNING,))
    msg = (
        f"{samples[0].image.name} is the only image, and its objects lie so that it "
        "cannot be divided into a half to train with and a half to check by. Label "
        "more objects in it, or a second image."
    )
    raise LabelsError(msg)


def _planes(samples: Sequence[Sample]) -> list[tuple[TrainingImage, int]]:
    """Return the planes that samples are from, each once."""
    found = {(id(s.image), s.plane): (s.image, s.plane) for s in samples}
    return list(found.values())


def _cut(shape: tuple[int, int], way: str) -> tuple[HalfOpenBox, HalfOpenBox] | None:
    """Cut across the longer or the shorter side; None where that is one pixel."""
    height, width = shape
    if (height > width) == (way == "longer"):
        middle = height // 2
        return ((0, 0, middle, width), (middle, 0, *shape)) if middle else None
    middle = width // 2
    return ((0, 0, height, middle), (0, middle, *shape)) if middle else None


def _on_the_line(
    plane: LabelledPlane, boxes: tuple[HalfOpenBox, HalfOpenBox]
) -> frozenset[int]:
    """Objects with pixels on both sides of the line between two halves."""
    (_, _, bottom, right), (top, left, _, _) = boxes
    # The last row, or column, of the first half and the first one of the second.
    lines = (
        ((bottom - 1, 0, bottom, right), (top, 0, top + 1, right))
        if top
        else ((0, right - 1, bottom, right), (0, left, bottom, left + 1))
    )
    before, after = (set(np.unique(plane.labels.read(b)).tolist()) for b in lines)
    return frozenset(before & after) - {0}

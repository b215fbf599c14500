# SPDX-License-Identifier: Apache-2.0
"""What an evaluation measures, and by which numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from napari_sam.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_sam.modeling.sam import Sam

Mode = Literal[
    "point",
    "random-point",
    "box",
    "jittered-box",
    "refined-box",
    "point-corrections",
    "random-point-corrections",
    "box-corrections",
    "grid",
    "fast",
    "fastest",
    "proposals",
]
MODES: tuple[Mode, ...] = get_args(Mode)
DEFAULT_MODES: tuple[Mode, ...] = ("point", "box", "grid")
"""If nothing is known of the model; see `default_modes`."""
METHODS: tuple[Mode, ...] = ("grid", "fast", "fastest")
"""Modes that are ways of the automatic segmentation."""

MIN_AREA_PX = 25
IOU_THRESHOLD = 0.5


def default_modes(model: Sam) -> tuple[Mode, ...]:
    """Return what is measured of a model: a point, a box, its own automatic way."""
    method = str(model.auto_defaults.get("method", "grid"))
    return ("point", "box", *checked_modes([method]))


Unit = Literal["images", "objects"]
UNITS: tuple[Unit, ...] = get_args(Unit)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSettings:
    """What to measure.

    Attributes
    ----------
    modes : tuple of str
        See `napari_sam.evaluation.protocol`.
    min_area : int
        Objects and predictions with fewer pixels do not count.
    iou_threshold : float
        The ``t`` of AP@t and F1@t: an object is found above this IoU.
    seed : int
        Of random points, jittered boxes and of the bootstrap.
    corrections : int
        Clicks after the first prompt.
    without_logits : bool
        Whether corrections are also measured without giving earlier logits back.
    jitter : float
        Standard deviation of the sides of jittered boxes, as a part of the side.
    boundary_tolerance_px : float
        Boundaries that are no further apart agree.
    automatic : mapping
        Settings of `segment_image` that replace the model's own.
    resamples : int
        Samples of the bootstrap.
    level : float
        Part of the samples inside the interval.
    resampled : {"images", "objects"}
        What the bootstrap draws. Objects of one image are alike, so intervals by
        objects are too narrow for new images; they suit sets of very few images.
    """

    modes: tuple[Mode, ...] = DEFAULT_MODES
    min_area: int = MIN_AREA_PX
    iou_threshold: float = IOU_THRESHOLD
    seed: int = 0
    corrections: int = 8
    without_logits: bool = False
    jitter: float = 0.1
    boundary_tolerance_px: float = 2.0
    automatic: Mapping[str, Any] = field(default_factory=dict)
    resamples: int = 2000
    level: float = 0.95
    resampled: Unit = "images"

    def __post_init__(self) -> None:
        """Check every value.

        Raises
        ------
        SettingsError
            If a mode is unknown or there is none, or a number is out of range.
        """
        object.__setattr__(self, "modes", checked_modes(self.modes))
        for name, low, high in (
            ("min_area", 0, None),
            ("iou_threshold", 0, 1),
            ("seed", 0, None),
            ("corrections", 1, 100),
            ("jitter", 0, 1),
            ("boundary_tolerance_px", 0, None),
            ("resamples", 2, 1_000_000),
            ("level", 0.01, 0.9999),
        ):
            value = getattr(self, name)
            if not value >= low or (high is not None and not value <= high):
                limits = f"from {low} to {high}" if high is not None else f"{low}, more"
                msg = f"{name} must be {limits}, not {value!r}."
                raise SettingsError(msg)
        checked_unit(self.resampled)

    @property
    def methods(self) -> tuple[str, ...]:
        """The ways of automatic segmentation that are asked for."""
        return tuple(mode for mode in METHODS if mode in self.modes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a report."""
        return {
            "modes": list(self.modes),
            "min_area_px": self.min_area,
            "iou_threshold": self.iou_threshold,
            "seed": self.seed,
            "corrections": self.corrections,
            "jitter": self.jitter,
            "boundary_tolerance_px": self.boundary_tolerance_px,
            "automatic": dict(self.automatic),
            "bootstrap_resamples": self.resamples,
            "bootstrap_level": self.level,
            "bootstrap_resampled": self.resampled,
        }


def checked_modes(modes: Iterable[str]) -> tuple[Mode, ...]:
    """Return known modes in their usual order, each once.

    Raises
    ------
    SettingsError
        If one is unknown or there is none.
    """
    names = set(modes)
    unknown = sorted(names - set(MODES))
    if unknown or not names:
        came, allowed = ", ".join(unknown) or "(none)", ", ".join(MODES)
        msg = f"Unknown mode {came}. Allowed: {allowed}."
        raise SettingsError(msg)
    return tuple(mode for mode in MODES if mode in names)


def checked_unit(unit: str) -> Unit:
    """Return what the bootstrap draws.

    Raises
    ------
    SettingsError
        If it is neither images nor objects.
    """
    for known in UNITS:
        if unit == known:
            return known
    msg = f"The bootstrap draws images or objects, not {unit!r}."
    raise SettingsError(msg)

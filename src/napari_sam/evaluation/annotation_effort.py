# SPDX-License-Identifier: Apache-2.0
"""What annotating costs: a person's habits, actions and time, and the sums of it.

Human time is a model, not a measurement: each action is written down as operators of
the keystroke-level model (Card, Moran and Newell 1980, "The keystroke-level model for
user performance time with interactive systems", Communications of the ACM 23, 396-410),
which describes an expert without slips and pauses. Which operators an action has is
read off the keys and gestures of the tool: an assumption. The times can be changed, and
stand beside every result.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from napari_sam.errors import SettingsError


class Action(StrEnum):
    """What a person does at the tool."""

    LOOK = "look"
    """Find the next object, or judge the mask that came."""
    POINT = "point"
    """Click on the object, or right-click beside it."""
    NEXT_MASK = "next_mask"
    """Show another reading of the prompt (one key)."""
    ACCEPT = "accept"
    """Write the mask on offer (one key)."""
    DISCARD = "discard"
    """Drop the prompts (one key)."""
    START = "start"
    """Press the button of the automatic mode."""
    TAKE = "take"
    """Click a proposal."""
    TAKE_ALL = "take_all"
    """Press the button that accepts all proposals."""
    UNLOCK = "unlock"
    """Unlock what was filled in: `locked` into a filter, select all, press a button."""
    DELETE = "delete"
    """Pointer on an object, Shift+D."""
    REOPEN = "reopen"
    """Pointer on an object, G: its mask becomes a prompt."""


OPERATORS: Mapping[Action, str] = {
    Action.LOOK: "M",
    Action.POINT: "PC",
    Action.NEXT_MASK: "K",
    Action.ACCEPT: "K",
    Action.DISCARD: "K",
    Action.START: "PC",
    Action.TAKE: "PC",
    Action.TAKE_ALL: "PC",
    Action.UNLOCK: "PC" + "K" * len("locked") + "KK" + "PC",
    Action.DELETE: "PKK",
    Action.REOPEN: "PK",
}
"""M: look and decide; P: move the pointer; C: press a mouse button; K: press a key."""


@dataclass(frozen=True, slots=True)
class ActionTimes:
    """Seconds of the four operators.

    The defaults are those of Card, Moran and Newell, with their average of people who
    are no typists for a key. The hand that moves between mouse and keyboard costs
    nothing: one stays on each.

    Attributes
    ----------
    look, move, click, key : float
        Seconds, 0 or more.

    Raises
    ------
    SettingsError
        If one is negative or not finite.
    """

    look: float = 1.35
    move: float = 1.10
    click: float = 0.20
    key: float = 0.28

    def __post_init__(self) -> None:
        """Refuse what is no time."""
        for name, seconds in asdict(self).items():
            if not (np.isfinite(seconds) and seconds >= 0):
                msg = f"The time of a {name} is 0 s or more, not {seconds}."
                raise SettingsError(msg)

    def of(self, action: Action) -> float:
        """Return the seconds of an action."""
        seconds = {"M": self.look, "P": self.move, "C": self.click, "K": self.key}
        return sum(seconds[operator] for operator in OPERATORS[action])


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """When a person is content, and how well they hit.

    Attributes
    ----------
    target_iou : float
        A mask of this IoU with the truth is good; nothing is done to it.
    usable_iou : float
        What is below is discarded or deleted rather than corrected; also from where on
        an object is taken for a true one.
    max_clicks : int
        Points for one object, the first included.
    min_area : int
        Smaller true objects are not annotated.
    aim_px : float
        Standard deviation of a click about the middle that was aimed at, in pixels of
        the image, on both axes. A click that would miss the region lands in its middle.

    Raises
    ------
    SettingsError
        If one is outside its range.
    """

    target_iou: float = 0.85
    usable_iou: float = 0.5
    max_clicks: int = 6
    min_area: int = 25
    aim_px: float = 1.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        ranges = {
            "target_iou": (0, 1),
            "usable_iou": (0, self.target_iou),
            "max_clicks": (1, 100),
            "min_area": (0, np.inf),
            "aim_px": (0, 1000),
        }
        for name, value in asdict(self).items():
            low, high = ranges[name]
            if not low <= value <= high:
                msg = f"{name} lies between {low} and {high:g}, not at {value}."
                raise SettingsError(msg)


@dataclass(frozen=True, eq=False)
class ImageEffort:
    """What one image cost in one way, and what came out of it.

    Attributes
    ----------
    name : str
        Of the image.
    way : str
        How it was annotated.
    ious : (n,) float array
        IoU of each true object with the object made for it; 0 without one.
    n_surplus : int
        Objects in the result that are no true object.
    actions : Counter of Action
        How often each was done.
    seconds_ahead : float
        Model time before the person can begin: embedding, automatic mode. Measured.
    seconds_answers : float
        Model time that the person waits, answer by answer. Measured.
    """

    name: str
    way: str
    ious: NDArray[np.float64]
    n_surplus: int
    actions: Counter[Action] = field(default_factory=Counter)
    seconds_ahead: float = 0.0
    seconds_answers: float = 0.0

    def count(self, operator: str) -> int:
        """Count one of the operators M, P, C, K in all actions."""
        return sum(n * OPERATORS[a].count(operator) for a, n in self.actions.items())

    def seconds_human(self, times: ActionTimes) -> float:
        """Return the person's time."""
        return sum(n * times.of(action) for action, n in self.actions.items())


def summed(efforts: list[ImageEffort], way: str) -> ImageEffort:
    """Add the images of one way up; their objects are pooled."""
    ious = [effort.ious for effort in efforts]
    return ImageEffort(
        name="all",
        way=way,
        ious=np.concatenate(ious) if ious else np.empty(0),
        n_surplus=sum(effort.n_surplus for effort in efforts),
        actions=sum((effort.actions for effort in efforts), Counter()),
        seconds_ahead=sum(effort.seconds_ahead for effort in efforts),
        seconds_answers=sum(effort.seconds_answers for effort in efforts),
    )


@dataclass(frozen=True, eq=False)
class EffortReport:
    """What a set of images costs in several ways.

    Attributes
    ----------
    images : tuple of ImageEffort
        In the order in which they were annotated.
    habits : Habits
        Of the person; an object counts as done from their target on.
    times : ActionTimes
        Of the person.
    seed : int
        Of where clicks landed.
    """

    images: tuple[ImageEffort, ...]
    habits: Habits
    times: ActionTimes
    seed: int = 0

    @property
    def totals(self) -> tuple[ImageEffort, ...]:
        """The sum of each way."""
        ways = dict.fromkeys(effort.way for effort in self.images)
        return tuple(
            summed([e for e in self.images if e.way == way], way) for way in ways
        )

    def row(self, effort: ImageEffort) -> dict[str, object]:
        """Return plain numbers of an image or a sum, for a table; no value is None."""
        n = len(effort.ious)
        human = effort.seconds_human(self.times)
        total = human + effort.seconds_answers
        clicks = effort.count("C")
        actions = {str(action): effort.actions[action] for action in Action}
        return {
            "name": effort.name,
            "way": effort.way,
            "objects": n,
            "done": int(np.count_nonzero(effort.ious >= self.habits.target_iou)),
            "surplus": effort.n_surplus,
            "mean_iou": round(float(effort.ious.mean()), 4) if n else None,
            "clicks": clicks,
            "keys": effort.count("K"),
            "clicks_per_object": round(clicks / n, 3) if n else None,
            "seconds_human": round(human, 2),
            "seconds_answers": round(effort.seconds_answers, 3),
            "seconds_ahead": round(effort.seconds_ahead, 3),
            "seconds_per_object": round(total / n, 3) if n else None,
            **actions,
        }

    def rows(self) -> list[dict[str, object]]:
        """One row per image and way."""
        return [self.row(effort) for effort in self.images]

    def to_dict(self) -> dict[str, object]:
        """Everything as plain values: settings, times, sums, images."""
        return {
            "settings": {**asdict(self.habits), "seed": self.seed},
            "operator_seconds": asdict(self.times),
            "action_seconds": {str(a): round(self.times.of(a), 3) for a in Action},
            "ways": {effort.way: self.row(effort) for effort in self.totals},
            "images": self.rows(),
        }

    def format(self) -> str:
        """Readable summary of several lines."""
        head = (
            f"{'':<16}{'objects':>8}{'done':>7}{'surplus':>9}{'mean IoU':>10}"
            f"{'clicks':>8}{'keys':>7}{'s human':>9}{'s model':>9}{'s ahead':>9}"
            f"{'clicks/obj':>12}{'s/object':>10}"
        )
        return "\n".join([head, *(self._line(effort) for effort in self.totals)])

    def _line(self, effort: ImageEffort) -> str:
        row = self.row(effort)

        def number(key: str, width: int, places: int) -> str:
            value = row[key]
            if value is None:
                return f"{'-':>{width}}"
            return f"{value:>{width},.{places}f}"

        return (
            f"{effort.way:<16}{number('objects', 8, 0)}{number('done', 7, 0)}"
            f"{number('surplus', 9, 0)}{number('mean_iou', 10, 3)}"
            f"{number('clicks', 8, 0)}{number('keys', 7, 0)}"
            f"{number('seconds_human', 9, 1)}{number('seconds_answers', 9, 1)}"
            f"{number('seconds_ahead', 9, 1)}{number('clicks_per_object', 12, 2)}"
            f"{number('seconds_per_object', 10, 2)}"
        )

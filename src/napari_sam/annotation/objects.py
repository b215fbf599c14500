# SPDX-License-Identifier: Apache-2.0
"""Objects as annotation knows them, and the table that holds them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from napari_sam.errors import LabelsError
from napari_sam.structures.drawn import DrawnPrompts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.structures.arrays import HalfOpenBox


class Status(StrEnum):
    """How far an object is."""

    PROPOSED = "proposed"
    """Written, and still to be reviewed."""
    ACCEPTED = "accepted"
    EDITED = "edited"
    """Accepted, then changed with napari's own tools, or split or merged."""
    UNSURE = "unsure"


class Origin(StrEnum):
    """What an object was made from."""

    PROMPTS = "prompts"
    BATCH = "batch"
    GRID = "grid"
    CLASS = "class"
    """All masks of one class on a plane: written where a value stands for a class."""
    PAINTED = "painted"
    """By hand, or present before the annotator looked."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Prompts as they stood when the model was asked once.

    Attributes
    ----------
    drawn : DrawnPrompts
    choice : int or None
        Index of the decoder's output that the user chose; None leaves it to the rule.
    """

    drawn: DrawnPrompts
    choice: int | None = None


@dataclass(frozen=True, slots=True)
class AnnotatedObject:
    """What one id covers on one plane, with everything known about it.

    Attributes
    ----------
    object_id : int
        Its id in the label image. In semantic mode, the value of its class.
    plane : PlaneKey
    box : (y0, x0, y1, x1)
        Half-open box around its pixels.
    area : int
        Number of pixels.
    turns : tuple of Turn
        The prompts that led to it, in the order in which the model was asked: each
        answer's logits were given back with the next. Empty for a painted object.
    class_name : str
    candidate : str
        Name of the chosen mask ("small", "medium", "large", "single"), or empty.
    predicted_iou : float or None
        The model's own estimate; None if no model made it.
    status : Status
    origin : Origin
    is_locked : bool
        Whether its pixels are kept whatever the commit rule says.
    seconds : float
        Time that the user spent on it.
    model : str
        Name of the model and first digits of its weights' hash, or empty.
    """

    object_id: int
    plane: PlaneKey
    box: HalfOpenBox
    area: int
    turns: tuple[Turn, ...] = ()
    class_name: str = ""
    candidate: str = ""
    predicted_iou: float | None = None
    status: Status = Status.ACCEPTED
    origin: Origin = Origin.PROMPTS
    is_locked: bool = False
    seconds: float = 0.0
    model: str = ""

    @property
    def key(self) -> ObjectKey:
        """What the object is found by."""
        return self.plane, self.object_id

    @property
    def prompts(self) -> DrawnPrompts:
        """The last prompts; empty for an object without."""
        return self.turns[-1].drawn if self.turns else DrawnPrompts()


ObjectKey: TypeAlias = "tuple[PlaneKey, int]"


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """An object made (no `before`), removed (no `after`) or changed."""

    before: AnnotatedObject | None
    after: AnnotatedObject | None

    def inverse(self) -> ObjectChange:
        """Return the change that takes this one back."""
        return ObjectChange(self.after, self.before)


class ObjectTable:
    """All objects of one image, in the order in which they were made."""

    def __init__(self) -> None:
        self._objects: dict[ObjectKey, AnnotatedObject] = {}
        # Places of those that are gone, too: an undone delete puts them back there.
        self._places: dict[ObjectKey, int] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[AnnotatedObject]:
        return iter(tuple(self._objects.values()))

    def __contains__(self, key: object) -> bool:
        return key in self._objects

    def get(self, key: ObjectKey) -> AnnotatedObject | None:
        """Return an object, or None."""
        return self._objects.get(key)

    def __getitem__(self, key: ObjectKey) -> AnnotatedObject:
        """Return an object; raises LabelsError if there is none of that key."""
        found = self._objects.get(key)
        if found is None:
            msg = f"There is no object {key[1]} on the plane {key[0].index}."
            raise LabelsError(msg)
        return found

    def on_plane(self, plane: PlaneKey) -> list[AnnotatedObject]:
        """Return the objects of one plane."""
        return [o for o in self._objects.values() if o.plane == plane]

    def apply(self, changes: Iterable[ObjectChange]) -> None:
        """Make changes; those of one call belong together."""
        changes = tuple(changes)
        for change in changes:
            before, after = change.before, change.after
            if before is not None and (after is None or after.key != before.key):
                self._objects.pop(before.key, None)
        is_sorted = True
        for change in changes:
            if change.after is None:
                continue
            key = change.after.key
            is_sorted &= key in self._objects or key not in self._places
            self._places.setdefault(key, len(self._places))
            self._objects[key] = change.after
        if not is_sorted:
            self._objects = dict(
                sorted(self._objects.items(), key=lambda item: self._places[item[0]])
            )

# SPDX-License-Identifier: Apache-2.0
"""Words of the command line to values: points, boxes, ranges, prompts per object."""

from collections.abc import Sequence

from napari_sam.errors import PromptError, SettingsError
from napari_sam.structures.prompts import BoxPrompt, PointPrompt, PromptSet


def parse_point(text: str) -> PointPrompt:
    """Read ``Y,X`` or ``Y,X,LABEL`` (1 object, 0 background).

    Raises
    ------
    PromptError
        If the text is no point.
    """
    numbers = _numbers(text)
    if numbers is None or len(numbers) not in (2, 3):
        msg = (
            f"{text!r} is no point. Give --point Y,X or --point Y,X,0 for what is not "
            "the object, for instance --point 120,85.5"
        )
        raise PromptError(msg)
    label = numbers[2] if len(numbers) == 3 else 1.0
    if label not in (0.0, 1.0):
        msg = f"{text!r}: the third number of a point is 1 (object) or 0 (background)."
        raise PromptError(msg)
    return PointPrompt((numbers[0], numbers[1]), int(label))


def parse_box(text: str) -> BoxPrompt:
    """Read ``Y0,X0,Y1,X1``; corners in any order.

    Raises
    ------
    PromptError
        If the text is no box.
    """
    numbers = _numbers(text)
    if numbers is None or len(numbers) != 4:
        msg = (
            f"{text!r} is no box. Give --box Y0,X0,Y1,X1, two opposite corners, for "
            "instance --box 40,60,120,180"
        )
        raise PromptError(msg)
    return BoxPrompt(*numbers)


def parse_range(text: str | None, option: str) -> tuple[float, float] | None:
    """Read ``LOW,HIGH``.

    Raises
    ------
    SettingsError
        If the text is no pair of numbers.
    """
    if text is None:
        return None
    numbers = _numbers(text)
    if numbers is None or len(numbers) != 2:
        msg = f"{text!r} is no pair of numbers. Give {option} LOW,HIGH."
        raise SettingsError(msg)
    return numbers[0], numbers[1]


def parse_tile(text: str) -> int | str | None:
    """Read ``auto``, ``none`` or a side in pixels.

    Raises
    ------
    SettingsError
        If the text is none of these.
    """
    if text.lower() in ("auto", "none"):
        return "auto" if text.lower() == "auto" else None
    try:
        return int(text)
    except ValueError:
        msg = f"{text!r} is no side of a tile. Give --tile auto, none or pixels."
        raise SettingsError(msg) from None


def prompts_per_object(
    points: Sequence[PointPrompt], boxes: Sequence[BoxPrompt], *, each_point: bool
) -> list[PromptSet]:
    """Say which prompts describe one object.

    Every box is an object. Without a box all points together are one object, or with
    ``each_point`` every point of label 1 is one and points of label 0 belong to all.
    With one box the points belong to it; with several, a point belongs to those that
    contain it.

    Parameters
    ----------
    points : sequence of PointPrompt
        In the order of the command line.
    boxes : sequence of BoxPrompt
        In the order of the command line.
    each_point : bool
        Every positive point is an object of its own.

    Returns
    -------
    list of PromptSet
        One per object, in the order given; empty without prompts.

    Raises
    ------
    PromptError
        If a point belongs to no box, or no object is meant.
    """
    if not boxes:
        return _objects_of_points(points, each_point=each_point)
    if each_point:
        msg = "--each-point goes with points alone. Leave out the boxes or the option."
        raise PromptError(msg)
    if len(boxes) == 1:
        return [PromptSet(points=tuple(points), box=boxes[0])]
    for point in points:
        if not any(_contains(box, point) for box in boxes):
            msg = (
                f"The point {point.yx} lies in none of the {len(boxes)} boxes, so it "
                "is not clear which object it describes. Move it, or give one box at "
                "a time."
            )
            raise PromptError(msg)
    return [
        PromptSet(points=tuple(p for p in points if _contains(box, p)), box=box)
        for box in boxes
    ]


def _objects_of_points(
    points: Sequence[PointPrompt], *, each_point: bool
) -> list[PromptSet]:
    if not points:
        return []
    positive = [p for p in points if p.label == 1]
    if not positive:
        msg = "Only background points came. Add a point on the object, or a box."
        raise PromptError(msg)
    if not each_point:
        return [PromptSet(points=tuple(points))]
    negative = tuple(p for p in points if p.label == 0)
    return [PromptSet(points=(p, *negative)) for p in positive]


def _contains(box: BoxPrompt, point: PointPrompt) -> bool:
    y, x = point.yx
    return box.y0 <= y <= box.y1 and box.x0 <= x <= box.x1


def _numbers(text: str) -> list[float] | None:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        return None

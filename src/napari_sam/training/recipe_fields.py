# SPDX-License-Identifier: Apache-2.0
"""Fields of settings that know what they may be."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import field
from typing import TYPE_CHECKING, Any

from napari_sam.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable


def number(default: Any, low: float, high: float) -> Any:
    """Return a field from `low` to `high`; whole if its default is, or None like it."""

    def check(value: object) -> Any:
        if value is None and default is None:
            return None
        is_whole = isinstance(default, int)
        if isinstance(value, bool) or not isinstance(
            value, int if is_whole else int | float
        ):
            kind = "a whole number" if is_whole else "a number"
            raise ValueError(kind)
        if not (math.isfinite(value) and low <= value <= high):
            msg = f"from {low:g} to {high:g}"
            raise ValueError(msg)
        return value if is_whole else float(value)

    return _field(default, check)


def choice(default: Any, *allowed: Any) -> Any:
    """Return a field that is one of `allowed`, or true or false if none are given."""
    among = allowed or (True, False)

    def check(value: object) -> Any:
        if not any(value is one or (value == one and allowed) for one in among):
            msg = "one of " + ", ".join(repr(one) for one in among)
            raise ValueError(msg)
        return value

    return _field(default, check)


def pair(default: tuple[float, float], low: float, high: float) -> Any:
    """Return a field of two rising numbers between `low` and `high`."""
    msg = f"two numbers, the smaller first, from {low:g} to {high:g}"

    def check(value: object) -> tuple[float, float]:
        first, second = _numbers(value, msg, count=2)
        if not low <= first <= second <= high:
            raise ValueError(msg)
        return float(first), float(second)

    return _field(default, check)


def steps() -> Any:
    """Return a field of rising step numbers, at first none."""
    msg = "a list of rising step numbers"

    def check(value: object) -> tuple[int, ...]:
        found = tuple(int(v) for v in _numbers(value, msg))
        if any(v < 1 for v in found) or list(found) != sorted(set(found)):
            raise ValueError(msg)
        return found

    return _field((), check)


@dataclasses.dataclass(frozen=True)
class Section:
    """Settings that are checked whenever they are made."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises
        ------
        SettingsError
            If a value is not allowed.
        """
        for each in dataclasses.fields(self):
            check = each.metadata["check"]
            given = getattr(self, each.name)
            try:
                object.__setattr__(self, each.name, check(given))
            except ValueError as error:
                section = type(self).__name__
                msg = f"{section}: {each.name} is {error}, not {given!r}."
                raise SettingsError(msg) from error


def _field(default: Any, check: Callable[[object], Any]) -> Any:
    return field(default=default, metadata={"check": check})


def _numbers(value: object, msg: str, count: int | None = None) -> list[float]:
    found = list(value) if isinstance(value, list | tuple) else []
    is_right = isinstance(value, list | tuple) and count in (None, len(found))
    are_numbers = all(
        isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)
        for v in found
    )
    if not (is_right and are_numbers):
        raise ValueError(msg)
    return found

# SPDX-License-Identifier: Apache-2.0
"""Typed looks into JSON that somebody else may have written.

Fields that nobody asks for are left alone: files of later versions may have more.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any, TypeVar

from napari_sam.errors import AnnotationFileError

E = TypeVar("E", bound=StrEnum)

JsonObject = dict[str, Any]

_NAMES = {
    dict: "an object",
    list: "a list",
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}
_MISSING = object()


def take(data: Any, name: str, kind: type[Any], default: Any = _MISSING) -> Any:
    """Return one field.

    Parameters
    ----------
    data : Any
        What should be a JSON object.
    name : str
        The field.
    kind : type
        dict, list, str, int, float or bool.
    default : Any
        What a missing field means; without it the field has to be there. Where the
        default is None, null is allowed too.

    Raises
    ------
    AnnotationFileError
        If the field is missing or of another kind.
    """
    if not isinstance(data, dict):
        msg = f"Where {name!r} should be found there is no JSON object."
        raise AnnotationFileError(msg)
    value = data.get(name, default)
    if value is _MISSING:
        msg = f"The field {name!r} is missing."
        raise AnnotationFileError(msg)
    if value is None and default is None:
        return None
    return checked(value, name, kind)


def checked(value: Any, name: str, kind: type[Any]) -> Any:
    """Return a value of a kind; whole numbers are numbers, true and false are not.

    Raises
    ------
    AnnotationFileError
        If it is of another kind, or a number that is not finite.
    """
    if kind is float and type(value) is int:
        value = float(value)
    is_right = type(value) is kind
    if not is_right or (kind is float and not math.isfinite(value)):
        msg = f"{name!r} is {_NAMES[kind]}, not {_short(value)}."
        raise AnnotationFileError(msg)
    return value


def take_numbers(data: Any, name: str, kind: type[Any], n: int | None = None) -> Any:
    """Return a list of numbers as a tuple, `n` of them if that is given."""
    values = take(data, name, list)
    if n is not None and len(values) != n:
        msg = f"{name!r} has {n} numbers, not {len(values)}."
        raise AnnotationFileError(msg)
    return tuple(checked(value, name, kind) for value in values)


def take_choice(data: Any, name: str, choices: type[E], default: E | None = None) -> E:
    """Return one of the values of an enumeration.

    Raises
    ------
    AnnotationFileError
        If the value is none of them.
    """
    text = take(data, name, str, *(() if default is None else (str(default),)))
    try:
        return choices(text)
    except ValueError as error:
        known = ", ".join(choices)
        msg = (
            f"{name!r} is {text!r}, which this version of napari-sam does not know "
            f"(known: {known}). A later version may have written the file."
        )
        raise AnnotationFileError(msg) from error


def plain(value: Any) -> Any:
    """Turn what `json` does not know into what it knows: numpy numbers, tuples.

    Raises
    ------
    TypeError
        If the value has no JSON form.
    """
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    msg = f"{value!r} has no JSON form."
    raise TypeError(msg)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

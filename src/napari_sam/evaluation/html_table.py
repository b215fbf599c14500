# SPDX-License-Identifier: Apache-2.0
"""Tables of an HTML page, and how scores are written in them."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NOTHING = "-"
"""Where nothing was measured."""


def table(
    caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *, css: str = ""
) -> str:
    """Return a table whose first column names its rows; all text is escaped."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    lines = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(text)}</td>" for text in others)
        + "</tr>"
        for first, *others in rows
    )
    kind = f' class="{css}"' if css else ""
    return (
        f'<div class="scroll"><table{kind}><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def number(value: float | None, places: int = 3) -> str:
    """Return a number as text; a dash where there is none."""
    return NOTHING if value is None else f"{value:,.{places}f}"


def interval(score: Mapping[str, Any]) -> str:
    """Return the ends of an interval as text."""
    if score.get("low") is None or score.get("high") is None:
        return NOTHING
    return f"{score['low']:.3f} to {score['high']:.3f}"


def with_interval(score: Mapping[str, Any] | None) -> str:
    """Return a value and its interval as text."""
    if score is None or score["value"] is None:
        return NOTHING
    ends = interval(score)
    return number(score["value"]) + ("" if ends == NOTHING else f" ({ends})")


def share(score: Mapping[str, Any] | None) -> str:
    """Return a share as per cent."""
    if score is None or score["value"] is None:
        return NOTHING
    return f"{100 * score['value']:.1f} %"

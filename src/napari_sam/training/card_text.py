# SPDX-License-Identifier: Apache-2.0
"""A model card for people, as Markdown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Scores = dict[str, dict[str, float]]

_TITLES = {
    "point": "centre point",
    "oracle": "centre point, best of three masks",
    "box": "tight box",
    "corrected": "after corrections",
}

_PAGE = """\
# Model {name}

{trained_for}.

- Architecture {architecture}, trained from {parent[name]} (SHA-256 {parent[digest]}).
- Licence of the weights: {licence}. Weights may carry traces of the images they were
  trained on: mind the terms of those before you pass the weights on.
- Cite: {citation}.

## Scores

{scores}{warnings}
## Data

- Training: {data[objects]} objects, images: {data[images]}, planes or tiles of them:
  {data[planes_or_tiles]}. SHA-256 of pixels and labels: {data[digest]}.
- Validation: {data[validation_objects]} objects, images: {data[validation_images]}.
  SHA-256 of pixels and labels: {data[validation_digest]}.
- Trained on {names}.

## Run

- {run[steps]} steps in {run[seconds]:.0f} s, ended by: {run[ended]}. The best weights
  are those of step {run[best_step]}. Seed {seed}.
- {run[date]}; {run[software]}, torch {run[torch]}, Python {run[python]};
  {run[system]}, {run[device]}, processor {run[processor]} with {run[cores]} cores.

## Configuration

```json
{config}
```
"""


def card_text(card: Mapping[str, Any]) -> str:
    """Return a card as Markdown.

    Parameters
    ----------
    card : mapping
        As `card.make_card` makes it.
    """
    data = card["data"]
    more = data["images"] - len(data["names"])
    warnings = "".join(f"\n**{warning}**\n" for warning in data["warnings"])
    return _PAGE.format(
        **{key: card[key] for key in ("name", "trained_for", "architecture", "seed")},
        **{key: card[key] for key in ("licence", "citation", "data", "run")},
        parent=card["parent"] | {"digest": card["parent"]["digest"] or "unknown"},
        scores=_score_table(card["scores"]),
        warnings=warnings,
        names=", ".join(data["names"]) + (f" and {more} more" if more > 0 else ""),
        config=json.dumps(card["config"], indent=1),
    )


def score_lines(scores: Scores) -> list[tuple[str, str, str]]:
    """Return the title, the score before and the score after of what was measured.

    Parameters
    ----------
    scores : dict of dict
        ``before`` and ``after``, each mean IoUs by kind of prompt.
    """
    before, after = scores["before"], scores["after"]
    keys = [key for key in _TITLES if key in after or key in before]
    return [(_TITLES[key], _number(before, key), _number(after, key)) for key in keys]


def n_scored(scores: Scores) -> int | None:
    """Return how many objects the scores are means of, None if nothing was scored."""
    counts = {int(part["objects"]) for part in scores.values() if "objects" in part}
    return max(counts, default=None)


def _score_table(scores: Scores) -> str:
    lines = score_lines(scores)
    if not lines:
        return "No object was left to check the training by.\n"
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        f"Mean IoU of {n_scored(scores) or '?'} validation objects, at the resolution "
        f"of the model's masks:\n\n| prompt | before | after |\n| --- | --- | --- |\n"
        f"{rows}\n"
    )


def _number(scores: Mapping[str, float], key: str) -> str:
    return f"{scores[key]:.3f}" if key in scores else "-"

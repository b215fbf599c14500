# SPDX-License-Identifier: Apache-2.0
"""Write docs/reference/training-config.md from the settings themselves.

Run it after a change of a default or a docstring:
``python scripts/make_training_page.py``.
"""

from pathlib import Path

from napari_sam.training.run_config import example_config

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "training-config.md"

_HEAD = """\
<!-- Made by scripts/make_training_page.py from the settings; do not edit by hand. -->
# Configuration of a training run

`napari-sam train CONFIG` reads a TOML file. `napari-sam train --example` prints the one
below: every key with its meaning, and behind a `#` its default in the preset
`fine-tune`. Other presets have other defaults; keys that you write down go over them.
An unknown key or a value of another kind ends with a message that says what is allowed.
How to use it: [Train on your own masks](../how-to/train-on-your-masks.md).

`--budget` goes over `training.loop.budget_seconds`, `--name` over `model.name`.
Without `budget_seconds` the run ends after `total_steps`, or when `patience`
evaluations have brought nothing better.

"""


def render() -> str:
    """Return the whole page."""
    return f"{_HEAD}```toml\n{example_config()}```\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")

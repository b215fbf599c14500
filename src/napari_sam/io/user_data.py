# SPDX-License-Identifier: Apache-2.0
"""Where the user's data lie that belong to no file of theirs."""

from pathlib import Path

from napari_sam.weights.locations import DATA_DIR_VARIABLE, user_data_folder

__all__ = ["DATA_DIR_VARIABLE", "journal_folder", "user_data_folder"]


def journal_folder() -> Path:
    """Return the folder of journals; it need not exist."""
    return user_data_folder() / "journals"

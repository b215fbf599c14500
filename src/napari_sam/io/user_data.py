# SPDX-License-Identifier: Apache-2.0
"""Where the user's data lie that belong to no file of theirs."""

import os
from pathlib import Path

from napari_sam.weights.locations import APP_NAME

DATA_DIR_VARIABLE = "NAPARI_SAM_DATA_DIR"


def user_data_folder() -> Path:
    """Return the folder: the variable `DATA_DIR_VARIABLE`, or the system's place.

    It need not exist.
    """
    chosen = os.environ.get(DATA_DIR_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return platformdirs.user_data_path(APP_NAME)


def journal_folder() -> Path:
    """Return the folder of journals; it need not exist."""
    return user_data_folder() / "journals"

# SPDX-License-Identifier: Apache-2.0
"""Where weights are looked for: the weights folder, an offline folder, a mirror.

Each can be set by an environment variable, which wins, or by a saved setting. A
variable that is set but empty means "none", whatever the saved setting says.
"""

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from napari_sam.errors import OutputError, SettingsError

APP_NAME = "napari-sam-live"
CACHE_DIR_VARIABLE = "NAPARI_SAM_CACHE_DIR"
OFFLINE_DIR_VARIABLE = "NAPARI_SAM_OFFLINE_DIR"
MIRROR_VARIABLE = "NAPARI_SAM_MIRROR"
DATA_DIR_VARIABLE = "NAPARI_SAM_DATA_DIR"


@dataclass(frozen=True, slots=True)
class Locations:
    """The resolved places.

    Attributes
    ----------
    root
        The weights folder; downloads and files placed by hand lie here. It need not
        exist.
    offline_dir
        A folder, often shared and read-only, that is searched first; never written.
    mirror
        Base address that holds the catalogue's file names; tried before the publisher.
    """

    root: Path
    offline_dir: Path | None = None
    mirror: str | None = None

    def __post_init__(self) -> None:
        if self.mirror is not None and not self.mirror.startswith(
            ("http://", "https://")
        ):
            msg = (
                f"The mirror {self.mirror!r} is no web address. Give one that begins "
                f"with http:// or https://, or use {OFFLINE_DIR_VARIABLE} for a folder."
            )
            raise SettingsError(msg)


def user_data_folder() -> Path:
    """Return where the user's data lie that belong to no file of theirs.

    It is the folder that `DATA_DIR_VARIABLE` names, or the system's own place, and need
    not exist.
    """
    chosen = os.environ.get(DATA_DIR_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return platformdirs.user_data_path(APP_NAME)


def settings_path() -> Path:
    """Return the file that keeps the saved offline folder and mirror."""
    import platformdirs

    return platformdirs.user_config_path(APP_NAME) / "weights.json"


def current_locations() -> Locations:
    """Return the places that hold now: environment, then saved setting, then default.

    Raises
    ------
    SettingsError
        If the saved settings are unreadable or the mirror is no web address.
    """
    offline_dir = os.environ.get(OFFLINE_DIR_VARIABLE)
    mirror = os.environ.get(MIRROR_VARIABLE)
    if offline_dir is None or mirror is None:
        saved = _read_settings()
        offline_dir = saved.get("offline_dir") if offline_dir is None else offline_dir
        mirror = saved.get("mirror") if mirror is None else mirror
    return Locations(
        root=_weights_folder(),
        offline_dir=Path(offline_dir).expanduser() if offline_dir else None,
        mirror=mirror or None,
    )


def save_settings(
    *, offline_dir: str | os.PathLike[str] | None, mirror: str | None
) -> None:
    """Keep an offline folder and a mirror for later sessions; None forgets one.

    Raises
    ------
    SettingsError
        If ``offline_dir`` is no folder or ``mirror`` no web address.
    OutputError
        If the settings cannot be written.
    """
    folder = None if offline_dir is None else Path(offline_dir).expanduser().absolute()
    if folder is not None and not folder.is_dir():
        msg = f"The offline folder {folder} does not exist. Choose an existing folder."
        raise SettingsError(msg)
    Locations(root=Path(), offline_dir=folder, mirror=mirror)
    path = settings_path()
    settings = {
        "offline_dir": None if folder is None else str(folder),
        "mirror": mirror,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, settings)
    except OSError as error:
        msg = (
            f"Cannot save the settings in {path}: {error}. Set {OFFLINE_DIR_VARIABLE} "
            f"or {MIRROR_VARIABLE} instead."
        )
        raise OutputError(msg) from error


def write_json(path: Path, content: object) -> None:
    """Write JSON under a temporary name, then move it: no reader sees half a file."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _weights_folder() -> Path:
    chosen = os.environ.get(CACHE_DIR_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return platformdirs.user_cache_path(APP_NAME) / "weights"


def _read_settings() -> dict[str, str | None]:
    path = settings_path()
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        return {key: settings.get(key) for key in ("offline_dir", "mirror")}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        msg = (
            f"Cannot read the settings in {path}: {error}. Correct or delete that file."
        )
        raise SettingsError(msg) from error

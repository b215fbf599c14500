# SPDX-License-Identifier: Apache-2.0
"""The plugin's page in napari's preferences (napari 0.9 and later)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from napari_sam._bridge.key_table import ACTIONS
from napari_sam._bridge.model_segmenter import DEFAULT_MODEL
from napari_sam._bridge.preview_layer import PLUGIN_NAME
from napari_sam.annotation.commit_policy import CommitSettings, Overlap
from napari_sam.weights.catalogue import list_models
from napari_sam.weights.locations import current_locations, save_settings

_SEEN: set[str] = set()


@dataclass(frozen=True, slots=True)
class EmbeddingSettings:
    """What is kept of what the image encoder made.

    Attributes
    ----------
    is_on_disk : bool
        Whether embeddings outlive napari.
    max_gib : float
        Most space on disk, in GiB.
    is_half : bool
        Whether they are written as float16.
    folder : str
        Where; empty for the system's own place.
    is_ahead : bool
        Whether neighbouring planes are embedded before they are shown.
    """

    is_on_disk: bool = True
    max_gib: float = 5.0
    is_half: bool = False
    folder: str = ""
    is_ahead: bool = True


_CHOSEN: dict[str, EmbeddingSettings] = {}
"""What was saved where there are no preferences; it lasts for the session."""


def default_model() -> str:
    """Name of the model that new panels begin with."""
    settings = _settings()
    name = str(settings.model.default) if settings is not None else DEFAULT_MODEL
    return name if name in list_models() else DEFAULT_MODEL


def wanted_keys() -> dict[str, str]:
    """Keys by action as the user wrote them; empty where there are no preferences."""
    settings = _settings()
    if settings is None:
        return {}
    names = (action.action_id for action in ACTIONS)
    return {name: str(getattr(settings.keys, name)) for name in names}


def commit_rule() -> CommitSettings:
    """Return the commit rule that prompting begins with."""
    settings = _settings()
    if settings is None:
        return CommitSettings()
    chosen = settings.annotation
    return CommitSettings(
        overlap=Overlap(str(chosen.overlap)), min_area=int(chosen.min_area)
    )


def begins_with_hover() -> bool:
    """Whether prompting begins with the mask under the pointer shown."""
    settings = _settings()
    return True if settings is None else bool(settings.annotation.hover)


def keeps_journal() -> bool:
    """Whether every step is written down."""
    settings = _settings()
    return True if settings is None else bool(settings.annotation.autosave)


def embedding_settings() -> EmbeddingSettings:
    """Return what is to be kept of what the image encoder makes."""
    settings = _settings()
    if settings is None:
        return _CHOSEN.get("embeddings", EmbeddingSettings())
    chosen = settings.embeddings
    return EmbeddingSettings(
        is_on_disk=bool(chosen.on_disk),
        max_gib=float(chosen.limit_gib),
        is_half=bool(chosen.half_precision),
        folder=str(chosen.folder).strip(),
        is_ahead=bool(chosen.ahead),
    )


def save_embedding_settings(chosen: EmbeddingSettings) -> None:
    """Keep what is chosen; without preferences it lasts for the session."""
    settings = _settings()
    if settings is None:
        _CHOSEN["embeddings"] = chosen
        return
    kept = settings.embeddings
    kept.on_disk, kept.half_precision = chosen.is_on_disk, chosen.is_half
    kept.limit_gib, kept.folder = chosen.max_gib, chosen.folder
    kept.ahead = chosen.is_ahead


def is_hint_seen(name: str) -> bool:
    """Whether a hint was dismissed; without preferences it lasts for the session."""
    return name in _seen_hints()


def see_hint(name: str) -> None:
    """Do not show a hint again."""
    seen = sorted({*_seen_hints(), name})
    settings = _settings()
    if settings is None:
        _SEEN.update(seen)
    else:
        settings.annotation.hints_seen = ",".join(seen)


def _seen_hints() -> set[str]:
    settings = _settings()
    if settings is None:
        return _SEEN
    return set(filter(None, str(settings.annotation.hints_seen).split(",")))


def apply_weights_preferences() -> None:
    """Let an offline folder and a mirror set in the preferences hold everywhere.

    Empty fields change nothing: what the panel 'Models' saved stays.

    Raises
    ------
    SettingsError
        If the folder does not exist or the mirror is no web address.
    """
    settings = _settings()
    if settings is None:
        return
    folder = str(settings.weights.offline_folder).strip()
    mirror = str(settings.weights.mirror).strip()
    if not folder and not mirror:
        return
    now = current_locations()
    saved_folder = str(now.offline_dir) if now.offline_dir else None
    if (folder or saved_folder, mirror or now.mirror) != (saved_folder, now.mirror):
        save_settings(offline_dir=folder or saved_folder, mirror=mirror or now.mirror)


def save_weights_preferences(offline_folder: str, mirror: str) -> None:
    """Keep an offline folder and a mirror; empty text means none.

    Raises
    ------
    SettingsError
        If the folder does not exist or the mirror is no web address.
    OutputError
        If they cannot be saved.
    """
    save_settings(offline_dir=offline_folder or None, mirror=mirror or None)
    settings = _settings()
    if settings is not None:
        settings.weights.offline_folder = offline_folder
        settings.weights.mirror = mirror


def forget_settings() -> None:
    """Look for our page of the preferences anew, as a new list of plugins needs."""
    _CHOSEN.clear()
    _settings.cache_clear()


@functools.cache
def _settings() -> Any:
    """Our settings; None on an older napari or when the manifest is not registered.

    Kept, because napari looks through all plugins' manifests at each call.
    """
    try:
        from napari.settings import get_plugin_settings
    except ImportError:  # napari 0.8
        return None
    try:
        return get_plugin_settings(PLUGIN_NAME)
    except KeyError:
        return None

# SPDX-License-Identifier: Apache-2.0
"""Facts for a bug report, as text to paste."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from napari_sam._bridge.model_holder import LoadedModel, LoadingModel

if TYPE_CHECKING:
    from napari_sam._bridge.sessions import ViewerSession

PACKAGES = (
    "napari-sam-live",
    "napari",
    "numpy",
    "torch",
    "npe2",
    "magicgui",
    "psygnal",
)


def diagnostics(session: ViewerSession, extra: dict[str, str] | None = None) -> str:
    """Describe versions, machine, model and the last error of a session.

    Parameters
    ----------
    session : ViewerSession
        Whose model and last error are meant.
    extra : dict of str, optional
        Further facts, such as the Qt version.

    Returns
    -------
    str
        Lines of ``name: value``.
    """
    facts = {name: _version(name) for name in PACKAGES}
    facts["python"] = platform.python_version()
    facts["system"] = platform.platform()
    facts.update(extra or {})
    facts.update(_accelerator())
    model = session.models.status
    if isinstance(model, LoadedModel):
        facts.update(model.segmenter.describe())
        facts["file"] = model.spec.checkpoint or "from the catalogue"
    elif isinstance(model, LoadingModel):
        facts["model"] = f"{model.spec.name} (loading)"
    else:
        facts["model"] = "none loaded"
    facts["last error"] = session.last_error or "none"
    return "\n".join(f"{name}: {value}" for name, value in facts.items())


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _accelerator() -> dict[str, str]:
    """Say what torch sees, without importing it for this purpose."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {"accelerator": "torch is not loaded yet"}
    if torch.cuda.is_available():
        return {"accelerator": f"CUDA, {torch.cuda.get_device_name()}"}
    if torch.backends.mps.is_available():
        return {"accelerator": "MPS"}
    return {"accelerator": f"none, {torch.get_num_threads()} CPU threads"}

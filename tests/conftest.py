# SPDX-License-Identifier: Apache-2.0
"""What every test may count on: display, threads, settings and small fixtures."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from napari_sam.modeling.sam import Sam

PARITY = Path(__file__).parent / "data" / "parity"
VIEWER_FIXTURES = {"make_napari_viewer", "make_napari_viewer_proxy", "qtbot", "qapp"}

# On small machines more threads cost more than they bring, and sums stay in order.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["NAPARI_ASYNC"] = "0"

ON_X11 = sys.platform.startswith("linux")
HAS_SCREEN = not ON_X11 or bool(
    os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
)
if not HAS_SCREEN:
    # Without a platform that needs no screen, Qt ends the whole interpreter.
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
CAN_RENDER = HAS_SCREEN and os.environ.get("QT_QPA_PLATFORM") not in {
    "minimal",
    "offscreen",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--data",
        type=Path,
        default=os.environ.get("NAPARI_SAM_DATA"),
        help="folder of image sets with ground truth (else $NAPARI_SAM_DATA)",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    no_screen = pytest.mark.skip(reason="looks at pixels: needs a display or xvfb-run")
    for item in items:
        if VIEWER_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.viewer)
        if not CAN_RENDER and item.get_closest_marker("render"):
            item.add_marker(no_screen)


@pytest.fixture(scope="session")
def _without_opengl() -> Iterator[None]:
    """Let viewers live where no OpenGL context can be made; nothing is drawn."""
    import napari._qt.qt_viewer  # noqa: F401  loads the modules patched below

    answers = {
        "get_gl_extensions": lambda: "",
        "get_max_texture_sizes": lambda: (2048, 2048),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("napari."):
                for function, answer in answers.items():
                    if function in vars(module):
                        patch.setattr(module, function, answer)
        yield


@pytest.fixture(autouse=True)
def _display(request: pytest.FixtureRequest) -> None:
    if not HAS_SCREEN and request.node.get_closest_marker("viewer"):
        request.getfixturevalue("_without_opengl")


@pytest.fixture(autouse=True)
def _own_settings(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep the weights and settings of whoever runs the tests out of them."""
    folder = tmp_path_factory.getbasetemp()
    settings = folder / "settings" / "weights.json"
    settings.unlink(missing_ok=True)
    monkeypatch.setenv("NAPARI_SAM_CACHE_DIR", str(folder / "weights-cache"))
    journals = tmp_path_factory.mktemp("user-data")
    monkeypatch.setenv("NAPARI_SAM_DATA_DIR", str(journals))
    monkeypatch.delenv("NAPARI_SAM_OFFLINE_DIR", raising=False)
    monkeypatch.delenv("NAPARI_SAM_MIRROR", raising=False)
    monkeypatch.setattr("napari_sam.weights.locations.settings_path", lambda: settings)
    # The plugin's page of napari's preferences is a file beside napari's own settings.
    # Preferences saved there would outlive the tests; napari 0.8 has no such pages.
    preferences = tmp_path_factory.mktemp("preferences") / "settings.yaml"
    monkeypatch.setattr("napari.settings._CFG_PATH", str(preferences), raising=False)
    monkeypatch.setattr("napari.settings._PLUGIN_SETTINGS", {}, raising=False)
    ours = sys.modules.get("napari_sam._bridge.preferences")
    if ours is not None:
        ours.forget_settings()
    # So would embeddings; those in memory belong to the process.
    embeddings = tmp_path_factory.mktemp("embeddings")
    monkeypatch.setenv("NAPARI_SAM_EMBEDDINGS_DIR", str(embeddings))
    kept = sys.modules.get("napari_sam._bridge.embeddings")
    if kept is not None:
        kept.shared_library.cache_clear()


def _is_ours_to_end(thread: threading.Thread) -> bool:
    """Tell threads a test started from those that libraries keep for themselves."""
    kept_by_libraries = {"TMonitor", "HistorySavingThread", "_DummyThread"}
    return (
        thread.is_alive()
        and type(thread).__name__ not in kept_by_libraries
        # the pools of dask and of zarr
        and not thread.name.startswith(("ThreadPoolExecutor-", "zarr_io", "asyncio_"))
    )


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    """Fail the test that leaves work behind to disturb a later one."""
    before = set(threading.enumerate())
    yield
    end = time.monotonic() + 2.0
    left = [t for t in threading.enumerate() if t not in before and _is_ours_to_end(t)]
    for thread in left:
        thread.join(max(0.0, end - time.monotonic()))
    left = [thread for thread in left if thread.is_alive()]
    assert not left, f"the test left threads running: {[t.name for t in left]}"
    qt_core = sys.modules.get("qtpy.QtCore")
    if qt_core is not None:
        pool = qt_core.QThreadPool.globalInstance()
        assert pool.waitForDone(2000), "the test left work in Qt's thread pool"


@pytest.fixture(scope="session")
def data_folder(pytestconfig: pytest.Config) -> Path:
    """Folder of the image sets with ground truth; the test is skipped without it."""
    folder = pytestconfig.getoption("--data")
    if not folder:
        pytest.skip("needs image sets: pytest --data FOLDER, or NAPARI_SAM_DATA")
    folder = Path(folder)
    if not (folder / "splits.json").is_file():
        pytest.fail(f"{folder} holds no splits.json; is it the folder of image sets?")
    return folder


@pytest.fixture(scope="session")
def tiny_sam() -> Sam:
    """A trained SAM of 0.37 M parameters on a 256-pixel frame; it segments blobs."""
    import napari_sam

    return napari_sam.load_model(checkpoint=PARITY / "mini.safetensors", device="cpu")


@dataclass(frozen=True)
class Blobs:
    """A drawn picture that ``tiny_sam`` can segment, and its instances.

    ``image`` is (208, 256, 3) uint8, ``labels`` (208, 256) with 1..11.
    """

    image: np.ndarray
    labels: np.ndarray


@pytest.fixture(scope="session")
def blobs() -> Blobs:
    from PIL import Image

    def read(name: str) -> np.ndarray:
        with Image.open(PARITY / name) as picture:
            array = np.array(picture)
        array.setflags(write=False)
        return array

    return Blobs(read("blobs.png"), read("blobs_labels.png"))


@pytest.fixture(scope="session")
def large_images() -> ModuleType:
    """Planes of any size that count what is read, and a model that sees them."""
    path = Path(__file__).with_name("large_images.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

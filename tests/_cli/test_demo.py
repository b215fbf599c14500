# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_sam._cli import demo as demo_module
from napari_sam._cli import show as show_module
from napari_sam.errors import NapariSamError
from napari_sam.io.images import read_image
from napari_sam.io.sample_data import load_sample
from napari_sam.weights.load import load_model

CHECKPOINT = Path(__file__).parents[1] / "data" / "parity" / "mini.safetensors"


def test_demo_prints_compares_and_writes(run, mini, tmp_path):
    outcome = run("demo", "--sample=drawn", "-o", tmp_path / "o", *mini)
    assert outcome.code == 0, outcome.err
    assert "18 true objects" in outcome.out
    ious = re.findall(r"mean IoU (\d\.\d\d) with the truth", outcome.out)
    assert len(ious) == 2
    assert float(ious[0]) > 0.4
    assert re.search(r"everything, no prompt: \d+ objects found", outcome.out)
    names = {path.name for path in (tmp_path / "o").iterdir()}
    assert names == {
        "drawn_clicks_labels.tif",
        "drawn_boxes_labels.tif",
        "drawn_everything_labels.tif",
        "drawn_everything_objects.csv",
        "drawn_overlay.png",
    }
    labels = read_image(tmp_path / "o" / "drawn_clicks_labels.tif").data
    assert labels.shape == (256, 256)
    assert labels.max() == 18
    with Image.open(tmp_path / "o" / "drawn_overlay.png") as sheet:
        assert sheet.width > 2 * 512


@pytest.mark.parametrize("defaults", [{}, {"method": "fast"}])
def test_progress_names_the_method_that_runs(defaults, tmp_path, monkeypatch):
    class Bar:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def add_task(self, text, total):
            named.append(text)

        def update(self, *_, **__):
            pass

        def remove_task(self, _):
            pass

    named: list[str] = []
    monkeypatch.setattr(demo_module, "progress_bar", Bar)
    sam = load_model(checkpoint=CHECKPOINT, device="cpu")
    monkeypatch.setattr(sam, "auto_defaults", {**defaults, "points_per_side": 4})
    (tmp_path / "o").mkdir()
    demo_module._run_sample(load_sample("drawn"), sam, tmp_path / "o")
    assert named == [f"  Everything, method {defaults.get('method', 'grid')}"]


def test_demo_takes_only_known_samples_and_folders(run, mini, tmp_path):
    outcome = run("demo", "--sample=moon", "-o", tmp_path, *mini)
    assert outcome.code == 2
    assert "nuclei, tissue, axons, drawn" in outcome.err
    (tmp_path / "file").write_text("")
    assert run("demo", "-o", tmp_path / "file", *mini).code == 2


def test_show_is_refused_before_the_work(run, mini, tmp_path, monkeypatch):
    def no_window():
        msg = "no window here"
        raise NapariSamError(msg)

    monkeypatch.setattr(show_module, "check_gui", no_window)
    outcome = run("demo", "--show", "-o", tmp_path / "o", *mini)
    assert outcome.code == 2
    assert not (tmp_path / "o").exists()


def test_missing_qt_or_display_is_told(monkeypatch):
    monkeypatch.setattr(show_module, "find_spec", lambda _name: None)
    with pytest.raises(NapariSamError, match=r"napari-sam-live\[all\]"):
        show_module.check_gui()
    monkeypatch.setattr(show_module, "find_spec", lambda _name: object())
    monkeypatch.setattr(show_module.sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NapariSamError, match="display"):
        show_module.check_gui()
    monkeypatch.setenv("DISPLAY", ":1")
    show_module.check_gui()


@pytest.mark.parametrize("is_installed", [True, False])
def test_show_opens_image_truth_and_results(
    make_napari_viewer, monkeypatch, capsys, is_installed
):
    import napari

    viewer = make_napari_viewer()
    asked = []

    def add(_window, plugin, widget):
        asked.append((plugin, widget))
        if not is_installed:
            raise ValueError(plugin)

    monkeypatch.setattr(type(viewer.window), "add_plugin_dock_widget", add)
    monkeypatch.setattr(napari, "Viewer", lambda **_options: viewer)
    monkeypatch.setattr(napari, "run", lambda: None)
    sample = load_sample("drawn")
    labels = np.zeros_like(sample.labels)
    show_module.show_in_napari(sample, {"first": labels, "last": labels + 1})
    names = [layer.name for layer in viewer.layers]
    assert names == [sample.title, "truth", "first", "last"]
    assert [layer.visible for layer in viewer.layers] == [True, False, False, True]
    assert asked == [("napari-sam-live", "Segment with prompts")]
    assert ("cannot be opened" in capsys.readouterr().err) is not is_installed

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam.annotation.annotator import Annotator
from napari_sam.annotation.history import PlaneEdit
from napari_sam.annotation.ports import PlaneKey
from napari_sam.annotation.state import AnnotationState
from napari_sam.io.annotation_file import load_annotation, save_annotation
from napari_sam.io.images import read_image
from napari_sam.structures.image_digest import image_digest
from napari_sam.structures.labels import LabelEdit
from napari_sam.structures.plane_pixels import ArrayPixels

PLANE = PlaneKey()


class Source:
    identity = "blobs"

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def plane_shape(self, key: PlaneKey) -> tuple[int, int]:
        return self.array.shape[0], self.array.shape[1]

    def read_plane(self, key: PlaneKey) -> np.ndarray:
        return self.array

    def plane_pixels(self, key: PlaneKey) -> ArrayPixels:
        return ArrayPixels((self.array,))


class Store:
    keeps_existing = False

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.array = np.zeros(shape, np.uint16)

    def next_id(self) -> int:
        return int(self.array.max()) + 1

    def forget_id(self, object_id: int) -> None:
        """Nothing is counted here."""

    def read(self, key: PlaneKey, box: tuple[int, int, int, int]) -> np.ndarray:
        y0, x0, y1, x1 = box
        return self.array[y0:y1, x0:x1].copy()

    def write(self, key: PlaneKey, edit: LabelEdit) -> None:
        y0, x0, y1, x1 = edit.box
        self.array[y0:y1, x0:x1] = edit.new


@pytest.fixture(scope="module")
def annotation(blobs, tiny_sam) -> AnnotationState:
    """Four objects that were clicked, chosen and refined, and a painted one."""
    from napari_sam.prediction.model_segmenter import ModelSegmenter

    segmenter = ModelSegmenter(tiny_sam)
    store = Store(blobs.labels.shape)
    annotator = Annotator(Source(blobs.image), store)
    annotator.attach(segmenter)
    for label in (1, 2, 3, 4):
        ys, xs = np.nonzero(blobs.labels == label)
        annotator.add_point(PLANE, (float(ys.mean()), float(xs.mean())))
        if label == 2:
            annotator.next_candidate()
        if label == 3:
            annotator.add_point(PLANE, (float(ys.min()), float(xs[0])))
        annotator.commit()
    corner = store.array[200:, 250:].copy()
    new = np.where(corner == 0, 9, corner)
    store.array[200:, 250:] = new
    edit = LabelEdit((200, 250, *store.array.shape), corner, new)
    annotator.record_painting([PlaneEdit(PLANE, edit)])
    return AnnotationState(
        image_identity=image_digest(blobs.image, 3),
        shape=store.array.shape,
        dtype="uint16",
        image_name="blobs.png",
        model=segmenter.describe(),
        objects=tuple(annotator.objects),
        labels={PLANE: store.array},
    )


@pytest.fixture
def file(tmp_path, blobs, annotation):
    Image.fromarray(blobs.image).save(tmp_path / "blobs.png")
    return save_annotation(tmp_path / "blobs.sam.json", annotation)


def test_same_labels(run, mini, file, annotation, tmp_path):
    out = tmp_path / "made" / "labels.tif"
    outcome = run("replay", file, *mini, "--out", out)
    assert outcome.code == 0, outcome.err
    assert "5 objects, 1 plane" in outcome.out
    assert "4 made again from their prompts: 4 the same, 0 with an IoU" in outcome.out
    assert "1 taken as they are, painted by hand: object 9" in outcome.out
    made = read_image(out, as_labels=True).data
    np.testing.assert_array_equal(made, annotation.label_image())


def test_difference_is_named(run, mini, file, annotation, tmp_path):
    labels = annotation.labels[PLANE].copy()
    ys, xs = np.nonzero(labels == 2)
    labels[ys[: ys.size // 3], xs[: xs.size // 3]] = 0
    save_annotation(file, replace(annotation, labels={PLANE: labels}))
    before = file.read_bytes()
    outcome = run("replay", file, *mini)
    assert outcome.code == 1
    assert "! object 2: IoU 0.66" in outcome.out
    assert "3 the same, 1 with an IoU below 1, 1 below 0.99" in outcome.out
    assert run("replay", file, *mini, "--tolerance=0.5").code == 0
    assert file.read_bytes() == before


def test_image_elsewhere(run, mini, file, tmp_path):
    (tmp_path / "blobs.png").rename(tmp_path / "moved.png")
    outcome = run("replay", file, *mini)
    assert outcome.code == 2
    assert "'blobs.png') was not found" in outcome.err
    assert run("replay", file, tmp_path / "moved.png", *mini).code == 0


def test_other_image_is_refused(run, mini, file, blobs, tmp_path):
    Image.fromarray(blobs.image[::-1].copy()).save(tmp_path / "other.png")
    outcome = run("replay", file, tmp_path / "other.png", *mini)
    assert outcome.code == 2
    assert "is another image" in outcome.err
    assert load_annotation(file).image_identity in outcome.err


def test_model_of_the_file_is_wanted(run, file, annotation):
    outcome = run("replay", file)
    assert outcome.code == 2
    assert "cannot be loaded" in outcome.err
    assert "--checkpoint" in outcome.err
    save_annotation(file, replace(annotation, model={}))
    assert "does not say which model" in run("replay", file).err


def test_other_weights_are_refused_unless_asked_for(run, mini, file, annotation):
    model = {"model": "embedded", "weights": "sha256:0123456789abcdef"}
    save_annotation(file, replace(annotation, model=model))
    outcome = run("replay", file, "--device", "cpu")
    assert outcome.code == 2
    assert "other weights here" in outcome.err
    outcome = run("replay", file, *mini)
    assert outcome.code == 0
    assert "made with other weights (0123456789abcdef)" in outcome.err


def test_damaged_file(run, file):
    file.write_bytes(file.read_bytes()[:500])
    outcome = run("replay", file)
    assert outcome.code == 2
    assert "damaged or cut off" in outcome.err


def test_labels_do_not_replace_the_annotation(run, mini, file):
    before = file.read_bytes()
    outcome = run("replay", file, *mini, "--out", file)
    assert outcome.code == 2
    assert "is the annotation file" in outcome.err
    assert file.read_bytes() == before


def test_stack_with_channels_as_napari_holds_it(tmp_path):
    """(Z, C, Y, X) in the file and in the layer; the model saw channel 1 as grey."""
    from napari_sam._cli.replay_source import open_source
    from napari_sam.prediction.intensity import IntensityRule, to_rgb

    rng = np.random.default_rng(0)
    stack = rng.integers(0, 4000, (3, 2, 30, 40), dtype=np.uint16)
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, stack, metadata={"axes": "ZCYX"}, ome=True)
    state = AnnotationState(
        image_identity=image_digest(stack),
        shape=(3, 1, 30, 40),
        view={"channel_axis": 1, "channels": [1, 1, 1], "gamma": 2.0},
    )
    source = open_source(path, state)
    key = PlaneKey((2, 3), (2, 0))
    assert source.plane_shape(key) == (30, 40)
    expected = to_rgb(stack[2, 1], rule=IntensityRule(gamma=2.0))
    np.testing.assert_array_equal(source.read_plane(key), expected)


@pytest.mark.parametrize("which", ["axis moved", "one layer per channel", "colours"])
def test_layers_that_other_readers_make(tmp_path, which):
    from napari_sam._cli.replay_source import open_source

    rng = np.random.default_rng(1)
    data = rng.integers(0, 255, (24, 40, 3), dtype=np.uint8)
    path = tmp_path / "picture.tif"
    if which == "colours":
        Image.fromarray(data).save(path)
        layer, n_axes, key = data, 3, PlaneKey()
    else:
        channels = np.moveaxis(data, -1, 0)
        tifffile.imwrite(path, channels, metadata={"axes": "CYX"}, ome=True)
        is_moved = which == "axis moved"
        layer = data.transpose(0, 2, 1) if is_moved else channels[2]
        key = PlaneKey((0, 2), (1,)) if is_moved else PlaneKey()
        n_axes = 2
    state = AnnotationState(image_digest(layer, n_axes), layer.shape)
    source = open_source(path, state)
    expected = layer[key.locate(slice(None), slice(None))]
    np.testing.assert_array_equal(source.read_plane(key), expected)

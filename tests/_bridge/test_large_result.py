# SPDX-License-Identifier: Apache-2.0
"""The automatic mode on images too large for one texture."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_sam._bridge.everything_run import EverythingRun
from napari_sam._bridge.label_pyramid import finest
from napari_sam._bridge.many_desk import desk_of
from napari_sam._bridge.model_segmenter import ModelSpec
from napari_sam._bridge.view_region import camera_of, view_of
from napari_sam.annotation.scope import Scope
from napari_sam.errors import SettingsError

SETTINGS = {
    "points_per_side": 6,
    "pred_iou_thresh": 0.6,
    "stability_score_thresh": 0.6,
}
SPEC = ModelSpec("tiny")


class CountingArray:
    """An array like those of zarr; remembers the largest part that was read."""

    def __init__(self, array):
        self._array = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self.forget()

    def forget(self):
        self.largest = 0
        self.was_read = np.zeros(self.shape, bool)

    def __getitem__(self, key):
        part = self._array[key]
        self.largest = max(self.largest, part.size)
        self.was_read[key] = True
        return part

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[...], dtype)


@pytest.fixture
def grey(blobs):
    """(415, 512) uint16: six tiles for the tiny model."""
    piece = blobs.image.mean(axis=2).astype(np.uint16) * 9
    return np.block([[piece, piece[::-1]], [piece[:, ::-1], piece]])[:415]


@pytest.fixture
def small_is_large(monkeypatch):
    monkeypatch.setattr("napari_sam._bridge.label_pyramid.LARGE_SIDE_PX", 300)
    monkeypatch.setattr("napari_sam._bridge.label_pyramid.COARSEST_SIDE_PX", 150)


@pytest.fixture
def everything(viewer, session):
    run = EverythingRun(viewer, session)
    yield run
    run.close()


def run(everything, image, scope=Scope.PLANE, **options):
    texts, steps = [], []
    everything.finished.connect(texts.append)
    everything.progressed.connect(lambda *step: steps.append(step))
    everything.start(image, SPEC, SETTINGS, scope, **options)
    return texts[0], steps


@pytest.mark.usefixtures("small_is_large")
def test_labels_are_those_of_the_whole_image(viewer, everything, grey, tiny_sam):
    from napari_sam import segment_image

    image = viewer.add_image(grey, name="cells")
    assert everything.is_large(image)
    text, steps = run(everything, image)
    layer = viewer.layers["cells objects"]
    expected = segment_image(grey, tiny_sam, **SETTINGS)
    assert layer.multiscale
    np.testing.assert_array_equal(layer.data[0], expected)
    assert text == f"{expected.max()} objects in the layer 'cells objects'."
    assert steps[-1] == (6 * 36, 6 * 36)
    table = layer.features
    assert table["index"].tolist() == list(range(1, expected.max() + 1))
    areas = np.bincount(expected.ravel())[1:]
    assert table["area"].tolist() == areas.tolist()
    y0, x0, y1, x1 = (table[f"box_{side}"][0] for side in ("y0", "x0", "y1", "x1"))
    assert (expected[y0:y1, x0:x1] == 1).sum() == areas[0]


@pytest.mark.usefixtures("small_is_large")
def test_coarser_levels_show_the_labels_in_their_middle(viewer, everything, grey):
    run(everything, viewer.add_image(grey, name="cells"))
    fine, *coarser = viewer.layers["cells objects"].data
    for level in coarser:
        rows, columns = (
            [min(int((i + 0.5) * n / m), n - 1) for i in range(m)]
            for n, m in zip(fine.shape, level.shape, strict=True)
        )
        np.testing.assert_array_equal(level, fine[np.ix_(rows, columns)])
        fine = level
    assert max(fine.shape) <= 150
    assert fine.any()


@pytest.mark.usefixtures("small_is_large")
def test_planes_are_numbered_on(viewer, everything, grey):
    image = viewer.add_image(np.stack([grey, grey[::-1]]), name="stack")
    run(everything, image, Scope.ALL)
    layer = viewer.layers["stack objects"]
    first, second = layer.data[0]
    assert first.max() < second[second > 0].min()
    table = layer.features
    assert len(table) == second.max()
    assert set(table["axis_0"]) == {0, 1}


@pytest.mark.usefixtures("small_is_large")
def test_lazy_images_are_read_in_small_parts(viewer, everything, grey, monkeypatch):
    # So that brightness is looked up on a sample, as of images that are really large.
    monkeypatch.setattr("napari_sam.prediction.brightness_sample.MAX_WHOLE_PX", 1 << 16)
    lazy = CountingArray(grey)
    image = viewer.add_image(lazy, name="lazy", contrast_limits=(0, 2000))
    lazy.forget()
    run(everything, image)
    assert viewer.layers["lazy objects"].data[0].any()
    assert lazy.largest <= 256 * 256


@pytest.mark.usefixtures("small_is_large")
def test_cancelling_keeps_finished_tiles(viewer, everything, grey, segmenter):
    def find(pixels, settings, *, progress, cancel):
        stop = threading.Event()

        def watch(done, total):
            if done >= total / 2:
                stop.set()

        return real(pixels, settings, progress=watch, cancel=stop)

    image = viewer.add_image(grey, name="cells")
    real = segmenter.find_everything
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segmenter, "find_everything", find)
        run(everything, image)
    labels = viewer.layers["cells objects"].data[0]
    assert labels[:150].any()
    assert not labels[260:].any()


def test_images_that_fit_have_one_level(viewer, everything, grey):
    image = viewer.add_image(grey, name="cells")
    assert not everything.is_large(image)
    run(everything, image)
    assert not viewer.layers["cells objects"].multiscale


def around(mask, margin=32):
    """Where a plane may be looked at for a region: in its box, and a little further."""
    y, x = np.nonzero(mask)
    near = np.zeros(mask.shape, bool)
    near[
        max(y.min() - margin, 0) : y.max() + 1 + margin,
        max(x.min() - margin, 0) : x.max() + 1 + margin,
    ] = True
    return near


@pytest.mark.usefixtures("small_is_large")
def test_inside_a_region_of_a_large_image(viewer, everything, grey):
    region = viewer.add_shapes(ndim=2)
    region.add_ellipses([[100, 150], [100, 330], [260, 330], [260, 150]])
    image = viewer.add_image(grey, name="cells")
    text, _ = run(everything, image, region=region)
    layer = viewer.layers["cells objects"]
    assert layer.multiscale
    fine, *coarser = layer.data
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]]
    inside = ((y - 180) / 80) ** 2 + ((x - 240) / 90) ** 2 <= 1
    n_objects = fine.max()
    assert n_objects >= 2
    assert text == f"{n_objects} objects in the layer 'cells objects'."
    for label in range(1, n_objects + 1):
        assert inside[fine == label].mean() > 0.45  # the ellipse is a polygon here
    assert not fine[~around(inside)].any()
    for level in coarser:
        assert level.any()
    table = layer.features
    assert table["area"].tolist() == np.bincount(fine.ravel())[1:].tolist()


@pytest.fixture
def colours(viewer, blobs):
    """A layer of a lazy array (600, 600, 3); its pixels are taken as they are."""
    rgb = np.tile(blobs.image, (3, 3, 1))[:600, :600]
    image = viewer.add_image(CountingArray(rgb), rgb=True, name="colours")
    image.data.forget()
    return image


@pytest.mark.usefixtures("small_is_large")
def test_nothing_is_read_beside_a_region(viewer, everything, colours):
    region = viewer.add_shapes(ndim=2)
    region.add_rectangles([[380, 390], [380, 520], [500, 520], [500, 390]])
    colours.data.forget()
    run(everything, colours, region=region)
    assert viewer.layers["colours objects"].data[0].any()
    inside = np.zeros((600, 600), bool)
    inside[380:501, 390:521] = True
    was_read = colours.data.was_read.any(axis=2)
    assert was_read[inside].all()
    assert not was_read[~around(inside)].any()


@pytest.mark.usefixtures("small_is_large")
def test_a_region_too_large_to_be_held_is_refused(
    viewer, everything, colours, monkeypatch
):
    monkeypatch.setattr("napari_sam._bridge.search_part.MAX_PLANE_PX", 200 * 200)
    region = viewer.add_shapes(ndim=2)
    region.add_rectangles([[0, 0], [0, 210], [210, 210], [210, 0]])
    with pytest.raises(SettingsError, match="region spans 211 x 211 pixels"):
        run(everything, colours, region=region)
    assert not everything.is_running


@pytest.mark.usefixtures("small_is_large")
def test_half_automatic_on_a_large_image_takes_what_is_on_screen(
    viewer, session, everything, colours
):
    session.start_prompts(colours, SPEC)
    session.pump()
    desk = desk_of(session)
    camera = camera_of(viewer)
    camera.center, camera.zoom = (300, 420), 4
    view = view_of(viewer, desk.controller.plane_map, desk.controller.plane)
    on_screen = np.zeros((600, 600), bool)
    y0, x0, y1, x1 = (round(value) for value in np.clip(view.box, 0, 600))
    on_screen[y0:y1, x0:x1] = True
    assert 100 < y0 < y1 < 500
    colours.data.forget()
    run(everything, colours, desk=desk, sure=(0.99, 0.99))
    session.pump()
    was_read = colours.data.was_read.any(axis=2)
    assert was_read[on_screen].all()
    assert not was_read[~around(on_screen, 33)].any()
    proposals = desk.proposals
    assert len(proposals) >= 2
    canvas = desk.layer.layer
    assert max(canvas.data.shape) < 300
    # What is shown at a place of the world is what a click there means.
    for number in proposals.visible_ids():
        mask = proposals.mask(number)
        y, x = np.argwhere(mask.crop)[mask.area // 2] + (mask.y0, mask.x0)
        assert canvas.get_value((y, x), world=True)
        assert proposals.at((y, x)) is not None
    taken = proposals.visible_ids()[0]
    expected = proposals.mask(taken)
    desk.take(taken)
    found = finest(desk.controller.labels_layer)
    np.testing.assert_array_equal(np.asarray(found) != 0, expected.on_plane((600, 600)))


@pytest.mark.usefixtures("small_is_large")
def test_half_automatic_beside_the_image_says_so(viewer, session, everything, colours):
    session.start_prompts(colours, SPEC)
    session.pump()
    camera = camera_of(viewer)
    camera.center, camera.zoom = (9000, 9000), 4
    with pytest.raises(SettingsError, match="on screen"):
        run(everything, colours, desk=desk_of(session))

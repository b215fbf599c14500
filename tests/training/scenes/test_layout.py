# SPDX-License-Identifier: Apache-2.0
"""Labels of a layout are the visible objects, whole ones, none twice."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_sam.training.scenes import layout
from napari_sam.training.scenes.layout import Spread, place
from napari_sam.training.scenes.outlines import Star, blob

CROWDED = Spread(radius=12, sizes=0.3, cover=1.2, clumped=0.8, closeness=0.75)


def round_outline(_: np.random.Generator) -> Star:
    return Star(np.ones(128, np.float32))


def test_each_object_is_one_piece_of_enough_pixels() -> None:
    where = place(np.random.default_rng(0), 200, blob, CROWDED)
    assert where.count == where.labels.max() > 30
    for label in range(1, where.count + 1):
        mask = where.labels == label
        assert mask.sum() >= layout.MIN_PX
        assert ndimage.label(mask)[1] == 1


def test_a_hidden_object_still_shows_its_share() -> None:
    spread = Spread(radius=15, sizes=0, cover=2, clumped=0.9, closeness=0.6, seen=0.7)
    where = place(np.random.default_rng(1), 200, round_outline, spread)
    inner = ndimage.find_objects(where.labels)
    full = np.pi * 15**2
    touching_border = [
        any(s.start == 0 or s.stop == 200 for s in window) for window in inner
    ]
    areas = np.bincount(where.labels.ravel())[1:]
    whole = areas[~np.array(touching_border)]
    assert len(whole) > 10
    assert whole.min() >= 0.69 * full
    assert whole.min() < 0.95 * full  # some are hidden in part


def test_a_round_object_has_its_radius_depth_and_plane() -> None:
    spread = Spread(radius=30, sizes=0, cover=0.01)
    where = place(np.random.default_rng(9), 200, round_outline, spread)
    mask = where.labels == 1
    assert abs(mask.sum() - np.pi * 30**2) < 60
    distance = ndimage.distance_transform_edt(mask)
    assert np.abs(where.depth_px() - distance)[mask].max() < 1.5
    assert np.allclose(np.hypot(where.u, where.v)[mask], 1 - where.depth[mask])
    assert not where.depth[~mask].any()


def test_objects_kept_apart_never_touch() -> None:
    spread = Spread(radius=10, cover=1, clumped=0.8, closeness=0.8, apart=True)
    where = place(np.random.default_rng(3), 200, blob, spread)
    assert where.count > 10
    assert not layout.seams(where.labels).any()
    assert layout.groups(where.labels).max() == where.count


def test_objects_are_cut_by_the_border_at_times() -> None:
    where = place(np.random.default_rng(4), 200, blob, CROWDED)
    assert where.labels[0].any()
    assert where.labels[:, -1].any()


def test_rims_and_seams_of_a_small_case() -> None:
    labels = np.array([[0, 0, 0, 0], [1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 2, 2]], "i4")
    rims = [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0], [0, 1, 1, 0]]
    seams = [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0]]
    assert layout.rims(labels).tolist() == np.array(rims, bool).tolist()
    assert layout.seams(labels).tolist() == np.array(seams, bool).tolist()


def test_only_drops_what_is_left_as_crumbs() -> None:
    where = place(np.random.default_rng(0), 100, blob, Spread(radius=20, cover=0.05))
    some = np.zeros((100, 100), bool)
    rows, columns = np.nonzero(where.labels)
    some[rows[: layout.MIN_PX - 1], columns[: layout.MIN_PX - 1]] = True
    assert not where.only(some).any()
    some[rows[: layout.MIN_PX], columns[: layout.MIN_PX]] = True
    assert np.count_nonzero(where.only(some)) == layout.MIN_PX


def test_discs_lie_inside_their_objects() -> None:
    rng = np.random.default_rng(0)
    where = place(rng, 200, round_outline, Spread(radius=25, cover=0.3))
    discs = where.disc(rng, (0.3, 0.5), 0.2) > 0
    assert discs.any()
    assert (where.labels[discs] > 0).all()
    share = discs.sum() / (where.labels > 0).sum()
    assert 0.3**2 * 0.7 < share < 0.5**2 * 1.3

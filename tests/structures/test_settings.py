# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from napari_sam.errors import SettingsError
from napari_sam.structures.settings import AutoSettings


def test_defaults_are_those_of_the_reference():
    settings = AutoSettings()
    assert (settings.points_per_side, settings.points_per_batch) == (32, 64)
    assert settings.pred_iou_thresh == 0.88
    assert settings.stability_score_thresh == 0.95
    assert settings.crop_overlap_ratio == 512 / 1500


def test_the_grid_has_points_at_cell_centres_with_x_fastest():
    grid = AutoSettings(points_per_side=2).grid_yx(0)
    assert grid.tolist() == [[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]]


def test_deeper_layers_have_fewer_points():
    settings = AutoSettings(
        points_per_side=9, crop_n_layers=3, crop_n_points_downscale_factor=2
    )
    assert [len(settings.grid_yx(layer)) for layer in range(4)] == [81, 16, 4, 1]


def test_own_grids_replace_the_regular_one():
    settings = AutoSettings(points_per_side=None, point_grids=[[[0.1, 0.9]]])
    assert settings.grid_yx(0).tolist() == [[0.1, 0.9]]
    assert hash(settings) == hash(
        AutoSettings(points_per_side=None, point_grids=(np.array([[0.1, 0.9]]),))
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"pred_iou_thresh": 1.5},
        {"stability_score_thresh": float("nan")},
        {"stability_score_offset": -1},
        {"points_per_side": 0},
        {"points_per_side": 2.5},
        {"points_per_side": None},
        {"points_per_batch": 0},
        {"crop_n_layers": -1},
        {"box_nms_thresh": "high"},
        {"min_mask_region_area": True},
        {"output_mode": "png"},
        {"point_grids": [[[0.5, 0.5]]]},
        {"points_per_side": None, "point_grids": [[[0.5, 1.5]]]},
        {"points_per_side": None, "point_grids": [[0.5, 0.5]]},
        {"points_per_side": None, "point_grids": [[[0, 0]]], "crop_n_layers": 1},
    ],
)
def test_values_out_of_range_are_refused(settings):
    with pytest.raises(SettingsError):
        AutoSettings(**settings)


def test_the_users_choice_wins_over_the_models():
    settings = AutoSettings.from_defaults(
        {"pred_iou_thresh": 0.5, "points_per_side": 16}, {"points_per_side": 8}
    )
    assert (settings.pred_iou_thresh, settings.points_per_side) == (0.5, 8)


def test_unknown_names_are_named():
    with pytest.raises(SettingsError, match=r"Unknown setting 'pionts'.*points_per_s"):
        AutoSettings.from_defaults({"pionts": 3})


def test_a_method_is_one_of_three():
    assert AutoSettings().method == "grid"
    assert AutoSettings(method="fast").method == "fast"
    with pytest.raises(SettingsError, match=r"'quick'.*grid, fast, fastest"):
        AutoSettings(method="quick")


@pytest.mark.parametrize(
    "settings",
    [
        {"crop_n_layers": 1},
        {"points_per_side": None, "point_grids": [[[0.5, 0.5]]]},
    ],
)
def test_crops_and_own_grids_belong_to_the_grid(settings):
    AutoSettings(**settings)
    with pytest.raises(SettingsError, match="belongs to the method 'grid'"):
        AutoSettings(method="fast", **settings)


def test_numbers_of_a_grid_choose_the_grid():
    own = {"method": "fast", "points_per_side": 24}
    assert AutoSettings.from_defaults(own, {}).method == "fast"
    assert AutoSettings.from_defaults(own, {"points_per_side": 8}).method == "grid"
    assert AutoSettings.from_defaults(own, {"pred_iou_thresh": 0.1}).method == "fast"
    both = {"points_per_side": 8, "method": "fast"}
    assert AutoSettings.from_defaults(own, both).method == "fast"

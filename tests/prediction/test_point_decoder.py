# SPDX-License-Identifier: Apache-2.0
"""Masks nobody asked for are never drawn; the others are those of the predictor."""

import numpy as np
import pytest
import torch

from napari_sam import load_model
from napari_sam.io.sample_data import load_sample
from napari_sam.prediction.amg_filters import mask_iou
from napari_sam.prediction.automatic_mask_generator import AutomaticMaskGenerator
from napari_sam.prediction.point_decoder import SamPointDecoder
from napari_sam.prediction.predictor import SamPredictor

POINTS_YX = np.array([[60.0, 70.0], [100.0, 120.0], [150.0, 40.0]])


def test_only_prompts_with_a_chosen_mask_are_drawn(tiny_sam, blobs, monkeypatch):
    predictor = SamPredictor(tiny_sam)
    embedding = predictor.embed(blobs.image)
    drawn = []
    draw = predictor.draw

    def counting(attended):
        drawn.append(tuple(attended.predicted_iou.shape))
        return draw(attended)

    monkeypatch.setattr(predictor, "draw", counting)
    answers = SamPointDecoder(predictor, embedding).decode(POINTS_YX)
    nothing = torch.zeros(3, 3, dtype=torch.bool)
    assert answers.logits(nothing, -1.0).shape == (0, 64, 64)
    assert drawn == []

    chosen = nothing.clone()
    chosen[2, 0] = chosen[2, 2] = chosen[0, 1] = True
    logits = answers.logits(chosen, -1.0)
    # One prompt with the one mask that was chosen, one with all of its masks.
    assert drawn == [(1, 1), (1, 4)]
    monkeypatch.undo()
    every = [predictor.predict(embedding, [p], [1]).low_res_logits for p in POINTS_YX]
    expected = [every[0][1], every[2][0], every[2][2]]  # point by point
    np.testing.assert_allclose(logits.numpy(), expected, atol=1e-4)


@pytest.mark.slow
def test_a_grid_finds_the_same_by_the_plain_form_and_on_two_threads():
    model, image = load_model("embedded", device="cpu"), load_sample("nuclei").image
    before = torch.get_num_threads()
    found = []
    try:
        for is_plain, n_threads in ((True, 1), (False, 1), (False, 2)):
            torch.set_num_threads(n_threads)
            predictor = SamPredictor(model, is_plain=is_plain)
            settings = {"method": "grid", "points_per_side": 7, "pred_iou_thresh": 0.5}
            generator = AutomaticMaskGenerator(predictor, **settings)
            found.append(generator.generate(image))
    finally:
        torch.set_num_threads(before)
    plain, *fast = found
    assert len(plain) > 10
    for records in fast:
        assert len(records) == len(plain)
        for record, wanted in zip(records, plain, strict=True):
            assert record.point_yx == wanted.point_yx
            assert abs(record.predicted_iou - wanted.predicted_iou) < 1e-4
            assert mask_iou(record, wanted) > 0.999

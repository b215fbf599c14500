# SPDX-License-Identifier: Apache-2.0
"""Masks agree with the clicks they were made for."""

import numpy as np
import pytest
import torch

from napari_sam import load_model
from napari_sam.io.sample_data import load_sample
from napari_sam.prediction.image_view import ImageView
from napari_sam.prediction.obeyed_clicks import obey_clicks
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.prediction.prompt_batch import PromptBatch
from napari_sam.structures.prompts import BoxPrompt, PointPrompt, PromptSet

FRAME, SIDE = 64, 32
INSIDE, BESIDE, PADDING = 1, 0, -1


def square() -> torch.Tensor:
    """Logits of a square of 8 samples, from 12 to 20, in both directions."""
    logits = torch.full((1, 1, SIDE, SIDE), -3.0)
    logits[..., 12:20, 12:20] = 3.0
    return logits


def clicks(*placed: tuple[float, float, int]) -> PromptBatch:
    """Clicks (row, column, label) on the middle of samples, in the frame."""
    positions = [(2 * x + 0.5, 2 * y + 0.5) for y, x, _ in placed]
    labels = np.array([[label for *_, label in placed]])
    return PromptBatch((np.array([positions]), labels))


def obeyed(*placed: tuple[float, float, int]) -> np.ndarray:
    return (obey_clicks(square(), clicks(*placed), FRAME)[0, 0] > 0).numpy()


def test_masks_that_agree_stay_as_they_are() -> None:
    logits = square()
    prompts = clicks((15, 15, INSIDE), (25, 25, BESIDE))
    assert obey_clicks(logits, prompts, FRAME) is logits


def test_a_click_beside_takes_away_a_disc_as_far_as_the_outline() -> None:
    mask = obeyed((15, 15, INSIDE), (15, 17, BESIDE))  # three samples from the border
    lost = (square()[0, 0] > 0).numpy() & ~mask
    y, x = np.nonzero(lost)
    assert lost[15, 17]
    assert np.hypot(y - 15, x - 17).max() < 3
    assert lost.sum() >= 9
    assert mask[15, 15]  # the other click still holds


def test_a_click_on_the_object_adds_what_lies_between() -> None:
    mask = obeyed((15, 15, INSIDE), (15, 22, INSIDE))
    gained = mask & ~(square()[0, 0] > 0).numpy()
    assert mask[15, 20:23].all()
    assert gained[:, 12:20].sum() == 0
    assert gained.sum() < 30


def test_far_from_everything_little_is_added() -> None:
    mask = obeyed((15, 15, INSIDE), (2, 30, INSIDE))
    assert mask[2, 30]
    assert mask.sum() <= 64 + 5


def test_two_kinds_of_click_on_neighbours_both_hold() -> None:
    mask = obeyed((15, 15, INSIDE), (15, 20, INSIDE), (15, 21, BESIDE))
    assert mask[15, 20]
    assert not mask[15, 21]


@pytest.mark.parametrize("at", [(15.5, 19.5), (11.6, 15.3)])
def test_clicks_between_samples_hold_where_the_mask_is_enlarged(at) -> None:
    y, x = at
    logits = square()
    logits[logits > 0] = 0.2
    changed = obey_clicks(logits, clicks((y, x, BESIDE), (15, 14, INSIDE)), FRAME)
    near = torch.tensor([[[[2 * (x + 0.5) / SIDE - 1, 2 * (y + 0.5) / SIDE - 1]]]])
    value = torch.nn.functional.grid_sample(
        changed, near.float(), align_corners=False, padding_mode="border"
    )
    assert float(value) < 0


def test_a_single_click_may_mean_a_part() -> None:
    logits = square()
    assert obey_clicks(logits, clicks((2, 2, INSIDE)), FRAME) is logits


def test_places_that_fill_up_a_row_mean_nothing() -> None:
    logits = square()
    prompts = clicks((15, 15, INSIDE), (2, 2, PADDING))
    assert obey_clicks(logits, prompts, FRAME) is logits


def test_boxes_and_clicks_beside_the_image_are_no_fault() -> None:
    box = PromptBatch(boxes=np.array([[2.0, 2.0, 30.0, 30.0]]))
    logits = square()
    assert obey_clicks(logits, box, FRAME) is logits
    outside = obey_clicks(logits, clicks((15, 15, INSIDE), (-40, 80, INSIDE)), FRAME)
    assert torch.equal(outside > 0, logits > 0)


@pytest.mark.parametrize("step", [1, 3], ids=["usual", "tiny"])
def test_the_embedded_model_obeys_pixel_by_pixel(step) -> None:
    """Clicks that contradict nuclei; tiny ones are answered enlarged."""
    rng = np.random.default_rng(0)
    sample = load_sample("nuclei")
    image, labels = sample.image[::step, ::step], sample.labels[::step, ::step]
    view = ImageView(SamPredictor(load_model("embedded")), np.ascontiguousarray(image))
    for label in np.unique(labels)[1::12]:
        y0, x0 = np.argwhere(labels == label).min(axis=0)
        y1, x1 = np.argwhere(labels == label).max(axis=0) + 1
        prompts = PromptSet(box=BoxPrompt(y0, x0, y1, x1))
        answer = view.answer(prompts)
        for _ in range(3):
            y = int(rng.integers(y0, y1))
            x = int(rng.integers(x0, x1))
            wanted = not bool(answer.masks[0].inside((y, x, y + 1, x + 1))[0, 0])
            points = (*prompts.points, PointPrompt((y, x), int(wanted)))
            prompts = PromptSet(points, prompts.box, answer.low_res_logits[0])
            answer = view.answer(prompts)
            got = answer.masks[0].inside((y, x, y + 1, x + 1))[0, 0]
            assert got == wanted, (label, y, x)


def test_published_models_answer_as_published(tiny_sam) -> None:
    logits = square()
    prompts = clicks((15, 15, INSIDE), (15, 17, BESIDE))
    assert SamPredictor(tiny_sam).obeying(logits, prompts) is logits

# SPDX-License-Identifier: Apache-2.0
"""The simulated user and the loss of its rounds, against cases worked out by hand."""

import itertools
import math

import numpy as np
import pytest
import torch

from napari_sam.training.losses import round_loss
from napari_sam.training.presets import get_preset
from napari_sam.training.recipe import LossWeights, PromptRounds
from napari_sam.training.simulation import (
    Prompts,
    first_prompts,
    new_points,
    plan_rounds,
    simulate,
)

PLAIN = PromptRounds(point_rounds=2, idle_inside=0, idle_last=0)


def square(top: int, left: int, side: int, size: int = 16) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def logits_of(*masks: np.ndarray) -> torch.Tensor:
    """Four outputs (1, 4, H, W), sure of their masks."""
    return torch.from_numpy(np.stack(masks)).float()[None] * 20 - 10


class Scripted:
    """Answers round after round what it was told to, and keeps the questions."""

    def __init__(self, *answers: tuple[torch.Tensor, list[float]]) -> None:
        self.answers = itertools.cycle(answers)
        self.asked: list[tuple[Prompts, torch.Tensor | None]] = []

    def __call__(self, prompts, mask_input=None):
        self.asked.append((prompts, mask_input))
        logits, iou = next(self.answers)
        return logits, torch.tensor([iou])


def test_the_paper_has_eleven_rounds_with_an_idle_one_anywhere() -> None:
    rounds = get_preset("paper-vit-h").prompts
    places = set()
    for seed in range(200):
        plan = plan_rounds(rounds, np.random.default_rng(seed))
        assert len(plan) == 11
        assert (plan[0], plan[-1]) == ("first", "idle")
        assert plan.count("point") == 8
        places.add(plan[1:-1].index("idle"))
    assert places == set(range(9))  # before, between and after the eight points


def test_first_points_lie_on_the_object_and_are_positive() -> None:
    masks = np.stack([square(2, 3, 4), square(10, 9, 1)])
    rng = np.random.default_rng(0)
    for _ in range(50):
        points = first_prompts(masks, PLAIN, rng, 4, is_box=False).points
        assert points.shape == (2, 1, 3)
        assert (points[..., 2] == 1).all()
        columns, rows = np.floor((points[:, 0, :2].T + 0.5) / 4).astype(int)
        assert masks[[0, 1], rows, columns].all()


def test_boxes_without_noise_are_tight_and_noise_keeps_its_bound() -> None:
    masks = square(4, 2, 8)[None]
    tight = PromptRounds(tight_box_share=1.0)
    rng = np.random.default_rng(0)
    boxes = first_prompts(masks, tight, rng, 4, is_box=True).boxes
    assert boxes.tolist() == [[8, 16, 40, 48]]  # mask pixels 2..10 and 4..12, times 4
    noisy = PromptRounds(box_noise=0.1, box_noise_limit_px=3)
    moved = np.array(
        [
            first_prompts(masks, noisy, rng, 4, is_box=True).boxes[0] - boxes[0]
            for _ in range(300)
        ]
    )
    assert np.abs(moved).max() == 3
    inner = np.abs(moved) < 3
    assert inner.any()
    assert np.abs(moved.mean()) < 0.2


def test_outward_boxes_only_grow() -> None:
    masks = square(4, 2, 8)[None]
    outward = PromptRounds(box_noise=0.0, box_outward=0.025)
    rng = np.random.default_rng(0)
    for _ in range(50):
        box = first_prompts(masks, outward, rng, 4, is_box=True).boxes[0]
        grown = (box - [8, 16, 40, 48]) * (-1, -1, 1, 1)
        assert (grown >= 0).all()
        assert (grown <= 0.8 + 1e-4).all()  # 2.5 % of 32 pixels


def test_points_go_where_the_prediction_is_wrong() -> None:
    wanted = square(2, 2, 6)
    missing = wanted & ~square(2, 2, 3)
    surplus = square(12, 12, 2)
    rng = np.random.default_rng(0)
    predicted = (wanted & ~missing) | surplus
    seen = set()
    for _ in range(100):
        x, y, label = new_points(predicted[None], wanted[None], PLAIN, rng, 1)[0, 0]
        row, column = int(y + 0.5), int(x + 0.5)
        assert (missing if label else surplus)[row, column]
        seen.add(int(label))
    assert seen == {0, 1}


def test_pairs_have_a_click_of_either_kind() -> None:
    pairs = PromptRounds(point_pairs=True)
    wanted, predicted = square(2, 2, 6), square(2, 2, 3)  # nothing too much
    rng = np.random.default_rng(0)
    for _ in range(30):
        (inside, outside) = new_points(predicted[None], wanted[None], pairs, rng, 1)[0]
        assert (inside[2], outside[2]) == (1, 0)
        assert (wanted & ~predicted)[int(inside[1] + 0.5), int(inside[0] + 0.5)]
        assert not wanted[int(outside[1] + 0.5), int(outside[0] + 0.5)]


def test_logits_of_the_output_with_the_best_predicted_iou_go_back() -> None:
    wanted = square(4, 4, 8)
    first = logits_of(wanted, square(0, 0, 2), square(4, 4, 4), wanted)
    decode = Scripted((first, [0.99, 0.1, 0.8, 0.3]))
    rng = np.random.default_rng(0)
    simulate(decode, wanted[None], PLAIN, LossWeights(), rng, 1, is_box=False)
    asked = decode.asked
    assert asked[0][1] is None
    # a lone click: outputs 1..3 count, of which 2 thinks best of itself
    assert torch.equal(asked[1][1], first[:, 2:3])
    # later rounds show output 0, and its logits go back
    assert torch.equal(asked[2][1], first[:, 0:1])
    assert [prompts.points.shape[1] for prompts, _ in asked] == [1, 2, 3]
    assert np.array_equal(asked[2][0].points[:, :2], asked[1][0].points)
    # the click of round 2 corrects what was shown: the missing part of the square
    x, y, label = asked[1][0].points[0, 1]
    assert label == 1
    assert (wanted & ~square(4, 4, 4))[int(y + 0.5), int(x + 0.5)]


def test_a_box_stays_with_the_points_that_follow_and_idle_rounds_add_none() -> None:
    wanted = square(4, 4, 8)
    answer = (logits_of(*[square(4, 4, 6)] * 4), [0.5] * 4)
    rounds = PromptRounds(point_rounds=1, idle_inside=0, idle_last=1)
    decode = Scripted(answer)
    rng = np.random.default_rng(0)
    simulate(decode, wanted[None], rounds, LossWeights(), rng, 1, is_box=True)
    kinds = [(p.boxes is not None, p.points is not None) for p, _ in decode.asked]
    assert kinds == [(True, False), (True, True), (True, True)]
    assert decode.asked[1][0].points.tolist() == decode.asked[2][0].points.tolist()
    assert decode.asked[2][1] is not None


def test_without_logits_nothing_goes_back() -> None:
    wanted = square(4, 4, 8)
    answer = (logits_of(*[square(4, 4, 6)] * 4), [0.5] * 4)
    rounds = PromptRounds(point_rounds=2, idle_inside=0, idle_last=0, logits_share=0)
    decode = Scripted(answer)
    rng = np.random.default_rng(0)
    simulate(decode, wanted[None], rounds, LossWeights(), rng, 1, is_box=False)
    assert [mask for _, mask in decode.asked] == [None] * 3


@pytest.mark.parametrize("is_detached", [False, True])
def test_gradients_flow_through_rounds_unless_they_are_stopped(is_detached) -> None:
    wanted = square(4, 4, 8)
    first = logits_of(*[square(4, 4, 6)] * 4).requires_grad_()
    given: list[torch.Tensor] = []

    def decode(prompts, mask_input=None):
        if mask_input is None:
            return first, torch.zeros(1, 4)
        given.append(mask_input)
        return mask_input.expand(1, 4, 16, 16) * 0.5, torch.zeros(1, 4)

    rounds = PromptRounds(
        point_rounds=1, idle_inside=0, idle_last=0, detach_logits=is_detached
    )
    rng = np.random.default_rng(0)
    simulate(decode, wanted[None], rounds, LossWeights(), rng, 1, is_box=True)
    assert given[0].requires_grad != is_detached


def test_the_loss_of_a_round_by_hand() -> None:
    target = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    undecided = torch.zeros(2, 2)
    right = (target[0] * 2 - 1) * 50
    logits = torch.stack([undecided, right])[None]  # (1, 2, 2, 2)
    predicted = torch.tensor([[0.3, 0.6]])
    only_undecided = round_loss(logits[:, :1], predicted[:, :1], target, LossWeights())
    focal = (0.25 + 3 * 0.75) * 0.25 * math.log(2) / 4
    dice = 1 - (2 * 0.5 + 1) / (2 + 1 + 1)
    # logits of zero are no mask: its IoU is 0 and the head said 0.3
    expected = 20 * focal + dice + 0.3**2
    assert float(only_undecided.total) == pytest.approx(expected)
    assert only_undecided.terms["focal"] == pytest.approx(focal)

    # of both, only the right one is learnt from: its IoU is 1 and its head said 0.6
    best = round_loss(logits, predicted, target, LossWeights())
    assert float(best.total) == pytest.approx(0.4**2, abs=1e-6)
    every = LossWeights(iou_all=True, iou_l1=True)
    assert float(round_loss(logits, predicted, target, every).total) == pytest.approx(
        (0.3 + 0.4) / 2, abs=1e-6
    )


def test_only_the_best_output_gets_a_gradient() -> None:
    target = torch.from_numpy(square(4, 4, 8)).float()[None]
    logits = logits_of(square(4, 4, 7), square(0, 0, 3), square(4, 4, 2))
    logits = (logits / 10).requires_grad_()
    round_loss(logits, torch.zeros(1, 3), target, LossWeights()).total.backward()
    sums = logits.grad.abs().sum(dim=(0, 2, 3))
    assert sums[0] > 0
    assert sums[1:].tolist() == [0, 0]


def test_balanced_term_lets_a_tiny_object_count() -> None:
    target = torch.zeros(1, 64, 64)
    target[0, 10, 10] = 1
    blind = torch.full((1, 1, 64, 64), -10.0)
    iou = torch.zeros(1, 1)
    plain = LossWeights(dice=0)
    balanced = LossWeights(dice=0, balanced=1)
    assert float(round_loss(blind, iou, target, plain).total) < 0.1
    assert float(round_loss(blind, iou, target, balanced).total) > 4

# SPDX-License-Identifier: Apache-2.0
import numpy as np

from napari_sam.evaluation.cases import Case, WorstCases, image_case, object_case
from napari_sam.evaluation.prompts import true_objects
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompts import BoxPrompt, PointPrompt, PromptSet


def _case(kind: str, score: float, image: str = "a") -> Case:
    nothing = np.zeros((1, 1), np.int32)
    return Case(kind, image, 1, score, np.zeros((1, 1, 3), np.uint8), nothing, nothing)


def test_the_worst_of_every_kind_are_kept_worst_first():
    kept = WorstCases(3)
    for score in (0.9, 0.2, 0.5, 0.7, 0.1, 0.6):
        assert kept.wants("point", score) == (score in (0.9, 0.2, 0.5, 0.7, 0.1))
        kept.add(_case("point", score))
    kept.add(_case("box", 0.8))
    found = [(case.kind, case.score) for case in kept.all()]
    assert found == [("point", 0.1), ("point", 0.2), ("point", 0.5), ("box", 0.8)]


def test_of_equal_scores_the_earlier_ones_stay():
    kept = WorstCases(2)
    for name in "abc":
        kept.add(_case("point", 0.5, name))
    assert [case.image for case in kept.all()] == ["a", "b"]
    assert not WorstCases(0).wants("point", 0.0)


def test_an_object_is_cut_out_with_its_prompts():
    labels = np.zeros((200, 300), np.uint16)
    labels[100:120, 5:25] = 4
    (found,) = true_objects(labels)
    rgb = np.random.default_rng(0).integers(0, 255, (200, 300, 3)).astype(np.uint8)
    answer = MaskWindow(90, 0, np.ones((20, 10), bool))
    prompts = PromptSet((PointPrompt((109, 14)),), BoxPrompt(100, 5, 120, 25))
    case = object_case("point", "a", rgb, found, answer, prompts, 0.25)
    # 16 pixels around it, less at the border of the image
    assert case.corner_yx == (84, 0)
    np.testing.assert_array_equal(case.pixels, rgb[84:136, 0:41])
    np.testing.assert_array_equal(case.truth, labels[84:136, 0:41] == 4)
    assert case.prediction.sum() == 200
    assert case.prediction[90 - 84, 0] == 1
    assert case.points == ((25, 14, 1),)
    assert case.box == (16, 5, 36, 25)
    assert (case.label, case.score, case.step) == (4, 0.25, 1)


def test_large_things_are_shrunk():
    labels = np.zeros((900, 1100), np.uint16)
    labels[200:700, 200:900] = 1
    (found,) = true_objects(labels)
    rgb = np.zeros((900, 1100, 3), np.uint8)
    rgb[200:700, 200:900] = 255
    prompts = PromptSet((PointPrompt((449, 549)),))
    case = object_case("point", "a", rgb, found, found.window, prompts, 1.0)
    assert case.step == 3
    assert max(case.pixels.shape) <= 512
    np.testing.assert_array_equal(case.pixels[..., 0] == 255, case.truth == 1)
    np.testing.assert_array_equal(case.prediction, case.truth)
    whole = image_case("grid", "a", rgb, labels, labels * 7, 0.5, 25)
    assert whole.pixels.shape == (300, 367, 3)
    assert whole.label is None
    assert np.unique(whole.prediction).tolist() == [0, 1]

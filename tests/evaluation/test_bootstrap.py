# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from napari_sam.evaluation.bootstrap import Bootstrap, Part


def _parts(*images):
    return [Part.of_values(values) for values in images]


def test_mean_pools_objects_and_the_interval_draws_images():
    # Two images: every sample is one of three equally simple mixtures.
    score = Bootstrap(4000).of_objects(_parts([0.0, 0.0, 0.0], [1.0]))
    assert score.value == 0.25
    assert (score.low, score.high) == (0, 1)
    assert (score.n, score.of, score.resampled) == (4, "objects", "images")


def test_interval_of_many_images_is_that_of_the_mean():
    """The known answer: mean +- 1.96 standard errors."""
    values = np.random.default_rng(1).normal(size=400)
    score = Bootstrap(4000).of_images(_parts(*([v] for v in values)))
    error = values.std() / 20
    assert score.value == pytest.approx(values.mean())
    assert score.low == pytest.approx(values.mean() - 1.96 * error, abs=0.012)
    assert score.high == pytest.approx(values.mean() + 1.96 * error, abs=0.012)
    assert (score.n, score.of, score.resampled) == (400, "images", "images")


def test_one_image_is_resampled_by_object():
    ious = np.array([0.0] * 50 + [1.0] * 50)
    score = Bootstrap(4000).of_objects(_parts(ious))
    assert score.resampled == "objects"
    # 100 throws of a coin: 0.5 +- 1.96 * 0.05
    assert score.low == pytest.approx(0.402, abs=0.015)
    assert score.high == pytest.approx(0.598, abs=0.015)


def test_images_without_objects_are_not_drawn():
    empty = Part(np.zeros((0, 1)), np.zeros((0, 1)))
    with_empty = Bootstrap().of_objects([empty, *_parts([0.2, 0.4]), empty])
    assert with_empty == Bootstrap().of_objects(_parts([0.2, 0.4]))
    assert with_empty.resampled == "objects"


def test_objects_can_be_drawn_from_several_images():
    parts = _parts([0.0] * 50, [1.0] * 50)
    by_objects = Bootstrap(2000, resampled="objects").of_objects(parts)
    assert by_objects.resampled == "objects"
    assert 0.35 < by_objects.low < 0.45
    assert Bootstrap(2000).of_objects(parts).low == 0


def test_nothing_and_one_thing_have_no_interval():
    nothing = Bootstrap().of_objects([])
    assert np.isnan(nothing.value)
    assert nothing.n == 0
    one = Bootstrap().of_objects(_parts([0.3]))
    assert one.value == 0.3
    assert np.isnan(one.low)
    assert one.resampled is None


def test_the_seed_decides_and_equal_scores_are_drawn_alike():
    rng = np.random.default_rng(0)
    images = [rng.random(5) for _ in range(9)]
    first, again = (
        Bootstrap(200, seed=3).of_objects(_parts(*images)) for _ in range(2)
    )
    assert first == again
    assert first != Bootstrap(200, seed=4).of_objects(_parts(*images))
    # Every sample of a score that is better by 0.1 everywhere is better by 0.1.
    better = Bootstrap(200, seed=3).of_objects(_parts(*(i + 0.1 for i in images)))
    assert better.low - first.low == pytest.approx(0.1)
    assert better.high - first.high == pytest.approx(0.1)


def test_level_widens_the_interval():
    parts = _parts(*np.random.default_rng(0).random((30, 1)))
    wide, narrow = (Bootstrap(1000, level).of_images(parts) for level in (0.99, 0.5))
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_ratios_of_one_image_are_resampled_by_what_was_counted():
    # AP of 8 found, 1 invented, 1 missed: 8 / 10
    hits = np.array([[1.0]] * 8 + [[0.0]] * 2)
    score = Bootstrap(4000).of_images([Part(hits, np.ones_like(hits))])
    assert score.value == 0.8
    assert (score.n, score.of, score.resampled) == (1, "images", "objects")
    assert 0.5 <= score.low <= 0.6
    assert score.high == 1


def test_thresholds_are_averaged_after_dividing():
    part = Part(np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([[1.0, 2.0], [1.0, 1.0]]))
    assert part.value == pytest.approx((1 + 1 / 3) / 2)
    assert part.at(1).value == pytest.approx(1 / 3)
    assert Part(np.zeros((0, 2)), np.zeros((0, 2))).value == 1  # nothing there or found


def test_many_things_are_drawn_in_chunks(monkeypatch):
    parts = _parts(*np.random.default_rng(0).random((50, 2)))
    whole = Bootstrap(300).of_objects(parts)
    monkeypatch.setattr("napari_sam.evaluation.bootstrap._CHUNK", 1000)
    chunked = Bootstrap(300).of_objects(parts)
    assert chunked.value == whole.value
    assert chunked.low == pytest.approx(whole.low, abs=0.03)
    assert chunked.high == pytest.approx(whole.high, abs=0.03)


def test_means_over_images_keep_every_image_when_objects_are_drawn():
    certain = Part(np.ones((6, 1)), np.ones((6, 1)))
    open_question = Part(np.array([[1.0], [0.0]] * 5), np.ones((10, 1)))
    parts = [certain, certain, open_question, Part.of_values([0.5])]
    score = Bootstrap(2000, resampled="objects").of_images(parts)
    assert score.value == pytest.approx((1 + 1 + 0.5 + 0.5) / 4)
    # Only the third image can move, by its 10 things: 0.5 +- 1.96 * 0.158, a quarter.
    assert score.low == pytest.approx(0.75 - 0.3 / 4, abs=0.026)
    assert score.high == pytest.approx(0.75 + 0.3 / 4, abs=0.026)
    assert score.resampled == "objects"

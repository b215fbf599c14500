# SPDX-License-Identifier: Apache-2.0
"""A model answers annotation's questions with masks of the plane."""

from __future__ import annotations

from threading import Event

import numpy as np
import pytest

from napari_sam.annotation.job import JobContext, Priority
from napari_sam.annotation.jobs import ModelThread
from napari_sam.errors import Cancelled
from napari_sam.prediction.model_segmenter import ModelSegmenter
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompts import BoxPrompt, PointPrompt, PromptSet


@pytest.fixture(scope="module")
def segmenter(tiny_sam) -> ModelSegmenter:
    return ModelSegmenter(tiny_sam)


@pytest.fixture(scope="module")
def embedding(segmenter, blobs):
    return segmenter.embed(blobs.image)


@pytest.fixture(scope="module")
def truths(blobs) -> list[MaskWindow]:
    ids = np.unique(blobs.labels)[1:]
    return [MaskWindow.of_mask(blobs.labels == i) for i in ids]


def middle(mask: MaskWindow) -> tuple[float, float]:
    y0, x0, y1, x1 = mask.box
    return (y0 + y1) / 2, (x0 + x1) / 2


def test_a_click_is_answered_with_four_masks_one_of_which_fits(
    segmenter, embedding, truths
):
    scores = []
    for truth in truths:
        point = PointPrompt(middle(truth))
        answer = segmenter.predict(embedding, PromptSet((point,)))
        assert len(answer) == 4
        scores.append(max(mask.iou(truth) for mask in answer.masks[1:]))
    assert np.median(scores) > 0.85


def test_the_preview_is_one_mask_that_fits(segmenter, embedding, truths):
    scores = []
    for truth in truths:
        answer = segmenter.preview(embedding, middle(truth))
        assert len(answer) == 1
        scores.append(answer.masks[0].iou(truth))
    assert np.median(scores) > 0.8


def test_many_boxes_become_one_mask_each(segmenter, embedding, truths):
    boxes = [PromptSet(box=BoxPrompt(*truth.box)) for truth in truths]
    seen = []
    answers = segmenter.predict_many(
        embedding, boxes, progress=lambda *report: seen.append(report)
    )
    assert seen[-1] == (len(truths), len(truths))
    scores = [
        answer.masks[0].iou(truth)
        for answer, truth in zip(answers, truths, strict=True)
    ]
    assert np.median(scores) > 0.85


def test_a_set_flag_stops_embedding_and_shortens_many(segmenter, embedding, truths):
    stop = Event()
    stop.set()
    with pytest.raises(Cancelled):
        segmenter.embed(np.arange(4096.0).reshape(64, 64), cancel=stop)
    points = [PromptSet((PointPrompt(middle(truth)),)) for truth in truths]
    some = segmenter.predict_many(embedding, points, cancel=stop)
    assert len(some) < len(points)


def test_an_empty_list_has_no_answers(segmenter, embedding):
    assert segmenter.predict_many(embedding, []) == []


@pytest.fixture
def thread():
    runner = ModelThread("test-model")
    yield runner
    runner.close()


def test_a_click_waits_for_one_block_of_an_encoder_at_most(
    tiny_sam, thread, monkeypatch
):
    predictor = SamPredictor(tiny_sam)
    engine = predictor._engine
    encode = engine.encode_image
    order = []

    def watched(x, check):
        def between_blocks():
            order.append("block")
            if len(order) == 1:
                thread.submit(
                    lambda _: order.append("click"), priority=Priority.INTERACTIVE
                )
            check()

        return encode(x, between_blocks)

    def prefetch(context: JobContext) -> None:
        picture = np.random.default_rng(1).integers(0, 255, (64, 64), dtype=np.uint8)
        predictor.embed(picture, cancel=context.cancel)

    monkeypatch.setattr(engine, "encode_image", watched)
    thread.submit(prefetch, priority=Priority.PREFETCH)
    thread.wait(10)
    n_blocks = len(tiny_sam.image_encoder.blocks)
    assert order[:3] == ["block", "click", "block"]
    assert order.count("block") >= n_blocks
    assert order.count("click") == 1


@pytest.mark.parametrize("kind", ["many prompts", "grid"])
def test_a_click_waits_for_one_batch_of_the_decoder_at_most(
    segmenter, embedding, blobs, thread, kind
):
    order = []

    def progress(done: int, total: int) -> None:
        order.append("batch")
        if len(order) == 1:
            thread.submit(
                lambda _: order.append("click"), priority=Priority.INTERACTIVE
            )

    def work(context: JobContext) -> None:
        if kind == "grid":
            segmenter.segment_everything(
                blobs.image,
                {"points_per_side": 4},
                progress=progress,
                cancel=context.cancel,
            )
        else:
            points = [PromptSet((PointPrompt((20.0 * i, 30.0)),)) for i in range(10)]
            segmenter.predict_many(
                embedding, points, progress=progress, cancel=context.cancel
            )

    thread.submit(work, priority=Priority.GRID)
    thread.wait(20)
    assert order[:3] == ["batch", "click", "batch"]
    assert order.count("batch") >= 3

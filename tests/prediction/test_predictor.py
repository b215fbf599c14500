# SPDX-License-Identifier: Apache-2.0
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_sam.errors import Cancelled, ImageError, ModelTypeError, PromptError
from napari_sam.prediction.automatic_mask_generator import AutomaticMaskGenerator
from napari_sam.prediction.intensity import IntensityRule
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.prediction.transforms import FrameTransform, upscale_logits


@pytest.fixture(scope="module")
def predictor(tiny_sam):
    return SamPredictor(tiny_sam)


@pytest.fixture(scope="module")
def embedding(predictor, blobs):
    return predictor.embed(blobs.image)


@pytest.fixture
def centres(blobs):
    numbers = np.unique(blobs.labels)[1:]
    return np.array([np.argwhere(blobs.labels == n).mean(axis=0) for n in numbers])


def iou(first, second):
    return (first & second).sum() / (first | second).sum()


def count_calls(monkeypatch, predictor, name):
    """Record what a predictor asks its engine, whatever form of the model it has."""
    calls = []
    method = getattr(predictor._engine, name)

    def counted(*args, **kwargs):
        calls.append(args)
        return method(*args, **kwargs)

    monkeypatch.setattr(predictor._engine, name, counted)
    return calls


def test_a_click_segments_the_object_under_it(predictor, embedding, blobs, centres):
    found = [predictor.predict(embedding, [centre]) for centre in centres]
    ious = [
        iou(answer.masks[answer.best], blobs.labels == number)
        for number, answer in zip(np.unique(blobs.labels)[1:], found, strict=True)
    ]
    assert np.mean(ious) > 0.8


def test_a_box_segments_the_object_in_it(predictor, embedding, blobs):
    number = blobs.labels.max()
    rows, columns = np.nonzero(blobs.labels == number)
    box = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
    (mask,) = predictor.predict(embedding, box_yx=box).masks
    assert iou(mask, blobs.labels == number) > 0.8


def test_an_embedding_describes_the_image(embedding, blobs):
    assert embedding.original_size == blobs.image.shape[:2]
    assert embedding.input_size == (208, 256)
    assert embedding.features.shape == (1, 64, 16, 16)
    assert embedding.features.dtype == np.float32
    assert embedding.mask_input_shape == (64, 64)


def test_shapes_of_an_answer(predictor, embedding):
    answer = predictor.predict(embedding, [[100, 100]])
    assert answer.masks.shape == (3, 208, 256)
    assert answer.masks.dtype == bool
    assert answer.predicted_iou.shape == (3,)
    assert answer.low_res_logits.shape == (3, 64, 64)
    assert answer.predicted_iou.dtype == answer.low_res_logits.dtype == np.float32


@pytest.mark.parametrize(
    ("prompts", "n_masks"),
    [
        ({"points_yx": [[100, 100]]}, 3),
        ({"points_yx": [[100, 100]], "point_labels": [0]}, 3),
        ({"points_yx": [[100, 100], [50, 50]]}, 1),
        ({"box_yx": [10, 10, 50, 60]}, 1),
        ({"points_yx": [[30, 30]], "box_yx": [10, 10, 50, 60]}, 1),
        ({"mask_input": np.zeros((64, 64))}, 1),
        ({"points_yx": [[100, 100]], "multimask_output": False}, 1),
        ({"box_yx": [10, 10, 50, 60], "multimask_output": True}, 3),
    ],
)
def test_clear_prompts_have_one_answer_and_a_click_has_three(
    predictor, embedding, prompts, n_masks
):
    assert len(predictor.predict(embedding, **prompts)) == n_masks


def test_masks_are_those_of_the_plain_form(predictor, tiny_sam):
    image = np.random.default_rng(0).integers(0, 256, (331, 97, 3), dtype=np.uint8)
    embedding = predictor.embed(image)
    answer = predictor.predict(embedding, [[100, 40]])
    transform = FrameTransform.of_embedding(embedding, tiny_sam)
    logits = upscale_logits(torch.from_numpy(answer.low_res_logits), transform).numpy()
    is_clear = np.abs(logits) > 1e-4
    np.testing.assert_array_equal(answer.masks[is_clear], (logits > 0)[is_clear])


def test_a_mask_input_refines_the_answer(predictor, embedding, centres):
    first = predictor.predict(embedding, [centres[0]])
    plain = predictor.predict(embedding, [centres[0]], multimask_output=False)
    for logits in (first.low_res_logits[1], first.low_res_logits[1:2]):
        refined = predictor.predict(
            embedding, [centres[0]], mask_input=logits, multimask_output=False
        )
        assert not np.array_equal(refined.low_res_logits, plain.low_res_logits)


def test_many_objects_at_once_are_answered_like_one_by_one(
    tiny_sam, predictor, embedding, centres
):
    small_batches = SamPredictor(tiny_sam, batch_size=4)
    many = small_batches.predict_batch(embedding, centres[:, None])
    assert len(many) == len(centres)
    for centre, answer in zip(centres, many, strict=True):
        alone = predictor.predict(embedding, [centre])
        np.testing.assert_allclose(answer.predicted_iou, alone.predicted_iou, atol=1e-5)
        np.testing.assert_allclose(
            answer.low_res_logits, alone.low_res_logits, atol=1e-3
        )
        assert (answer.masks != alone.masks).sum() <= 5


def test_batches_of_boxes_and_masks(predictor, embedding):
    boxes = [[10, 10, 60, 60], [100, 100, 50, 60]]
    logits = np.zeros((2, 1, 64, 64))
    answers = predictor.predict_batch(
        embedding, boxes_yx=boxes, mask_inputs=logits, multimask_output=True
    )
    assert [len(answer) for answer in answers] == [3, 3]
    alone = predictor.predict(
        embedding, box_yx=boxes[1], mask_input=logits[1], multimask_output=True
    )
    np.testing.assert_allclose(answers[1].predicted_iou, alone.predicted_iou, atol=1e-5)


def test_padding_fills_up_rows_of_a_batch(predictor, embedding):
    points = [[[50, 50], [60, 60]], [[100, 100], [np.nan, np.nan]]]
    answers = predictor.predict_batch(embedding, points, [[1, 0], [1, -1]])
    assert len(answers) == 2
    assert np.isfinite(answers[1].low_res_logits).all()
    with pytest.raises(PromptError, match="Prompt 1 of the batch has no point"):
        predictor.predict_batch(embedding, points, [[1, 0], [-1, -1]])


def test_an_empty_batch_has_no_answers(predictor, embedding):
    assert predictor.predict_batch(embedding, np.zeros((0, 1, 2))) == []


@pytest.mark.parametrize(
    ("prompts", "why"),
    [
        ({}, "no prompt"),
        ({"point_labels": [1]}, "without points"),
        ({"points_yx": [[np.nan, 3]]}, "NaN"),
        ({"points_yx": [[500, 3]]}, "outside"),
        ({"points_yx": [3, 3]}, r"shape \(2,\).*\(N, 2\)"),
        ({"points_yx": [[[3, 3]]]}, r"shape \(1, 1, 2\).*predict_batch"),
        ({"points_yx": [["a", 3]]}, "array of numbers"),
        ({"points_yx": [[3, 3]], "point_labels": [2]}, "label"),
        ({"points_yx": [[3, 3]], "point_labels": [-1]}, "label"),
        ({"points_yx": [[3, 3]], "point_labels": [1, 1]}, r"\(2,\).* 1 points need"),
        ({"points_yx": [[3, 3]], "point_labels": 1}, r"point_labels has shape \(\)"),
        ({"box_yx": [3, 3, 3, 9]}, "no area"),
        ({"box_yx": [-9, 3, -4, 9]}, "outside"),
        ({"box_yx": [[3, 3, 5, 9]]}, r"shape \(1, 4\)"),
        ({"mask_input": np.zeros((65, 64))}, "shape"),
        ({"mask_input": np.full((64, 64), np.inf)}, "NaN or inf"),
    ],
)
def test_prompts_that_make_no_sense_are_refused(predictor, embedding, prompts, why):
    with pytest.raises(PromptError, match=why):
        predictor.predict(embedding, **prompts)


def test_batches_of_unequal_numbers_are_refused(predictor, embedding):
    with pytest.raises(PromptError, match=r"\[2, 1\] objects"):
        predictor.predict_batch(
            embedding, [[[3, 3]], [[4, 4]]], boxes_yx=[[0, 0, 9, 9]]
        )


@pytest.mark.parametrize(
    ("prompts", "why"),
    [
        ({"mask_inputs": 3}, "mask_inputs is 3"),
        ({"points_yx": [[3, 3]]}, r"shape \(1, 2\).*\(B, N, 2\)"),
        ({"boxes_yx": [3, 3, 9, 9]}, r"shape \(4,\).*\(B, 4\)"),
    ],
)
def test_batches_without_an_axis_of_objects_are_refused(
    predictor, embedding, prompts, why
):
    with pytest.raises(PromptError, match=why):
        predictor.predict_batch(embedding, **prompts)


def test_the_name_of_a_model_is_no_model():
    for call in (SamPredictor, AutomaticMaskGenerator):
        with pytest.raises(ModelTypeError, match=r'load_model\("vit_b"\)') as caught:
            call("vit_b")
        assert isinstance(caught.value, TypeError)
    with pytest.raises(ModelTypeError, match=r"checkpoint"):
        SamPredictor(Path("w.pth"))


def test_box_corners_in_any_order_and_beyond_the_image_are_the_same_box(
    predictor, embedding
):
    wanted = predictor.predict(embedding, box_yx=[0, 20, 90, 256])
    for box in ([90, 256, 0, 20], [-40, 20, 90, 999]):
        answer = predictor.predict(embedding, box_yx=box)
        np.testing.assert_array_equal(answer.low_res_logits, wanted.low_res_logits)


def test_an_embedding_of_another_model_is_refused(predictor, embedding):
    with pytest.raises(ImageError, match=r"'vit_x'.*embed the image again"):
        predictor.predict(replace(embedding, model="vit_x"), [[3, 3]])


def test_an_embedding_of_other_weights_of_the_same_name_is_refused(
    predictor, embedding
):
    foreign = replace(embedding, model_digest="f" * 64)
    with pytest.raises(ImageError, match=r"other weights.*f{12}.*embed .* again"):
        predictor.predict(foreign, [[3, 3]])


def test_an_embedding_names_the_weights_that_made_it(tiny_sam, embedding):
    assert len(tiny_sam.digest) == 64
    assert embedding.model_digest == tiny_sam.digest


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
def test_images_of_odd_shapes_are_legal(predictor, shape):
    image = np.arange(np.prod(shape)).reshape(shape)
    answer = predictor.predict(predictor.embed(image), [[0, shape[1] - 1]])
    assert answer.masks.shape == (3, *shape)
    assert np.isfinite(answer.predicted_iou).all()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int32, np.float32])
def test_grey_images_of_any_type_can_be_embedded(predictor, dtype):
    image = (np.indices((40, 50)).sum(axis=0) % 7 > 2).astype(dtype)
    assert np.isfinite(predictor.embed(image).features).all()


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_an_image_without_content_can_be_embedded(predictor, value):
    embedding = predictor.embed(np.full((40, 50), value))
    assert np.isfinite(predictor.predict(embedding, [[3, 3]]).predicted_iou).all()


def test_what_is_no_image_is_refused(predictor):
    with pytest.raises(ImageError):
        predictor.embed(np.ones(5))


def test_equal_pictures_have_equal_digests(predictor, blobs, embedding):
    digests = {
        predictor.embed(blobs.image.copy()).digest,
        predictor.embed(np.moveaxis(blobs.image, 2, 0), 0).digest,
        embedding.digest,
    }
    assert len(digests) == 1
    others = {
        predictor.embed(blobs.image[::-1]).digest,
        predictor.embed(blobs.image[:-1]).digest,
        predictor.embed(blobs.image, intensity=IntensityRule(limits=(0, 99))).digest,
    }
    assert len(others - digests) == 3


def test_the_digest_knows_the_weights(tiny_sam, blobs, embedding, monkeypatch):
    monkeypatch.setattr(tiny_sam, "digest", "0" * 64)
    assert SamPredictor(tiny_sam).embed(blobs.image).digest != embedding.digest


def test_the_same_picture_is_encoded_once(tiny_sam, blobs, monkeypatch):
    predictor = SamPredictor(tiny_sam)
    calls = count_calls(monkeypatch, predictor, "encode_image")
    predictor.embed(blobs.image)
    predictor.embed(blobs.image)
    assert len(calls) == 1


def test_features_are_copied_to_the_device_once(tiny_sam, embedding, monkeypatch):
    predictor = SamPredictor(tiny_sam)  # has not embedded this plane itself
    prepared = count_calls(monkeypatch, predictor, "prepare")
    asked = count_calls(monkeypatch, predictor, "attend")
    for y in (50, 60, 70):
        predictor.predict(embedding, [[y, 50]])
    assert len(asked) == 3
    assert len({id(image) for image, _ in asked}) == 1
    assert len(prepared) == 1


def test_the_last_image_leaves_no_trace(tiny_sam, blobs, embedding):
    predictor = SamPredictor(tiny_sam)
    before = predictor.predict(embedding, [[100, 100]])
    predictor.predict(predictor.embed(blobs.image[::-1]), [[3, 3]])
    after = predictor.predict(embedding, [[100, 100]])
    np.testing.assert_array_equal(after.low_res_logits, before.low_res_logits)


def test_a_cancelled_embedding_stops_between_blocks(tiny_sam, monkeypatch):
    cancel = threading.Event()
    predictor = SamPredictor(tiny_sam)
    encode = predictor._engine.encode_image
    n_checks = []

    def encode_and_cancel(x, check=None):
        def counted():
            n_checks.append(1)
            if len(n_checks) == 2:
                cancel.set()
            check()

        return encode(x, check=counted)

    monkeypatch.setattr(predictor._engine, "encode_image", encode_and_cancel)
    with pytest.raises(Cancelled):
        predictor.embed(np.zeros((9, 9)), cancel=cancel)
    assert len(n_checks) == 2


def test_no_float64_reaches_the_model(tiny_sam, embedding, monkeypatch):
    predictor = SamPredictor(tiny_sam)
    calls = count_calls(monkeypatch, predictor, "attend")
    predictor.predict(
        embedding, [[3, 3]], box_yx=[1, 1, 9, 9], mask_input=np.zeros((64, 64))
    )
    ((_, (points, boxes, masks)),) = calls
    dtypes = {tensor.dtype for tensor in (points[0], boxes, masks)}
    assert dtypes == {torch.float32}


def test_when_memory_runs_out_smaller_batches_are_tried(
    tiny_sam, embedding, centres, monkeypatch
):
    predictor = SamPredictor(tiny_sam, batch_size=16)
    attend = predictor.attend
    sizes = []

    def attend_to_few(embedding, prompts):
        sizes.append(prompts.n_prompts)
        if prompts.n_prompts > 2:
            raise torch.OutOfMemoryError
        return attend(embedding, prompts)

    monkeypatch.setattr(predictor, "attend", attend_to_few)
    answers = predictor.predict_batch(embedding, centres[:, None])
    assert len(answers) == len(centres)
    assert sizes[0] == len(centres)
    assert set(sizes[1:]) > {1, 2}


@pytest.mark.parametrize("n_prompts", [1, 2])
def test_operations_for_one_prompt_are_not_split(
    tiny_sam, embedding, centres, monkeypatch, n_prompts
):
    predictor = SamPredictor(tiny_sam)
    expected = predictor.predict_batch(embedding, centres[:n_prompts, None])
    attend, n_threads = predictor.attend, []

    def note(*given):
        n_threads.append(torch.get_num_threads())
        return attend(*given)

    monkeypatch.setattr(predictor, "attend", note)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        answers = predictor.predict_batch(embedding, centres[:n_prompts, None])
    finally:
        torch.set_num_threads(before)
    assert n_threads == [1 if n_prompts == 1 else 3]
    for answer, wanted in zip(answers, expected, strict=True):
        np.testing.assert_array_equal(answer.masks, wanted.masks)
        np.testing.assert_allclose(
            answer.low_res_logits, wanted.low_res_logits, atol=1e-4
        )

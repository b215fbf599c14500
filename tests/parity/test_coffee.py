# SPDX-License-Identifier: Apache-2.0
"""Answers of the published implementation on scikit-image's ``coffee`` picture.

``mini`` runs by default; the full-size models, with weights made by a recipe, are slow.
On a GPU, with TF32 off, ten times the tolerance of the CPU is allowed.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from skimage import data

from napari_sam.modeling.device import resolve_device
from napari_sam.modeling.registry import build_model
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.weights.load import load_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam.modeling.sam import Sam
    from napari_sam.structures.candidates import Candidates
    from napari_sam.structures.embedding import ImageEmbedding

PARITY = Path(__file__).parents[1] / "data" / "parity"
FEATURES_AND_LOGITS = {"atol": 2e-4, "rtol": 1e-4}
IOU = {"atol": 1e-4, "rtol": 0.0}
AREA = {"atol": 0.0, "rtol": 1e-3}
MASK_PIXELS = 5

BOX = (60.0, 120.0, 330.0, 420.5)
PROMPTS = {
    "one_point": {"points_yx": [(200, 300)], "point_labels": [1]},
    "pos_neg": {
        "points_yx": [(200, 300), (220.25, 320.5), (380, 40)],
        "point_labels": [1, 0, 1],
    },
    "box": {"box_yx": BOX},
    "box_and_point": {"points_yx": [(100, 200)], "point_labels": [0], "box_yx": BOX},
    "mask_input": {"points_yx": [(190, 310)], "point_labels": [1]},
}
MULTIMASK = {"one_point", "box_and_point"}


class Case(NamedTuple):
    """One model, its answers and the published ones."""

    slack: int  # how many times the tolerance of the CPU is allowed
    thin: int  # every n-th row and column of features and logits is stored
    published: dict[str, npt.NDArray[np.generic]]
    embedding: ImageEmbedding
    answers: dict[str, Candidates]


def recipe(key: str, shape: tuple[int, ...]) -> npt.NDArray[np.generic]:
    """Weights as a function of name and shape; see tests/data/parity/README.md."""
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    z = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(
        shape, dtype=np.float32
    )
    is_embedding = "embed" in key and not key.startswith("image_encoder")
    tokens = ("mask_decoder.iou_token", "mask_decoder.mask_tokens")
    rules = (
        (key.endswith("running_var"), lambda: 1 + 0.1 * abs(z)),
        (key.endswith("positional_encoding_gaussian_matrix"), lambda: z),
        ("pos_embed" in key or "rel_pos" in key, lambda: 0.2 * z),
        (key.endswith("attention_biases"), lambda: 0.2 * z),
        (z.ndim >= 2 and is_embedding and shape[0] == 1, lambda: z),
        (key.startswith(tokens), lambda: z),
        (z.ndim >= 2, lambda: z / np.sqrt(np.prod(shape[1:]), dtype=np.float32)),
        (key.endswith(("bias", "running_mean")), lambda: 0.05 * z),
        (True, lambda: 1 + 0.1 * z),
    )
    return next(value() for applies, value in rules if applies)


def recipe_model(architecture: str) -> Sam:
    sam = build_model(architecture, device="meta")
    weights = {
        key: torch.from_numpy(np.asarray(recipe(key, tuple(value.shape))))
        for key, value in sam.state_dict().items()
    }
    sam.load_state_dict(weights, assign=True)
    return sam.eval().requires_grad_(False)


SLOW = {"vit_t": 600, "vit_b": 900}  # seconds until a test gives up


def _cases() -> list[object]:
    on_cpu = [
        pytest.param(
            (name, "cpu"), id=name, marks=[pytest.mark.slow, pytest.mark.timeout(limit)]
        )
        for name, limit in SLOW.items()
    ]
    on_gpu = [
        pytest.param((name, "auto"), id=f"{name}-gpu", marks=pytest.mark.gpu)
        for name in ("mini", *SLOW)
    ]
    return [pytest.param(("mini", "cpu"), id="mini"), *on_cpu, *on_gpu]


@pytest.fixture(scope="module", params=_cases())
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    name, device = request.param
    sam = (
        load_model(checkpoint=PARITY / "mini.safetensors", device="cpu")
        if name == "mini"
        else recipe_model(name)
    ).to(resolve_device(device))
    assert device == "cpu" or sam.device.type != "cpu", "no GPU here"
    with torch.backends.cudnn.flags(allow_tf32=False):
        yield _answer(name, sam, slack=1 if device == "cpu" else 10)


def _answer(name: str, sam: Sam, slack: int) -> Case:
    predictor = SamPredictor(sam)
    embedding = predictor.embed(data.coffee())
    answers: dict[str, Candidates] = {}
    for prompt, arguments in PROMPTS.items():
        mask_input = None
        if prompt == "mask_input":
            mask_input = answers["one_point"].low_res_logits[1]
        answers[prompt] = predictor.predict(
            embedding,
            **arguments,
            mask_input=mask_input,
            multimask_output=prompt in MULTIMASK,
        )
    with np.load(PARITY / f"{name}.npz") as published:
        thin = 1 if name == "mini" else 4
        return Case(slack, thin, dict(published), embedding, answers)


def times(slack: int, tolerance: dict[str, float]) -> dict[str, float]:
    return {key: slack * value for key, value in tolerance.items()}


def test_features(case: Case) -> None:
    published = case.published["features"]
    channels = 8 if case.thin > 1 else 1
    features = case.embedding.features[0, ::channels, :: case.thin, :: case.thin]
    assert features.std() > 0.1
    np.testing.assert_allclose(
        features, published, **times(case.slack, FEATURES_AND_LOGITS)
    )


@pytest.mark.parametrize("prompt", PROMPTS)
def test_low_res_logits(case: Case, prompt: str) -> None:
    logits = case.answers[prompt].low_res_logits[:, :: case.thin, :: case.thin]
    np.testing.assert_allclose(
        logits,
        case.published[f"{prompt}__low_res"],
        **times(case.slack, FEATURES_AND_LOGITS),
    )


@pytest.mark.parametrize("prompt", PROMPTS)
def test_predicted_iou(case: Case, prompt: str) -> None:
    np.testing.assert_allclose(
        case.answers[prompt].predicted_iou,
        case.published[f"{prompt}__iou"],
        **times(case.slack, IOU),
    )


@pytest.mark.parametrize("prompt", PROMPTS)
def test_areas(case: Case, prompt: str) -> None:
    masks = case.answers[prompt].masks
    assert masks.shape[1:] == (400, 600)
    np.testing.assert_allclose(
        masks.sum(axis=(1, 2)),
        case.published[f"{prompt}__area"],
        **times(case.slack, AREA),
    )


@pytest.mark.parametrize("prompt", sorted(PROMPTS.keys() - {"mask_input"}))
def test_masks(case: Case, prompt: str) -> None:
    if case.thin > 1:
        assert f"{prompt}__mask_bits" not in case.published
        return  # full-size masks are stored as areas only
    masks = case.answers[prompt].masks
    bits = np.unpackbits(case.published[f"{prompt}__mask_bits"])
    differing = (masks != bits.reshape(masks.shape)).sum(axis=(1, 2))
    assert differing.max() <= case.slack * MASK_PIXELS

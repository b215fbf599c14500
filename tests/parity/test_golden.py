# SPDX-License-Identifier: Apache-2.0
"""Statistics and samples of what the published models answer on a made-up picture.

The weights follow tests/data/state_dicts/README.md: another recipe than that of the
``coffee`` fixtures.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch

from napari_sam.modeling.registry import build_model
from napari_sam.prediction.predictor import SamPredictor
from napari_sam.prediction.transforms import resize_rgb, resized_shape

if TYPE_CHECKING:
    from napari_sam.modeling.sam import Sam
    from napari_sam.structures.candidates import Candidates
    from napari_sam.structures.embedding import ImageEmbedding

STATE_DICTS = Path(__file__).parents[1] / "data" / "state_dicts"
EMBEDDING, LOGITS, IOU = 2e-5, 5e-5, 5e-6
AREA = 2e-5  # two pixels in 100,000 of the picture

PROMPTS = {
    "point_multi": {"points_yx": [(300, 400)], "point_labels": [1]},
    "point_single": {"points_yx": [(300, 400)], "point_labels": [1]},
    "box": {"box_yx": (120, 100, 420, 500)},
    "points_box": {
        "points_yx": [(200, 200), (80, 650)],
        "point_labels": [1, 0],
        "box_yx": (120, 100, 420, 500),
    },
    "point_plus_mask0_single": {"points_yx": [(300, 400)], "point_labels": [1]},
}


class Case(NamedTuple):
    golden: dict[str, Any]
    dense_pe: npt.NDArray[np.float32]
    embedding: ImageEmbedding
    answers: dict[str, Candidates]


def picture() -> npt.NDArray[np.uint8]:
    y, x, c = np.ogrid[:600, :800, :3]
    return ((37 * x + 57 * y + 101 * c + (x * y) // 7) % 256).astype(np.uint8)


def fill(key: str, value: torch.Tensor) -> torch.Tensor:
    """Draw one tensor from its name; computed in float64, stored in float32."""
    if not value.is_floating_point():
        return torch.zeros(value.shape, dtype=value.dtype)
    draw = np.random.RandomState(zlib.crc32(key.encode())).standard_normal
    r = draw(value.numel()).reshape(value.shape)
    rules = (
        (key.endswith("gaussian_matrix"), lambda: r),
        (key.endswith("running_mean"), lambda: 0.1 * r),
        (key.endswith("running_var"), lambda: 1 + 0.1 * abs(r)),
        (r.ndim >= 2, lambda: r / np.sqrt(r.size / r.shape[0])),
        (key.endswith("weight"), lambda: 1 + 0.1 * r),
        (True, lambda: 0.05 * r),
    )
    filled = next(rule() for applies, rule in rules if applies)
    return torch.from_numpy(np.asarray(filled, dtype=np.float32))


def golden_model(architecture: str) -> Sam:
    sam = build_model(architecture, device="meta")
    weights = {key: fill(key, value) for key, value in sam.state_dict().items()}
    sam.load_state_dict(weights, assign=True)
    return sam.eval().requires_grad_(False)


def assert_like(
    array: npt.NDArray[np.float32], golden: dict[str, Any], atol: float
) -> None:
    assert list(array.shape) == golden["shape"]
    samples = array.reshape(-1)[golden["flat_index"]]
    np.testing.assert_allclose(samples, golden["values"], atol=atol, rtol=0)
    exact = array.astype(np.float64)
    assert exact.mean() == pytest.approx(golden["mean"], abs=atol)
    assert exact.std() == pytest.approx(golden["std"], abs=atol)
    assert np.abs(exact).max() == pytest.approx(golden["absmax"], abs=atol)


def test_resized_picture() -> None:
    golden = json.loads((STATE_DICTS / "golden_vit_b.json").read_text())["resized"]
    resized = np.ascontiguousarray(
        resize_rgb(picture(), resized_shape((600, 800), 1024))
    )
    assert list(resized.shape) == golden["shape"]
    assert int(resized.sum()) == golden["sum"]
    assert hashlib.sha256(resized.tobytes()).hexdigest() == golden["sha256"]


@pytest.fixture(scope="module", params=["vit_t", "vit_b"])
def case(request: pytest.FixtureRequest) -> Case:
    golden = json.loads((STATE_DICTS / f"golden_{request.param}.json").read_text())
    sam = golden_model(request.param)
    predictor = SamPredictor(sam)
    embedding = predictor.embed(picture())
    answers: dict[str, Candidates] = {}
    for prompt, arguments in PROMPTS.items():
        mask_input = None
        if "mask0" in prompt:
            mask_input = answers["point_multi"].low_res_logits[0]
        answers[prompt] = predictor.predict(
            embedding,
            **arguments,
            mask_input=mask_input,
            multimask_output=prompt == "point_multi",
        )
    return Case(golden, sam.prompt_encoder.dense_pe().numpy(), embedding, answers)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_image_embedding(case: Case) -> None:
    assert_like(case.embedding.features, case.golden["image_embedding"], EMBEDDING)
    assert_like(case.dense_pe, case.golden["dense_pe"], EMBEDDING)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_answers(case: Case, prompt: str) -> None:
    golden, answer = case.golden["prompts"][prompt], case.answers[prompt]
    np.testing.assert_allclose(answer.predicted_iou, golden["iou"], atol=IOU, rtol=0)
    assert_like(answer.low_res_logits, golden["low_res"], LOGITS)
    areas = answer.masks.sum(axis=(1, 2))
    np.testing.assert_allclose(
        areas, golden["mask_area"], atol=AREA * answer.masks[0].size, rtol=0
    )

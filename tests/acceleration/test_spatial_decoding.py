# SPDX-License-Identifier: Apache-2.0
"""The fast form of the embedded model's decoder against the plain one."""

import numpy as np
import pytest
import torch
from torch import nn

from napari_sam.acceleration import spatial_transformer
from napari_sam.acceleration.decoding import PlainDecoding, Prompts
from napari_sam.acceleration.engine import Engine
from napari_sam.acceleration.spatial_decoding import SpatialDecoding, is_spatial
from napari_sam.modeling.mask_decoder import MaskDecoder
from napari_sam.modeling.prompt_encoder import PromptEncoder
from napari_sam.modeling.prompt_encoder_spatial import SpatialPromptEncoder
from napari_sam.modeling.registry import build_model
from napari_sam.modeling.sam import ImageFeatures, Sam
from napari_sam.modeling.two_way_transformer import TwoWayTransformer

CHANNELS, GRID, FRAME = 32, 16, 128
CLOSE = 1e-5  # of outputs whose standard deviation is 1


def small_model(seed=0, encoder=SpatialPromptEncoder):
    """A model of the embedded one's kind in which no weight is zero."""
    torch.manual_seed(seed)
    image_encoder = nn.Identity()
    image_encoder.compute_dtype = torch.float32
    model = Sam(
        image_encoder,
        encoder(embed_dim=CHANNELS, grid_size=GRID, image_size=FRAME),
        MaskDecoder(
            CHANNELS,
            TwoWayTransformer(depth=2, embedding_dim=CHANNELS, num_heads=4, mlp_dim=48),
            iou_head_hidden_dim=24,
        ),
        image_size=FRAME,
        name="small",
    )
    return with_drawn_weights(model).eval()


def with_drawn_weights(model):
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:
                weight.add_(0.3 * torch.randn_like(weight))
            elif not weight.any():
                weight.copy_(0.1 * torch.randn_like(weight))
    return model


def drawn_features(channels=CHANNELS, grid=GRID, seed=1):
    draw = torch.Generator().manual_seed(seed)
    shapes = [
        (1, channels, grid, grid),
        (1, channels // 4, 2 * grid, 2 * grid),
        (1, channels // 8, 4 * grid, 4 * grid),
    ]
    first, *finer = (torch.randn(shape, generator=draw) for shape in shapes)
    return ImageFeatures(first, tuple(finer))


def drawn_points(n_prompts, n_points, labels=(1,), seed=2, frame=FRAME):
    draw = np.random.default_rng(seed)
    positions = draw.uniform(-0.2 * frame, 1.2 * frame, (n_prompts, n_points, 2))
    chosen = draw.choice(labels, (n_prompts, n_points))
    return torch.tensor(positions, dtype=torch.float32), torch.tensor(chosen)


def drawn_boxes(n_prompts, seed=3, frame=FRAME):
    corners = np.random.default_rng(seed).uniform(0, frame, (n_prompts, 2, 2))
    return torch.tensor(np.sort(corners, axis=1).reshape(-1, 4), dtype=torch.float32)


def drawn_masks(n_prompts, grid=GRID):
    return 5 * torch.randn(n_prompts, 1, 4 * grid, 4 * grid)


def check_same(model, features, prompts):
    """Compare both forms; outputs are measured by their standard deviation."""
    with torch.inference_mode():
        plain, fast = PlainDecoding(model), SpatialDecoding(model)
        wanted = plain.attend(plain.prepare(features), prompts)
        found = fast.attend(fast.prepare(features), prompts)
        masks = wanted.draw()
        assert torch.isfinite(masks).all()
        close(found.predicted_iou, wanted.predicted_iou)
        close(found.draw(), masks)
    return wanted, found


def close(found, wanted):
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() <= CLOSE * max(1.0, float(wanted.std()))


PROMPTS = {
    "a click": Prompts(drawn_points(1, 1)),
    "a background click": Prompts(drawn_points(1, 1, labels=(0,))),
    "three clicks": Prompts(drawn_points(1, 3, labels=(0, 1))),
    "padded clicks": Prompts(drawn_points(5, 4, labels=(-1, 0, 1))),
    "nothing but padding": Prompts(drawn_points(2, 2, labels=(-1,)), drawn_boxes(2)),
    "thirty clicks": Prompts(drawn_points(2, 30, labels=(0, 1))),
    "sixty-four clicks": Prompts(drawn_points(64, 1)),
    "a box": Prompts(boxes=drawn_boxes(1)),
    "sixty-four boxes": Prompts(boxes=drawn_boxes(64)),
    "boxes and clicks": Prompts(drawn_points(3, 2, labels=(0, 1)), drawn_boxes(3)),
    "a mask": Prompts(masks=drawn_masks(1)),
    "masks and clicks": Prompts(drawn_points(3, 1), masks=drawn_masks(3)),
    "everything": Prompts(drawn_points(2, 9), drawn_boxes(2), drawn_masks(2)),
}


@pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS.keys())
@pytest.mark.parametrize("block", [2048, 100])
def test_prompts_are_answered_as_by_the_plain_form(prompts, block, monkeypatch):
    monkeypatch.setattr(spatial_transformer, "_BLOCK", block)
    check_same(small_model(), drawn_features(), prompts)


def test_models_without_finer_maps_have_the_form_too():
    features = ImageFeatures(drawn_features().embedding)
    check_same(small_model(), features, Prompts(drawn_points(3, 1)))


def test_large_scores_do_not_overflow():
    model = small_model()
    with torch.no_grad():
        for layer in model.mask_decoder.transformer.layers:
            layer.cross_attn_token_to_image.q_proj.weight.mul_(40)
            layer.cross_attn_image_to_token.k_proj.weight.mul_(40)
    features = drawn_features()
    with torch.inference_mode():
        plain, fast = PlainDecoding(model), SpatialDecoding(model)
        prompts = Prompts(drawn_points(2, 1))
        wanted = plain.attend(plain.prepare(features), prompts).draw()
        found = fast.attend(fast.prepare(features), prompts).draw()
    # Sharp attention turns rounding into more than rounding.
    assert torch.isfinite(found).all()
    assert (found - wanted).abs().median() <= 1e-4 * wanted.std()


@pytest.mark.parametrize("side", [8, 5, 32])
@pytest.mark.parametrize("height", [FRAME, 77])
def test_points_of_a_grid_are_answered_alike_by_windows(side, height):
    """Later points at the same place in their cells get a window of one map."""
    model, features = small_model(), drawn_features()
    y, x = np.meshgrid(
        (np.arange(side) + 0.5) / side * height,
        (np.arange(side) + 0.5) / side * FRAME,
        indexing="ij",
    )
    grid = torch.tensor(np.stack([x, y], -1).reshape(-1, 1, 2), dtype=torch.float32)
    prompts = Prompts((grid, torch.ones(len(grid), 1, dtype=torch.int64)))
    with torch.inference_mode():
        fast, plain = SpatialDecoding(model), PlainDecoding(model)
        found = fast.attend(fast.prepare(features), prompts)
        some = torch.arange(0, len(grid), max(1, len(grid) // 16))
        part = Prompts((grid[some], prompts.points[1][some]))
        wanted = plain.attend(plain.prepare(features), part)
        close(found.of_prompts(some).draw(), wanted.draw())
        close(found.predicted_iou[some], wanted.predicted_iou)


@pytest.mark.parametrize(
    "rows", [[4, 1, 5], [5, 4, 3, 2, 1, 0], [1, 0, 3, 2, 1, 0], [2, 2]]
)
def test_dropped_prompts_and_outputs_change_nothing_for_the_others(rows):
    model, features = small_model(), drawn_features()
    wanted, found = check_same(model, features, Prompts(drawn_points(6, 1)))
    rows, outputs = torch.tensor(rows), (2 * torch.arange(len(rows))) % 5 % 4
    with torch.inference_mode():
        kept = found.of_prompts(rows).of_outputs(outputs)
        expected = wanted.of_prompts(rows).of_outputs(outputs)
        close(kept.predicted_iou, expected.predicted_iou)
        close(kept.draw(), expected.draw())
        swapped = found.of_outputs(torch.ones(6, dtype=torch.int64)).of_prompts(rows)
        close(swapped.draw(), wanted.draw()[rows, 1:2])


def test_an_earlier_answer_can_be_drawn_after_later_ones():
    """Memory is used again, but not while somebody needs what it holds."""
    model, features = small_model(), drawn_features()
    with torch.inference_mode():
        fast = SpatialDecoding(model)
        image = fast.prepare(features)
        first = fast.attend(image, Prompts(drawn_points(2, 1)))
        wanted = first.draw()
        later = [
            fast.attend(image, Prompts(drawn_points(2, 1, seed=seed)))
            for seed in (5, 6, 7)
        ]
        torch.testing.assert_close(first.draw(), wanted, rtol=0, atol=0)
        del later, first
        again = fast.attend(image, Prompts(drawn_points(2, 1)))
        torch.testing.assert_close(again.draw(), wanted, rtol=0, atol=0)


def test_threads_answer_as_one_does(three_threads):
    model, features = small_model(), drawn_features()
    prompts = Prompts(drawn_points(9, 2, labels=(0, 1)))
    with torch.inference_mode():
        fast = SpatialDecoding(model)
        image = fast.prepare(features)
        wanted = fast.attend(image, prompts).draw()
        with three_threads():
            found = fast.attend(image, prompts).draw()
    close(found, wanted)


def test_the_form_is_for_its_own_kind_of_model():
    assert is_spatial(small_model())
    assert not is_spatial(small_model().train())
    assert not is_spatial(small_model().double())
    assert not is_spatial(small_model(encoder=PromptEncoder))


def test_the_engine_takes_the_form_and_keeps_up_with_the_weights():
    model, features = small_model(), drawn_features()
    prompts = Prompts(drawn_points(1, 1))
    engine, plain = Engine(model), Engine(model, is_plain=True)
    with torch.inference_mode():
        before = engine.attend(engine.prepare(features), prompts).draw()
    with_drawn_weights(model)
    with torch.inference_mode():
        after = engine.attend(engine.prepare(features), prompts).draw()
        wanted = plain.attend(plain.prepare(features), prompts).draw()
    close(after, wanted)
    assert (after - before).abs().max() > 1e-3


@pytest.mark.parametrize("is_plain", [False, True], ids=["fast", "plain"])
def test_an_autocast_of_the_caller_changes_nothing(is_plain):
    model, features = small_model(), drawn_features()
    prompts = Prompts(drawn_points(3, 1), masks=drawn_masks(3))

    def draw():
        engine = Engine(model, is_plain=is_plain)
        return engine.draw(engine.attend(engine.prepare(features), prompts))

    with torch.inference_mode():
        wanted = draw()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = draw()
    assert torch.equal(found, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("n_prompts", [1, 5])
def test_the_whole_embedded_model_on_random_weights(n_prompts):
    torch.manual_seed(4)
    model = with_drawn_weights(build_model("embedded")).eval()
    features = drawn_features(128, 64)
    prompts = Prompts(drawn_points(n_prompts, 1, frame=512))
    check_same(model, features, prompts)

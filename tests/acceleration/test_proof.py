# SPDX-License-Identifier: Apache-2.0
"""Fast forms that have to prove themselves where they are used."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from napari_sam.acceleration.batched_decoding import BatchedDecoding
from napari_sam.acceleration.decoding import PlainDecoding, Prompts
from napari_sam.acceleration.fused_encoder import FusedViT
from napari_sam.acceleration.proof import ProvenDecoding, ProvenEncoding
from napari_sam.errors import Cancelled
from napari_sam.modeling.build import DecoderSpec, VitSpec, build_vit_sam
from napari_sam.modeling.sam import ImageFeatures, Sam

SIDE = 64
CLICK = Prompts((torch.tensor([[[20.0, 30.0]]]), torch.ones(1, 1, dtype=torch.int64)))


@pytest.fixture
def model() -> Sam:
    torch.manual_seed(0)
    vit = VitSpec(
        embed_dim=16,
        depth=2,
        num_heads=2,
        mlp_dim=24,
        global_attn_indexes=(1,),
        window_size=3,
    )
    spec = replace(DecoderSpec(), image_size=SIDE, grid_size=4, channels=32, mlp_dim=40)
    sam = build_vit_sam("small", vit, spec).eval().requires_grad_(requires_grad=False)
    for weight in sam.parameters():
        weight.add_(torch.randn_like(weight) * 0.1)
    return sam


@pytest.fixture
def frames() -> Tensor:
    return torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def features() -> ImageFeatures:
    draw = torch.Generator().manual_seed(2)
    return ImageFeatures(torch.randn(1, 32, 4, 4, generator=draw))


class Maker:
    """Makes forms and counts them."""

    def __init__(self, make) -> None:
        self._make = make
        self.n_made = 0

    def __call__(self):
        self.n_made += 1
        return self._make()


class Encodings:
    """Encoders that are right, wrong or broken, and how often they ran."""

    def __init__(self, model: Sam) -> None:
        self.model = model
        self.n_runs = 0

    def right(self):
        fused = FusedViT(self.model.image_encoder)

        def encode(x: Tensor, check=None) -> Tensor:
            self.n_runs += 1
            return fused(x, check)

        return encode

    def wrong(self):
        right = self.right()
        return lambda x, check=None: right(x, check).flip(-1)

    def empty(self):
        right = self.right()
        return lambda x, check=None: right(x, check)[..., :1]

    def nothing(self):
        right = self.right()
        return lambda x, check=None: right(x, check) * float("nan")

    def broken(self):
        def encode(x: Tensor, check=None) -> Tensor:
            msg = "no kernel image is available"
            raise RuntimeError(msg)

        return encode

    def unmakeable(self):
        msg = "no such function"
        raise AttributeError(msg)


def test_a_right_form_is_taken_after_one_proof(model, frames, caplog) -> None:
    forms = Encodings(model)
    encoding = ProvenEncoding(model, forms.right, "as it is")
    expected = model.encode_image(frames).embedding
    with caplog.at_level(logging.WARNING):
        for n_runs in (2, 3, 4):
            torch.testing.assert_close(encoding(frames), expected, atol=1e-4, rtol=1e-4)
            assert forms.n_runs == n_runs
    assert not caplog.messages


@pytest.mark.parametrize("kind", ["wrong", "empty", "nothing", "broken", "unmakeable"])
def test_any_other_form_is_never_seen(model, frames, caplog, kind: str) -> None:
    maker = Maker(getattr(Encodings(model), kind))
    encoding = ProvenEncoding(model, maker, "as it is")
    expected = model.encode_image(frames).embedding
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert torch.equal(encoding(frames).embedding, expected)
    assert maker.n_made == 1
    (message,) = caplog.messages
    assert "small on cpu runs without its fast encoding" in message


def test_other_engines_of_a_model_believe_the_first(model, frames, caplog) -> None:
    forms = Encodings(model)
    ProvenEncoding(model, forms.right, "as it is")(frames)
    before = forms.n_runs
    ProvenEncoding(model, forms.right, "as it is")(frames)
    assert forms.n_runs == before + 1  # no proof
    ProvenEncoding(model, forms.right, "changed")(frames)
    assert forms.n_runs == before + 3

    broken = Maker(forms.broken)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            ProvenEncoding(model, broken, "changed again")(frames)
    assert broken.n_made == 1
    assert len(caplog.messages) == 1


def test_low_precision_is_proved_at_its_own_tolerance(model, frames, caplog) -> None:
    exact = model.encode_image(frames).embedding
    model.image_encoder.compute_dtype = torch.bfloat16
    forms = Encodings(model)
    with caplog.at_level(logging.WARNING):
        found = ProvenEncoding(model, forms.right, "low")(frames)
    assert not caplog.messages
    assert forms.n_runs == 2
    assert not torch.equal(found, model.encode_image(frames).embedding)
    torch.testing.assert_close(found, exact, atol=0.1, rtol=0.1)


def test_the_user_may_stop_the_first_encoding(model, frames) -> None:
    encoding = ProvenEncoding(model, Encodings(model).right, "as it is")

    def stop() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        encoding(frames, stop)
    with pytest.raises(Cancelled):
        encoding(frames, stop)
    assert encoding(frames).shape == (2, 32, 4, 4)


class Wrong(BatchedDecoding):
    """Answers with masks that are a little off, but only for several prompts."""

    def exchange(self, image, sparse, dense):
        attended = super().exchange(image, sparse, dense)
        if len(sparse) == 1:
            return attended
        return attended._replace(hyper=attended.hyper.roll(1, dims=1))


class WrongAlone(BatchedDecoding):
    """Wrong from the third time that one prompt is asked."""

    n_asked = 0

    def exchange(self, image, sparse, dense):
        attended = super().exchange(image, sparse, dense)
        self.n_asked += len(sparse) == 1
        iou = attended.predicted_iou + (self.n_asked >= 3)
        return attended._replace(predicted_iou=iou)


class Broken(BatchedDecoding):
    def attend(self, image, prompts):
        msg = "CUDA error: an illegal instruction was encountered"
        raise RuntimeError(msg)


def answers(decoding, features) -> list[Tensor]:
    attended = decoding.attend(decoding.prepare(features), CLICK)
    return [attended.predicted_iou, attended.draw()]


def test_a_right_decoder_is_taken(model, features, caplog) -> None:
    maker = Maker(lambda: BatchedDecoding(model))
    decoding = ProvenDecoding(model, maker, "as it is")
    with caplog.at_level(logging.WARNING):
        found = answers(decoding, features)
    assert not caplog.messages
    assert type(decoding.prepare(features)) is not type(
        PlainDecoding(model).prepare(features)
    )
    expected = answers(PlainDecoding(model), features)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert maker.n_made == 1


@pytest.mark.parametrize("kind", [Wrong, WrongAlone, Broken])
def test_any_other_decoder_is_never_seen(model, features, caplog, kind) -> None:
    decoding = ProvenDecoding(model, lambda: kind(model), "as it is")
    with caplog.at_level(logging.WARNING):
        found = [answers(decoding, features) for _ in range(2)]
    expected = answers(PlainDecoding(model), features)
    assert all(map(torch.equal, found[0], expected))
    assert all(map(torch.equal, found[1], expected))
    (message,) = caplog.messages
    assert "small on cpu runs without its fast decoding" in message


def test_encoder_and_decoder_are_proved_apart(model, frames, features, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        ProvenEncoding(model, Encodings(model).broken, "as it is")(frames)
        forms = Maker(lambda: BatchedDecoding(model))
        ProvenDecoding(model, forms, "as it is").prepare(features)
        ProvenDecoding(model, forms, "as it is").prepare(features)
    assert len(caplog.messages) == 1
    assert forms.n_made == 2

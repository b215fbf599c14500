# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from napari_sam.errors import CheckpointError, DeviceError, UnknownModelError
from napari_sam.modeling.registry import build_model
from napari_sam.weights import download
from napari_sam.weights.catalogue import get_row
from napari_sam.weights.load import load_model, read_file

if TYPE_CHECKING:
    from napari_sam.modeling.sam import Sam

MINI = Path(__file__).parents[1] / "data" / "parity" / "mini.safetensors"


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return load_file(MINI)


def load(path: Path) -> Sam:
    return load_model(checkpoint=path, device="cpu")


def assert_same(sam: Sam, weights: dict[str, torch.Tensor], atol: float = 0) -> None:
    state = sam.state_dict()
    assert state.keys() == weights.keys()
    for key, value in weights.items():
        torch.testing.assert_close(state[key], value, atol=atol, rtol=0)


class TestFormats:
    def test_loaded_model_is_ready(self, weights: dict[str, torch.Tensor]) -> None:
        sam = load(MINI)
        assert_same(sam, weights)
        assert sam.name == "mini"
        assert sam.digest == hashlib.sha256(MINI.read_bytes()).hexdigest()
        assert not sam.training
        assert not any(p.requires_grad for p in sam.parameters())
        assert (sam.device.type, sam.dtype, sam.image_size) == (
            "cpu",
            torch.float32,
            256,
        )
        assert not any(t.is_meta for t in (*sam.parameters(), *sam.buffers()))

    @pytest.mark.parametrize("zipped", [True, False])
    @pytest.mark.parametrize("wrapper", [None, "model", "model_state"])
    def test_pytorch_files(
        self,
        tmp_path: Path,
        weights: dict[str, torch.Tensor],
        zipped: bool,
        wrapper: str | None,
    ) -> None:
        path = tmp_path / "mini.pth"
        named = {f"sam.{key}": value for key, value in weights.items()}
        content = {wrapper: named, "epoch": 3} if wrapper else named
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        assert_same(load(path), weights)

    def test_the_suffix_does_not_decide(
        self, tmp_path: Path, weights: dict[str, torch.Tensor]
    ) -> None:
        for name in ("a.safetensors", "weights"):
            torch.save(weights, tmp_path / name)
            assert_same(load(tmp_path / name), weights)
        (tmp_path / "b.pth").write_bytes(MINI.read_bytes())
        assert_same(load_model(checkpoint=str(tmp_path / "b.pth")).cpu(), weights)

    def test_half_precision_files_become_float32(
        self, tmp_path: Path, weights: dict[str, torch.Tensor]
    ) -> None:
        path = tmp_path / "half.safetensors"
        save_file({key: value.half() for key, value in weights.items()}, path)
        sam = load(path)
        assert {p.dtype for p in sam.parameters()} == {torch.float32}
        assert_same(sam, {k: v.half().float() for k, v in weights.items()})

    def test_views_and_transposed_tensors(
        self, tmp_path: Path, weights: dict[str, torch.Tensor]
    ) -> None:
        path = tmp_path / "views.pt"
        big = torch.cat([value.flatten() for value in weights.values()])
        parts = big.split([value.numel() for value in weights.values()])
        views = {
            key: part.reshape(weights[key].shape)
            for key, part in zip(weights, parts, strict=True)
        }
        key = "image_encoder.blocks.0.mlp.lin1.weight"
        views[key] = views[key].T.contiguous().T
        torch.save(views, path)
        sam = load(path)
        assert_same(sam, weights)
        assert all(value.is_contiguous() for value in sam.state_dict().values())

    def test_a_loaded_file_can_be_replaced(
        self, tmp_path: Path, weights: dict[str, torch.Tensor]
    ) -> None:
        path = tmp_path / "mini.safetensors"
        path.write_bytes(MINI.read_bytes())
        sam = load(path)
        with path.open("r+b") as file:
            file.seek(-1000, os.SEEK_END)
            file.write(b"\xff" * 1000)
        assert_same(sam, weights)


class TestNames:
    def test_unknown_name(self) -> None:
        with pytest.raises(UnknownModelError, match=r"'vit_x'.*embedded"):
            load_model("vit_x")
        with pytest.raises(UnknownModelError, match="'vit_x'"):
            load_model("vit_x", checkpoint=MINI)

    def test_catalogue_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The row's file is fetched, has to be of its architecture, gives its name."""
        path = tmp_path / "any.safetensors"
        save_file(build_model("vit_t").state_dict(), path)
        asked = []

        def fetch(row: object, *, progress: object) -> Path:
            asked.append((row, progress))
            return path

        monkeypatch.setattr(download, "fetch", fetch)
        sam = load_model("vit_t_lm", device="cpu", progress=print)
        assert asked == [(get_row("vit_t_lm"), print)]
        assert sam.name == "vit_t_lm"
        with pytest.raises(
            CheckpointError, match=r"'vit_t', but 'vit_b' was asked for"
        ):
            load_model("vit_b", device="cpu")

    def test_stated_architecture_of_a_checkpoint(self) -> None:
        for name in ("vit_b", "vit_b_lm"):
            with pytest.raises(CheckpointError, match="'vit_b' was asked for"):
                load_model(name, checkpoint=MINI)

    def test_embedded_model_is_the_default(self) -> None:
        sam = load_model(device="cpu")
        assert (sam.name, len(sam.digest)) == ("embedded", 64)
        assert {p.dtype for p in sam.parameters()} == {torch.float32}


class TestDevices:
    def test_absent_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
        with pytest.raises(DeviceError, match="'cuda' was asked for"):
            load_model(checkpoint=MINI, device="cuda")

    @pytest.mark.parametrize("dtype", ["float16", "float64"])
    def test_precisions_the_cpu_has_not(self, dtype: str) -> None:
        with pytest.raises(DeviceError, match="float32"):
            load_model(checkpoint=MINI, device="cpu", dtype=dtype)

    def test_low_precision_reaches_the_encoder(self) -> None:
        sam = load_model(checkpoint=MINI, device="cpu", dtype="bfloat16")
        assert sam.image_encoder.compute_dtype == torch.bfloat16
        assert {p.dtype for p in sam.parameters()} == {torch.float32}

    def test_nothing_in_float64(self, tmp_path: Path) -> None:
        path = tmp_path / "double.pt"
        torch.save({k: v.double() for k, v in load_file(MINI).items()}, path)
        sam = load(path)
        assert {t.dtype for t in (*sam.parameters(), *sam.buffers())} == {torch.float32}

    @pytest.mark.gpu
    def test_gpu_answers_are_the_cpu_s(self) -> None:
        x = torch.randn(1, 3, 256, 256)
        exact = load(MINI).encode_image(x).embedding
        sam = load_model(checkpoint=MINI)
        assert sam.device.type != "cpu"
        got = sam.encode_image(x.to(sam.device)).embedding.cpu()
        torch.testing.assert_close(got, exact, atol=1e-3, rtol=1e-3)
        low = load_model(checkpoint=MINI, dtype="float16")
        got = low.encode_image(x.to(low.device)).embedding.cpu()
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, exact, atol=0.1, rtol=0.1)


class TestDamage:
    def test_missing_file_and_folder(self, tmp_path: Path) -> None:
        for path in (tmp_path / "no.pth", tmp_path):
            with pytest.raises(CheckpointError, match="Cannot read the checkpoint"):
                load(path)

    @pytest.mark.parametrize(
        ("content", "what"),
        [
            (b"", "it is empty"),
            (b"epoch,loss\n1,0.5\n", "it is a text file"),
            (b"\n<!DOCTYPE html><p>404", "it is a web page"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
                "git lfs pull",
            ),
            (b"\x89PNG\r\n\x1a\n\0\0", "begins with the bytes 89 50 4e 47"),
            (b"{}", "it is a text file"),
        ],
    )
    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_not_a_checkpoint(
        self, tmp_path: Path, content: bytes, what: str, suffix: str
    ) -> None:
        path = tmp_path / f"weights{suffix}"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{what}.*is needed"):
            load(path)

    @pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
    @pytest.mark.parametrize("kept", [0.999, 0.5, 0.01])
    def test_truncated(
        self, tmp_path: Path, weights: dict[str, torch.Tensor], kind: str, kept: float
    ) -> None:
        whole, cut = tmp_path / "whole", tmp_path / "cut.pth"
        if kind == "safetensors":
            whole = MINI
        else:
            torch.save(weights, whole, _use_new_zipfile_serialization=kind == "zip")
        data = whole.read_bytes()
        cut.write_bytes(data[: int(len(data) * kept)])
        with pytest.raises(CheckpointError, match=r"damaged or incomplete.*file again"):
            load(cut)

    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(data=st.data())
    def test_flipped_bytes_raise_nothing_else(
        self, tmp_path: Path, data: st.DataObject
    ) -> None:
        files = {}
        for zipped in (True, False):
            file = io.BytesIO()
            tensors = {
                "a.weight": torch.arange(6.0).reshape(2, 3),
                "n": torch.tensor(1),
            }
            torch.save(tensors, file, _use_new_zipfile_serialization=zipped)
            files["zip" if zipped else "legacy"] = file.getvalue()
        save_file({"a.weight": torch.zeros(2, 3)}, tmp_path / "x")
        files["safetensors"] = (tmp_path / "x").read_bytes()
        content = bytearray(files[data.draw(st.sampled_from(sorted(files)))])
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] = data.draw(st.integers(0, 255))
        path = tmp_path / "flipped"
        path.write_bytes(content)
        # Bytes of a number may change unnoticed; anything else is said properly.
        with contextlib.suppress(CheckpointError):
            read_file(path)

    def test_missing_and_extra_keys(
        self, tmp_path: Path, weights: dict[str, torch.Tensor]
    ) -> None:
        changed = dict(weights)
        changed["mask_decoder.other.weight"] = changed.pop(
            "mask_decoder.iou_token.weight"
        )
        torch.save(changed, tmp_path / "changed.pth")
        with pytest.raises(CheckpointError) as caught:
            load(tmp_path / "changed.pth")
        assert "missing (mask_decoder.iou_token.weight)" in str(caught.value)
        assert "unexpected (mask_decoder.other.weight)" in str(caught.value)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_diverged_weights(
        self, tmp_path: Path, weights: dict[str, torch.Tensor], value: float
    ) -> None:
        key = "mask_decoder.iou_token.weight"
        torch.save(weights | {key: torch.full((1, 64), value)}, tmp_path / "nan.pth")
        with pytest.raises(CheckpointError, match=f"'{key}' that are no numbers"):
            load(tmp_path / "nan.pth")

    def test_quantised_weights(
        self, tmp_path: Path, weights: dict[str, torch.Tensor]
    ) -> None:
        key = "image_encoder.neck.0.weight"
        changed = weights | {key: (weights[key] * 100).to(torch.int8)}
        torch.save(changed, tmp_path / "int8.pth")
        with pytest.raises(CheckpointError, match=rf"'{key}' as torch.int8.*float32"):
            load(tmp_path / "int8.pth")


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.trace),)


def save_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


def save_zip(content: object, path: Path) -> None:
    torch.save(content, path)


def save_legacy(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


class TestMaliciousPickle:
    @pytest.mark.parametrize("save", [save_pickle, save_zip, save_legacy])
    @pytest.mark.parametrize("place", ["top", "model_state", "optimizer", "key"])
    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_nothing_runs(
        self, tmp_path: Path, weights, save, place: str, suffix: str
    ) -> None:
        trace, path = tmp_path / "ran", tmp_path / f"evil{suffix}"
        evil = Evil(trace)
        content = {
            "top": evil,
            "model_state": {"model_state": weights | {"x": evil}},
            "optimizer": {"model": weights, "optimizer": evil},
            "key": weights | {"mask_decoder.iou_token.weight": evil},
        }[place]
        save(content, path)
        with pytest.raises(CheckpointError) as caught:
            load(path)
        assert not trace.exists()
        text = str(caught.value)
        assert "cannot be read safely" in text
        assert "weights_only=False" in text
        assert "state_dict" in text
        if save is not save_pickle:
            assert f"{os.mkdir.__module__}.mkdir" in text

    def test_the_same_file_does_harm_elsewhere(self, tmp_path: Path) -> None:
        """The control: without it, the tests above could pass on harmless files."""
        trace, path = tmp_path / "ran", tmp_path / "evil.pth"
        torch.save({"model": Evil(trace)}, path)
        torch.load(path, weights_only=False)
        assert trace.exists()

    def test_whole_modules_and_programs_are_refused(self, tmp_path: Path) -> None:
        torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
        with pytest.raises(CheckpointError, match=r"torch.nn.modules.linear.Linear"):
            load(tmp_path / "module.pth")

    def test_script_archives_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "script.pt"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("script/constants.pkl", pickle.dumps(()))
            archive.writestr("script/data.pkl", pickle.dumps({}))
            archive.writestr("script/version", "3\n")
        with pytest.raises(CheckpointError, match="TorchScript program"):
            load(path)

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from napari_sam.errors import DeviceError
from napari_sam.modeling.device import (
    available_devices,
    compute_in,
    resolve_device,
    resolve_dtype,
)

CPU = torch.device("cpu")
GPU = torch.device("cuda")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Pretend to be a machine with so many CUDA devices and perhaps MPS."""

    def pretend(*, n_cuda: int = 0, mps: bool = False, bf16: bool = True) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n_cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)

    return pretend


@pytest.mark.parametrize(
    ("n_cuda", "mps", "best"),
    [(0, False, "cpu"), (2, False, "cuda:0"), (0, True, "mps"), (1, True, "cuda:0")],
)
def test_auto_takes_the_best(machine, n_cuda: int, mps: bool, best: str) -> None:
    machine(n_cuda=n_cuda, mps=mps)
    assert str(resolve_device()) == best
    assert available_devices()[-1] == "cpu"


def test_named_devices(machine) -> None:
    machine(n_cuda=2, mps=True)
    for name in ("cpu", "mps", "cuda", "cuda:1", "CUDA:0 "):
        assert resolve_device(name) == torch.device(name.strip().lower())
    assert resolve_device(torch.device("cuda:1")) == torch.device("cuda:1")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_absent_device_names_what_is_there(machine, name: str) -> None:
    machine()
    with pytest.raises(DeviceError, match=rf"'{name}' was asked for.* only: cpu\."):
        resolve_device(name)


def test_absent_second_gpu(machine) -> None:
    machine(n_cuda=1)
    with pytest.raises(DeviceError, match=r"'cuda:1'.*only: cuda:0, cpu"):
        resolve_device("cuda:1")


@pytest.mark.parametrize("name", ["", "gpu", "meta", "cuda:x", "cuda:-1", "xpu"])
def test_unknown_device_lists_choices(name: str) -> None:
    with pytest.raises(DeviceError, match=r"Unknown device.*auto.*cpu"):
        resolve_device(name)


@pytest.mark.parametrize("dtype", [None, "float32", torch.float32])
@pytest.mark.parametrize("device", [CPU, GPU, torch.device("mps")])
def test_float32_everywhere(dtype, device: torch.device) -> None:
    assert resolve_dtype(dtype, device) is torch.float32


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", torch.float16])
def test_low_precision_on_a_gpu(machine, dtype) -> None:
    machine(n_cuda=1)
    assert resolve_dtype(dtype, GPU).itemsize == 2
    assert resolve_dtype(dtype, torch.device("mps")).itemsize == 2


@pytest.mark.parametrize("dtype", ["float16", torch.float16])
def test_no_float16_on_the_cpu(dtype) -> None:
    with pytest.raises(DeviceError, match="the CPU offers 'float32' and 'bfloat16'"):
        resolve_dtype(dtype, CPU)


@pytest.mark.parametrize("dtype", ["bfloat16", torch.bfloat16])
def test_bfloat16_on_the_cpu(dtype) -> None:
    assert resolve_dtype(dtype, CPU) is torch.bfloat16


def test_gpu_without_bfloat16(machine) -> None:
    machine(n_cuda=1, bf16=False)
    assert resolve_dtype("float16", GPU) is torch.float16
    with pytest.raises(DeviceError, match="no bfloat16"):
        resolve_dtype("bfloat16", GPU)


@pytest.mark.parametrize("dtype", ["float64", torch.float64, "int8", "half"])
@pytest.mark.parametrize("device", [CPU, torch.device("mps")])
def test_float64_and_others_are_refused(dtype, device: torch.device) -> None:
    with pytest.raises(DeviceError, match="Choose one of: float32, float16, bfloat16"):
        resolve_dtype(dtype, device)


def test_compute_in() -> None:
    a = torch.ones(2, 2)
    for dtype in (torch.float32, torch.bfloat16):
        with compute_in(dtype, CPU):
            assert (a @ a).dtype == dtype

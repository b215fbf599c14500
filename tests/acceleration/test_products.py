# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from napari_sam.acceleration import products
from napari_sam.acceleration.products import Product, best_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator

LOW = torch.bfloat16


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Measure anew in each test, and leave no invented findings behind."""
    cached = (
        products._is_packing_right,
        products._is_packing_faster,
        products._is_bfloat16_faster,
    )
    torch.manual_seed(0)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


@pytest.fixture(params=["plain", "packed"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take one way, whatever is faster here; and bfloat16 where it is allowed."""
    is_packed = request.param == "packed"
    if is_packed and not products._is_packing_right(torch.float32):
        pytest.skip("this PyTorch has no packed products")
    monkeypatch.setattr(products, "_is_bfloat16_faster", lambda _: True)
    monkeypatch.setattr(products, "_is_packing_faster", lambda _, __: is_packed)


def drawn(*shapes: tuple[int, ...]) -> list[Tensor]:
    return [torch.randn(shape) for shape in shapes]


def close(dtype: torch.dtype) -> dict[str, float]:
    return {"atol": 0.05, "rtol": 0.02} if dtype is LOW else {"atol": 1e-5, "rtol": 0}


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("dtype", [torch.float32, LOW])
@pytest.mark.parametrize("activation", [None, "gelu"])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 24), (64, 24), (2, 3, 5, 24)])
def test_is_a_linear_layer(shape, has_bias: bool, activation, dtype) -> None:
    x, weight, bias = drawn(shape, (40, 24), (40,))
    weight /= 5
    given = bias if has_bias else None
    product = Product(weight, given, activation=activation, rows=64, dtype=dtype)
    wanted = functional.linear(x, weight, given)
    if activation:
        wanted = functional.gelu(wanted)
    result = product(x)
    assert result.dtype is product.dtype is dtype
    assert product.width == 40
    torch.testing.assert_close(result.float(), wanted, **close(dtype))


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("dtype", [torch.float32, LOW])
@pytest.mark.parametrize("out_dtype", [torch.float32, LOW])
@pytest.mark.parametrize("activation", [None, "gelu"])
def test_writes_to_rows_of_a_wider_memory(activation, out_dtype, dtype) -> None:
    x, weight, bias = drawn((6, 7, 16), (12, 16), (12,))
    weight /= 4
    memory = torch.full((6, 7, 3, 12), 5.0, dtype=out_dtype)
    out = memory[:, :, 1]
    product = Product(weight, bias, activation=activation, dtype=dtype)
    assert product(x, out=out) is out
    wanted = functional.linear(x, weight, bias)
    wanted = functional.gelu(wanted) if activation else wanted
    low = LOW if LOW in (dtype, out_dtype) else torch.float32
    torch.testing.assert_close(out.float(), wanted, **close(low))
    assert (memory[:, :, ::2] == 5).all()


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("activation", [None, "gelu"])
@pytest.mark.parametrize(
    ("dtype", "other_dtype"),
    [(torch.float32, torch.float32), (LOW, torch.float32), (LOW, LOW)],
)
def test_sums(dtype, other_dtype, activation, has_bias: bool) -> None:
    x, weight, bias, other = drawn((2, 9, 16), (12, 16), (12,), (2, 9, 12))
    weight /= 4
    given = bias if has_bias else None
    product = Product(weight, given, activation=activation, dtype=dtype)
    linear = functional.linear(x, weight, given)
    wanted = other + (functional.gelu(linear) if activation else linear)
    other = other.to(other_dtype)
    added, place = other.clone(), other.data_ptr()
    product.add(x, to=added)
    total = product.plus(x, other)
    assert total.dtype is other_dtype
    assert torch.equal(total, added)
    assert other.data_ptr() == place
    torch.testing.assert_close(total.float(), wanted, **close(dtype))


@pytest.mark.usefixtures("_way")
def test_weights_may_be_a_view_and_need_gradients() -> None:
    x, weight = drawn((9, 16), (16, 12))
    weight.requires_grad_()
    product = Product(weight.t())
    out = product(x, out=torch.empty(9, 12))
    assert not out.requires_grad
    torch.testing.assert_close(out, (x @ weight).detach(), atol=1e-5, rtol=0)


def test_measuring_is_short_and_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measure, calls = products._seconds, []

    def counted(*ways, kind: str) -> list[float]:
        calls.append(kind)
        return measure(*ways, kind=kind)

    monkeypatch.setattr(products, "_seconds", counted)
    for _ in range(3):
        Product(torch.randn(8, 8))
        best_dtype(LOW)
    assert calls.count("many") <= 3  # either way in both precisions, then these
    Product(torch.randn(8, 8), rows=7)
    assert "few" in calls


@pytest.mark.parametrize(
    ("seconds", "is_packed"), [([1.0, 0.5], True), ([1.0, 0.95], False)]
)
def test_packs_only_where_it_is_worth_the_memory(
    monkeypatch: pytest.MonkeyPatch, seconds: list[float], is_packed: bool
) -> None:
    monkeypatch.setattr(products, "_is_packing_right", lambda _: True)
    monkeypatch.setattr(products, "_seconds", lambda *_, **__: seconds)
    assert products._is_packing_faster("many", torch.float32) is is_packed


@pytest.mark.parametrize(
    ("seconds", "dtype"), [([1.0, 0.5], LOW), ([1.0, 0.95], torch.float32)]
)
def test_bfloat16_only_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, seconds: list[float], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(products, "_is_packing_right", lambda _: False)
    monkeypatch.setattr(products, "_seconds", lambda *_, **__: seconds)
    assert best_dtype(LOW) is dtype
    assert best_dtype(torch.float32) is torch.float32
    product = Product(torch.randn(8, 8), dtype=LOW)
    assert product.dtype is product(torch.randn(2, 8)).dtype is dtype


def absent(*_: object) -> Tensor:
    msg = "no such operation"
    raise AttributeError(msg)


def wrong(_: object, x: Tensor) -> Tensor:
    return torch.zeros(len(x), 40, dtype=x.dtype)


@pytest.mark.parametrize(
    ("method", "fault"),
    [("__init__", absent), ("__call__", absent), ("__call__", wrong)],
)
def test_without_the_private_operations(
    monkeypatch: pytest.MonkeyPatch, method: str, fault
) -> None:
    monkeypatch.setattr(products._Packed, method, fault)
    for dtype in (torch.float32, LOW):
        assert not products._is_packing_right(dtype)
    x, weight = drawn((70, 24), (40, 24))
    torch.testing.assert_close(
        Product(weight, activation="gelu")(x),
        functional.gelu(functional.linear(x, weight)),
    )

# SPDX-License-Identifier: Apache-2.0
"""Convolutions with fixed weights, with activation or sum in the same pass.

Maps are (1, C, H, W) in channels-last memory, where a convolution of single pixels is a
product, one of each channel by itself is vectorised over channels, and a band of rows
is contiguous. oneDNN, through which PyTorch convolves such maps anyway, can apply an
activation or add to what is there before a result leaves the processor. The operations
that ask it to are private to PyTorch: nothing outside this module knows them, they are
tried before use, and without them the same is done in two steps.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator

Activation = Literal["gelu", "relu", "relu6"] | None
# Weight, bias, stride, padding, dilation and groups, in the order of `conv2d`.
_Arguments = tuple[Tensor, Tensor | None, list[int], list[int], list[int], int]

# Name, scalars and algorithm of what oneDNN is to apply to a result.
_FUSED: dict[Activation, tuple[str, list[float], str]] = {
    None: ("none", [], ""),
    "gelu": ("gelu", [], "none"),
    "relu": ("relu", [], ""),
    "relu6": ("hardtanh", [0.0, 6.0], ""),
}
# The operation, factor, and no activation, scalars or algorithm.
_PLUS: tuple[Any, ...] = ("add", 1.0, None, [], None)
# Values of the largest intermediate result of a band: 4 MiB in float32.
BAND_VALUES = 1 << 20
# What an operation that is absent, or has another signature, raises.
_ABSENT = (AttributeError, NotImplementedError, RuntimeError, TypeError)


class Rows(NamedTuple):
    """Which rows of a map a convolution needs for a band of its result.

    ``padding`` and ``extra`` are for `Convolution.in_rows`: rows of zeros above and
    below, rows that the result has before the band. ``n_rows`` is the band's height.
    """

    start: int
    stop: int
    padding: int
    extra: int
    n_rows: int


class Convolution:
    """``activation(convolution(x) + bias)``; padding keeps the size but for the stride.

    No gradients pass.

    Parameters
    ----------
    weight : (D, C / groups, k, k) tensor
        Or (D, C), a linear layer for each pixel. Copied, as is the bias.
    bias : (D,) tensor or None
    stride, groups : int
    activation : "gelu", "relu", "relu6" or None
        GELU is the exact one (with erf).
    dtype : torch.dtype
        Precision of the convolution and its result.

    Attributes
    ----------
    n_outputs : int
        Channels D of the result.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: Activation = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        kernel = (
            weight.detach() if weight.ndim > 2 else weight.detach()[..., None, None]
        )
        self.dtype = dtype
        self.n_outputs = len(kernel)
        self._weight = kernel.to(dtype, copy=True, memory_format=torch.channels_last)
        self._bias = None if bias is None else bias.detach().to(dtype, copy=True)
        self._stride = stride
        self._padding = kernel.shape[-1] // 2
        self._groups = groups
        self._activation = activation
        self._is_fused = weight.device.type == "cpu" and is_fusing_right(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve a whole map.

        Parameters
        ----------
        x : (1, C, H, W) tensor
            Channels-last; converted to the convolution's precision.

        Returns
        -------
        (1, D, H / stride, W / stride) tensor
            New, channels-last; sides are rounded up.
        """
        return self._convolve(x, self._padding)

    def in_rows(self, x: Tensor, rows: Rows) -> Tensor:
        """Return a band of the result, of the rows that `rows_for` asked for."""
        y = self._convolve(x, rows.padding)
        return y[:, :, rows.extra : rows.extra + rows.n_rows]

    def plus(self, other: Tensor, x: Tensor) -> Tensor:
        """Return ``other + convolution(x) + bias``, new; without activation.

        Parameters
        ----------
        other : (1, D, H', W') tensor
            Channels-last, float32 or of the convolution's precision.
        x : (1, C, H, W) tensor
            What is convolved.
        """
        if self._is_fused and other.dtype is self.dtype:
            return _fused_sum(x.to(self.dtype), other, self._arguments(self._padding))
        return self(x) + other

    def add_to(self, total: Tensor, x: Tensor) -> None:
        """Do the same in place of the other map, which shares no memory with x.

        Parameters
        ----------
        total : (1, D, H', W') tensor
            Changed; float32 or of the convolution's precision.
        x : (1, C, H, W) tensor
            What is convolved.
        """
        if self._is_fused and total.dtype is self.dtype:
            _fused_sum_in_place(total, x.to(self.dtype), self._arguments(self._padding))
        else:
            total += self(x)

    def size(self, side: int) -> int:
        """Return the rows (or columns) of the result from those of the input."""
        return -(-side // self._stride)

    def rows_for(self, start: int, stop: int, height: int) -> Rows:
        """Tell which of ``height`` rows are needed for these rows of the result."""
        padding, stride = self._padding, self._stride
        first, last = start * stride - padding, (stop - 1) * stride + padding + 1
        if first >= 0 and last <= height:
            return Rows(first, last, 0, 0, stop - start)
        # At the map's border: pad, and begin where the strides fall on the same rows.
        extra = min(-(-padding // stride), start)
        first, last = (start - extra) * stride, min(last, height)
        return Rows(first, last, padding, extra, stop - start)

    def _convolve(self, x: Tensor, row_padding: int) -> Tensor:
        if x.dtype is not self.dtype:
            x = x.to(self.dtype)
        arguments = self._arguments(row_padding)
        if self._is_fused:
            return _fused(x, arguments, self._activation)
        y = functional.conv2d(x, *arguments)
        if self._activation is not None:
            activate_into(y, y, self._activation)
        return y

    def _arguments(self, row_padding: int) -> _Arguments:
        """Everything that a convolution is told but its input and activation."""
        padding = [row_padding, self._padding]
        stride = [self._stride] * 2
        return self._weight, self._bias, stride, padding, [1, 1], self._groups


def activate_into(out: Tensor, x: Tensor, activation: Activation) -> None:
    """Write an activation of x to memory that is there, be it that of x."""
    if activation == "gelu":
        torch.ops.aten.gelu.out(x, out=out)
    elif activation == "relu":
        torch.clamp(x, 0.0, out=out)
    elif activation == "relu6":
        torch.clamp(x, 0.0, 6.0, out=out)
    else:
        out.copy_(x)


def empty_map(channels: int, height: int, width: int) -> Tensor:
    """Return (1, C, H, W) in channels-last memory, float32 on the CPU."""
    return torch.empty((1, height, width, channels)).permute(0, 3, 1, 2)


def channel_norm(
    x: Tensor, eps: float, weight: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """Normalise the channels of each pixel of a (1, C, H, W) channels-last map."""
    pixels = x.permute(0, 2, 3, 1)
    normed = functional.layer_norm(pixels, pixels.shape[-1:], weight, bias, eps)
    return normed.permute(0, 3, 1, 2)


def image_order(x: Tensor) -> Tensor:
    """Copy a (1, C, H, W) channels-last map into the order of an image, float32.

    As a matrix: PyTorch transposes those in blocks, which it does not do for maps.
    """
    pixels = x[0].permute(1, 2, 0).flatten(0, 1).float()
    return pixels.t().contiguous().view(x.shape)


def bands(height: int, rows: int) -> Iterator[tuple[int, int]]:
    """Cut a map into bands of rows: the first row, and the one after the last.

    What is computed in between for a band stays in the processor's cache, and its
    memory serves again for the next band. For a whole map it would come anew from the
    operating system, which takes longer than the arithmetic.
    """
    for start in range(0, height, rows):
        yield start, min(start + rows, height)


def even_bands(height: int, values_per_row: int) -> Iterator[tuple[int, int]]:
    """Cut a map into few bands of about equal height.

    Parameters
    ----------
    height : int
        Rows of the map.
    values_per_row : int
        Values of the largest intermediate result for one row of the map.
    """
    n_bands = min(-(-height * values_per_row // BAND_VALUES), height)
    return bands(height, -(-height // n_bands))


def _fused(x: Tensor, arguments: _Arguments, activation: Activation) -> Tensor:
    weight, bias, stride, padding, dilation, groups = arguments
    how = (padding, stride, dilation, groups, *_FUSED[activation])
    out: Tensor = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *how)  # noqa: SLF001
    return out


def _fused_sum(x: Tensor, other: Tensor, arguments: _Arguments) -> Tensor:
    weight, bias, stride, padding, dilation, groups = arguments
    how = (padding, stride, dilation, groups, *_PLUS)
    sum_of = torch.ops.mkldnn._convolution_pointwise.binary  # noqa: SLF001
    out: Tensor = sum_of(x, other, weight, bias, *how)
    return out


def _fused_sum_in_place(total: Tensor, x: Tensor, arguments: _Arguments) -> None:
    weight, bias, stride, padding, dilation, groups = arguments
    how = (padding, stride, dilation, groups, *_PLUS)
    torch.ops.mkldnn._convolution_pointwise_(total, x, weight, bias, *how)


@cache
@torch.no_grad()
def is_fusing_right(dtype: torch.dtype) -> bool:
    """Whether the private operations are there and answer as two steps do."""
    draw = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        values = 3.0 * torch.randn(shape, generator=draw).to(dtype)
        return values.contiguous(memory_format=torch.channels_last)

    x, total = drawn(1, 16, 9, 11), drawn(1, 16, 9, 11)
    inner = slice(2, 7)
    errors = []
    try:
        for per_group, side in ((16, 1), (1, 3)):
            weight, bias = (
                drawn(16, per_group, side, side),
                drawn(16, 1, 1, 1).flatten(),
            )
            groups, padding = 16 // per_group, [side // 2] * 2
            rest = (weight, bias, [1, 1], padding, [1, 1], groups)
            right = functional.conv2d(x, *rest)
            for activation in _FUSED:
                wanted = torch.empty_like(right)
                activate_into(wanted, right, activation)
                errors.append(_fused(x, rest, activation) - wanted)
            errors.append(_fused_sum(x, total, rest) - (total + right))
            added = total.clone()
            _fused_sum_in_place(added[:, :, inner], x[:, :, inner], rest)
            wanted = total.clone()
            wanted[:, :, inner] += functional.conv2d(x[:, :, inner], *rest)
            errors.append(added - wanted)
    except _ABSENT:
        return False
    # Values reach about 100.
    tolerance = 1e-3 if dtype is torch.float32 else 2.0
    return all(float(error.abs().max()) < tolerance for error in errors)

# SPDX-License-Identifier: Apache-2.0
"""A moving average of the weights in training, which is evaluated and kept."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class MovingAverage:
    """Exponential moving average of the parameters that learn (Polyak & Juditsky 1992).

    Parameters
    ----------
    model : nn.Module
        Its parameters that need a gradient are followed.
    decay : float
        0 switches it off: the weights are then taken as they are.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._followed = {
            key: p for key, p in model.named_parameters() if p.requires_grad
        }
        self.values: dict[str, Tensor] = {}
        if decay:
            self.values = {k: p.detach().clone() for k, p in self._followed.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights after a step in."""
        # Early on a long memory would keep the start weights.
        decay = min(self._decay, step / (step + 10))
        for key, value in self.values.items():
            value.lerp_(self._followed[key], 1 - decay)

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Go on with saved averages; without any, with the weights as they are.

        Raises
        ------
        KeyError
            If some are missing.
        """
        if self._decay:
            self.values = {
                key: (values[key] if values else p.detach().clone()).to(p.device)
                for key, p in self._followed.items()
            }

    @contextmanager
    @torch.no_grad()
    def in_place(self) -> Iterator[None]:
        """Put the averages into the model for a while."""
        before = {key: self._followed[key].detach().clone() for key in self.values}
        try:
            for key, value in self.values.items():
                self._followed[key].copy_(value)
            yield
        finally:
            for key, value in before.items():
                self._followed[key].copy_(value)

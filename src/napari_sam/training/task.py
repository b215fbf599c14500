# SPDX-License-Identifier: Apache-2.0
"""What the training loop asks of a task, and what it tells of its progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor, nn

Metrics = dict[str, float]
SELECTION = "selection"


class Task(Protocol):
    """What is trained, on what, and how it is judged."""

    @property
    def model(self) -> nn.Module:
        """What is trained."""
        ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return groups for AdamW: ``params``, ``lr_factor``, ``weight_decay``."""
        ...

    def loss(self, draw: int, rng: np.random.Generator) -> tuple[Tensor, Metrics]:
        """Return loss and terms of what the `draw`-th drawing from the data gives.

        The answer depends on nothing but the model and the arguments; other randomness
        may come from torch's default generators.
        """
        ...

    def where(self, draw: int) -> str:
        """Name what was drawn, for an error message."""
        ...

    def evaluate(self) -> Metrics:
        """Score the model as it is now; ``"selection"`` chooses the best weights.

        Empty where there is nothing to score by: then the last weights are the best.

        Raises
        ------
        Cancelled
            If the run is to stop; the evaluation is made when it goes on.
        """
        ...

    def weights(self) -> dict[str, Tensor]:
        """Return the weights as they are now, under the names of the plain model."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """An object of a validation image and what one click on it gives.

    Attributes
    ----------
    name : str
        The image's.
    rgb : (h, w, 3) uint8 array
        What the model is shown.
    truth, predicted : (h', w') bool arrays
        At the resolution of the mask logits.
    iou : float
    point_yx : (y, x)
        The click, in pixels of `rgb`.
    """

    name: str
    rgb: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.bool_]
    predicted: npt.NDArray[np.bool_]
    iou: float
    point_yx: tuple[float, float]


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """What is known after a step.

    Attributes
    ----------
    step, total_steps : int
    fraction : float
        Part of the run that is done, by steps or by time.
    seconds : float
        Since the start, over all parts of a resumed run.
    losses : dict
        Means over the steps since the last row of the log.
    scores : dict or None
        Right after an evaluation.
    examples : tuple of Example
        With scores only.
    """

    step: int
    total_steps: int
    fraction: float
    seconds: float
    losses: Metrics
    scores: Metrics | None = None
    examples: tuple[Example, ...] = ()

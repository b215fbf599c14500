# SPDX-License-Identifier: Apache-2.0
"""Drawn answers in place of a decoder's, so that random weights find objects.

The decoder does all its work; then its output is replaced by smooth logits and
estimates of quality that depend on the prompt alone. So a realistic share of the masks
of a grid survives, the same in every implementation, and records can be compared. 144
objects of three nested sizes cover the frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from napari_sam.acceleration.decoding import Attended, Prompts
    from napari_sam.acceleration.engine import Engine

PER_SIDE = 12
LOW = 256  # samples along a side of low-resolution logits
NESTING = (1.0, 0.55, 0.75, 1.0)  # radii of the four outputs, as parts of the object's


class Scene:
    """Objects on a frame.

    Parameters
    ----------
    frame : int
        Pixels along a side of the frame.
    device : torch.device or str
        Where answers are drawn: on a GPU, moving them there would cost more than all.
    """

    def __init__(self, frame: int, device: torch.device | str = "cpu") -> None:
        rng = torch.Generator().manual_seed(7)
        cell = LOW / PER_SIDE
        place = (torch.arange(PER_SIDE) + 0.5) * cell
        y, x = torch.meshgrid(place, place, indexing="ij")
        n = PER_SIDE**2

        def draw(low: float, high: float) -> Tensor:
            drawn = low + (high - low) * torch.rand(n, generator=rng)
            return drawn.to(device)

        self._scale = LOW / frame
        self._y = y.flatten().to(device) + draw(-3, 3)
        self._x = x.flatten().to(device) + draw(-3, 3)
        self._radius = draw(0.3, 0.46) * cell
        # The steeper the rim, the less a mask changes with the threshold.
        self._slope = draw(0.8, 7.0)
        self._quality = draw(0.80, 0.95)
        self._axis = torch.arange(LOW, device=device) + 0.5
        self._nesting = torch.tensor(NESTING, device=device)
        self._bonus = torch.tensor([0.02, 0.0, 0.03, 0.06], device=device)

    def predicted_iou(self, points_xy: Tensor) -> Tensor:
        """Quality of the four masks for (B, 2) points of the frame, (B, 4)."""
        index, distance = self._nearest(points_xy)
        worth = self._quality[index] - 0.05 * distance / self._radius[index]
        return worth[:, None] + self._bonus

    def logits(self, points_xy: Tensor, outputs: Tensor) -> Tensor:
        """Logits of one output (B,) for each of (B, 2) points, (B, 256, 256)."""
        index, _ = self._nearest(points_xy)
        radius = self._radius[index] * self._nesting[outputs]
        dy = (self._axis - self._y[index, None]).square()  # (B, 256)
        dx = (self._axis - self._x[index, None]).square()
        squared = dy[:, :, None] + dx[:, None, :]
        slope = (self._slope[index] / radius)[:, None, None]
        return slope * (radius.square()[:, None, None] - squared)

    def _nearest(self, points_xy: Tensor) -> tuple[Tensor, Tensor]:
        low = (points_xy.float().to(self._axis.device) + 0.5) * self._scale
        dy = low[:, 1:] - self._y
        dx = low[:, :1] - self._x
        distance, index = torch.hypot(dy, dx).min(dim=1)
        return index, distance


def draw_for_reference(model: Any, scene: Scene) -> None:
    """Replace what the reference's mask decoder returns, after its work."""
    encode, decode = model.prompt_encoder.forward, model.mask_decoder.forward
    asked: list[Tensor] = []

    def note(points: Any, boxes: Any, masks: Any) -> Any:
        asked[:] = [points[0][:, 0]]
        return encode(points=points, boxes=boxes, masks=masks)

    def replace(*args: Any, multimask_output: bool, **given: Any) -> Any:
        masks, iou = decode(*args, multimask_output=multimask_output, **given)
        (points,) = asked
        outputs = range(1, 4) if multimask_output else range(1)
        for place, output in enumerate(outputs):
            chosen = torch.full((len(points),), output, device=points.device)
            masks[:, place] = scene.logits(points, chosen).to(masks.device)
        iou.copy_(scene.predicted_iou(points)[:, list(outputs)])
        return masks, iou

    model.prompt_encoder.forward = note
    model.mask_decoder.forward = replace


class SceneEngine:
    """An engine whose answers are drawn, after its work.

    Parameters
    ----------
    engine : Engine
        Does the work.
    scene : Scene
    """

    def __init__(self, engine: Engine, scene: Scene) -> None:
        self._engine = engine
        self._scene = scene

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def attend(self, image: Any, prompts: Prompts) -> Drawn:
        """Ask the engine, answer with the scene."""
        attended = self._engine.attend(image, prompts)
        if prompts.points is None:
            msg = "The scene answers points only."
            raise ValueError(msg)
        points = prompts.points[0][:, 0]
        outputs = torch.arange(4, device=points.device).expand(len(points), 4)
        iou = self._scene.predicted_iou(points).to(attended.predicted_iou.device)
        return Drawn(attended, self._scene, points, outputs, iou)


class Drawn:
    """Drawn answers with the work of real ones behind them."""

    def __init__(
        self,
        attended: Attended,
        scene: Scene,
        points: Tensor,
        outputs: Tensor,
        iou: Tensor,
    ) -> None:
        self._attended = attended
        self._scene = scene
        self._points = points
        self._outputs = outputs
        self.predicted_iou = iou

    def of_prompts(self, rows: Tensor) -> Drawn:
        """Keep only some prompts."""
        kept = rows.to(self.predicted_iou.device)
        return Drawn(
            self._attended.of_prompts(rows),
            self._scene,
            self._points[kept],
            self._outputs[kept],
            self.predicted_iou[kept],
        )

    def of_outputs(self, chosen: Tensor) -> Drawn:
        """Keep only one output of each prompt."""
        rows = torch.arange(len(chosen), device=chosen.device)
        return Drawn(
            self._attended.of_outputs(chosen),
            self._scene,
            self._points,
            self._outputs[rows, chosen][:, None],
            self.predicted_iou[rows, chosen][:, None],
        )

    def draw(self) -> Tensor:
        """Draw real masks, and return others."""
        logits = self._attended.draw()
        for place in range(logits.shape[1]):
            drawn = self._scene.logits(self._points, self._outputs[:, place])
            logits[:, place] = drawn.to(logits.device)
        return logits

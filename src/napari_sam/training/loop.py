# SPDX-License-Identifier: Apache-2.0
"""The training loop: any task, resumable to the bit, saving as it goes.

All randomness of step n comes from the seed and n. A run that was killed therefore goes
on from its last saved state exactly as if nothing had happened.
"""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from napari_sam.errors import (
    Cancelled,
    CheckpointError,
    LossError,
    OutputError,
    SettingsError,
)
from napari_sam.training.checkpoints import (
    check_identity,
    export_weights,
    learnt_state,
    load_learnt,
    load_state,
    save_state,
)
from napari_sam.training.early_stopping import EarlyStopping
from napari_sam.training.moving_average import MovingAverage
from napari_sam.training.optimisation import rate_factor
from napari_sam.training.run_log import RunLog
from napari_sam.training.seeding import seeded
from napari_sam.training.task import SELECTION, TrainingProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from threading import Event

    from napari_sam.training.recipe import Loop, Optimiser
    from napari_sam.training.task import Metrics, Task

logger = logging.getLogger(__name__)

STATE_FILE = "state.pt"
BEST_FILE, LAST_FILE = "best.safetensors", "last.safetensors"
MIN_EVALUATIONS = 8  # of a run that ends by time
MIN_FP16_SCALE = 1e-4  # below this, not the scale is the trouble
PROGRESS_SECONDS = 0.2

End = Literal["steps", "budget", "early", "cancelled", "paused"]


class TrainingLoop:
    """Trains one task in one folder; a second start goes on where the first stopped.

    Parameters
    ----------
    task : Task
    folder : Path
        Where state, best weights and log are written.
    loop, optimiser : Loop and Optimiser
        Sections of a recipe.
    identity : mapping of str, optional
        What a saved state must agree with to be gone on from.
    metadata : mapping of str, optional
        Written into the weights file.
    dtype : torch.dtype
        Precision of the weights file.
    writes_last : bool
        Whether to write the present weights for use whenever the state is saved.
    evaluates_first : bool
        Whether to score the model before the first step.
    scored_part : str
        What the log calls the scores.
    progress : callable, optional
        Called with a `TrainingProgress` a few times a second and after each evaluation.
    cancel : threading.Event, optional
        When set, the run ends after the step.

    Raises
    ------
    SettingsError
        If the folder holds the state of another run, or nothing is to be trained.
    CheckpointError
        If the saved state is damaged or of another model.
    OutputError
        If the folder cannot be made.
    """

    def __init__(
        self,
        task: Task,
        folder: Path,
        loop: Loop,
        optimiser: Optimiser,
        *,
        identity: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        dtype: torch.dtype = torch.float32,
        writes_last: bool = False,
        evaluates_first: bool = True,
        scored_part: str = "validation",
        progress: Callable[[TrainingProgress], None] | None = None,
        cancel: Event | None = None,
    ) -> None:
        self.step = 0
        self.scores_before: Metrics = {}
        self.best_scores: Metrics = {}
        self.best_step = 0
        self._task, self._folder = task, folder
        self._loop, self._optimiser_numbers = loop, optimiser
        self._identity, self._metadata = dict(identity or {}), dict(metadata or {})
        self._dtype, self._writes_last = dtype, writes_last
        self._scored_part = scored_part
        self._progress, self._cancel = progress, cancel
        self._stopping = EarlyStopping(loop.patience)
        groups = task.parameter_groups()
        if not groups:
            msg = "Nothing is to be trained: encoder and decoder are both frozen."
            raise SettingsError(msg)
        self._trained = [p for group in groups for p in group["params"]]
        self._factors = [group["lr_factor"] for group in groups]
        self._device = self._trained[0].device
        self._optimizer = torch.optim.AdamW(
            groups, lr=optimiser.lr, betas=(optimiser.beta_1, optimiser.beta_2)
        )
        self._average = MovingAverage(task.model, loop.ema_decay)
        is_half = loop.precision == "float16"
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=is_half)
        self._spent, self._started = 0.0, -1.0
        self._log = RunLog(folder, tensorboard=loop.tensorboard)
        self._sums: dict[str, list[float]] = {}
        self._means: Metrics = {}
        # Step and seconds of the last evaluation.
        self._evaluated_at = (-1 if evaluates_first else 0, 0.0)
        self._evaluation_seconds = 0.0
        self._saved_at = 0.0
        self._reported_at = -math.inf
        if (folder / STATE_FILE).exists():
            self._resume()
        else:
            # The log of a run whose state was deleted is not of this one.
            self._log.forget_after(-1)

    @property
    def seconds(self) -> float:
        """Wall time so far, over all parts of a resumed run."""
        running = time.monotonic() - self._started if self._started >= 0 else 0.0
        return self._spent + running

    def run(self, until_step: int | None = None) -> End:
        """Train to the end of the recipe, or to a step, to go on later.

        Returns
        -------
        str
            What ended it: ``"steps"``, ``"budget"``, ``"early"``, ``"cancelled"``, or
            ``"paused"`` at `until_step`.

        Raises
        ------
        LossError
            If the loss or a gradient is no number. Files stay as last saved.
        OutputError
            If a file cannot be written; the last complete ones are kept.
        """
        self._started = time.monotonic()
        try:
            if self._is_evaluation_due():  # the first one, or one that was stopped
                self._evaluate()
            while (end := self._end(until_step)) is None:
                self._train_step()
                if self._is_evaluation_due():
                    self._evaluate()
                if self._is_save_due():
                    self._save()
            # Without scores the last weights are the best: they are always written.
            is_wanted = end in ("steps", "budget") or not self.scores_before
            if is_wanted and self._evaluated_at[0] < self.step and not self._evaluate():
                end = "cancelled"
            self._save()
        finally:
            self._spent, self._started = self.seconds, -1.0
            self._log.close()
        return end

    @property
    def fraction(self) -> float:
        """Part of the run that is done, by steps or by time, whichever is more."""
        done = self.step / self._loop.total_steps
        budget = self._loop.budget_seconds
        if budget is not None:
            # The last evaluation belongs to the budget.
            spent = self.seconds + self._evaluation_seconds
            done = max(done, spent / budget if budget else 1.0)
        return min(1.0, done)

    def _end(self, until_step: int | None) -> End | None:
        if self._cancel is not None and self._cancel.is_set():
            return "cancelled"
        if self.step >= self._loop.total_steps:
            return "steps"
        if self.fraction >= 1:
            return "budget"
        if self._stopping.is_over:
            return "early"
        if until_step is not None and self.step >= until_step:
            return "paused"
        return None

    def _train_step(self) -> None:
        loop = self._loop
        rate = self._set_rate()
        self._optimizer.zero_grad(set_to_none=True)
        rng = np.random.default_rng([loop.seed, self.step])
        with seeded(loop.seed, self.step, self._device):
            for part in range(loop.images_per_step):
                draw = self.step * loop.images_per_step + part
                loss, metrics = self._task.loss(draw, rng)
                value = float(loss.detach())
                if not math.isfinite(value):
                    raise LossError(self._no_number("loss", value, draw))
                self._scaler.scale(loss / loop.images_per_step).backward()
                self._note({"loss": value, **metrics})
        self._apply_gradients()
        self._note({"rate": rate})
        self.step += 1
        self._average.update(self.step)
        if self.step % loop.log_every == 0:
            self._means = {k: float(np.mean(v)) for k, v in self._sums.items()}
            self._log.write(self.step, "train", self._means)
            self._sums.clear()
        self._report()

    def _apply_gradients(self) -> None:
        self._scaler.unscale_(self._optimizer)
        limit = self._optimiser_numbers.clip_norm or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(self._trained, limit))
        if not math.isfinite(norm) and not self._scaler.is_enabled():
            draw = self.step * self._loop.images_per_step
            raise LossError(self._no_number("gradient", norm, draw))
        # With float16, a step whose gradients overflow is left out and the scale falls.
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._scaler.is_enabled() and self._scaler.get_scale() < MIN_FP16_SCALE:
            msg = (
                f"Gradients overflow float16 at any scale (step {self.step}). Use "
                "precision bfloat16 or float32. The weights saved last are kept."
            )
            raise LossError(msg)
        if math.isfinite(norm):
            self._note({"grad_norm": norm})

    def _no_number(self, what: str, value: float, draw: int) -> str:
        files = [f for f in (BEST_FILE, STATE_FILE) if (self._folder / f).exists()]
        kept = (
            f"The last good weights are kept in {self._folder} ({', '.join(files)})."
            if files
            else "Nothing was saved yet."
        )
        return (
            f"The {what} became {value} at step {self.step}, on "
            f"{self._task.where(draw)}. {kept} Lower the rate (optimiser.lr), set "
            "optimiser.clip_norm, use float32, or look at that image."
        )

    def _set_rate(self) -> float:
        numbers = self._optimiser_numbers
        rate = numbers.lr * rate_factor(self.step, self.fraction, numbers)
        groups = self._optimizer.param_groups
        for group, factor in zip(groups, self._factors, strict=True):
            group["lr"] = rate * factor
        return rate

    def _is_evaluation_due(self) -> bool:
        if self._evaluated_at[0] >= self.step:
            return False
        if self.step % self._loop.eval_every == 0:
            return True
        budget = self._loop.budget_seconds
        since = self.seconds - self._evaluated_at[1]
        return budget is not None and since > budget / MIN_EVALUATIONS

    def _is_save_due(self) -> bool:
        every = self._loop.save_every
        if every and self.step % every == 0:
            return True
        return self.seconds - self._saved_at > self._loop.save_seconds

    def _evaluate(self) -> bool:
        """Score the model; False if that was stopped: then it is as if not begun."""
        started = time.monotonic()
        with self._average.in_place():
            self._task.model.eval()
            try:
                with torch.no_grad():
                    scores = self._task.evaluate()
            except Cancelled:
                return False
            is_better = not scores or self._stopping.update(scores[SELECTION])
            if self._evaluated_at[0] < 0:
                self.scores_before = scores
            if is_better:
                self.best_scores, self.best_step = scores, self.step
                self._export(BEST_FILE)
        self._evaluation_seconds = time.monotonic() - started if scores else 0.0
        self._evaluated_at = (self.step, self.seconds)
        if scores:
            self._log.write(self.step, self._scored_part, scores)
            self._report(scores)
        return True

    def _export(self, name: str) -> None:
        metadata = {**self._metadata, "step": str(self.step)}
        weights = self._task.weights()
        export_weights(self._folder / name, weights, metadata, self._dtype)

    def _save(self) -> None:
        model = self._task.model
        try:
            save_state(
                self._folder / STATE_FILE,
                {
                    "model": learnt_state(model),
                    "average": self._average.values,
                    "optimizer": self._optimizer.state_dict(),
                    "step": self.step,
                    "best": self._stopping.best,
                    "waited": self._stopping.waited,
                    "best_step": self.best_step,
                    "best_scores": self.best_scores,
                    "scores_before": self.scores_before,
                    "evaluated_at": list(self._evaluated_at),
                    "scaler": self._scaler.state_dict(),
                    "seconds": self.seconds,
                    "unlogged": self._sums,
                    "identity": self._identity,
                },
            )
        except OutputError:
            logger.exception("The state of step %d was not saved.", self.step)
            raise
        if self._writes_last:
            with self._average.in_place():
                self._export(LAST_FILE)
        self._saved_at = self.seconds

    def _resume(self) -> None:
        path = self._folder / STATE_FILE
        state = load_state(path)
        check_identity(path, state.get("identity", {}), self._identity)
        try:
            load_learnt(self._task.model, state["model"])
            self._average.load(state["average"])
            self._optimizer.load_state_dict(state["optimizer"])
            self.step, self._stopping.best = int(state["step"]), float(state["best"])
        except (KeyError, ValueError, RuntimeError) as error:
            msg = (
                f"{path} does not fit this model and recipe ({error}). Choose another "
                "folder, or delete it to start anew."
            )
            raise CheckpointError(msg) from error
        self._stopping.waited = int(state.get("waited", 0))
        self.best_step = int(state.get("best_step", 0))
        self.best_scores = dict(state.get("best_scores", {}))
        self.scores_before = dict(state.get("scores_before", {}))
        at, when = state.get("evaluated_at", (self.step, 0.0))
        self._evaluated_at = (int(at), float(when))
        if state.get("scaler"):
            self._scaler.load_state_dict(state["scaler"])
        self._spent = self._saved_at = float(state.get("seconds", 0.0))
        self._sums = {k: list(v) for k, v in state.get("unlogged", {}).items()}
        self._log.forget_after(self.step)
        logger.info("Going on at step %d.", self.step)

    def _note(self, metrics: Metrics) -> None:
        for key, value in metrics.items():
            self._sums.setdefault(key, []).append(value)

    def _report(self, scores: Metrics | None = None) -> None:
        now = self.seconds
        if self._progress is None:
            return
        if scores is None and now - self._reported_at < PROGRESS_SECONDS:
            return
        self._reported_at = now
        total = self._loop.total_steps
        sums = {key: float(np.mean(values)) for key, values in self._sums.items()}
        losses = sums or self._means
        self._progress(
            TrainingProgress(self.step, total, self.fraction, now, losses, scores)
        )

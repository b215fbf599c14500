# SPDX-License-Identifier: Apache-2.0
"""One training in a thread of its own, behind everything that the user waits for.

The thread has a low priority where the system can give one to a thread, leaves one
core's worth of torch's threads, and waits between two steps while the annotator's model
is at work.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal

from napari_sam._bridge.training_order import (
    Outcome,
    Prepared,
    earlier_run,
    folder_of_run,
    granted_again,
)
from napari_sam.errors import OutputError, PhaseError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_sam._bridge.model_segmenter import ModelSpec
    from napari_sam._bridge.training_order import TrainingOrder
    from napari_sam.annotation.ports import JobRunner
    from napari_sam.modeling.sam import Sam
    from napari_sam.training.card import Parent
    from napari_sam.training.run_config import RunConfig
    from napari_sam.training.task import Metrics, TrainingProgress

logger = logging.getLogger(__name__)

_NICENESS = 5  # a third of the time that a thread of the usual priority gets
_MAX_WAIT_S, _LOOK_S = 0.25, 0.005  # between two steps, for prompts
_CLOSE_S, _EXIT_S = 1.5, 60.0  # for the step under way, and the files after it


class TrainingRun:
    """One training at a time; what it tells waits until `pump` is called.

    Parameters
    ----------
    runner : JobRunner
        Where prompts are answered: training waits for it.

    Attributes
    ----------
    on_ready : callable or None
        Called from the thread when something waits to be pumped.
    folder : Path or None
        Of the present or last run.
    stage : Signal(str)
        What is being done before the first step.
    prepared : Signal(Prepared)
        The images are known; training goes on by itself.
    asked : Signal(Prepared)
        There is an earlier run on the same data: call `go_on`.
    progressed : Signal(TrainingProgress)
    finished : Signal(Outcome)
    failed : Signal(Exception)
        `Cancelled` if it was stopped before the first step.
    """

    stage: ClassVar[Signal] = Signal(str)
    prepared: ClassVar[Signal] = Signal(object)
    asked: ClassVar[Signal] = Signal(object)
    progressed: ClassVar[Signal] = Signal(object)
    finished: ClassVar[Signal] = Signal(object)
    failed: ClassVar[Signal] = Signal(object)

    def __init__(self, runner: JobRunner) -> None:
        self.on_ready: Callable[[], None] | None = None
        self.folder: Path | None = None
        self._runner = runner
        self._outbox: deque[tuple[Any, Any]] = deque()
        self._thread: threading.Thread | None = None
        self._stop = _Stop(runner)
        self._is_closed = False

    @property
    def is_running(self) -> bool:
        """Whether a run was started and its end has not been told."""
        return self._thread is not None

    @property
    def is_stopping(self) -> bool:
        """Whether the run was asked to stop and has not ended yet."""
        return self.is_running and self._stop.is_wanted

    @property
    def is_busy(self) -> bool:
        """Whether something is still to be delivered."""
        return self.is_running or bool(self._outbox)

    def start(self, order: TrainingOrder) -> None:
        """Look at the images, then train, unless there is an earlier run to ask about.

        Raises
        ------
        PhaseError
            If a run is under way.
        """
        self._begin(lambda: self._prepare_and_train(order))

    def go_on(self, prepared: Prepared, *, is_anew: bool) -> None:
        """Go on with the earlier run, or delete it and begin anew.

        Raises
        ------
        PhaseError
            If a run is under way.
        """
        self._begin(lambda: self._train(prepared, is_anew=is_anew))

    def stop(self) -> None:
        """End after the step; the best weights are kept."""
        self._stop.set()

    def pump(self) -> None:
        """Deliver what the thread had to tell; called in the main thread."""
        while self._outbox:
            signal, value = self._outbox.popleft()
            if signal not in (self.stage, self.progressed, self.prepared):
                self._thread = None
            signal.emit(value)

    def close(self) -> None:
        """Stop and tell nothing more; the weights are kept before Python ends."""
        self._is_closed = True
        thread = self._thread
        self.stop()
        if thread is not None:
            _LAST_STEPS.add(thread)
            thread.join(_CLOSE_S)
        self._outbox.clear()

    def _begin(self, work: Callable[[], tuple[Any, Any]]) -> None:
        if self.is_running or self._is_closed:
            msg = "A training is under way. Wait for its end, or stop it first."
            raise PhaseError(msg)
        self._stop = _Stop(self._runner)
        self._post(self.stage, "Starting ...")
        self._thread = threading.Thread(
            target=self._work, args=(work,), name="napari-sam-training", daemon=True
        )
        self._thread.start()

    def _work(self, work: Callable[[], tuple[Any, Any]]) -> None:
        try:
            _step_back()
            signal, value = work()
        except Exception as error:  # noqa: BLE001  it travels to the panel
            signal, value = self.failed, error
        self._post(signal, value)

    def _post(self, signal: Any, value: Any) -> None:
        if self._is_closed:
            return
        self._outbox.append((signal, value))
        if self.on_ready is not None:
            # A window that is being destroyed raises; the weights have to be kept.
            with contextlib.suppress(RuntimeError):
                self.on_ready()

    def _prepare_and_train(self, order: TrainingOrder) -> tuple[Any, Any]:
        prepared = self._prepare(order)
        self._post(self.prepared, prepared)
        if prepared.steps:
            return self.asked, prepared
        return self._train(prepared, is_anew=True)

    def _prepare(self, order: TrainingOrder) -> Prepared:
        from napari_sam.training.samples import find_samples
        from napari_sam.training.splitting import split_samples

        self._post(self.stage, "Looking at the images ...")
        images = order.open_images()
        data = order.config.data

        def tell(done: int, total: int) -> None:
            self._post(self.stage, f"Looking at the images: {done} of {total} ...")

        samples = find_samples(
            images, min_area=data.min_area, progress=tell, cancel=self._stop
        )
        split = split_samples(
            samples, share=data.validation_share, min_area=data.min_area
        )
        self._post(self.stage, f"Loading the model {order.spec.name} ...")
        model, parent = _load(order.spec)
        folder = self.folder = folder_of_run(order, split, model)
        steps, seconds, waited = earlier_run(folder)
        return Prepared(order, split, model, parent, folder, steps, seconds, waited)

    def _train(self, prepared: Prepared, *, is_anew: bool) -> tuple[Any, Any]:
        from napari_sam.training.run_folder import (
            KEPT_RUNS,
            clear_run,
            locked,
            mark_begun,
            tidy_runs,
        )

        config, folder = prepared.order.config, prepared.folder
        # One lock over all: nobody else may begin there before the result is kept.
        with locked(folder):
            if is_anew:
                clear_run(folder)
            else:
                config = granted_again(config, prepared)
            mark_begun(folder)
            outcome = self._train_locked(prepared, config)
        if outcome.result.ended != "cancelled":
            tidy_runs(folder.parent, KEPT_RUNS)
        return self.finished, outcome

    def _train_locked(self, prepared: Prepared, config: RunConfig) -> Outcome:
        from napari_sam.training.card import keep_model
        from napari_sam.training.fine_tuning import fine_tune
        from napari_sam.training.run_folder import mark_finished

        folder = prepared.folder
        self._post(self.stage, "Preparing: how good is the model before?")
        last: Metrics = {}

        def tell(progress: TrainingProgress) -> None:
            last.update(progress.scores or {})
            self._post(self.progressed, progress)

        result = fine_tune(
            prepared.model,
            prepared.split.train,
            prepared.split.validation,
            config.recipe,
            folder,
            progress=tell,
            cancel=self._stop,
        )
        name = ""
        if result.is_better:
            row = keep_model(
                result,
                parent=prepared.parent,
                split=prepared.split,
                config=config,
                device=str(prepared.model.device),
            )
            name, folder = row.name, row.folder or folder
        if result.ended != "cancelled":
            try:
                mark_finished(prepared.folder, result.ended)
            except OutputError as error:
                # The model is kept; only the folder of the run may stay for ever.
                logger.warning("The end of the run was not noted: %s", error)
        return Outcome(name, result, last, prepared.order.spec, folder)


class _Stop(threading.Event):
    """A stop flag that is looked at between steps: there the annotator goes first.

    Parameters
    ----------
    runner : JobRunner
        Where prompts are answered.
    """

    def __init__(self, runner: JobRunner) -> None:
        super().__init__()
        self._runner = runner

    @property
    def is_wanted(self) -> bool:
        """Whether it is set, at once."""
        return super().is_set()

    def is_set(self) -> bool:
        """Wait a moment for prompts, then tell."""
        end = time.monotonic() + _MAX_WAIT_S
        while not super().is_set() and self._runner.is_busy:
            if time.monotonic() > end:
                break
            time.sleep(_LOOK_S)
        return super().is_set()


def _step_back() -> None:
    """Let every other thread of the program go first."""
    import torch

    torch.set_num_threads(
        max(1, min(torch.get_num_threads(), (os.cpu_count() or 2) - 1))
    )
    if sys.platform == "linux":
        # Elsewhere, niceness belongs to the whole program.
        with contextlib.suppress(OSError):
            niceness = max(os.getpriority(os.PRIO_PROCESS, 0), _NICENESS)
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)


def _load(spec: ModelSpec) -> tuple[Sam, Parent]:
    """Load a copy of a model of its own; the annotator's is not touched."""
    from pathlib import Path

    from napari_sam.training.card import parent_of
    from napari_sam.weights.load import load_model

    if spec.checkpoint is not None:
        model = load_model(checkpoint=Path(spec.checkpoint), device=spec.device)
    else:
        model = load_model(spec.name, device=spec.device)
    return model, parent_of(model, is_listed=spec.checkpoint is None)


# Of windows that were closed while a step was under way.
_LAST_STEPS: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


@atexit.register
def _wait_for_last_steps() -> None:
    """Let the best weights be written before Python ends."""
    end = time.monotonic() + _EXIT_S
    for thread in list(_LAST_STEPS):
        thread.join(max(0.0, end - time.monotonic()))

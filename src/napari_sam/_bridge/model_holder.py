# SPDX-License-Identifier: Apache-2.0
"""The one model of a session: none, on its way, or there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from psygnal import Signal

from napari_sam.annotation.job import Priority

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam._bridge.model_segmenter import ModelSpec
    from napari_sam.annotation.ports import JobRunner, Segmenter


@dataclass(frozen=True, slots=True)
class NoModel:
    """Nothing was asked for yet, or loading failed."""


@dataclass(frozen=True, slots=True)
class LoadingModel:
    """A model is on its way."""

    spec: ModelSpec


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model is there."""

    spec: ModelSpec
    segmenter: Segmenter


ModelStatus: TypeAlias = NoModel | LoadingModel | LoadedModel


class ModelHolder:
    """Loads models in the job runner's thread and hands them out.

    Parameters
    ----------
    runner : JobRunner
        Where models are loaded.
    load : callable
        Makes a segmenter from a `ModelSpec`.

    Attributes
    ----------
    changed : Signal(NoModel | LoadingModel | LoadedModel)
    failed : Signal(Exception)
        A model that could not be loaded; there is none afterwards.
    """

    changed: ClassVar[Signal] = Signal(object)
    failed: ClassVar[Signal] = Signal(Exception)

    def __init__(
        self, runner: JobRunner, load: Callable[[ModelSpec], Segmenter]
    ) -> None:
        self._runner = runner
        self._load = load
        self._status: ModelStatus = NoModel()
        self._waiting: list[Callable[[Segmenter], None]] = []

    @property
    def status(self) -> ModelStatus:
        """What is known of the model; compare with isinstance."""
        return self._status

    def has(self, spec: ModelSpec) -> bool:
        """Whether this very model is there."""
        return isinstance(self._status, LoadedModel) and self._status.spec == spec

    def request(
        self, spec: ModelSpec, then: Callable[[Segmenter], None] | None = None
    ) -> None:
        """Make a model the present one, loading it if it is another.

        Parameters
        ----------
        spec : ModelSpec
            The model wanted; an earlier wish that is still loading is forgotten.
        then : callable, optional
            Called with the segmenter once it is there; not called if loading fails.
        """
        status = self._status
        if isinstance(status, LoadedModel) and status.spec == spec:
            if then is not None:
                then(status.segmenter)
            return
        is_new = not (isinstance(status, LoadingModel) and status.spec == spec)
        if is_new:
            self._waiting.clear()
        if then is not None:
            self._waiting.append(then)
        if is_new:
            self._enter(LoadingModel(spec))
            self._runner.submit(
                lambda _: self._load(spec),
                priority=Priority.INTERACTIVE,
                lane="model",
                on_result=lambda segmenter: self._receive(spec, segmenter),
                on_error=self._receive_error,
            )

    def _receive(self, spec: ModelSpec, segmenter: Segmenter) -> None:
        self._enter(LoadedModel(spec, segmenter))
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then(segmenter)

    def _receive_error(self, error: Exception) -> None:
        self._waiting.clear()
        self._enter(NoModel())
        self.failed.emit(error)

    def _enter(self, status: ModelStatus) -> None:
        self._status = status
        self.changed.emit(status)

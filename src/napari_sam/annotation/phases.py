# SPDX-License-Identifier: Apache-2.0
"""What an annotator can be doing; what a phase lacks cannot be read in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from napari_sam.annotation.ports import PlaneKey, Segmenter
    from napari_sam.structures.candidates import Candidates
    from napari_sam.structures.prompts import PromptSet


@dataclass(frozen=True, slots=True)
class Loading:
    """No model yet."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A model is there and nobody has said what to segment."""

    segmenter: Segmenter


@dataclass(frozen=True, slots=True)
class Editing:
    """One object is being prompted.

    Attributes
    ----------
    segmenter : Segmenter
    plane : PlaneKey
        Where the prompts lie.
    prompts : PromptSet
        The newest prompts.
    candidates : Candidates or None
        The newest answer; while `is_pending` it may belong to older prompts.
    chosen : int
        Index of the candidate that `commit` would write.
    is_pending : bool
        Whether the answer to `prompts` is still to come.
    """

    segmenter: Segmenter
    plane: PlaneKey
    prompts: PromptSet
    candidates: Candidates | None = None
    chosen: int = 0
    is_pending: bool = True


Phase: TypeAlias = Loading | Ready | Editing

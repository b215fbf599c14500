# SPDX-License-Identifier: Apache-2.0
"""What an annotator can be doing; what a phase lacks cannot be read in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from napari_sam.annotation.answers import Answered
    from napari_sam.annotation.draft import Draft
    from napari_sam.annotation.ports import PlaneKey, Segmenter
    from napari_sam.structures.drawn import DrawnPrompts


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
    draft : Draft
        The prompts.
    answered : Answered or None
        The newest answer; while `is_pending` it may belong to older prompts.
    is_pending : bool
        Whether the answer to `draft` is still to come.
    """

    segmenter: Segmenter
    draft: Draft
    answered: Answered | None = None
    is_pending: bool = True

    @property
    def plane(self) -> PlaneKey:
        """Where the prompts lie."""
        return self.draft.plane

    @property
    def prompts(self) -> DrawnPrompts:
        """The newest prompts."""
        return self.draft.drawn


Phase: TypeAlias = Loading | Ready | Editing

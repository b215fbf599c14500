# SPDX-License-Identifier: Apache-2.0
"""The object being prompted: its prompts so far, turn by turn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_sam.annotation.objects import Turn

if TYPE_CHECKING:
    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.structures.drawn import DrawnPrompts


@dataclass(frozen=True, slots=True)
class Draft:
    """An object that is not accepted yet.

    Attributes
    ----------
    plane : PlaneKey
    turns : tuple of Turn
        At least one. The logits of a turn's mask are given back with the next one.
    object_id : int or None
        The object that was opened again; None for a new one.
    """

    plane: PlaneKey
    turns: tuple[Turn, ...]
    object_id: int | None = None

    @property
    def key(self) -> tuple[PlaneKey, int | None]:
        """Plane and object: drafts of one key are steps towards the same object."""
        return self.plane, self.object_id

    @property
    def drawn(self) -> DrawnPrompts:
        """The newest prompts."""
        return self.turns[-1].drawn

    @property
    def choice(self) -> int | None:
        """The decoder's output that the user chose for them, None if none."""
        return self.turns[-1].choice

    def with_drawn(self, drawn: DrawnPrompts) -> Draft:
        """Return the draft with other prompts.

        Turns whose prompts are all still there stay before the new one, so that their
        mask is refined; from the first that is not (its prompt was moved or removed),
        the model starts anew. Turns that only say what is not the object were never
        asked: their mask would be the background.
        """
        kept: list[Turn] = []
        for turn in self.turns:
            if not turn.drawn.has_object:
                continue
            # The same prompts in another order say nothing new either.
            if turn.drawn.extends(drawn) or not drawn.extends(turn.drawn):
                break
            kept.append(turn)
        return replace(self, turns=(*kept, Turn(drawn)))

    def with_choice(self, choice: int | None) -> Draft:
        """Return the draft with another mask chosen."""
        return replace(
            self, turns=(*self.turns[:-1], replace(self.turns[-1], choice=choice))
        )

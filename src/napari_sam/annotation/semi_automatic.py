# SPDX-License-Identifier: Apache-2.0
"""The semi-automatic stage: sure masks become objects, the others are proposed.

After Kirillov et al. 2023, section 4: the model fills in what it is sure of, so that
people spend their time on what is left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from psygnal import Signal

from napari_sam.annotation.commit_policy import ALL_TAKEN
from napari_sam.annotation.history import Step
from napari_sam.annotation.many import write_step
from napari_sam.annotation.objects import AnnotatedObject, Origin, Status
from napari_sam.annotation.proposals import Proposals, ProposalStatus
from napari_sam.errors import LabelsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from napari_sam.annotation.grid_run import GridResult
    from napari_sam.annotation.label_editor import LabelEditor
    from napari_sam.annotation.objects import ObjectChange
    from napari_sam.annotation.ports import PlaneKey
    from napari_sam.structures.arrays import HalfOpenBox, LabelImage, Plane
    from napari_sam.structures.mask_window import MaskWindow

MIN_IOU, MIN_STABILITY = 0.88, 0.95
"""From where on a mask is sure: the reference's thresholds of the automatic mode."""
LOOSENED = 0.6
"""Part of the automatic mode's thresholds at which masks are still proposed."""
MANY_TOUCHED = 64
"""An edit near more proposals than this is looked at for all of them at once."""
THRESHOLDS = ("pred_iou_thresh", "stability_score_thresh")


@dataclass(frozen=True, slots=True)
class Advance:
    """How far the work on a plane is.

    Attributes
    ----------
    n_taken, n_open, n_dropped : int
        Proposals by what became of them. Open are those that can be taken now.
    n_added : int
        Objects of the plane that the annotator added: prompted or painted.
    share_covered : float
        Part of the plane's pixels that belong to objects.
    share_settled : float
        Part of the proposals, without those the filters hide, that are taken or
        dropped; 1 if there are none.
    """

    n_taken: int
    n_open: int
    n_dropped: int
    n_added: int
    share_covered: float
    share_settled: float


def loosened(
    settings: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, float]:
    """Lower the thresholds of an automatic run, so that there is something to filter.

    Parameters
    ----------
    settings : mapping
        What the user set; it stays as it is.
    defaults : mapping
        The model's own settings.

    Returns
    -------
    dict
        Settings for the run.
    """
    plain = {"pred_iou_thresh": MIN_IOU, "stability_score_thresh": MIN_STABILITY}
    low = {name: LOOSENED * defaults.get(name, plain[name]) for name in THRESHOLDS}
    return {**low, **settings}


def sure_thresholds(defaults: Mapping[str, Any]) -> tuple[float, float]:
    """Predicted IoU and stability from which on the automatic mode keeps a mask."""
    return (
        float(defaults.get("pred_iou_thresh", MIN_IOU)),
        float(defaults.get("stability_score_thresh", MIN_STABILITY)),
    )


def proposals_of(
    result: GridResult,
    pixels: Plane,
    first_id: int,
    check: Callable[[], None] | None = None,
    shape: tuple[int, int] | None = None,
) -> Proposals:
    """Measure what an automatic run found; slow, so for the model thread.

    Parameters
    ----------
    result : GridResult
        Of a plane or a region of it.
    pixels : (h, w) or (h, w, 3 | 4) array
        Those of the result's box.
    first_id : int
        Id of the best proposal.
    check : callable, optional
        Called before each record: it may give way to other work, or raise to stop.
    shape : (H, W), optional
        Size of the plane, if the result is of a region of it.
    """
    return Proposals.measured(
        result.plane, pixels, result.records, first_id, check, result.box, shape
    )


class ProposalBook:
    """The proposals of all planes of one image, and what becomes of them.

    Taking and dropping are steps of the editor's history; the book follows its
    ``stepped`` signal, undo and redo included.

    Parameters
    ----------
    editor : LabelEditor
        Writes the objects; an `Annotator` is one.

    Attributes
    ----------
    model, class_name : str
        What objects made of proposals say about themselves.
    changed : Signal(PlaneKey)
        What can be taken on a plane is different now.
    """

    changed: ClassVar[Signal] = Signal(object)

    def __init__(self, editor: LabelEditor) -> None:
        self._editor = editor
        self._planes: dict[PlaneKey, Proposals] = {}
        self._next_id = 1
        self.model = self.class_name = ""
        editor.stepped.connect(self._follow)
        editor.objects_changed.connect(self._follow_objects)

    def close(self) -> None:
        """Stop following the editor."""
        self._editor.stepped.disconnect(self._follow)
        self._editor.objects_changed.disconnect(self._follow_objects)

    def __iter__(self) -> Iterator[Proposals]:
        return iter(tuple(self._planes.values()))

    @property
    def next_id(self) -> int:
        """Id that the next proposals begin with."""
        return self._next_id

    def on_plane(self, plane: PlaneKey) -> Proposals | None:
        """Return the proposals of a plane, None if there are none."""
        return self._planes.get(plane)

    def put(self, proposals: Proposals) -> None:
        """Keep proposals; older ones of the same plane are forgotten."""
        self._hide_covered(proposals)
        self._next_id = max(self._next_id, proposals.ids.stop)
        self._planes[proposals.plane] = proposals
        self.changed.emit(proposals.plane)

    def forget(self, plane: PlaneKey) -> None:
        """Forget the proposals of a plane; objects made of them stay."""
        if self._planes.pop(plane, None) is not None:
            self.changed.emit(plane)

    def take(self, plane: PlaneKey, ids: Iterable[int]) -> None:
        """Make objects of proposals, as one step.

        Raises
        ------
        LabelsError
            If a proposal does not exist, or the labels cannot be written.
        """
        proposals = self._require(plane)
        self._take(proposals, self._open(proposals, ids), "Accept", "proposal")

    def drop(self, plane: PlaneKey, ids: Iterable[int]) -> None:
        """Put proposals aside, as one step that can be undone."""
        proposals = self._require(plane)
        wanted = self._open(proposals, ids)
        if wanted:
            changes = proposals.changes(wanted, ProposalStatus.DROPPED)
            text = _text("Drop", "proposal", len(wanted))
            self._editor.ledger.do(Step(text, proposals=changes))

    def split_confident(
        self,
        plane: PlaneKey,
        min_iou: float = MIN_IOU,
        min_stability: float = MIN_STABILITY,
    ) -> int:
        """Make locked objects of the sure proposals; the others stay open.

        Parameters
        ----------
        plane : PlaneKey
            Where.
        min_iou, min_stability : float
            Predicted IoU and stability from which on a mask is sure.

        Returns
        -------
        int
            How many were sure.
        """
        proposals = self._require(plane)
        sure = confident_ids(proposals, min_iou, min_stability)
        self._take(proposals, sure, "Fill in", "sure object", is_locked=True)
        return len(sure)

    def advance(self, plane: PlaneKey, shape: tuple[int, int]) -> Advance:
        """Tell how far the work on a plane of a shape is."""
        known = self._editor.objects.on_plane(plane)
        n_added = sum(one.origin in (Origin.PROMPTS, Origin.PAINTED) for one in known)
        covered = sum(one.area for one in known) / max(shape[0] * shape[1], 1)
        proposals = self.on_plane(plane)
        if proposals is None:
            return Advance(0, 0, 0, n_added, covered, 1.0)
        n_taken = proposals.n_of(ProposalStatus.TAKEN)
        n_dropped = proposals.n_of(ProposalStatus.DROPPED)
        n_open = int(np.count_nonzero(proposals.is_visible))
        n_all = n_taken + n_dropped + n_open
        settled = (n_taken + n_dropped) / n_all if n_all else 1.0
        return Advance(n_taken, n_open, n_dropped, n_added, covered, settled)

    def _follow(self, step: Step, kind: str) -> None:
        for plane, proposals in self._planes.items():
            own = [c for c in step.proposals if c.proposal_id in proposals.ids]
            edited = [edit.edit.box for edit in step.edits if edit.plane == plane]
            proposals.apply(own)
            for box in edited:
                if proposals.n_touching(box) > MANY_TOUCHED:
                    self._hide_covered(proposals)
                else:
                    proposals.update_covered(box, partial(self._read, plane))
            if own or edited:
                self.changed.emit(plane)

    def _follow_objects(self, changes: tuple[ObjectChange, ...]) -> None:
        if not changes:  # other labels altogether
            for proposals in self:
                self._hide_covered(proposals)
                self.changed.emit(proposals.plane)

    def _read(self, plane: PlaneKey, box: HalfOpenBox) -> LabelImage:
        return self._editor.labels.read(plane, box)

    def _hide_covered(self, proposals: Proposals) -> None:
        proposals.hide_covered(self._read(proposals.plane, proposals.part))

    def _take(
        self,
        proposals: Proposals,
        ids: list[int],
        verb: str,
        noun: str,
        *,
        is_locked: bool = False,
    ) -> None:
        if not ids:
            return
        step, made = write_step(
            self._editor.ledger,
            self._editor.settings,
            _text(verb, noun, len(ids)),
            [self._item(proposals, i, is_locked=is_locked) for i in ids],
        )
        if not made:
            raise LabelsError(ALL_TAKEN)
        changes = proposals.changes(ids, ProposalStatus.TAKEN)
        self._editor.ledger.do(replace(step, proposals=changes))

    def _require(self, plane: PlaneKey) -> Proposals:
        proposals = self._planes.get(plane)
        if proposals is None:
            msg = "There are no proposals on this plane. Run the automatic mode first."
            raise LabelsError(msg)
        return proposals

    def _open(self, proposals: Proposals, ids: Iterable[int]) -> list[int]:
        """Leave out what is settled: two clicks in a row are one."""
        return [
            i for i in dict.fromkeys(ids) if proposals.status(i) is ProposalStatus.OPEN
        ]

    def _item(
        self, proposals: Proposals, proposal_id: int, *, is_locked: bool
    ) -> tuple[MaskWindow, AnnotatedObject]:
        window = proposals.mask(proposal_id)
        template = AnnotatedObject(
            object_id=0,
            plane=proposals.plane,
            box=window.box,
            area=window.area,
            class_name=self.class_name,
            predicted_iou=proposals.describe(proposal_id)["predicted_iou"],
            status=Status.ACCEPTED,
            origin=Origin.GRID,
            is_locked=is_locked,
            model=self.model,
        )
        return window, template


def confident_ids(
    proposals: Proposals, min_iou: float, min_stability: float
) -> list[int]:
    """Ids of visible proposals at or above both thresholds, best score first."""
    is_sure = proposals.is_visible
    is_sure &= proposals.statistics["predicted_iou"] >= min_iou
    is_sure &= proposals.statistics["stability_score"] >= min_stability
    return (np.flatnonzero(is_sure) + proposals.first_id).tolist()


def _text(verb: str, noun: str, n: int) -> str:
    return f"{verb} {n} {noun}{'' if n == 1 else 's'}"

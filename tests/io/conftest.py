# SPDX-License-Identifier: Apache-2.0
"""Made-up annotations, for hypothesis and for plain tests."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from psygnal import Signal

from napari_sam.annotation.commit_policy import CommitSettings, LabelMode, Overlap
from napari_sam.annotation.draft import Draft
from napari_sam.annotation.history import DraftChange, PlaneEdit, ProposalChange, Step
from napari_sam.annotation.objects import (
    AnnotatedObject,
    ObjectChange,
    Origin,
    Status,
    Turn,
)
from napari_sam.annotation.ports import PlaneKey
from napari_sam.annotation.state import AnnotationState
from napari_sam.structures.drawn import DrawnPrompts, DrawnShape, ShapeKind
from napari_sam.structures.labels import LabelEdit
from napari_sam.structures.mask_window import MaskWindow
from napari_sam.structures.prompts import PointPrompt

if TYPE_CHECKING:
    from types import ModuleType


@pytest.fixture(scope="session")
def values() -> ModuleType:
    """This module; test modules cannot import one another."""
    return sys.modules[__name__]


SHAPE = (3, 12, 16)
DTYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", ">u2"]

numbers = st.floats(allow_nan=False, allow_infinity=False)
positions = st.tuples(numbers, numbers)
planes = st.builds(PlaneKey, st.just((1, 2)), st.tuples(st.integers(0, SHAPE[0] - 1)))
masks = st.builds(
    MaskWindow,
    st.integers(-5, 50),
    st.integers(-5, 50),
    nps.arrays(bool, nps.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=6)),
)
points = st.builds(PointPrompt, positions, st.integers(0, 1))


@st.composite
def shapes(draw: Any) -> DrawnShape:
    kind = draw(st.sampled_from(ShapeKind))
    vertices = draw(st.lists(positions, min_size=4, max_size=6))
    label = draw(st.integers(0, 1)) if kind.is_scribble else 1
    return DrawnShape(kind, tuple(vertices), label)


drawn = st.builds(
    DrawnPrompts,
    st.lists(points, max_size=3).map(tuple),
    st.lists(shapes(), max_size=2).map(tuple),
    st.none() | masks,
)
turns = st.builds(Turn, drawn, st.none() | st.integers(0, 3))
drafts = st.builds(
    Draft,
    planes,
    st.lists(turns, min_size=1, max_size=3).map(tuple),
    st.none() | st.integers(1, 9),
)
settings = st.builds(
    CommitSettings,
    overlap=st.sampled_from(Overlap),
    mode=st.sampled_from(LabelMode),
    fill_holes=st.booleans(),
    largest_piece=st.booleans(),
    min_area=st.integers(0, 99),
)
objects = st.builds(
    AnnotatedObject,
    object_id=st.integers(1, 2**40),
    plane=planes,
    box=st.tuples(*[st.integers(0, 9)] * 4),
    area=st.integers(0, 99),
    turns=st.lists(turns, max_size=2).map(tuple),
    class_name=st.text(max_size=9),
    candidate=st.sampled_from(["", "small", "single"]),
    predicted_iou=st.none() | numbers,
    status=st.sampled_from(Status),
    origin=st.sampled_from(Origin),
    is_locked=st.booleans(),
    seconds=numbers,
    model=st.text(max_size=9),
)


def label_arrays(shape: tuple[int, ...] | st.SearchStrategy) -> st.SearchStrategy:
    return st.sampled_from(DTYPES).flatmap(
        lambda dtype: nps.arrays(
            dtype, shape, elements=nps.from_dtype(np.dtype(dtype)), fill=st.just(0)
        )
    )


@st.composite
def edits(draw: Any) -> PlaneEdit:
    y0, x0 = draw(st.integers(0, 9)), draw(st.integers(0, 9))
    h, w = draw(st.integers(0, 5)), draw(st.integers(0, 5))
    old, new = draw(label_arrays((h, w))), draw(label_arrays((h, w)))
    return PlaneEdit(draw(planes), LabelEdit((y0, x0, y0 + h, x0 + w), old, new))


maybe = st.none()
steps = st.builds(
    Step,
    st.text(max_size=9),
    st.lists(edits(), max_size=2).map(tuple),
    st.lists(st.builds(ObjectChange, maybe | objects, maybe | objects), max_size=2).map(
        tuple
    ),
    maybe | st.builds(DraftChange, maybe | drafts, maybe | drafts),
    st.lists(
        st.builds(ProposalChange, st.integers(0, 9), st.text(), st.text()), max_size=2
    ).map(tuple),
)


@st.composite
def states(draw: Any) -> AnnotationState:
    dtype = draw(st.sampled_from(["uint8", "uint32", "int64"]))
    labels = nps.arrays(dtype, SHAPE[1:], fill=st.just(0))
    return AnnotationState(
        image_identity=draw(st.text(min_size=1)),
        shape=SHAPE,
        dtype=dtype,
        image_name=draw(st.text()),
        image_path=draw(st.text()),
        view={"gamma": draw(numbers), "channels": [0, 1]},
        model={"model": draw(st.text())},
        settings=draw(settings),
        objects=tuple(draw(st.lists(objects, max_size=3))),
        labels=draw(st.dictionaries(planes, labels, max_size=2)),
        draft=draw(maybe | drafts),
        other_drafts=tuple(draw(st.lists(drafts, max_size=1))),
    )


def same_edit(one: PlaneEdit, two: PlaneEdit) -> bool:
    return (
        one.plane == two.plane
        and one.edit.box == two.edit.box
        and all(
            np.array_equal(a, b) and a.dtype.name == b.dtype.name
            for a, b in (
                (one.edit.old, two.edit.old),
                (one.edit.new, two.edit.new),
            )
        )
    )


class Scribe:
    """Stands for an annotator: applies steps to labels and objects, and says so."""

    stepped: ClassVar[Signal] = Signal(object, str)
    objects_changed: ClassVar[Signal] = Signal(tuple)

    def __init__(self, shape: tuple[int, ...] = SHAPE, dtype: str = "uint32") -> None:
        self.labels = np.zeros(shape, dtype)
        self.objects: dict[Any, AnnotatedObject] = {}
        self.draft: Draft | None = None
        self.n_snapshots = 0

    def snapshot(self) -> AnnotationState:
        self.n_snapshots += 1
        indices = np.ndindex(*self.labels.shape[:-2])
        axes = (self.labels.ndim - 2, self.labels.ndim - 1)
        found = {PlaneKey(axes, i): self.labels[i].copy() for i in indices}
        return AnnotationState(
            image_identity="abc",
            image_name="cells",
            shape=self.labels.shape,
            dtype=self.labels.dtype.name,
            objects=tuple(self.objects.values()),
            labels={plane: v for plane, v in found.items() if v.any()},
            draft=self.draft,
        )

    def do(self, step: Step, kind: str = "do") -> None:
        for edit in step.edits:
            y0, x0, y1, x1 = edit.edit.box
            where = edit.plane.locate(slice(y0, y1), slice(x0, x1))
            self.labels[where] = edit.edit.new
        for change in step.objects:
            if change.before is not None:
                self.objects.pop(change.before.key, None)
            if change.after is not None:
                self.objects[change.after.key] = change.after
        if step.draft is not None:
            self.draft = step.draft.after
        self.stepped.emit(step, kind)

    def click(self, plane: PlaneKey, yx: tuple[float, float]) -> None:
        """Add a point to the draft."""
        before = self.draft
        point = DrawnPrompts(points=(PointPrompt(yx),))
        turns = () if before is None else before.turns
        after = Draft(plane, (*turns, Turn(point)))
        self.do(Step("Add prompt", draft=DraftChange(before, after)))

    def accept(self, plane: PlaneKey, box: tuple[int, int, int, int]) -> Step:
        """Write the draft as an object that fills a box."""
        y0, x0, y1, x1 = box
        object_id = len(self.objects) + 1
        old = self.labels[plane.locate(slice(y0, y1), slice(x0, x1))].copy()
        edit = PlaneEdit(plane, LabelEdit(box, old, np.full_like(old, object_id)))
        turns = () if self.draft is None else self.draft.turns
        made = AnnotatedObject(object_id, plane, box, old.size, turns)
        step = Step(
            f"Accept object {object_id}",
            edits=(edit,),
            objects=(ObjectChange(None, made),),
            draft=DraftChange(self.draft, None),
        )
        self.do(step)
        return step

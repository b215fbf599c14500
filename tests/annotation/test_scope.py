# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from napari_sam.annotation.job import Priority
from napari_sam.annotation.jobs import InlineRunner
from napari_sam.annotation.ports import PlaneKey
from napari_sam.annotation.scope import Scope, over_planes, planes_in
from napari_sam.errors import Cancelled

STACK = tuple(PlaneKey((1, 2), (z,)) for z in range(3))


def run(work, planes=STACK):
    """Result, error and progress of work over planes."""
    results, errors, steps = [], [], []
    InlineRunner().submit(
        lambda context: over_planes(planes, work, context),
        priority=Priority.GRID,
        on_result=results.append,
        on_error=errors.append,
        on_progress=lambda *step: steps.append(step),
    )
    return (results or [None])[0], (errors or [None])[0], steps


def test_planes_of_each_scope():
    shown = PlaneKey((1, 3), (4, 0))
    assert planes_in(Scope.PLANE, (5, 8, 2, 9), shown) == (shown,)
    every = planes_in(Scope.ALL, (5, 8, 2, 9), shown)
    assert len(every) == 10
    assert every[:3] == tuple(PlaneKey((1, 3), i) for i in [(0, 0), (0, 1), (1, 0)])
    assert planes_in(Scope.ALL, (8, 9), PlaneKey()) == (PlaneKey(),)


def test_progress_counts_all_planes():
    def work(plane, context):
        context.progress(2, 2)
        return plane.index[0]

    result, _, steps = run(work)
    assert result.planes == (0, 1, 2)
    assert (result.n_asked, result.is_partial) == (3, False)
    assert steps[-1] == (6, 6)


def test_cancel_keeps_finished_planes_and_the_interrupted_one():
    def work(plane, context):
        if plane.index == (1,):
            context._context._job.cancel()
            return "half"
        return "whole"

    result, _, _ = run(work)
    assert result.planes == ("whole", "half")
    assert result.is_partial


def test_interrupted_plane_without_a_result():
    def work(plane, context):
        if plane.index == (2,):
            raise Cancelled
        return plane.index[0]

    result, _, _ = run(work)
    assert result.planes == (0, 1)
    assert result.is_partial


def test_failure_keeps_what_was_done():
    def work(plane, context):
        if plane.index == (1,):
            msg = "no memory"
            raise RuntimeError(msg)
        return plane.index[0]

    result, error, _ = run(work)
    assert error is None
    assert result.planes == (0,)
    assert str(result.error) == "no memory"
    assert result.is_partial


@pytest.mark.parametrize("kind", [RuntimeError, Cancelled])
def test_nothing_to_keep_is_an_error(kind):
    def work(plane, context):
        raise kind

    result, error, _ = run(work)
    assert result is None
    assert isinstance(error, kind)

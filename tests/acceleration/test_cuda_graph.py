# SPDX-License-Identifier: Apache-2.0
"""Keeping recordings: when they are made, how many stay, what happens without."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from napari_sam.acceleration.cuda_graph import CudaGraph, Replays, fixed_copies


class Work:
    """A function of tensors that counts its calls."""

    def __init__(self) -> None:
        self.n_calls = 0

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        self.n_calls += 1
        return x.sum() + y, x * y.sum()


class Recorder:
    """Stands for CUDA: recordings that read and write fixed memory."""

    def __init__(self, off_by: float = 0.0) -> None:
        self.made: list[Recorded] = []
        self.off_by = off_by

    def __call__(self, work, inputs) -> Recorded:
        self.made.append(Recorded(work, inputs, self.off_by))
        return self.made[-1]


class Recorded:
    def __init__(self, work, inputs, off_by: float) -> None:
        self._work, self._off_by = work, off_by
        self.inputs = fixed_copies(inputs)
        self.outputs = tuple(torch.zeros_like(x) for x in work(*inputs))
        self.n_replays = 0

    def replay(self) -> None:
        self.n_replays += 1
        for fixed, made in zip(self.outputs, self._work(*self.inputs), strict=True):
            fixed.copy_(made + self._off_by)


def pair(n: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, n, generator=draw)
    return x, y


def assert_right(replays: Replays, inputs: tuple[Tensor, ...]) -> None:
    found, expected = replays(*inputs), Work()(*inputs)
    torch.testing.assert_close(found, expected)


def test_second_call_records_third_replays() -> None:
    work, recorder = Work(), Recorder()
    replays = Replays(work, recorder)
    for seed in range(5):
        assert_right(replays, pair(seed=seed))
        assert len(recorder.made) == (seed >= 1)
    # one to compare it with the work, then three calls
    assert recorder.made[0].n_replays == 4


def test_a_recording_for_each_set_of_shapes_and_types() -> None:
    recorder = Recorder()
    replays = Replays(Work(), recorder)
    kinds = [pair(3), pair(4), tuple(x.double() for x in pair(3))]
    for _ in range(3):
        for inputs in kinds:
            assert_right(replays, inputs)
    assert len(recorder.made) == len(kinds)


def test_those_used_last_are_kept() -> None:
    recorder = Recorder()
    replays = Replays(Work(), recorder, max_kept=2)

    def ask(*sizes: int) -> int:
        """Ask, and tell how many recordings this has made."""
        before = len(recorder.made)
        for size in sizes:
            assert_right(replays, pair(size))
        return len(recorder.made) - before

    assert ask(1, 1, 2, 2) == 2
    assert ask(1) == 0  # so 2 is the oldest
    assert ask(3, 3) == 1
    assert ask(1, 3) == 0
    assert ask(2) == 1  # it had to go, and is made again


def test_answers_belong_to_the_caller() -> None:
    replays = Replays(Work(), Recorder())
    inputs = [pair(seed=seed) for seed in range(4)]
    answers = [replays(*one) for one in inputs]
    for one, answer in zip(inputs, answers, strict=True):
        torch.testing.assert_close(answer, Work()(*one))
    answers[-1][0].zero_()
    assert_right(replays, inputs[-1])


def test_what_comes_may_be_spread_out_in_memory() -> None:
    """A dense prompt without a mask is one row, seen from all places."""
    x, y = pair()
    recorder = Recorder()
    replays = Replays(Work(), recorder)
    for _ in range(3):
        assert_right(replays, (x[:1].expand(3), y))
    assert recorder.made[0].inputs[0].is_contiguous()


def test_modes_of_callers_may_change() -> None:
    """Memory is made in inference mode, or not, and used in the other one."""
    replays = Replays(Work(), Recorder())
    for is_inference in (True, True, True, False, True, False):
        with torch.inference_mode(is_inference):
            inputs = tuple(x.clone() for x in pair())
            assert_right(replays, inputs)


def test_a_wrong_replay_is_never_seen(caplog) -> None:
    work, recorder = Work(), Recorder(off_by=0.1)
    replays = Replays(work, recorder)
    with caplog.at_level(logging.WARNING):
        for seed in range(4):
            assert_right(replays, pair(seed=seed))
            assert_right(replays, pair(5, seed))
    assert len(recorder.made) == 1  # nothing more is tried
    (message,) = caplog.messages
    assert "another answer" in message


def test_a_replay_of_no_numbers_is_never_seen() -> None:
    replays = Replays(Work(), Recorder(off_by=float("nan")))
    for seed in range(4):
        assert_right(replays, pair(seed=seed))


@pytest.mark.parametrize(
    "error", [RuntimeError, AttributeError, torch.OutOfMemoryError]
)
def test_without_recordings_the_work_is_done(caplog, error: type[Exception]) -> None:
    tried = []

    def record(work, inputs):
        tried.append(inputs)
        msg = "operation not permitted when stream is capturing"
        raise error(msg)

    replays = Replays(Work(), record)
    with caplog.at_level(logging.WARNING):
        for seed in range(4):
            assert_right(replays, pair(seed=seed))
    assert len(tried) == 1
    (message,) = caplog.messages
    assert "not permitted" in message


def test_errors_of_the_work_are_not_hidden() -> None:
    def work(x: Tensor) -> tuple[Tensor, ...]:
        return (x @ torch.zeros(5),)

    replays = Replays(work, Recorder())
    for _ in range(2):
        with pytest.raises(RuntimeError, match="size"):
            replays(torch.zeros(3, 4))


def test_threads_take_turns() -> None:
    replays = Replays(Work(), Recorder())
    inputs = [pair(seed=seed) for seed in range(40)]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda one: replays(*one), inputs))
    for one, answer in zip(inputs, answers, strict=True):
        torch.testing.assert_close(answer, Work()(*one))


def test_no_graph_without_cuda(caplog) -> None:
    if torch.cuda.is_available():
        pytest.skip("for machines without a CUDA GPU")
    replays = Replays(Work())
    with caplog.at_level(logging.WARNING):
        for seed in range(3):
            assert_right(replays, pair(seed=seed))
    assert len(caplog.messages) == 1


@pytest.mark.gpu
def test_cuda_graphs_answer_as_the_work(gpu) -> None:
    work = Work()
    graph = CudaGraph(work, tuple(x.to(gpu) for x in pair()))
    after_recording = work.n_calls
    for seed in range(4):
        inputs = pair(seed=seed)
        for fixed, given in zip(graph.inputs, inputs, strict=True):
            fixed.copy_(given)
        graph.replay()
        found = [x.cpu() for x in graph.outputs]
        torch.testing.assert_close(found, list(Work()(*inputs)))
    assert work.n_calls == after_recording


@pytest.mark.gpu
def test_work_that_waits_for_the_gpu_is_done_without_a_graph(gpu, caplog) -> None:
    def waiting(x: Tensor) -> tuple[Tensor, ...]:
        return (x * float(x.sum()),)

    replays = Replays(waiting)
    with caplog.at_level(logging.WARNING):
        for seed in range(4):
            x = pair(seed=seed)[0].to(gpu)
            torch.testing.assert_close(replays(x), waiting(x))
    assert len(caplog.messages) == 1
    assert_right(Replays(Work()), tuple(x.to(gpu) for x in pair()))  # all is well again

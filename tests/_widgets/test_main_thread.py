# SPDX-License-Identifier: Apache-2.0
"""Answers reach the main thread at once, and nobody is woken who is gone."""

from __future__ import annotations

import threading
import time

import pytest
from qtpy.QtCore import QObject

from napari_sam._widgets.main_thread import Pump
from napari_sam.annotation.job import Priority
from napari_sam.annotation.jobs import ModelThread


class Source(ModelThread):
    """A model thread that counts how often it is drained."""

    n_pumped = 0

    def pump(self) -> None:
        self.n_pumped += 1
        self.drain()


@pytest.fixture
def source(qtbot):
    runner = Source("pumped")
    yield runner
    runner.close()


@pytest.fixture
def parent(qtbot):
    owner = QObject()
    yield owner
    owner.deleteLater()


def ask(source: Source, seen: list, delay: float = 0.0) -> None:
    def work(_: object) -> float:
        time.sleep(delay)
        return time.perf_counter()

    def deliver(posted: float) -> None:
        seen.append((time.perf_counter() - posted, threading.current_thread()))

    source.submit(work, priority=Priority.INTERACTIVE, on_result=deliver)


def test_an_answer_does_not_wait_for_the_timer(source, parent, qtbot):
    pump, seen = Pump(source, parent), []
    pump.setInterval(60_000)
    pump.open()
    for i in range(5):
        ask(source, seen, delay=0.01)
        qtbot.waitUntil(lambda i=i: len(seen) == i + 1, timeout=3000)
    assert {thread for _, thread in seen} == {threading.main_thread()}
    assert min(delay for delay, _ in seen) < 0.015


def test_the_timer_delivers_what_nobody_announced(source, parent, qtbot):
    pump, seen = Pump(source, parent), []
    source.on_ready = None
    pump.open()
    ask(source, seen)
    qtbot.waitUntil(lambda: len(seen) == 1, timeout=3000)


def test_a_released_pump_delivers_the_rest_and_stops(source, parent, qtbot):
    pump, seen = Pump(source, parent), []
    pump.open()
    ask(source, seen, delay=0.05)
    pump.release()
    qtbot.waitUntil(lambda: not pump.isActive(), timeout=3000)
    assert len(seen) == 1
    n_pumped = source.n_pumped
    source.on_ready()
    qtbot.wait(30)
    assert source.n_pumped == n_pumped


def test_pumps_share_a_source_and_one_may_go(source, parent, qtbot):
    other = QObject()
    pumps, seen = [Pump(source, parent), Pump(source, other)], []
    for pump in pumps:
        pump.setInterval(60_000)
        pump.open()
    other.deleteLater()
    destroyed = []
    other.destroyed.connect(lambda: destroyed.append(1))
    qtbot.waitUntil(lambda: bool(destroyed), timeout=3000)
    ask(source, seen)
    qtbot.waitUntil(lambda: len(seen) == 1, timeout=3000)


def test_many_answers_are_announced_once(source, parent, qtbot):
    pump, seen = Pump(source, parent), []
    pump.setInterval(60_000)
    pump.open()
    for _ in range(50):
        ask(source, seen)
    end = time.monotonic() + 5
    while len(source._outbox) < 50 and time.monotonic() < end:
        time.sleep(0.005)  # the event loop stands still meanwhile
    qtbot.waitUntil(lambda: len(seen) == 50, timeout=3000)
    assert source.n_pumped <= 2

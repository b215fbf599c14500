# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from napari_sam.prediction.batching import in_batches, is_out_of_memory


def all_items(done):
    return [item for _, items in done for item in items]


class Device:
    """Has room for so many items at once."""

    def __init__(self, room, error=torch.OutOfMemoryError):
        self.room = room
        self.error = error
        self.tried = []

    def work(self, start, stop):
        self.tried.append(stop - start)
        if stop - start > self.room:
            msg = "CUDA out of memory"
            raise self.error(msg)
        return list(range(start, stop))


def test_all_items_are_worked_through_in_order():
    device = Device(room=99)
    done = list(in_batches(device.work, 10, 4))
    assert [stop for stop, _ in done] == [4, 8, 10]
    assert all_items(done) == list(range(10))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_when_memory_runs_out_the_batch_is_halved(error):
    """Lesson 17: a grid never holds all masks in full size; batches shrink with
    the memory.
    """
    device = Device(room=3, error=error)
    done = list(in_batches(device.work, 20, 16))
    assert all_items(done) == list(range(20))
    assert device.tried[:3] == [16, 8, 4]
    assert max(device.tried[3:]) == 2


@pytest.mark.parametrize("room", [99, 3, 1])
def test_batches_side_by_side_give_the_same(room):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        device = Device(room)
        done = list(in_batches(device.work, 21, 8, n_at_once=2))
    finally:
        torch.set_num_threads(before)
    assert all_items(done) == list(range(21))
    assert [stop for stop, _ in done][-1] == 21
    assert max(device.tried) == 4  # the batch is shared
    with pytest.raises(torch.OutOfMemoryError):
        list(in_batches(Device(room=0).work, 5, 4, n_at_once=2))


def test_a_single_item_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        list(in_batches(Device(room=0).work, 5, 4))


def test_other_errors_are_not_hidden():
    def work(start, stop):
        msg = "shapes do not match"
        raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="shapes"):
        list(in_batches(work, 5, 4))


def test_memory_errors_of_every_device_are_known():
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (...)"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert not is_out_of_memory(RuntimeError("expected a tensor"))
    assert not is_out_of_memory(ValueError("out of memory"))

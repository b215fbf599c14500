# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading

import torch

from napari_sam.acceleration.scratch import OwnScratch, Pool, Scratch, ScratchPool


def test_memory_stays_and_grows() -> None:
    scratch = Scratch(torch.bfloat16)
    first = scratch("a", 4, 6)
    assert first.shape == (4, 6)
    assert first.dtype is torch.bfloat16
    assert scratch("a", 2, 3).data_ptr() == first.data_ptr()
    assert scratch("a", 2, 3).is_contiguous()
    assert scratch("b", 4, 6).data_ptr() != first.data_ptr()
    assert scratch("a", 5, 6).shape == (5, 6)
    assert scratch("c", 2, dtype=torch.float32).dtype is torch.float32


def test_memory_from_inference_mode_may_be_written_to_outside_of_it() -> None:
    scratch = Scratch(torch.float32)
    with torch.inference_mode():
        scratch("a", 3).fill_(1)
    assert scratch("a", 3).add_(1).tolist() == [2, 2, 2]


def test_nobody_shares_what_is_lent() -> None:
    pool = ScratchPool(torch.float32)
    with pool.lend() as first, pool.lend() as second:
        assert first is not second
    with pool.lend() as again:
        assert again in (first, second)


def test_a_returned_tensor_is_lent_again():
    pool = Pool((3, 4))
    first = pool.lease()
    place = first.tensor.data_ptr()
    second = pool.lease()
    assert second.tensor.data_ptr() != place
    del first
    assert pool.lease().tensor.data_ptr() == place


def test_few_tensors_are_kept():
    pool = Pool((2,), max_kept=2)
    leases = [pool.lease() for _ in range(5)]
    places = {lease.tensor.data_ptr() for lease in leases}
    assert len(places) == 5
    leases.clear()
    assert len(pool._free) == 2


def test_scratch_is_the_same_memory_by_name_and_thread():
    scratch = OwnScratch()
    place = scratch.get("a", 4, 5).data_ptr()
    assert scratch.get("a", 2, 3).shape == (2, 3)
    assert scratch.get("a", 2, 3).data_ptr() == place
    assert scratch.get("b", 4, 5).data_ptr() != place
    others = []
    thread = threading.Thread(target=lambda: others.append(scratch.get("a", 4, 5)))
    thread.start()
    thread.join()
    assert others[0].data_ptr() != place


def test_scratch_grows():
    scratch = OwnScratch()
    scratch.get("a", 2)
    assert scratch.get("a", 100, 7).shape == (100, 7)

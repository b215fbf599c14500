# SPDX-License-Identifier: Apache-2.0
from napari_sam.structures.lru_cache import LruCache


def test_what_was_used_longest_ago_goes_first():
    cache = LruCache(max_items=2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert cache.get("b") is None
    assert (cache.get("a"), cache.get("c")) == (1, 3)


def test_bytes_are_bounded():
    cache = LruCache(max_items=10, max_bytes=100)
    for name in "abcd":
        cache.put(name, name, nbytes=40)
        assert cache.nbytes <= 100
    assert len(cache) == 2
    assert cache.get("d") == "d"


def test_what_is_too_large_is_not_kept():
    cache = LruCache(max_items=10, max_bytes=100)
    cache.put("huge", 1, nbytes=101)
    assert cache.get("huge") is None
    assert cache.nbytes == 0


def test_the_last_may_stay_however_large_it_is():
    cache = LruCache(max_items=10, max_bytes=100, keeps_last=True)
    cache.put("small", 1, nbytes=10)
    cache.put("huge", 2, nbytes=101)
    assert cache.keys() == ["huge"]
    cache.put("small", 3, nbytes=10)
    assert cache.keys() == ["small"]


def test_keys_come_in_the_order_of_their_last_use():
    cache = LruCache(max_items=10)
    for name in "abc":
        cache.put(name, name)
    cache.get("a")
    assert cache.keys() == ["b", "c", "a"]


def test_replacing_a_value_counts_its_bytes_once():
    cache = LruCache(max_items=10, max_bytes=100)
    cache.put("a", 1, nbytes=60)
    cache.put("a", 2, nbytes=70)
    assert cache.get("a") == 2
    assert cache.nbytes == 70
    cache.clear()
    assert len(cache) == cache.nbytes == 0


def test_what_is_forgotten_takes_no_bytes():
    cache = LruCache(max_items=10, max_bytes=100)
    cache.put("a", 1, nbytes=60)
    cache.put("b", 2, nbytes=30)
    cache.forget("a")
    cache.forget("never kept")
    assert cache.get("a") is None
    assert cache.get("b") == 2
    assert cache.nbytes == 30

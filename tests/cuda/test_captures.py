"""Buckets, and the cache of captures: what is kept, what goes, and what is counted."""

from __future__ import annotations

import threading

import pytest

from fastdiff.cuda.buckets import bucket_of, capacity_of
from fastdiff.cuda.captures import CaptureCache


class Item:
    def __init__(self, size: int = 1) -> None:
        self.bytes_held, self.closed = size, 0

    def close(self) -> None:
        self.closed += 1


def test_buckets_hold_their_samples_and_waste_at_most_a_third() -> None:
    buckets = {bucket_of(n) for n in range(1, 5000)}
    assert {1, 2, 3, 4, 6, 8, 12, 16, 24, 4096, 6144} <= buckets
    assert len(buckets) == 25
    for n in range(1, 5000):
        assert n <= bucket_of(n) <= 1.5 * n
        assert bucket_of(bucket_of(n)) == bucket_of(n)


def test_capacities() -> None:
    assert [capacity_of(n) for n in (1, 1000, 1024, 1025, 4096, 4097)] == [
        *(1024, 1024, 1024, 2048, 4096, 8192)
    ]


def test_the_least_recently_used_goes() -> None:
    cache: CaptureCache[str, Item] = CaptureCache(2, 100)
    a, b = cache.get("a", Item), cache.get("b", Item)
    assert cache.get("a", Item) is a
    c = cache.get("c", Item)
    assert (a.closed, b.closed, c.closed) == (0, 1, 0)
    assert (cache.hits, cache.misses, cache.evicted, len(cache)) == (1, 3, 1, 2)
    assert cache.get("b", Item) is not b
    assert a.closed == 1
    cache.clear()
    assert (c.closed, len(cache)) == (1, 0)
    assert cache.describe() == "0 captures, 0.0 MiB; 1 hits, 4 misses, 2 evicted"


def test_memory_is_bounded_but_for_one_item_alone() -> None:
    cache: CaptureCache[int, Item] = CaptureCache(10, 100)
    small = [cache.get(k, lambda: Item(30)) for k in range(3)]
    assert cache.bytes_held == 90
    big = cache.get(9, lambda: Item(500))
    assert [item.closed for item in small] == [1, 1, 1]
    assert (big.closed, cache.bytes_held, cache.evicted) == (0, 500, 3)


def test_what_cannot_be_made_leaves_the_cache_as_it_was() -> None:
    cache: CaptureCache[str, Item] = CaptureCache(1, 100)
    kept = cache.get("kept", Item)

    def fails() -> Item:
        raise ValueError("no memory")

    with pytest.raises(ValueError, match="no memory"):
        cache.get("other", fails)
    assert cache.get("kept", Item) is kept
    assert (cache.misses, cache.evicted, kept.closed) == (1, 0, 0)


def test_threads_that_want_the_same_make_it_once() -> None:
    cache: CaptureCache[str, Item] = CaptureCache(4, 100)
    made, begin = [], threading.Barrier(8)

    def make() -> Item:
        made.append(Item())
        return made[-1]

    def work() -> None:
        begin.wait()
        cache.get("one", make)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert cache.hits + cache.misses == 8

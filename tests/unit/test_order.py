"""The window order: the same for ever, and what it costs."""

import time

import numpy as np
import pytest

from cllm.errors import EmptyCorpus
from cllm.order import NO_TARGET, Batch, WindowOrder
from cllm.spheres import Piece, deal


def order_of(counts: list[int], spheres: int, context: int, seed: int = 0) -> WindowOrder:
    """Documents whose tokens are 10, 11, 12, ... all through, so that each token says where it comes from."""
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    tokens = (np.arange(offsets[-1]) + 10).astype(np.uint16)
    return WindowOrder(tokens, offsets, deal(counts, [""] * len(counts), spheres, "even"), context, 0, seed)


def same(left: Batch, right: Batch) -> bool:
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in ("inputs", "targets", "starts"))


def test_shapes_and_types() -> None:
    batch = order_of([500, 700], 2, 32).batch(1, 3, 5)
    assert batch.inputs.shape == batch.targets.shape == batch.starts.shape == (5, 32)
    assert (batch.inputs.dtype, batch.targets.dtype, batch.starts.dtype) == (np.int64, np.int64, np.bool_)
    assert batch.starts[:, 0].all()


def test_the_order_is_the_same_on_every_machine_and_for_ever() -> None:
    """These numbers were written down once. If they change, no run that was stopped can be continued exactly."""
    batch = order_of([9, 5, 14], 1, 5, seed=7).batch(0, 4, 4)
    assert batch.inputs.tolist() == [
        [17, 18, 0, 19, 20],
        [35, 36, 37, 0, 10],
        [26, 27, 28, 29, 30],
        [31, 32, 33, 34, 35],
    ]
    assert batch.targets.tolist() == [
        [18, 0, 19, 20, 21],
        [36, 37, 0, 10, 11],
        [27, 28, 29, 30, 31],
        [32, 33, 34, 35, 36],
    ]


def test_windows_do_not_depend_on_what_was_asked_before() -> None:
    used = order_of([300, 200, 100, 50], 3, 16)
    for first in (0, 40, 7, 500, 3):
        used.batch(1, first, 9)
    for first in (0, 5, 11, 12, 13, 200, 499):
        assert same(used.batch(1, first, 4), order_of([300, 200, 100, 50], 3, 16).batch(1, first, 4))


def test_a_batch_across_epochs_is_its_windows_one_by_one() -> None:
    order = order_of([100, 60], 2, 16)
    assert order.windows_per_epoch == 5
    batch = order.batch(0, 3, 12)
    one_by_one = [order.batch(0, number, 1) for number in range(3, 15)]
    assert np.array_equal(batch.inputs, np.concatenate([single.inputs for single in one_by_one]))
    assert np.array_equal(batch.targets, np.concatenate([single.targets for single in one_by_one]))
    assert np.array_equal(batch.starts, np.concatenate([single.starts for single in one_by_one]))


def test_seed_epoch_and_sphere_each_change_the_order() -> None:
    order = order_of([1000] * 8, 2, 16)
    n = order.windows_per_epoch
    first = order.batch(0, 0, n).inputs
    assert not np.array_equal(first, order.batch(0, n, n).inputs)
    assert not np.array_equal(first, order_of([1000] * 8, 2, 16, seed=1).batch(0, 0, n).inputs)
    twins = [[Piece(0, 0, 500)], [Piece(0, 0, 500)]]
    tokens, offsets = np.arange(500, dtype=np.uint16), np.array([0, 500])
    order = WindowOrder(tokens, offsets, twins, 16, 0, 0)
    assert not np.array_equal(order.batch(0, 0, 20).inputs, order.batch(1, 0, 20).inputs)


def test_windows_are_cut_at_other_places_in_each_epoch() -> None:
    order = order_of([5000], 1, 100)
    n = order.windows_per_epoch
    beginnings = [set(order.batch(0, epoch * n, n).inputs[:, 0] % 100) for epoch in range(5)]
    assert len(set.union(*beginnings)) > 5


def test_only_two_epochs_are_kept() -> None:
    order = order_of([300] * 4, 2, 16)
    for number in range(0, 500, 3):
        order.batch(0, number, 3)
        assert len(order._epochs[0]) <= 2


def test_a_ring_shorter_than_a_window_is_filled_up() -> None:
    order = order_of([6, 5], 1, 20)  # a ring of 13 places
    assert order.windows_per_epoch == 1
    for epoch in range(10):
        batch = order.batch(0, epoch, 1)
        assert sorted(batch.inputs[0, :13]) == [0, 0, *range(10, 21)]
        assert (batch.inputs[0, 13:] == 0).all()
        assert (batch.targets[0, 13:] == NO_TARGET).all()
        assert sorted(batch.targets[0, :13]) == [0, 0, *range(10, 21)]
        assert batch.starts[0, 13]


def test_too_few_tokens_are_refused() -> None:
    with pytest.raises(EmptyCorpus, match=r"20 tokens.*12 spheres.*--spheres"):
        order_of([20], 12, 16)
    with pytest.raises(EmptyCorpus):
        order_of([], 1, 16)


def test_a_memory_map_is_read_in_place(tmp_path) -> None:
    tokens = (np.arange(1000) + 10).astype(np.uint16)
    np.save(tmp_path / "tokens.npy", tokens)
    mapped = np.load(tmp_path / "tokens.npy", mmap_mode="r")
    pieces, offsets = [[Piece(0, 0, 1000)]], np.array([0, 1000])
    left = WindowOrder(tokens, offsets, pieces, 16, 0, 0).batch(0, 0, 8)
    right = WindowOrder(mapped, offsets, pieces, 16, 0, 0).batch(0, 0, 8)
    assert same(left, right)
    assert type(right.inputs) is np.ndarray


def test_two_million_tokens_are_ordered_in_no_time() -> None:
    counts = [2000] * 1000
    offsets = np.concatenate([[0], np.cumsum(counts)])
    tokens = np.zeros(offsets[-1], dtype=np.uint16)
    begin = time.process_time()
    order = WindowOrder(tokens, offsets, deal(counts, [""] * 1000, 12, "even"), 256, 0, 0)
    for epoch in range(3):
        for sphere in range(12):
            order.batch(sphere, epoch * order.windows_per_epoch, 8)
    assert time.process_time() - begin < 1
    begin = time.process_time()
    for number in range(100):
        order.batch(0, number * 8, 8)
    assert (time.process_time() - begin) / 100 < 0.001

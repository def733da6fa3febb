"""Held-out windows: every token is a target once, with the context it should have."""

import numpy as np
import pytest

from cllm.heldout import HeldOutWindows
from cllm.order import NO_TARGET


def windows_of(counts: list[int], context: int) -> HeldOutWindows:
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    tokens = (np.arange(offsets[-1]) + 10).astype(np.uint16)
    return HeldOutWindows(tokens, offsets, 3 * int(offsets[-1]), context, 0)


@pytest.mark.parametrize("counts", [[1], [16], [17], [100], [5, 6, 7, 100, 0, 3, 16, 15, 1], [0, 0], []])
def test_every_token_is_a_target_once_after_its_own_past(counts: list[int]) -> None:
    windows = windows_of(counts, 16)
    batch = windows.batch(0, windows.count)
    assert sorted(batch.targets[batch.targets != NO_TARGET]) == list(range(10, 10 + sum(counts)))
    assert windows.tokens == sum(counts)
    assert windows.text_bytes == 3 * sum(counts)
    beginnings = {10 + sum(counts[:number]) for number, count in enumerate(counts) if count}
    for inputs, targets, starts in zip(batch.inputs, batch.targets, batch.starts, strict=True):
        previous = None
        for token, target, start in zip(inputs, targets, starts, strict=True):
            if target == NO_TARGET:
                assert token == 0
            else:
                assert token == (0 if target in beginnings else target - 1)
                assert start == (previous is None or target != previous + 1 or target in beginnings)
            previous = target


def test_a_document_that_fits_a_window_is_not_torn() -> None:
    windows = windows_of([9, 9, 9, 7, 7, 7], 16)
    assert windows.count == 3
    targets = windows.batch(0, 3).targets
    assert (targets != NO_TARGET).all()
    for first, count in ((10, 9), (19, 9), (28, 9), (37, 7), (44, 7), (51, 7)):
        assert any(set(range(first, first + count)) <= set(row) for row in targets)


def test_batches_end_with_the_last_window() -> None:
    windows = windows_of([100], 16)
    assert windows.count == 7
    assert [windows.batch(first, 3).inputs.shape[0] for first in (0, 3, 6)] == [3, 3, 1]
    assert np.array_equal(
        np.concatenate([windows.batch(first, 3).targets for first in (0, 3, 6)]), windows.batch(0, 7).targets
    )


def test_places_without_a_target_see_nothing() -> None:
    batch = windows_of([5], 16).batch(0, 1)
    assert batch.starts[0].tolist() == [True] + [False] * 4 + [True] + [False] * 10
    assert batch.inputs[0].tolist() == [0, 10, 11, 12, 13] + [0] * 11

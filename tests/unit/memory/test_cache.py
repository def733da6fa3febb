"""The cache of a file: all positions at once, and token by token, against counting by looking back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cllm.memory.cache import FADING, FileCache, trace_files

LENGTHS = (1, 2, 3, 5)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(1, 4), max_size=40), min_size=1, max_size=4))
def test_both_ways_count_what_stands_earlier_in_the_file(documents: list[list[int]]) -> None:
    trace = trace_files([np.array(d, dtype=np.int64) for d in documents], LENGTHS)
    at = 0
    for document in documents:
        cache = FileCache(LENGTHS)
        for place, token in enumerate(document):
            found = cache.look()
            wanted_last = -1
            for column, m in enumerate(LENGTHS):
                context = document[place - m : place] if place >= m else None
                followed = [document[j] for j in range(m, place) if context and document[j - m : j] == context]
                assert trace.total[at, column] == len(followed)
                assert trace.count[at, column] == followed.count(token)
                assert trace.distinct[at, column] == len(set(followed))
                if followed:
                    assert found[column] == {t: followed.count(t) for t in followed}
                else:
                    assert len(found) <= column
                wanted_last = followed[-1] if followed else wanted_last
            assert trace.last[at] == (next(reversed(found[-1])) if found else -1) == wanted_last
            tokens, shares = cache.recent()
            fading = [FADING ** (place - 1 - j) for j in range(place)]
            recent = {
                t: sum(f for f, d in zip(fading, document, strict=False) if d == t) / sum(fading)
                for t in document[:place]
            }
            assert dict(zip(tokens.tolist(), shares.tolist(), strict=True)) == pytest.approx(recent)
            assert trace.recent[at] == pytest.approx(recent.get(token, 0.0))
            cache.feed(token)
            at += 1


def test_counts_that_fade_do_not_grow_without_bound() -> None:
    cache = FileCache(LENGTHS)
    for place in range(120_000):
        cache.feed(place % 400)
    tokens, shares = cache.recent()
    assert len(tokens) == 400
    assert shares.sum() == pytest.approx(1)
    assert tokens[shares.argmax()] == (120_000 - 1) % 400

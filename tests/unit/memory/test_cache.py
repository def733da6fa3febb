"""The cache of a file: all positions at once, and token by token, against counting by looking back."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cllm.memory.cache import FileCache, trace_files

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
            cache.feed(token)
            at += 1

"""The index of the training tokens against what a search through them finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cllm.errors import InvalidCheckpoint
from cllm.memory.index import MemoryIndex

EOT = 0
DOCUMENTS = st.lists(st.lists(st.integers(1, 4), max_size=60), min_size=1, max_size=6)


def occurrences(documents: list[list[int]], context: list[int]) -> list[tuple[int, int]]:
    """(document, place) of everything that follows `context`, by looking everywhere."""
    found = []
    for d, document in enumerate(documents):
        text = [EOT, *document, EOT]
        found += [(d, i - 1) for i in range(len(context), len(text)) if text[i - len(context) : i] == context]
    return found


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS, st.lists(st.integers(1, 4), max_size=40), st.booleans(), st.sampled_from([1, 4, 32]))
def test_every_context_has_exactly_its_rows(
    documents: list[list[int]], context: list[int], opens: bool, depth: int
) -> None:
    index = MemoryIndex.build([np.array(d) for d in documents], EOT, depth)
    query = [EOT, *context] if opens else context
    found = index.matches(query)
    for m, low, high in found:
        wanted = occurrences(documents, query[-m:])
        assert sorted(index.where(row) for row in range(low, high)) == sorted(wanted)
        assert index.continuations(low, high).tolist() == [
            ([*documents[d], EOT])[place] for d, place in map(index.where, range(low, high))
        ]
    longest = len(found)
    assert [m for m, _, _ in found] == list(range(1, longest + 1))
    if longest < min(depth, len(query)):
        assert not occurrences(documents, query[-longest - 1 :])


@settings(max_examples=100, deadline=None)
@given(DOCUMENTS, st.lists(st.integers(1, 4), min_size=1, max_size=60))
def test_the_longest_match_is_not_bounded_by_the_depth(documents: list[list[int]], context: list[int]) -> None:
    index = MemoryIndex.build([np.array(d) for d in documents], EOT, 4)
    length, rows = index.longest(context)
    wanted = max(m for m in range(len(context) + 1) if m == 0 or occurrences(documents, context[-m:]))
    assert length == wanted
    if length:
        assert sorted(map(index.where, rows.tolist())) == sorted(occurrences(documents, context[-length:]))


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS, DOCUMENTS, st.sampled_from([2, 8]))
def test_a_trace_says_what_a_cursor_says(documents: list[list[int]], read: list[list[int]], depth: int) -> None:
    index = MemoryIndex.build([np.array(d) for d in documents], EOT, depth)
    lengths = list(range(depth + 1))
    trace = index.trace([np.array(d) for d in read], lengths)
    at = 0
    for document in read:
        cursor = index.cursor([EOT])
        for token in document:
            assert trace.longest[at] == len(cursor.low) - 1
            for m in range(1, depth + 1):
                if m < len(cursor.low):
                    low, high = int(cursor.low[m]), int(cursor.high[m])
                    assert (trace.low[at, m], trace.high[at, m]) == (low, high)
                    assert trace.count[at, m] == (index.continuations(low, high) == token).sum()
                else:
                    assert trace.low[at, m] == trace.high[at, m]
                    assert trace.count[at, m] == 0
            cursor.feed(token)
            at += 1


def test_long_documents_are_read_in_pieces_that_know_what_is_before_them() -> None:
    random = np.random.default_rng(0)
    known = random.integers(1, 4, 3000)
    index = MemoryIndex.build([known], EOT, 16)
    trace = index.trace([known], [1, 16])
    assert (trace.longest == np.minimum(np.arange(3000) + 1, 16)).all()
    assert (trace.count[:, 0] >= 1).all()
    assert (trace.count[15:, 1] >= 1).all()


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS, st.data())
def test_what_is_left_out_is_as_if_it_had_never_been_there(documents: list[list[int]], data: st.DataObject) -> None:
    gone = data.draw(st.sets(st.integers(0, len(documents) - 1)))
    left = MemoryIndex.build([np.array(d) for d in documents], EOT, 8).without(sorted(gone))
    anew = MemoryIndex.build([np.array(d) for i, d in enumerate(documents) if i not in gone], EOT, 8)
    for name, array in anew.arrays().items():
        assert (left.arrays()[name] == array).all()
        assert left.arrays()[name].dtype == array.dtype


def test_arrays_make_the_same_index_and_damaged_ones_none() -> None:
    index = MemoryIndex.build([np.array([1, 2, 3, 1, 2]), np.array([2, 3])], EOT)
    arrays = index.arrays()
    assert MemoryIndex.from_arrays(arrays).matches([1, 2]) == index.matches([1, 2])
    for damage in ({"order": arrays["order"] + 1}, {"tokens": arrays["tokens"][1:]}, {"settings": arrays["order"]}):
        with pytest.raises(InvalidCheckpoint):
            MemoryIndex.from_arrays(arrays | damage)
    with pytest.raises(InvalidCheckpoint):
        MemoryIndex.from_arrays({"tokens": arrays["tokens"]})

"""The file so far as a model of what follows: which tokens came after the same contexts earlier in the same file.

For one position at a time (`FileCache`, which grows as the file does) and for all positions of whole files at once
(`trace_files`); both give the same counts. A cache as that of
Kuhn & De Mori (1990), for contexts of many lengths, and for none with counts that fade.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer[Any]]
FADING = 0.99  # what is left of a token's count at the next token, where no context is asked for
_LARGEST = 1e200


@dataclass(frozen=True)
class FileTrace:
    """Of n positions, for the context lengths that were asked for: what the same file says up to there.

    Attributes:
        total: (n, K) earlier places with the same context.
        count: (n, K) of these, followed by the token that stands at the position.
        distinct: (n, K) different tokens that followed.
        last: (n,) the token that followed the longest such context when it was last seen; -1 where none was.
        recent: (n,) share of the token in the file so far, with fading counts; 0 if it does not stand there.
    """

    total: NDArray[np.int32]
    count: NDArray[np.int32]
    distinct: NDArray[np.int32]
    last: NDArray[np.int64]
    recent: NDArray[np.float64]


def _recent(document: Ints) -> NDArray[np.float64]:
    """(n,) shares with fading counts; 0 for a token that was not there before."""
    shares = np.zeros(len(document))
    counts: dict[int, tuple[int, float]] = {}  # place of the last occurrence, and the count there, with itself
    for place, token in enumerate(document.tolist()):
        found = counts.get(token)
        count = 0.0
        if found is not None:
            count = found[1] * FADING ** (place - found[0])
            shares[place] = count / FADING * (1 - FADING) / (1 - FADING**place)
        counts[token] = place, 1 + count
    return shares


def _earlier(group: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each element how many before it have the same number, and the order by (number, place)."""
    keys = (group << 32) | np.arange(len(group))
    keys.sort()
    order = keys & 0xFFFF_FFFF
    number = keys >> 32
    begins = np.concatenate(([True], number[1:] != number[:-1])) if len(group) else np.zeros(0, dtype=bool)
    start = np.maximum.accumulate(np.where(begins, np.arange(len(group)), 0))
    earlier = np.empty(len(group), dtype=np.int64)
    earlier[order] = np.arange(len(group)) - start
    return earlier, order


def trace_files(documents: Sequence[Ints], lengths: Sequence[int]) -> FileTrace:
    """The caches of `documents` (token ids, without end_of_text) at every token, for ascending
    context `lengths` of at least 1."""
    sizes = [len(d) for d in documents]
    stream = np.concatenate([np.zeros(0, dtype=np.int64), *(np.asarray(d, dtype=np.int64) for d in documents)])
    n = len(stream)
    total, count, distinct = (np.zeros((n, len(lengths)), dtype=np.int32) for _ in range(3))
    last = np.full(n, -1, dtype=np.int64)
    within = np.arange(n) - np.repeat(np.cumsum([0, *sizes])[:-1], sizes)
    context = np.repeat(np.arange(len(documents)), sizes)  # the number of each place's context, of growing length
    where = np.arange(n)  # places that have so many tokens before them
    for length in range(max(lengths, default=0) + 1):
        pairs = np.unique((context << 16) | stream[where], return_inverse=True)[1].astype(np.int64)
        if length in lengths:
            column = list(lengths).index(length)
            seen, order = _earlier(context)
            again = _earlier(pairs)[0]
            new = (again[order] == 0).astype(np.int64)
            before = np.cumsum(new) - new
            opens = seen[order] == 0
            base = np.maximum.accumulate(np.where(opens, before, 0))
            total[where, column], count[where, column] = seen, again
            distinct[where[order], column] = before - base
            follows = ~opens
            last[where[order[follows]]] = stream[where[order[np.flatnonzero(follows) - 1]]]
        # The context of the next place is this one's, with its token.
        numbered = np.full(n + 1, -1, dtype=np.int64)
        numbered[where + 1] = pairs
        where = np.flatnonzero(within > length)
        context = numbered[where]
    recent = np.concatenate([np.zeros(0), *(_recent(np.asarray(d)) for d in documents)])
    return FileTrace(total, count, distinct, last, recent)


class FileCache:
    """The counts of one file, which `feed` goes on with by a token in microseconds.

    Most contexts stand in a file once; of these only the token that followed is kept, as a number. Numbers, and the
    dictionaries of numbers that others get, cost the garbage collector nothing, which millions of objects would.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self._lengths = tuple(lengths)
        self._bytes = bytearray()  # two for each token
        # What followed each context: a token, or counts of several in the order in which they followed last.
        self._seen: dict[bytes, int | dict[int, int]] = {}
        self._slots: dict[int, int] = {}  # of the tokens in the file; their counts grow instead of fading
        self._tokens, self._counts = np.zeros(256, dtype=np.int64), np.zeros(256)
        self._whole, self._next_count = 0.0, 1.0

    def copy(self) -> FileCache:
        """A cache of the same file that goes on by itself."""
        other = FileCache(self._lengths)
        other._bytes = bytearray(self._bytes)
        other._seen = {c: dict(seen) if isinstance(seen, dict) else seen for c, seen in self._seen.items()}
        other._slots, other._tokens, other._counts = dict(self._slots), self._tokens.copy(), self._counts.copy()
        other._whole, other._next_count = self._whole, self._next_count
        return other

    def _contexts(self) -> list[bytes]:
        """The last tokens, so many as each of the lengths says, as far as the file goes."""
        data, have = bytes(self._bytes[-2 * self._lengths[-1] :]), len(self._bytes)
        return [data[-2 * m :] for m in self._lengths if 2 * m <= have]

    def feed(self, token: int) -> None:
        """Count a token after all its contexts."""
        all_seen = self._seen
        for context in self._contexts():
            seen = all_seen.get(context)
            if seen is None:
                all_seen[context] = token
            elif isinstance(seen, dict):
                seen[token] = seen.pop(token, 0) + 1
            else:
                all_seen[context] = {token: 2} if seen == token else {seen: 1, token: 1}
        self._bytes += token.to_bytes(2, "little")
        slot = self._slots.setdefault(token, len(self._slots))
        if slot == len(self._tokens):
            self._tokens = np.concatenate((self._tokens, np.zeros_like(self._tokens)))
            self._counts = np.concatenate((self._counts, np.zeros_like(self._counts)))
        self._tokens[slot] = token
        self._counts[slot] += self._next_count
        self._whole += self._next_count
        self._next_count /= FADING
        if self._next_count > _LARGEST:
            self._counts /= self._next_count
            self._whole, self._next_count = self._whole / self._next_count, 1.0

    def recent(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The tokens of the file so far, each once, and their fading counts, divided by the sum of these."""
        size = len(self._slots)
        return self._tokens[:size], self._counts[:size] / max(self._whole, 1e-300)

    def look(self) -> list[dict[int, int]]:
        """Counts of what followed the context of each length, shortest first, up to the longest that stood before.

        The token that followed last is the last one of each.
        """
        found = []
        for context in self._contexts():
            seen = self._seen.get(context)
            if seen is None:  # then no longer one stood there either
                break
            found.append(seen if isinstance(seen, dict) else {seen: 1})
        return found

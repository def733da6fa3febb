"""The mixture at one position after another, over the whole vocabulary: what a completion is drawn from.

The same distribution as `cllm.memory.evidence` and the gate give for single tokens of whole files, made for speed: what
was counted is sparse, and every component is linear in it. After contexts k = 1, 2, ... (longer and longer), with counts
c_k(t) of the continuations t, kept counts c_k(t) - discount, mass m_k and the part r_k of it that the discounts free for
shorter contexts, the interpolated distribution is

    p(t) = R_0 u(t) + sum over k of R_k / m_k kept_k(t),     R_k = product over j > k of r_j / m_j

where u is that of the context of no tokens. So the whole mixture is the network's distribution and u, each times a number,
and one weighted count of the tokens that ever followed.

Shapes: V vocabulary, L context lengths.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cllm.memory.cache import FileCache
from cllm.memory.evidence import CACHE_WEIGHT, DISCOUNT, LENGTHS, Situation, features, present
from cllm.memory.gate import Gate
from cllm.memory.index import Cursor, MemoryIndex

_MANY_ROWS = 128  # from which the continuations of a context are kept for the next time
_MOST_KEPT = 1 << 14  # contexts
_ONE = np.ones(1)


class _Counts(NamedTuple):
    """What followed a context: tokens in ascending order, how often each did, and all together."""

    tokens: NDArray[np.int64]
    counts: NDArray[np.float64]
    total: int


class _Totals(NamedTuple):
    """Of the contexts of no tokens and of `LENGTHS`; those of the file without the first."""

    memory: list[int]
    memory_distinct: list[int]
    file: list[int]
    file_distinct: list[int]


class Continuations:
    """What followed the contexts of a memory, counted; the frequent contexts only once. For all readers of an index."""

    def __init__(self, index: MemoryIndex, vocabulary: int) -> None:
        self.index = index
        self._kept: OrderedDict[tuple[int, int], _Counts] = OrderedDict()
        tokens, counts, _ = self.of(0, index.rows)
        self.distinct = len(tokens)  # of all tokens
        self.of_nothing = np.full(vocabulary, DISCOUNT * len(tokens) / vocabulary)  # after the context of no tokens
        self.of_nothing[tokens] += counts - DISCOUNT
        self.of_nothing /= max(index.rows, 1)
        if not index.rows:
            self.of_nothing[:] = 1 / vocabulary

    def of(self, low: int, high: int) -> _Counts:
        """What followed the contexts of these rows."""
        if high - low == 1:
            return _Counts(self.index.next[low:high].astype(np.int64), _ONE, 1)
        if high - low < _MANY_ROWS:
            return _counted(self.index.next[low:high])
        key = low, high
        if (found := self._kept.get(key)) is None:
            found = self._kept[key] = _counted(self.index.next[low:high])
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return found


def _counted(tokens: NDArray[np.uint16]) -> _Counts:
    values, counts = np.unique(tokens, return_counts=True)
    return _Counts(values.astype(np.int64), counts.astype(np.float64), len(tokens))


class Reader:
    """Reads one document from its beginning, and mixes what the network says of each next token with what it has read."""

    def __init__(self, continuations: Continuations, gate: Gate) -> None:
        self._continuations, self._gate = continuations, gate
        self._cursor: Cursor = continuations.index.cursor([continuations.index.end_of_text])
        self._file = FileCache(LENGTHS)
        self._place = 0

    def feed(self, token: int) -> None:
        """The document goes on with this token."""
        self._cursor.feed(token)
        self._file.feed(token)
        self._place += 1

    def mix(self, log_p_V: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities (V,) of the next token, given the network's log probabilities of it."""
        counted = self._counted()
        in_file, last = self._file.look()
        p_V = np.exp(log_p_V)
        totals = _Totals(
            [self._continuations.index.rows, *(0 if c is None else c.total for c in counted)],
            [self._continuations.distinct, *(0 if c is None else len(c.tokens) for c in counted)],
            [sum(followed.values()) for followed in in_file],
            [len(followed) for followed in in_file],
        )
        s = self._situation(log_p_V, p_V, totals, counted, last)
        weights = self._gate.weights(features(s, cached=True), present(s, cached=True))[0].tolist()

        L = len(LENGTHS)
        alone, joint = weights[1 + L], weights[-1]  # what is left of both interpolated components for shorter contexts
        tokens: list[NDArray[np.int64]] = []
        parts: list[NDArray[np.float64]] = []
        for k in reversed(range(L)):
            m, f = totals.memory[k + 1], CACHE_WEIGHT * totals.file[k]
            if not m and not f:
                continue
            mass = m + f
            if (counts := counted[k]) is not None:
                kept = alone / m + joint / mass
                tokens.append(counts.tokens)
                parts.append((weights[1 + k] / m + kept) * counts.counts - DISCOUNT * kept)
                alone *= DISCOUNT * totals.memory_distinct[k + 1] / m
            if followed := in_file[k]:
                kept = CACHE_WEIGHT * joint / mass
                tokens.append(np.fromiter(followed.keys(), np.int64, len(followed)))
                times = np.fromiter(followed.values(), np.float64, len(followed))
                parts.append((weights[2 + L + k] / totals.file[k] + kept) * times - DISCOUNT * kept)
            joint *= DISCOUNT * (totals.memory_distinct[k + 1] + CACHE_WEIGHT * totals.file_distinct[k]) / mass
        mixed_V = weights[0] * p_V.astype(np.float64)
        if parts:
            mixed_V += np.bincount(np.concatenate(tokens), np.concatenate(parts), len(p_V))
        mixed_V += (alone + joint) * self._continuations.of_nothing
        return mixed_V

    def _counted(self) -> list[_Counts | None]:
        """What followed each context in the training files; None where it is not there."""
        low, high = self._cursor.low.tolist(), self._cursor.high.tolist()
        counted: list[_Counts | None] = []
        before = -1, -1
        for length in LENGTHS:
            if length >= len(low):
                counted.append(None)
                continue
            rows = low[length], high[length]
            counted.append(counted[-1] if rows == before else self._continuations.of(*rows))
            before = rows
        return counted

    def _situation(
        self,
        log_p_V: NDArray[np.float32],
        p_V: NDArray[np.float32],
        totals: _Totals,
        counted: list[_Counts | None],
        last: int,
    ) -> Situation:
        top, top_count, top_total = -1, 0, 0
        longest = next((counts for counts in reversed(counted) if counts is not None), None)
        if longest is not None:
            place = int(longest.counts.argmax())
            top, top_count, top_total = int(longest.tokens[place]), int(longest.counts[place]), longest.total
        likeliest = int(log_p_V.argmax())
        numbers = np.array([[likeliest, len(self._cursor.low) - 1, top, top_count, top_total, last, self._place]])
        return Situation(
            entropy=np.array([-float(p_V @ log_p_V)]),
            top=numbers[:, 0],
            top_log=log_p_V[likeliest : likeliest + 1],
            asked_log=np.array([[log_p_V[top] if top >= 0 else 0.0, log_p_V[last] if last >= 0 else 0.0]]),
            memory_total=np.array([totals.memory]),
            memory_distinct=np.array([totals.memory_distinct]),
            memory_longest=numbers[:, 1],
            memory_top=numbers[:, 2],
            memory_top_count=numbers[:, 3],
            memory_top_total=numbers[:, 4],
            file_total=np.array([totals.file]),
            file_distinct=np.array([totals.file_distinct]),
            file_last=numbers[:, 5],
            place=numbers[:, 6],
        )

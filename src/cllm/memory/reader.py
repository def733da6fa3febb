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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cllm.memory.cache import FileCache
from cllm.memory.evidence import CACHE_WEIGHT, DISCOUNT, LENGTHS, Situation, features, present
from cllm.memory.gate import Gate
from cllm.memory.index import Cursor, MemoryIndex

_MANY_ROWS = 128  # from which the continuations of a context are kept for the next time
_MOST_KEPT = 1 << 14  # contexts
Floats = NDArray[np.floating[Any]]
_Counts = tuple[NDArray[np.int64], NDArray[np.float64]]  # tokens, and how often each followed


class Continuations:
    """What followed the contexts of a memory, counted; the frequent contexts only once. For all readers of an index."""

    def __init__(self, index: MemoryIndex, vocabulary: int) -> None:
        self.index = index
        self._kept: OrderedDict[tuple[int, int], _Counts] = OrderedDict()
        tokens, counts = self.of(0, index.rows)
        self.distinct = len(tokens)  # of all tokens
        self.of_nothing = np.full(vocabulary, DISCOUNT * len(tokens) / vocabulary)  # after the context of no tokens
        self.of_nothing[tokens] += counts - DISCOUNT
        self.of_nothing /= max(index.rows, 1)
        if not index.rows:
            self.of_nothing[:] = 1 / vocabulary

    def of(self, low: int, high: int) -> _Counts:
        """Tokens in ascending order, and how often they followed the contexts of these rows."""
        if high - low == 1:
            return self.index.next[low:high].astype(np.int64), np.ones(1)
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
    return values.astype(np.int64), counts.astype(np.float64)


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
        s = self._situation(log_p_V, counted, in_file, last)
        weights = self._gate.weights(features(s, cached=True), present(s, cached=True))[0].tolist()
        memory_total, memory_distinct = s.memory_total[0].tolist(), s.memory_distinct[0].tolist()
        file_total, file_distinct = s.file_total[0].tolist(), s.file_distinct[0].tolist()

        L = len(LENGTHS)
        alone, joint = weights[1 + L], weights[-1]  # what is left of both interpolated components for shorter contexts
        tokens: list[NDArray[np.int64]] = []
        parts: list[NDArray[np.float64]] = []
        for k in reversed(range(L)):
            m, f = memory_total[k + 1], CACHE_WEIGHT * file_total[k]
            if not m and not f:
                continue
            mass = m + f
            if (counts := counted[k]) is not None:
                kept = alone / m + joint / mass
                tokens.append(counts[0])
                parts.append((weights[1 + k] / m + kept) * counts[1] - DISCOUNT * kept)
                alone *= DISCOUNT * memory_distinct[k + 1] / m
            if followed := in_file[k]:
                kept = CACHE_WEIGHT * joint / mass
                tokens.append(np.fromiter(followed.keys(), np.int64, len(followed)))
                times = np.fromiter(followed.values(), np.float64, len(followed))
                parts.append((weights[2 + L + k] / file_total[k] + kept) * times - DISCOUNT * kept)
            joint *= DISCOUNT * (memory_distinct[k + 1] + CACHE_WEIGHT * file_distinct[k]) / mass
        p_V = np.exp(log_p_V, dtype=np.float64)
        p_V *= weights[0]
        p_V += (alone + joint) * self._continuations.of_nothing
        if parts:
            p_V += np.bincount(np.concatenate(tokens), np.concatenate(parts), len(p_V))
        return p_V

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
        self, log_p_V: NDArray[np.float32], counted: list[_Counts | None], in_file: list[dict[int, int]], last: int
    ) -> Situation:
        top = top_count = top_total = -1
        for counts in reversed(counted):
            if counts is not None:
                place = int(counts[1].argmax())
                top, top_count = int(counts[0][place]), int(counts[1][place])
                top_total = int(counts[1].sum())
                break
        likeliest = int(log_p_V.argmax())
        asked = [float(log_p_V[token]) if token >= 0 else 0.0 for token in (top, last)]
        counts_of = [(0, 0) if counts is None else (int(counts[1].sum()), len(counts[0])) for counts in counted]
        index = self._continuations.index

        def row(*values: float) -> NDArray[Any]:
            return np.array([values])

        return Situation(
            entropy=np.array([-float(np.exp(log_p_V) @ log_p_V)]),
            top=np.array([likeliest]),
            top_log=log_p_V[likeliest : likeliest + 1],
            asked_log=np.array([asked]),
            memory_total=row(index.rows, *(total for total, _ in counts_of)),
            memory_distinct=row(self._continuations.distinct, *(distinct for _, distinct in counts_of)),
            memory_longest=np.array([len(self._cursor.low) - 1]),
            memory_top=np.array([top]),
            memory_top_count=np.array([max(top_count, 0)]),
            memory_top_total=np.array([max(top_total, 0)]),
            file_total=row(*(sum(followed.values()) for followed in in_file)),
            file_distinct=row(*(len(followed) for followed in in_file)),
            file_last=np.array([last]),
            place=np.array([self._place]),
        )

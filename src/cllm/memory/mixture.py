"""The memory of a model: the index of its training files, two gates, and what the network becomes with them.

For whole documents (`read`), and for one position of a text that grows (`Reader`): both compute the same components and
the same weights, so that what is sampled from is what was evaluated.

Shapes: n positions, V vocabulary, K components.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cllm.memory import evidence
from cllm.memory.cache import FileCache
from cllm.memory.evidence import LENGTHS, Evidence, Situation
from cllm.memory.gate import Fitted, Gate, fit
from cllm.memory.index import Cursor, MemoryIndex
from cllm.memory.observe import observe
from cllm.model.transformer import Transformer

_FEW = 64  # rows that are counted one by one
_MOST_KEPT = 16_384  # contexts whose counts are kept for the next time
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Source:
    """A training file, by the manifest."""

    path: str
    language: str = ""
    spdx: str | None = None


@dataclass(frozen=True)
class Memory:
    """What a `.cllm` file remembers of its training files. `sources` are in the order of the index's documents."""

    index: MemoryIndex
    static: Gate  # without the file's own cache
    cached: Gate
    sources: tuple[Source, ...]

    def without(self, documents: Sequence[int]) -> Memory:
        """The memory of the other documents; the gates know no text and stay."""
        gone = set(documents)
        sources = tuple(source for d, source in enumerate(self.sources) if d not in gone)
        return Memory(self.index.without(documents), self.static, self.cached, sources)


class _Followed(NamedTuple):
    """What followed a context: tokens, ascending, their counts, the sum of these, and the most frequent with its."""

    tokens: NDArray[np.int64]
    counts: NDArray[np.int64]
    total: int
    top: int
    top_count: int


class Read(NamedTuple):
    """Natural logarithms of the probabilities of n tokens: (n,) each, and whose they are."""

    network: Floats
    static: Floats
    cached: Floats
    documents: NDArray[np.int64]


def gather(
    index: MemoryIndex,
    model: Transformer,
    documents: Sequence[NDArray[np.integer[Any]]],
    *,
    context: int | None = None,
    batch: int | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Evidence:
    """What network, memory and files say at every token of `documents`."""
    counted = evidence.count(index, documents)
    observed = observe(
        model, documents, counted.asked, index.end_of_text,
        context=context, batch=batch, workers=workers, progress=progress,
    )  # fmt: skip
    return evidence.join(counted, observed)


def learn(index: MemoryIndex, found: Evidence, sources: Sequence[Source]) -> tuple[Memory, Fitted, Fitted]:
    """The memory with gates learned from what was gathered of files that neither network nor memory has seen."""
    static, cached = (
        fit(
            evidence.features(found.situation, own),
            evidence.present(found.situation, own),
            found.probabilities(own),
            found.documents,
        )
        for own in (False, True)
    )
    return Memory(index, static.gate, cached.gate, tuple(sources)), static, cached


def mix(memory: Memory, found: Evidence) -> Read:
    """The mixture's probabilities of the tokens that `found` is about."""
    logs = []
    for gate, own in ((memory.static, False), (memory.cached, True)):
        weights = gate.weights(evidence.features(found.situation, own), evidence.present(found.situation, own))
        p = (weights * found.probabilities(own)).sum(axis=1)
        logs.append(np.log(np.maximum(p, np.finfo(np.float64).tiny)))
    return Read(found.network_log.astype(np.float64), logs[0], logs[1], found.documents)


class Reader:
    """A text that grows by a token at a time, and the mixture's distribution of the next one.

    Begins with nothing but the end_of_text before a document; `cached` is whether the text itself is remembered too.
    """

    def __init__(self, memory: Memory, cached: bool = True) -> None:
        self.memory, self.cached = memory, cached
        self.cursor: Cursor = memory.index.cursor([memory.index.end_of_text])
        self._cache = FileCache(LENGTHS)
        self._place = 0
        self._kept: dict[tuple[int, int], _Followed] = {}

    def feed(self, tokens: Sequence[int]) -> None:
        """Go on by these tokens. An end_of_text begins a new document, for the memory and for the cache."""
        depth = self.memory.index.depth
        near = tokens if len(tokens) < depth else tokens[-depth:]  # what was before that is in no context any more
        if len(near) < len(tokens):
            self.cursor = self.memory.index.cursor()
        for token in near:
            self.cursor.feed(token)
        for token in tokens:
            if token == self.memory.index.end_of_text:
                self._cache, self._place = FileCache(LENGTHS), 0
            else:
                self._cache.feed(token)
                self._place += 1

    def copy(self) -> Reader:
        """Another reader at the same place, for going on in another way; slow where the text is long."""
        other = Reader(self.memory, self.cached)
        other.cursor, other._place, other._kept = self.cursor.copy(), self._place, self._kept
        other._cache = self._cache.copy()
        return other

    def _followed(self, low: int, high: int) -> _Followed:
        """Count what followed some rows."""
        if (low, high) in self._kept:
            return self._kept[low, high]
        rows = self.memory.index.next[low:high]
        if high - low <= _FEW:
            found: dict[int, int] = {}
            for token in rows.tolist():
                found[token] = found.get(token, 0) + 1
            tokens = np.array(sorted(found), dtype=np.int64)
            counts = np.array([found[token] for token in sorted(found)], dtype=np.int64)
        else:
            counts = np.bincount(rows)
            tokens = np.flatnonzero(counts)
            counts = counts[tokens]
        top = int(counts.argmax())  # the first of equally frequent ones
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[low, high] = _Followed(tokens, counts, high - low, int(tokens[top]), int(counts[top]))
        return self._kept[low, high]

    def distribution(self, network_log: NDArray[np.floating[Any]]) -> Floats:
        """(V,) probabilities of the next token, from the logarithms (V,) of the network's; they sum to one."""
        logs = network_log.astype(np.float64)
        network = np.exp(logs)
        known = len(self.cursor.low)  # one more than the longest context that is remembered
        lows, highs = self.cursor.low.tolist(), self.cursor.high.tolist()
        memory = [self._followed(lows[m], highs[m]) for m in LENGTHS if m < known]
        longest = memory[-1] if memory else _Followed(np.arange(0), np.arange(0), 0, -1, 0)
        absent = [0] * (len(LENGTHS) - len(memory))
        file, last = self._cache.look()
        totals = [sum(followed.values()) for followed in file]
        likeliest = int(network.argmax())
        asked = [float(logs[token]) if token >= 0 else 0.0 for token in (longest.top, last)]
        situation = Situation(
            np.array([-float(network @ logs)]), np.array([likeliest]), np.array([logs[likeliest]]), np.array([asked]),
            np.array([[f.total for f in memory] + absent]), np.array([[len(f.tokens) for f in memory] + absent]),
            np.array([known - 1]), np.array([longest.top]), np.array([longest.top_count]), np.array([longest.total]),
            np.array([totals]), np.array([[len(f) for f in file]]),
            np.array([last]), np.array([self._place]),
        )  # fmt: skip
        gate = self.memory.cached if self.cached else self.memory.static
        w = gate.weights(evidence.features(situation, self.cached), evidence.present(situation, self.cached))[0]
        p: Floats = w[0] * network
        for weight, found in zip(w[1:], memory, strict=False):
            p[found.tokens] += weight / found.total * found.counts
        if self.cached:
            for weight, followed, total in zip(w[1 + len(LENGTHS) :], file, totals, strict=True):
                if followed:
                    share = weight / total
                    for token, count in followed.items():
                        p[token] += share * count
        return p

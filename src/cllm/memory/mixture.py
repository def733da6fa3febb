"""The memory of a model: the index of its training files, two gates, and what the network becomes with them.

For whole documents (`read`), and for one position of a text that grows (`Reader`): both compute the same components and
the same weights, so that what is sampled from is what was evaluated.

Shapes: n positions, V vocabulary, K components.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cllm.memory import evidence
from cllm.memory.cache import FileCache
from cllm.memory.evidence import LENGTHS, Evidence
from cllm.memory.gate import Fitted, Gate, fit
from cllm.memory.index import Cursor, MemoryIndex, go_on
from cllm.memory.observe import observe
from cllm.model.transformer import Transformer

_FEW = 64  # rows that are counted one by one
_FEW_TOKENS = 16  # that are added one by one
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
    """What followed a context of the memory, and how often; `few` or `many` are the shares of the tokens."""

    few: dict[int, float] | None
    many: tuple[NDArray[np.int64], NDArray[np.float32]] | None
    features: tuple[float, float, float]
    total: int
    top: int  # the most frequent token, the first of equally frequent ones
    top_count: int


_NOTHING = _Followed({}, None, (0.0, 0.0, 0.0), 0, -1, 0)


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
    check: Callable[[], None] = go_on,
) -> Evidence:
    """What network, memory and files say at every token of `documents`."""
    counted = evidence.count(index, documents, check)
    observed = observe(
        model, documents, counted.asked, index.end_of_text,
        context=context, batch=batch, workers=workers, progress=progress,
    )  # fmt: skip
    return evidence.join(counted, observed)


def learn(
    index: MemoryIndex, found: Evidence, sources: Sequence[Source], check: Callable[[], None] = go_on
) -> tuple[Memory, Fitted, Fitted]:
    """The memory with gates learned from what was gathered of files that neither network nor memory has seen."""
    static, cached = (
        fit(
            evidence.features(found.situation, own),
            evidence.present(found.situation, own),
            found.probabilities(own),
            found.documents,
            check,
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
        kept = self._kept.get((low, high))
        if kept is not None:
            return kept
        total = high - low
        rows = self.memory.index.next[low:high]
        if total <= _FEW:
            found: dict[int, int] = {}
            for token in rows.tolist():
                found[token] = found.get(token, 0) + 1
            tokens, counts = np.array(sorted(found)), np.array([found[token] for token in sorted(found)])
        else:
            counts = np.bincount(rows)
            tokens = np.flatnonzero(counts)
            counts = counts[tokens]
        place = int(counts.argmax())
        top, top_count, distinct = int(tokens[place]), int(counts[place]), len(tokens)
        few, many = None, None
        if distinct <= _FEW_TOKENS:
            few = dict(zip(tokens.tolist(), (counts / total).tolist(), strict=True))
        else:
            many = tokens, (counts / total).astype(np.float32)
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        made = _Followed(few, many, evidence.count_features(total, distinct), total, top, top_count)
        self._kept[low, high] = made
        return made

    def distribution(self, scores: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """(V,) probabilities of the next token, which sum to one.

        `scores` (V,) are the network's, as logits or logarithms of probabilities; its precision is also the result's.
        """
        network: NDArray[np.floating[Any]] = scores - scores.max()
        top = int(network.argmax())
        shifted = network
        network = np.exp(network)
        whole = float(network.sum())
        log_whole = math.log(whole)
        entropy = log_whole - float(network @ shifted) / whole
        lows, highs = self.cursor.bounds.tolist()
        known = len(lows)  # one more than the longest context that is remembered
        memory = [self._followed(lows[m], highs[m]) for m in LENGTHS if m < known]
        longest = memory[-1] if memory else _NOTHING
        file = self._cache.look() if self.cached else []
        totals = [sum(counts.values()) for counts in file]
        last = next(reversed(file[-1])) if file else -1
        asked = [shifted.item(token) - log_whole if token >= 0 else 0.0 for token in (longest.top, last)]
        gate, seen, mass = self.memory.static, None, 0.0
        begun = self.cached and self._place >= evidence.BEGUN
        present = list(range(1 + len(memory)))
        if self.cached:
            gate = self.memory.cached
            tokens, recent = self._cache.recent()
            own = network[tokens]
            mass = float(own.sum()) / whole
            seen = [evidence.count_features(total, len(counts)) for total, counts in zip(totals, file, strict=True)]
            present += range(evidence.STATIC_COMPONENTS, evidence.STATIC_COMPONENTS + len(file))
            present += range(evidence.OWN, evidence.OWN + 2) if begun else ()
            present += [evidence.OWN + 2] if file else []
        w = gate.weights_of_one(
            evidence.features_of_one(
                entropy, top, -log_whole, (asked[0], asked[1]),
                [followed.features for followed in memory], known - 1, longest.top, longest.top_count, longest.total,
                seen, last, mass, self._place,
            ),
            present,
        )  # fmt: skip
        network *= w[0] / whole
        added: dict[int, float] = {}
        for weight, found in zip(w[1:], memory, strict=False):
            if found.few is not None:
                for token, share in found.few.items():
                    added[token] = added.get(token, 0.0) + weight * share
            elif found.many is not None:
                network[found.many[0]] += found.many[1] * weight
        for weight, counts, total in zip(w[1 + len(memory) :], file, totals, strict=False):
            each = weight / total
            for token, count in counts.items():
                added[token] = added.get(token, 0.0) + each * count
        if last >= 0:
            added[last] += w[-1]
        if begun:
            others = w[1 + len(memory) + len(file) :]
            recent *= others[1]
            recent += own * (others[0] / max(mass * whole, 1e-300))
            network[tokens] += recent.astype(network.dtype)
        if added:
            tokens = np.fromiter(added, np.int64, len(added))
            network[tokens] += np.fromiter(added.values(), network.dtype, len(added))
        return network

"""What network, memory and file so far say at a position: the components of the mixture, and what its gate may see.

Components, each a distribution over the vocabulary, or absent:

- the network;
- for each length in `LENGTHS`, what followed the context of so many tokens in the training files: count / total;
- with the file's cache: for each length, what followed the context in the file so far: count / total;
- the network, restricted to the tokens that stand in the file so far: p(t) / their sum; from `BEGUN` tokens on;
- these tokens, by how often and how recently they stood there (`cllm.memory.cache.FADING`); from there on too;
- the token that followed the longest context of the file when it was last seen, for certain.

The gate sees a `Situation`, which depends on the context alone and never on the token to be predicted.

Shapes: n positions, L lengths, K components, F features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cllm.memory.cache import FileTrace, trace_files
from cllm.memory.index import MemoryIndex, Trace, go_on
from cllm.memory.observe import Observed

LENGTHS = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32)
STATIC_COMPONENTS = 1 + len(LENGTHS)
OWN = STATIC_COMPONENTS + len(LENGTHS)  # the number of the first of the three others of the file
CACHED_COMPONENTS = OWN + 3
BEGUN = 64  # tokens of a file that say something about its vocabulary; of fewer, the file would repeat its first words
_LEAST_OWN = 1e-12
_LEAST_LOG = -12.0
_LOG1P = [math.log1p(count) / 4 for count in range(4096)]
_NO_COUNT = (0.0, 0.0, 0.0)

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Situation:
    """n positions as the gate sees them; the columns of counts are contexts of `LENGTHS` tokens."""

    entropy: Floats
    top: Ints
    top_log: Floats
    asked_log: Floats  # (n, 2): of `memory_top` and of `file_last`, in the network
    memory_total: Ints
    memory_distinct: Ints
    memory_longest: Ints  # (n,) tokens
    memory_top: Ints  # (n,) the most frequent continuation of the longest context; -1: none
    memory_top_count: Ints  # (n,)
    memory_top_total: Ints  # (n,)
    file_total: Ints
    file_distinct: Ints
    file_last: Ints  # (n,)
    own: Floats  # (n,) what the network gives to all tokens of the file so far
    place: Ints  # (n,) in the document


def features(s: Situation, cached: bool) -> NDArray[np.float32]:
    """(n, F) numbers of about 1."""
    has_top, has_last = s.memory_top >= 0, s.file_last >= 0
    scalars = [
        s.entropy / 4,
        np.maximum(s.top_log, _LEAST_LOG) / 4,
        np.exp(s.top_log),
        s.memory_longest / 16,
        np.where(has_top, np.maximum(s.asked_log[:, 0], _LEAST_LOG) / 4, 0.0),
        has_top & (s.top == s.memory_top),
        s.memory_top_count / np.maximum(1, s.memory_top_total),
        np.log1p(s.memory_top_total) / 4,
        np.log1p(s.place) / 8,
    ]
    blocks = _count_blocks(s.memory_total, s.memory_distinct)
    blocks.append(s.memory_total > 0)
    if cached:
        scalars += [
            has_last,
            np.where(has_last, np.maximum(s.asked_log[:, 1], _LEAST_LOG) / 4, 0.0),
            has_last & (s.top == s.file_last),
            has_last & (s.memory_top == s.file_last),
            (s.file_total > 0).sum(axis=1) / 8,
            s.own,
        ]
        blocks += _count_blocks(s.file_total, s.file_distinct)
    return np.concatenate([np.stack(scalars, axis=1), *blocks], axis=1).astype(np.float32)


def _count_blocks(total: Ints, distinct: Ints) -> list[NDArray[Any]]:
    """Three numbers for each length: how often, how many different tokens, how often where it was always the same."""
    often = np.log1p(total)
    return [often / 4, np.log1p(distinct) / 4, (distinct == 1) * often / 2]


def count_features(total: int, distinct: int) -> tuple[float, float, float]:
    """What `_count_blocks` has of one context."""
    often = _log1p(total)
    return often, _log1p(distinct), 2 * often if distinct == 1 else 0.0


def _log1p(count: int) -> float:
    return _LOG1P[count] if count < len(_LOG1P) else math.log1p(count) / 4


def features_of_one(
    entropy: float, top: int, top_log: float, asked_log: tuple[float, float],
    memory: Sequence[tuple[float, float, float]], memory_longest: int,
    memory_top: int, memory_top_count: int, memory_top_total: int,
    file: Sequence[tuple[float, float, float]] | None, file_last: int, own: float, place: int,
) -> list[float]:  # fmt: skip
    """`features` of a single position, as a list, in a tenth of the time; arguments as in `Situation`.

    `memory` and `file` have what `count_features` says of each length, up to the longest context that is there; `file`
    is None without the file's cache.
    """
    more = [_NO_COUNT] * (len(LENGTHS) - len(memory))
    found = [
        entropy / 4,
        max(top_log, _LEAST_LOG) / 4,
        math.exp(top_log),
        memory_longest / 16,
        max(asked_log[0], _LEAST_LOG) / 4 if memory_top >= 0 else 0.0,
        float(memory_top >= 0 and top == memory_top),
        memory_top_count / max(1, memory_top_total),
        _log1p(memory_top_total),
        _log1p(place) / 2,
    ]
    if file is not None:
        has_last = file_last >= 0
        found += [
            float(has_last),
            max(asked_log[1], _LEAST_LOG) / 4 if has_last else 0.0,
            float(has_last and top == file_last),
            float(has_last and memory_top == file_last),
            len(file) / 8,
            own,
        ]
    for block in zip(*memory, *more, strict=True):
        found += block
    found += [1.0] * len(memory) + [0.0] * len(more)
    if file is not None:
        for block in zip(*file, *[_NO_COUNT] * (len(LENGTHS) - len(file)), strict=True):
            found += block
    return found


def present(s: Situation, cached: bool) -> NDArray[np.bool_]:
    """(n, K): which components there are. The network always is."""
    always = np.ones((len(s.place), 1), dtype=np.bool_)
    parts = [always, s.memory_total > 0]
    if cached:
        begun = (s.place >= BEGUN)[:, None]
        parts += [s.file_total > 0, begun, begun, (s.file_last >= 0)[:, None]]
    return np.concatenate(parts, axis=1)


@dataclass(frozen=True)
class Evidence:
    """The gate's view of n positions, and each component's probability of the token that stands there."""

    situation: Situation
    network_log: NDArray[np.float32]  # (n,) nats
    memory_count: Ints  # (n, L) of the token that stands there
    file_count: Ints  # (n, L)
    is_last: NDArray[np.bool_]  # (n,) whether the token that stands there is `file_last`
    recent: Floats  # (n,) its share in the file so far; 0 where it does not stand there
    documents: NDArray[np.int64]  # (n,)

    def probabilities(self, cached: bool) -> NDArray[np.float32]:
        """(n, K): 0 where a component is absent."""
        s = self.situation
        parts = [np.exp(self.network_log)[:, None], self.memory_count / np.maximum(1, s.memory_total)]
        if cached:
            network = np.exp(self.network_log)
            restricted = np.where(self.recent > 0, network / np.maximum(s.own, np.maximum(network, _LEAST_OWN)), 0)
            parts.append(self.file_count / np.maximum(1, s.file_total))
            begun = s.place >= BEGUN
            parts += [column[:, None] for column in (restricted * begun, self.recent * begun, self.is_last)]
        return np.concatenate(parts, axis=1).astype(np.float32)


@dataclass(frozen=True)
class Counted:
    """What is known of documents before the network reads them."""

    memory: Trace
    memory_distinct: NDArray[np.int64]
    top: NDArray[np.int64]  # most frequent token after the longest context; -1: none
    top_count: NDArray[np.int64]
    top_total: NDArray[np.int64]
    file: FileTrace
    is_last: NDArray[np.bool_]
    sizes: list[int]

    @property
    def asked(self) -> NDArray[np.int64]:
        """(n, 2): the tokens whose probability the gate asks the network for."""
        return np.stack([self.top, self.file.last], axis=1)


def count(index: MemoryIndex, documents: Sequence[Ints], check: Callable[[], None] = go_on) -> Counted:
    """Look up all contexts of `documents`, in the memory and in the documents themselves."""
    trace = index.trace(documents, LENGTHS, check)
    n = len(trace.longest)
    distinct = np.zeros(trace.low.shape, dtype=np.int64)
    top, top_count, top_total = np.full(n, -1, dtype=np.int64), *np.zeros((2, n), dtype=np.int64)
    for column in range(trace.low.shape[1]):
        check()
        rows = np.flatnonzero(trace.high[:, column] > trace.low[:, column])
        low, high = trace.low[rows, column], trace.high[rows, column]
        found = index.statistics(low, high)
        distinct[rows, column] = found.distinct
        # Longer contexts come later, and are what remains.
        top[rows], top_count[rows], top_total[rows] = found.top, found.top_count, high - low
    sizes = [len(d) for d in documents]
    file = trace_files(documents, LENGTHS)
    stream = np.concatenate([np.zeros(0, dtype=np.int64), *(np.asarray(d, dtype=np.int64) for d in documents)])
    return Counted(trace, distinct, top, top_count, top_total, file, stream == file.last, sizes)


def join(counted: Counted, observed: Observed) -> Evidence:
    """The evidence of the documents that were counted, and that the network has read."""
    starts = np.cumsum([0, *counted.sizes])[:-1]
    total = (counted.memory.high - counted.memory.low).astype(np.int64)
    situation = Situation(
        observed.entropy, observed.top, observed.top_log, observed.asked,
        total, counted.memory_distinct, counted.memory.longest,
        counted.top, counted.top_count, counted.top_total,
        counted.file.total, counted.file.distinct, counted.file.last, observed.own,
        np.arange(total.shape[0]) - np.repeat(starts, counted.sizes),
    )  # fmt: skip
    owner = np.repeat(np.arange(len(counted.sizes)), counted.sizes)
    file = counted.file
    return Evidence(situation, observed.target, counted.memory.count, file.count, counted.is_last, file.recent, owner)

"""Every position of the training tokens, sorted by what stands before it.

Positions are in the order of their contexts read backwards, as in the Burrows-Wheeler transform (Burrows & Wheeler
1994) and in PPM: all positions that follow the same m tokens are neighbours, one interval of rows [low, high), and the
intervals of longer contexts lie within those of shorter ones. So the tokens that ever followed a context, however long,
are a slice of one array, as they are with the suffix array of infini-gram (Liu et al. 2024).

The context that grows by a token is found without searching for it anew. The rows within [low, high) that are followed
by t are, in their order, the rows of the longer context that ends in t: `start of t + rank of low` to `start of t +
rank of high`, where the rank of a row is how many rows before it are followed by t (the backward search of the
FM-index, Ferragina & Manzini 2000). That gives the counts of t after all contexts at once, and the intervals at the
next position with them.

A context never reaches across the beginning of its document: the end_of_text before a document is the last token that
it may hold. Only numpy is used.

Names: R rows, D documents, V vocabulary, M = depth, the longest context that is sorted by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cllm.errors import InvalidCheckpoint

DEPTH = 32  # tokens of context that positions are sorted by
MOST_TOKENS = (1 << 31) - 1
MOST_COMPARED = 4096  # rows of equal contexts that are compared further back than `DEPTH`
_CHUNK, _ABREAST = 512, 2048  # tokens of a piece, and pieces, that `trace` reads side by side

Ints = NDArray[np.integer[Any]]


def go_on() -> None:
    """Called now and then by what takes long; another function in its place may raise, to end it."""


@dataclass(frozen=True)
class Trace:
    """What the index holds of the contexts of n positions, for some context lengths (columns), absent ones empty.

    Attributes:
        low, high: (n, K) the rows of each context.
        count: (n, K) how many of these rows are followed by the token that stands at the position.
        longest: (n,) tokens of the longest context that was found, at most the index's depth.
    """

    low: NDArray[np.int32]
    high: NDArray[np.int32]
    count: NDArray[np.int32]
    longest: NDArray[np.int32]


class Statistics(NamedTuple):
    """Of each context: how many different tokens followed it; the most frequent one, -1 for none; how often it did."""

    distinct: NDArray[np.int64]
    top: NDArray[np.int64]
    top_count: NDArray[np.int64]


class MemoryIndex:
    """The training tokens and their order. Immutable; what is derived from the arrays is made when it is first used.

    Attributes:
        tokens: (N,) uint16, "end_of_text document end_of_text document ... end_of_text".
        order: (R,) int32, R = N - 1: the positions 1 .. N - 1 of `tokens`, sorted by their contexts.
        offsets: (D + 1,) int64: document d is tokens[offsets[d] : offsets[d + 1] - 1].
    """

    def __init__(
        self, tokens: NDArray[np.uint16], order: NDArray[np.int32], offsets: NDArray[np.int64], end_of_text: int,
        depth: int = DEPTH,
    ) -> None:  # fmt: skip
        self.tokens, self.order, self.offsets = tokens, order, offsets
        self.end_of_text, self.depth = end_of_text, depth

    # ---- making and storing ---------------------------------------------------------------------------------------

    @classmethod
    def build(
        cls, documents: Sequence[Ints], end_of_text: int, depth: int = DEPTH, check: Callable[[], None] = go_on
    ) -> MemoryIndex:
        """Index `documents` (token ids, without end_of_text)."""
        parts: list[NDArray[np.uint16]] = [np.array([end_of_text], dtype=np.uint16)]
        for document in documents:
            parts += (np.asarray(document).astype(np.uint16), parts[0])
        tokens = np.concatenate(parts)
        assert tokens.size <= MOST_TOKENS
        offsets = np.ones(len(documents) + 1, dtype=np.int64)
        np.cumsum([len(document) + 1 for document in documents], out=offsets[1:])
        offsets[1:] += 1
        return cls(tokens, _sorted_positions(tokens, end_of_text, depth, check), offsets, end_of_text, depth)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What must be stored; see `from_arrays`."""
        settings = np.array([self.end_of_text, self.depth], dtype=np.int64)
        return {"tokens": self.tokens, "order": self.order, "offsets": self.offsets, "settings": settings}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> MemoryIndex:
        """What `arrays` gave. Raises `InvalidCheckpoint` if it is no index."""
        try:
            tokens, order, offsets = arrays["tokens"], arrays["order"], arrays["offsets"]
            end_of_text, depth = (int(value) for value in arrays["settings"])
            kinds = [array.dtype.name for array in (tokens, order, offsets)] == ["uint16", "int32", "int64"]
            whole = len(order) == len(tokens) - 1 and offsets[0] == 1 and offsets[-1] == len(tokens)
            bounded = not len(order) or (order.min() == 1 and order.max() == len(order))
            if not (kinds and whole and bounded and (tokens[offsets - 1] == end_of_text).all()):
                raise ValueError
        except (KeyError, ValueError, IndexError) as error:
            raise InvalidCheckpoint("its memory is not one: use another model file") from error
        return cls(tokens, order, offsets, end_of_text, depth)

    def without(self, documents: Sequence[int]) -> MemoryIndex:
        """The index of the other documents, exactly as `build` would make it."""
        gone = set(documents)
        kept = [self.document(d) for d in range(self.documents) if d not in gone]
        return MemoryIndex.build(kept, self.end_of_text, self.depth)

    # ---- the arrays -----------------------------------------------------------------------------------------------

    @property
    def documents(self) -> int:
        """D."""
        return len(self.offsets) - 1

    @property
    def rows(self) -> int:
        """R, positions that are remembered."""
        return len(self.order)

    def document(self, number: int) -> NDArray[np.uint16]:
        """The tokens of a document."""
        return self.tokens[self.offsets[number] : self.offsets[number + 1] - 1]

    @cached_property
    def next(self) -> NDArray[np.uint16]:
        """(R,) the token at each row's position: what followed its context."""
        return self.tokens[self.order]

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """(R,) token << 32 | row, sorted: the rows that each token follows, for searching among all tokens at once."""
        places = self.next.astype(np.int64)
        places <<= 32
        places |= np.arange(self.rows)
        places.sort()
        return places

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(V + 1,) contexts that end in t are the rows starts[t] to starts[t + 1], and so many rows t follows."""
        counts = np.bincount(self.next, minlength=(1 << 16))
        return np.concatenate(([0], np.cumsum(counts)))

    @cached_property
    def rows_before(self) -> NDArray[np.int64]:
        """(R,) the rows that token t follows, ascending, at starts[t] to starts[t + 1]."""
        return self._places & 0xFFFF_FFFF

    # ---- one context ----------------------------------------------------------------------------------------------

    def cursor(self, context: Sequence[int] = ()) -> Cursor:
        """A reader that stands behind `context`; a document begins with end_of_text."""
        cursor = Cursor(self)
        for token in context[-self.depth :]:
            cursor.feed(int(token))
        return cursor

    def matches(self, context: Sequence[int]) -> list[tuple[int, int, int]]:
        """(m, low, high) for every m from 1 to the longest end of `context` that is remembered, at most `depth`."""
        return self.cursor(context).matches()

    def continuations(self, low: int, high: int) -> NDArray[np.uint16]:
        """The tokens that followed the contexts of these rows, one for each row."""
        return self.next[low:high]

    def where(self, row: int) -> tuple[int, int]:
        """(document, place in it) of the token that followed a row's context; the end is the place after the last."""
        position = int(self.order[row])
        document = int(np.searchsorted(self.offsets, position, side="right")) - 1
        return document, position - int(self.offsets[document])

    def longest(self, context: Sequence[int]) -> tuple[int, NDArray[np.int64]]:
        """Length of the longest end of `context` that is remembered, however long, and the rows that follow it.

        Beyond `depth` tokens the first `MOST_COMPARED` rows are compared with the context, token by token.
        """
        found = self.matches(context)
        if not found:
            return 0, np.arange(0)
        length, low, high = found[-1]
        rows = np.arange(low, high)
        if length < self.depth:
            return length, rows
        rows = rows[:MOST_COMPARED]
        positions = self.order[rows].astype(np.int64)
        while length < len(context) and context[-length] != self.end_of_text:
            same = self.tokens[positions - length - 1] == context[-length - 1]
            if not same.any():
                break
            rows, positions, length = rows[same], positions[same], length + 1
        return length, rows

    # ---- many contexts --------------------------------------------------------------------------------------------

    def ranks(self, token: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the rows before `rows` that are followed by `token` end, among the contexts that end in `token`."""
        return np.searchsorted(self._places, (token << 32) | rows)

    def trace(self, documents: Sequence[Ints], lengths: Sequence[int], check: Callable[[], None] = go_on) -> Trace:
        """The contexts of every token of `documents`, one after the other; each document begins behind end_of_text.

        Args:
            documents: token ids, without end_of_text.
            lengths: the context lengths to report, from 0 (all rows) to `depth`.
        """
        columns = np.asarray(lengths)
        stream = np.concatenate([np.zeros(0, dtype=np.int64), *(np.asarray(d, dtype=np.int64) for d in documents)])
        low, high, count = (np.zeros((len(stream), len(columns)), dtype=np.int32) for _ in range(3))
        longest = np.zeros(len(stream), dtype=np.int32)
        pieces = sorted(_pieces([len(d) for d in documents], self.depth), key=lambda piece: piece.begin - piece.stop)
        opening = self.cursor([self.end_of_text])
        for first in range(0, len(pieces), _ABREAST):
            group = pieces[first : first + _ABREAST]
            lows, highs = np.zeros((2, len(group), self.depth + 1), dtype=np.int64)
            highs[:, 0] = self.rows
            opens = np.array([piece.opens for piece in group])
            lows[opens, : len(opening.low)], highs[opens, : len(opening.high)] = opening.low, opening.high
            begins = np.array([piece.begin for piece in group])
            scored = np.array([piece.scored for piece in group])
            sizes = np.array([piece.stop - piece.begin for piece in group])
            for step in range(int(sizes[0])):
                check()
                active = int(np.searchsorted(-sizes, -step))  # the readers that have not come to their ends
                lows, highs = lows[:active], highs[:active]
                places = begins[:active] + step
                there = np.flatnonzero(highs > lows)
                tokens = stream[places][there // (self.depth + 1)]
                next_lows, next_highs = np.zeros((2, active, self.depth + 1), dtype=np.int64)
                next_lows.ravel()[there] = self.ranks(tokens, lows.ravel()[there])
                next_highs.ravel()[there] = self.ranks(tokens, highs.ravel()[there])
                rows = np.flatnonzero(places >= scored[:active])
                at = places[rows]
                low[at], high[at] = lows[rows][:, columns], highs[rows][:, columns]
                count[at] = (next_highs - next_lows)[rows][:, columns]
                longest[at] = (highs > lows)[rows].sum(axis=1) - 1
                lows[:, 1:], highs[:, 1:] = next_lows[:, :-1], next_highs[:, :-1]
        return Trace(low, high, count, longest)

    def statistics(self, low: Ints, high: Ints) -> Statistics:
        """What follows the contexts of the rows low[i] to high[i], which overlap only where they are the same."""
        keys = (low.astype(np.int64) << 32) | high
        unique, inverse = np.unique(keys, return_inverse=True)
        begins, sizes = unique >> 32, (unique & 0xFFFF_FFFF) - (unique >> 32)
        number = np.repeat(np.arange(len(unique)), sizes)
        rows = np.arange(len(number)) + np.repeat(begins - (np.cumsum(sizes) - sizes), sizes)
        pairs = (number << 16) | self.next[rows]
        pairs.sort()
        first = np.flatnonzero(np.concatenate(([True], pairs[1:] != pairs[:-1]))) if len(pairs) else np.arange(0)
        counts = np.diff(first, append=len(pairs))
        owner, token = pairs[first] >> 16, pairs[first] & 0xFFFF
        distinct = np.bincount(owner, minlength=len(unique))
        by_count = np.lexsort((-token, counts, owner))  # of equally frequent tokens the smaller one is the top
        top, top_count = np.full(len(unique), -1, dtype=np.int64), np.zeros(len(unique), dtype=np.int64)
        top[owner[by_count]], top_count[owner[by_count]] = token[by_count], counts[by_count]
        return Statistics(distinct[inverse], top[inverse], top_count[inverse])


class Cursor:
    """The rows of all contexts that end where a reader stands; it goes on by one token in microseconds.

    Attributes:
        bounds: (2, m + 1) low and high of the contexts of 0, 1, 2, ... m tokens, as far as they are remembered; those
            of 0 are all rows. Never changed in place.
    """

    def __init__(self, index: MemoryIndex) -> None:
        self._index = index
        self.bounds: NDArray[np.int64] = np.array([[0], [index.rows]])

    @property
    def low(self) -> NDArray[np.int64]:
        """(m + 1,)"""
        low: NDArray[np.int64] = self.bounds[0]
        return low

    @property
    def high(self) -> NDArray[np.int64]:
        """(m + 1,)"""
        high: NDArray[np.int64] = self.bounds[1]
        return high

    def copy(self) -> Cursor:
        """Another reader at the same place."""
        other = Cursor(self._index)
        other.bounds = self.bounds
        return other

    def feed(self, token: int) -> None:
        """Go on by a token. What stands before an end_of_text is no context of what follows it."""
        index = self._index
        start, stop = index.starts[token : token + 2].tolist()
        if token == index.end_of_text:
            bounds = np.array([[start], [stop]])
        else:
            bounds = index.rows_before[start:stop].searchsorted(self.bounds)
            bounds += start
        found = min(int(np.count_nonzero(bounds[1] > bounds[0])), index.depth)
        longer = np.empty((2, found + 1), dtype=np.int64)
        longer[:, 0] = self.bounds[:, 0]
        longer[:, 1:] = bounds[:, :found]
        self.bounds = longer

    def matches(self) -> list[tuple[int, int, int]]:
        """(m, low, high) for every m from 1 to the longest that is remembered."""
        return [(m, int(self.low[m]), int(self.high[m])) for m in range(1, len(self.low))]


class _Piece(NamedTuple):
    """Tokens `begin` to `stop` of a stream, read from `begin` and reported from `scored` on."""

    begin: int
    scored: int
    stop: int
    opens: bool  # begins its document


def _pieces(lengths: Sequence[int], depth: int) -> Iterator[_Piece]:
    """Cut documents into pieces, each with the `depth` tokens before it that are all it needs to know."""
    start = 0
    for length in lengths:
        for scored in range(start, start + length, _CHUNK):
            begin = max(start, scored - depth)
            yield _Piece(begin, scored, min(scored + _CHUNK, start + length), begin == start)
        start += length


def _sorted_positions(
    tokens: NDArray[np.uint16], end_of_text: int, depth: int, check: Callable[[], None]
) -> NDArray[np.int32]:
    """The positions 1 .. N - 1 sorted by the `depth` tokens before each, read backwards to an end_of_text.

    Prefix doubling (Manber & Myers 1993): from the order by h tokens that by 2 h, as a pair of ranks. Equal
    contexts stay in the order of their positions. A depth that is no power of two is rounded up to one.
    """
    size = len(tokens) - 1
    places = np.arange(size)  # place i is position i + 1, whose context ends with tokens[i]
    begins = np.maximum.accumulate(np.where(tokens[:-1] == end_of_text, places, 0))
    reach = places - begins + 1  # tokens that the context of a place may hold
    rank = tokens[:-1].astype(np.int64)
    length = 1
    while True:
        check()
        keys = (rank << 32) | places
        keys.sort()
        order = keys & 0xFFFF_FFFF
        if length >= depth or not size:
            return (order + 1).astype(np.int32)
        ranks_in_order = keys >> 32
        changes = np.empty(size, dtype=np.int64)
        changes[0] = 0
        np.cumsum(ranks_in_order[1:] != ranks_in_order[:-1], out=changes[1:])
        rank[order] = changes + 1
        further = np.zeros(size, dtype=np.int64)  # 0: nothing stands there
        far = np.flatnonzero(reach > length)
        further[far] = rank[far - length]
        # Sorted by what is further back first, then stably by what is nearer: the place in the first order is the tie.
        back = (further << 32) | places
        back.sort()
        back &= 0xFFFF_FFFF
        check()
        keys = (rank[back] << 32) | places
        keys.sort()
        order = back[keys & 0xFFFF_FFFF]
        pair_changed = (rank[order][1:] != rank[order][:-1]) | (further[order][1:] != further[order][:-1])
        changes[0] = 0
        np.cumsum(pair_changed, out=changes[1:])
        rank[order] = changes
        length *= 2

"""Where a text stands verbatim in the training files: file, line and licence tag of every copied span.

A span is a run of at least `LEAST` tokens that stand one after the other in one training file. The longest spans are
told first, and what overlaps them only with the rest of it; so spans never overlap, and each is as long as it can be.
Only tokens are compared: a text that is split into other tokens than in the training files is not recognised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cllm.memory.index import MOST_COMPARED, MemoryIndex
from cllm.memory.mixture import Memory

LEAST = 12  # tokens


class File(Protocol):
    """What is told of a training file."""

    @property
    def path(self) -> str: ...
    @property
    def spdx(self) -> str | None: ...


class Bytes(Protocol):
    """The bytes of tokens; a `cllm.tokenizer.Tokenizer` is one."""

    def token_bytes(self, token: int) -> bytes: ...
    def decode_bytes(self, tokens: Sequence[int]) -> bytes: ...


@dataclass(frozen=True)
class Origin:
    """Where a span stands: in the first of the training files that have it.

    Lines are counted from 1, and those of the first and the last character of the span.
    """

    path: str
    line: int
    last_line: int
    spdx: str | None
    others: int  # further training files that have the span, too


@dataclass(frozen=True)
class Span:
    """Tokens `start` to `stop` of a text, and where they are from; None: they are new."""

    start: int
    stop: int
    origin: Origin | None

    @property
    def tokens(self) -> int:
        return self.stop - self.start


def match_lengths(index: MemoryIndex, tokens: Sequence[int]) -> NDArray[np.int64]:
    """(n,) how many tokens up to and with each stand in one training file, one after the other."""
    ids = [int(token) for token in tokens]
    found = np.zeros(len(ids), dtype=np.int64)
    cursor = index.cursor()
    ends = np.zeros(0, dtype=np.int64)  # places in the training tokens behind matches longer than the index's depth
    length = 0
    for place, token in enumerate(ids):
        cursor.feed(token)
        match = len(cursor.low) - 1
        ends = ends[index.tokens[ends] == token] + 1 if length >= index.depth else ends[:0]
        if match < index.depth:
            length = match
        elif len(ends):
            length += 1
        else:
            low, high = int(cursor.low[match]), int(cursor.high[match])
            ends = index.order[low : min(high, low + MOST_COMPARED)].astype(np.int64)
            longest, length = length, match
            while length < longest:
                same = ends[index.tokens[ends - length - 1] == ids[place - length]]
                if not len(same):
                    break
                ends, length = same, length + 1
        found[place] = length
    return found


def copied(index: MemoryIndex, tokens: Sequence[int], least: int = LEAST) -> NDArray[np.bool_]:
    """(n,) whether each token is in a run of at least `least` tokens that stand verbatim in the training files."""
    lengths = match_lengths(index, tokens)
    edges = np.zeros(len(lengths) + 1, dtype=np.int64)
    stops = np.flatnonzero(lengths >= least) + 1
    np.add.at(edges, stops - lengths[stops - 1], 1)
    np.add.at(edges, stops, -1)
    return np.cumsum(edges)[:-1] > 0


def copied_spans(index: MemoryIndex, tokens: Sequence[int], least: int = LEAST) -> list[tuple[int, int]]:
    """(start, stop) of runs of at least `least` tokens that stand verbatim in the training files, none overlapping."""
    lengths = match_lengths(index, tokens)
    goes_on = np.append(lengths[1:] == lengths[:-1] + 1, False)
    stops = np.flatnonzero((lengths >= least) & ~goes_on[: len(lengths)]) + 1
    free = np.ones(len(lengths), dtype=bool)
    found = []
    for stop in stops[np.argsort(-lengths[stops - 1], kind="stable")]:
        begin = stop - lengths[stop - 1]
        run = _longest_run(free[begin:stop])
        if run[1] - run[0] >= least:
            found.append((int(begin + run[0]), int(begin + run[1])))
            free[begin + run[0] : begin + run[1]] = False
    return sorted(found)


def trace(
    index: MemoryIndex, files: Sequence[File], tokenizer: Bytes, tokens: Sequence[int], least: int = LEAST
) -> list[Span]:
    """The whole of `tokens` as spans in their order: those copied from training files, and what is new between them."""
    spans: list[Span] = []
    place = 0
    for start, stop in copied_spans(index, tokens, least):
        if start > place:
            spans.append(Span(place, start, None))
        spans.append(Span(start, stop, _origin(index, files, tokenizer, tokens[start:stop])))
        place = stop
    if place < len(tokens):
        spans.append(Span(place, len(tokens), None))
    return spans


def _longest_run(free: NDArray[np.bool_]) -> tuple[int, int]:
    """The first of the longest runs of True, (start, stop)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], free, [False]))))
    if not len(edges):
        return 0, 0
    starts, stops = edges[::2], edges[1::2]
    widest = int(np.argmax(stops - starts))
    return int(starts[widest]), int(stops[widest])


def _origin(index: MemoryIndex, files: Sequence[File], tokenizer: Bytes, tokens: Sequence[int]) -> Origin:
    """Where a span that is known to stand in the training files stands first."""
    length, rows = index.longest(tokens)
    assert length == len(tokens)
    starts = index.order[rows].astype(np.int64) - length
    documents = np.unique(np.searchsorted(index.offsets, starts, side="right") - 1)
    first = int(starts.min())
    document = int(documents[0])
    before = tokenizer.decode_bytes(index.tokens[index.offsets[document] : first].tolist())
    text = tokenizer.decode_bytes(list(tokens))
    line = 1 + before.count(b"\n")
    return Origin(
        path=files[document].path,
        line=line,
        last_line=line + text[:-1].count(b"\n"),
        spdx=files[document].spdx,
        others=len(documents) - 1,
    )


def parts(memory: Memory, tokenizer: Bytes, tokens: Sequence[int], text: str, torn: int = 0) -> list[dict[str, Any]]:
    """`text`, made of `tokens`, in parts for JSON: `{begin, end, text, tokens, origin}`, origin None for what is new.

    `begin` and `end` are characters. The first `torn` bytes of the first token are not in the text, and the text may
    end before its tokens do.
    """
    data = tokenizer.decode_bytes(list(tokens))[torn:]
    ends = np.cumsum([len(tokenizer.token_bytes(int(token))) for token in tokens]) - torn
    found: list[dict[str, Any]] = []
    place = 0
    for span in trace(memory.index, memory.sources, tokenizer, tokens):
        end = min(len(text), len(data[: int(ends[span.stop - 1])].decode(errors="ignore")))
        if span.stop == len(tokens):
            end = len(text)
        if end > place:
            origin = None if span.origin is None else asdict(span.origin)
            found.append({"begin": place, "end": end, "text": text[place:end], "tokens": span.tokens, "origin": origin})
        place = end
    return found


def listing(found: Sequence[dict[str, Any]]) -> list[str]:
    """The parts that `parts` gave as lines for people."""
    lines = []
    for part in found:
        origin, what = part["origin"], f"characters {part['begin']} to {part['end']}, {part['tokens']} tokens"
        if origin is None:
            lines.append(f"{what}: new")
            continue
        last = "" if origin["last_line"] == origin["line"] else f"-{origin['last_line']}"
        licence = "no SPDX tag" if origin["spdx"] is None else origin["spdx"]
        others = f", and {origin['others']} other files" if origin["others"] else ""
        lines.append(f"{what}: {origin['path']}:{origin['line']}{last} ({licence}{others})")
    return lines

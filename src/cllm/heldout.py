"""Windows of the held-out documents: each of their tokens is a target exactly once.

`HeldOutWindows` are packed, for the loss that is computed often; `windows` overlap, for figures that are reported.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cllm.order import NO_TARGET, Batch

BATCH_TOKENS = 4096  # that go through a model together


class HeldOutWindows:
    """Fixed windows over held-out documents, for the loss that decides which checkpoint is best.

    A document of n tokens gives n inputs (end_of_text and all tokens but the last) and n targets (its tokens). It is
    cut into chunks of at most T, each of which begins without context; chunks shorter than a window share one, largest
    first into the fullest window that has room, so that no short document is torn. What remains free is end_of_text
    without targets.

    Attributes:
        count: windows.
        tokens: targets, all documents together.
        text_bytes: bytes of the documents; nats / text_bytes / ln 2 are bits per byte.
    """

    def __init__(
        self, tokens: NDArray[np.uint16], offsets: NDArray[np.int64], text_bytes: int, context: int, end_of_text: int
    ):
        """Cut the documents `tokens[offsets[d]:offsets[d + 1]]` into windows of `context` tokens."""
        chunks = [
            (begin, min(begin + context, stop), begin == start)
            for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
            for begin in range(start, stop, context)
        ]
        windows = _packed(chunks, context)
        self.count = len(windows)
        self.tokens = int(offsets[-1] - offsets[0])
        self.text_bytes = text_bytes
        self._inputs = np.full((self.count, context), end_of_text, dtype=np.uint16)
        self._targets = np.full((self.count, context), NO_TARGET, dtype=np.int32)
        self._starts = np.zeros((self.count, context), dtype=np.bool_)
        self._starts[:, 0] = True
        for row, window in enumerate(windows):
            place = 0
            for begin, stop, opens in window:
                end = place + stop - begin
                self._targets[row, place:end] = tokens[begin:stop]
                self._inputs[row, place + opens : end] = tokens[begin - 1 + opens : stop - 1]
                self._starts[row, place] = True
                place = end
            if place < context:
                self._starts[row, place] = True

    def batch(self, first: int, count: int) -> Batch:
        """Windows `first` to `first + count`, or as many of them as there are."""
        rows = slice(first, first + count)
        return Batch(self._inputs[rows].astype(np.int64), self._targets[rows].astype(np.int64), self._starts[rows])


def _packed(chunks: list[tuple[int, int, bool]], context: int) -> list[list[tuple[int, int, bool]]]:
    """Best-fit decreasing: `chunks` (begin, stop, opens) in as few windows of `context` places as that finds."""
    windows: list[list[tuple[int, int, bool]]] = []
    free: list[tuple[int, int]] = []  # (free places, window), sorted
    for chunk in sorted(chunks, key=lambda chunk: (chunk[0] - chunk[1], chunk[0])):
        length = chunk[1] - chunk[0]
        found = bisect_left(free, (length, 0))
        if found < len(free):
            room, window = free.pop(found)
        else:
            room, window = context, len(windows)
            windows.append([])
        windows[window].append(chunk)
        if room > length:
            insort(free, (room - length, window))
    return windows


class Window(NamedTuple):
    """Inputs `first` to `first + length` of a document; the targets of those from `scored` on are counted."""

    document: int
    first: int
    length: int
    scored: int


def windows(document: int, tokens: int, context: int) -> Iterator[Window]:
    """Cut a document of `tokens` targets into windows of at most `context` inputs; each target is scored in one.

    The stride is half the context. The last window is moved back so that it is full: its few targets see more.
    """
    stride = max(1, context // 2)
    scored = 0
    first = 0
    while scored < tokens:
        length = min(context, tokens)
        first = min(first, tokens - length)
        yield Window(document, first, length, scored)
        scored = first + length
        first += stride


def batches(cut: list[Window], count: int | None) -> Iterator[list[Window]]:
    """Windows of one length together, the longest first, so that nothing is padded."""
    cut.sort(key=lambda window: (-window.length, window.document, window.first))
    at = 0
    while at < len(cut):
        length = cut[at].length
        most = count or max(1, BATCH_TOKENS // length)
        stop = at + 1
        while stop < len(cut) and stop - at < most and cut[stop].length == length:
            stop += 1
        yield cut[at:stop]
        at = stop

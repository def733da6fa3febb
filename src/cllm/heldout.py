"""Windows of the held-out documents: each of their tokens is a target exactly once."""

from __future__ import annotations

from bisect import bisect_left, insort

import numpy as np
from numpy.typing import NDArray

from cllm.order import NO_TARGET, Batch


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

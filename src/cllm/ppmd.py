"""PPMd (variant I, order 16) as a measure of text: what it needs for new text after it has read known text."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
from typing import Any

import pyppmd

from cllm.machine import available_memory_bytes

ORDER = 16
MEMORY_PER_BYTE = 64  # bytes of model for each byte of text: more than it uses on code, so it never starts anew
LEAST_MEMORY, MOST_MEMORY = 16 << 20, (1 << 32) - (1 << 20)
_CHUNK = 1 << 20


def chunks(data: bytes, stop: Event | None) -> Iterator[memoryview]:
    """`data` in parts; fewer of them once `stop` is set, which spoils the result and is for when nobody wants it."""
    view = memoryview(data)
    for at in range(0, len(data), _CHUNK):
        if stop is not None and stop.is_set():
            return
        yield view[at : at + _CHUNK]


def encoder(size: int) -> Any:
    """A `pyppmd.Ppmd8Encoder` for `size` bytes of text in all, with at most half of the free memory.

    Raises `MemoryError`.
    """
    most = min(MOST_MEMORY, max(LEAST_MEMORY, available_memory_bytes() // 2))
    return pyppmd.Ppmd8Encoder(ORDER, min(most, max(LEAST_MEMORY, MEMORY_PER_BYTE * size)))


def conditional_bytes(training: bytes, held_out: bytes, stop: Event | None = None) -> int:
    """Bytes that PPMd needs for `held_out` after `training`. It does not hold the interpreter's lock.

    PPMd reads its text once, so one run gives both sizes; a few bytes in the range coder count as held-out.
    Raises `MemoryError`.
    """
    coder = encoder(len(training) + len(held_out))
    for chunk in chunks(training, stop):
        coder.encode(chunk)
    size: int = sum(len(coder.encode(chunk)) for chunk in chunks(held_out, stop)) + len(coder.flush())
    return size

"""Work for several processes: what holds the interpreter's lock is no faster in threads.

Processes are started anew, not forked: the process that prepares data may have threads. They end with their parent,
however that died.
"""

from __future__ import annotations

import collections
import functools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.connection import wait
from typing import TypeVar

from cllm.errors import NotEnoughMemory
from cllm.machine import usable_cores

Given = TypeVar("Given")
Made = TypeVar("Made")

LEAST_BYTES = 12 << 20  # of text from which processes, which take a second to start, are worth it
MOST_WORKERS = 8


def _nothing() -> None:
    """Begin without anything."""


def _end_with_parent(begin: Callable[..., object] | None, arguments: tuple[object, ...]) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent").start()
    if begin is not None:
        begin(*arguments)


def executor(size: int, begin: Callable[..., object] | None = None, arguments: tuple[object, ...] = ()) -> Executor:
    """Processes for `size` bytes of text if that is much and there are several cores, else threads.

    `begin(*arguments)` is called once in each of them.
    """
    workers = min(MOST_WORKERS, usable_cores())
    if size < LEAST_BYTES or workers == 1:
        return ThreadPoolExecutor(workers, "texts", functools.partial(begin or _nothing, *arguments))
    spawning = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, spawning, _end_with_parent, (begin, arguments))


def in_order(pool: Executor, work: Callable[[Given], Made], items: Iterable[Given]) -> Iterator[Made]:
    """`work` of each item, in their order; only some are in memory at a time. What is left undone is cancelled.

    Raises `NotEnoughMemory` when the system ended one of the processes.
    """
    ahead = 2 * min(MOST_WORKERS, usable_cores())
    running: collections.deque[Future[Made]] = collections.deque()
    try:
        for item in items:
            running.append(pool.submit(work, item))
            if len(running) > ahead:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    except BrokenExecutor as error:
        raise NotEnoughMemory(
            "a process that reads the files was ended by the system: close other programs, or give fewer files"
        ) from error
    finally:
        for future in running:
            future.cancel()

"""What a worker is to those who started it, and is told by its environment; and lifelines: pipes by whose end a process
learns that its parent is gone, however that died."""

from __future__ import annotations

import os
import signal
import threading
from typing import Protocol

VARIABLE = "CLLM_LIFELINE"
RENDEZVOUS = "CLLM_RENDEZVOUS"  # the file through which ranks find each other
COMPILED = "CLLM_COMPILED"  # the file that says whether the compiled model can be used
SHAPE = "CLLM_SHAPE"  # what to compile, as JSON
FROM_CHECKPOINT = "CLLM_FROM_CHECKPOINT"  # the file to continue from


class Worker(Protocol):
    """A process of a run."""

    pid: int | None  # None: it is not there yet

    def poll(self) -> int | None:
        """Its exit code, once it has ended; negative if a signal ended it."""

    def wait(self) -> int:
        """Its exit code, as soon as it has ended."""

    def kill(self) -> None:
        """End it, and those that it has started, at once."""


def hang_on(with_group: bool = False) -> None:
    """End this process at once when its parent is gone. Does nothing where there is no lifeline.

    `with_group`: also the processes of its group, which must be its own: those that it has started.
    """
    descriptor = os.environ.get(VARIABLE)
    if descriptor is None:
        return

    def wait() -> None:
        while os.read(int(descriptor), 1):
            pass
        if with_group and os.getpgid(0) == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="lifeline").start()

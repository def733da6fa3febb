"""The process that imports torch once for all workers of a run, and forks them off (Linux).

An import takes seconds of processor time, of torch and of its compiler alike, and a run has a worker for each core and
two more; a fork takes milliseconds, and what was imported is in memory once. The parent asks for workers through a
connection and is told through it which process each became, and how that ended. Nothing is computed here and no thread
is started, so a fork is safe. A worker goes on as if it had been started by itself; when the connection ends, this
process does.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
from collections.abc import Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

VARIABLE = "CLLM_NURSERY"  # in the environment: the descriptor of the connection
POLL_S = 0.05
AT_ONCE = ("torch", "cllm.model.transformer", "cllm.training.planner")  # is imported before anybody asks
JOBS = {
    "plan": AT_ONCE,
    "rank": (
        *AT_ONCE, "torch.distributed", "cllm.training.loop", "cllm.training.remember", "cllm.training.sampler",
        "cllm.training.saver", "cllm.training.trainer", "cllm.training.validation",
    ),
    "compile": (*AT_ONCE, "cllm.training.compiling"),
}  # fmt: skip
COMPILER = ("torch._dynamo", "torch._inductor.compile_fx")


def _import(names: Iterable[str]) -> None:
    for name in names:
        importlib.import_module(name)


def _tell(connection: Connection, **message: Any) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more, which the next poll shows
        connection.send_bytes(json.dumps(message).encode())


def _tell_of_ended(connection: Connection, children: dict[int, int]) -> None:
    for pid in list(children):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            _tell(connection, ended=children.pop(pid), code=os.waitstatus_to_exitcode(status))


def serve() -> str | None:
    """Fork workers off until the connection ends; then the answer is None. In a worker it is its job."""
    connection = Connection(int(os.environ.pop(VARIABLE)))
    children: dict[int, int] = {}
    _import(AT_ONCE)
    while True:
        _tell_of_ended(connection, children)
        try:
            if not connection.poll(POLL_S):
                continue
            asked = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return None
        _import(JOBS[asked["job"]])
        if asked["compiler"]:
            with contextlib.suppress(Exception):  # a worker that needs it will say so
                _import(COMPILER)
        gc.freeze()  # what is here already stays where it is, so that it stays shared
        pid = os.fork()
        if pid == 0:
            connection.close()
            _become(asked["job"], asked["environment"])
            return str(asked["job"])
        children[pid] = asked["number"]
        _tell(connection, started=asked["number"], pid=pid)


def _become(job: str, environment: dict[str, str]) -> None:
    """What a process of its own would have been started with."""
    os.environ.update(environment)
    if job == "compile":  # so that it can be ended with the compilers that it runs
        os.setsid()
    rank = f" {environment['RANK']}" if job == "rank" else ""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(f"cllm {job}{rank}")  # the name in lists of processes

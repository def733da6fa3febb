"""Starting the workers of a run, and ending them: forked off a process that has imported torch, or anew.

Without torch. A worker is told what it needs by its environment, and hangs on a lifeline. See `nursery` and `worker`.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from cllm.training import lifeline, nursery
from cllm.training.kernels import TORCH_VARIABLE, Shape
from cllm.training.lifeline import Worker
from cllm.training.plan import Plan
from cllm.workspace import RunDirectory

POLL_S = 0.01
NEVER_BEGUN = 1  # exit code of a worker that nobody can fork off any more
UNKNOWN = 255  # of one whose parent is gone: it is judged by what it has left
ENVIRONMENT = {
    "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",  # ranks of one machine talk over loopback only
    "OMP_NUM_THREADS": "1",  # a rank of several threads says so to torch
    "TORCHINDUCTOR_COMPILE_THREADS": "1",  # no pool of processes: one at a time, beside the preparation and the ranks
    "TOKENIZERS_PARALLELISM": "false",
    # glibc gives large blocks back to the system at once; taking them anew for each tensor costs page faults.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
}  # of all that compute


class Started:
    """A worker that was started anew."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid: int | None = process.pid

    def poll(self) -> int | None:
        return self._process.poll()

    def wait(self) -> int:
        return self._process.wait()

    def kill(self) -> None:
        """End it, with its group if it has one of its own."""
        if self._process.poll() is None:
            _kill(self._process.pid)


class Forked:
    """A worker that was, or will be, forked off."""

    def __init__(self, parent: _Nursery) -> None:
        self._parent = parent
        self.pid: int | None = None
        self.code: int | None = None
        self.killed = False

    def poll(self) -> int | None:
        self._parent.listen()
        if self.code is None and not self._parent.listening:
            if self.pid is None:
                self.code = NEVER_BEGUN
            elif _is_gone(self.pid):
                self.code = UNKNOWN
        return self.code

    def wait(self) -> int:
        while (code := self.poll()) is None:
            time.sleep(POLL_S)
        return code

    def kill(self) -> None:
        """End it, with its group if it has one of its own; one that is not there yet, as soon as it is."""
        self._parent.listen()
        if self.code is None and self.pid is not None:
            _kill(self.pid)
        elif self.pid is None:
            self.killed, self.code = True, -signal.SIGKILL


def _is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)


class _Nursery:
    """The other end of `nursery.serve`."""

    def __init__(self, process: subprocess.Popen[bytes], connection: Connection) -> None:
        self.pid = process.pid
        self._process, self._connection = process, connection
        self._forked: list[Forked] = []
        self.listening = True

    def fork(self, job: str, environment: dict[str, str], compiler: bool) -> Forked | None:
        """Ask for a worker; None if nobody is there to fork it."""
        asked = {"number": len(self._forked), "job": job, "environment": environment, "compiler": compiler}
        self.listen()
        try:
            if not self.listening:
                return None
            self._connection.send_bytes(json.dumps(asked).encode())
        except OSError:
            return None
        self._forked.append(Forked(self))
        return self._forked[-1]

    def listen(self) -> None:
        """Hear what has become of the workers."""
        try:
            while self.listening and self._connection.poll():
                self._hear(json.loads(self._connection.recv_bytes()))
        except (EOFError, OSError):
            self.listening = False

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._connection.close()

    def _hear(self, message: dict[str, int]) -> None:
        if "started" in message:
            worker = self._forked[message["started"]]
            worker.pid = message["pid"]
            if worker.killed:
                _kill(worker.pid)
        else:
            self._forked[message["ended"]].code = message["code"]


class Workers:
    """All processes that a supervisor has started for one run. They end with it."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._reading, self._writing = os.pipe()
        os.set_inheritable(self._writing, False)
        self._all: list[Worker] = []
        self._nursery: _Nursery | None = None
        if sys.platform == "linux":  # elsewhere libraries of the system do not survive a fork
            self._nursery = self._open_nursery()

    def _open_nursery(self) -> _Nursery:
        here, there = multiprocessing.Pipe()
        process = self._popen("nursery", {**ENVIRONMENT, nursery.VARIABLE: str(there.fileno())}, there.fileno())
        there.close()
        return _Nursery(process, here)

    def _popen(self, job: str, more: dict[str, str], *descriptors: int) -> subprocess.Popen[bytes]:
        with open(self._run.log, "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "cllm.training.worker", job, str(self._run.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(self._reading, *descriptors),
                start_new_session=job == "compile",  # so that it can be ended with the compilers that it runs
                env={**os.environ, lifeline.VARIABLE: str(self._reading), **more},
            )

    def start(self, job: str, more: dict[str, str] | None = None, compiler: bool = False) -> Worker:
        """A worker that writes to the run's log; `compiler`: it will need torch's."""
        worker: Worker | None = None
        environment = more or {}
        if job in nursery.JOBS:
            environment = ENVIRONMENT | environment
            if self._nursery is not None:
                worker = self._nursery.fork(job, environment, compiler)
        self._all.append(worker or Started(self._popen(job, environment)))
        return self._all[-1]

    @property
    def others(self) -> list[int]:
        """Ids of processes that are no workers."""
        return [] if self._nursery is None else [self._nursery.pid]

    def end(self) -> None:
        """End all workers that are left, at once."""
        for worker in self._all:
            worker.kill()
        for worker in self._all:
            worker.wait()
        self._all.clear()

    def close(self) -> None:
        """End everything."""
        self.end()
        if self._nursery is not None:
            self._nursery.close()
        os.close(self._writing)
        os.close(self._reading)


def rank_environment(rank: int, plan: Plan, meeting: Path, outcome: Path) -> dict[str, str]:
    """What a rank is told; the ranks meet by the file `meeting`, and learn of their kernels by the file `outcome`."""
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(plan.ranks),
        "OMP_NUM_THREADS": str(plan.threads_per_rank),
        lifeline.RENDEZVOUS: str(meeting),
        lifeline.COMPILED: str(outcome),
    }


def compiler_environment(shape: Shape, directory: Path) -> dict[str, str]:
    """What the process that compiles `shape` into `directory` is told."""
    return {
        "OMP_NUM_THREADS": str(shape.threads),
        lifeline.SHAPE: shape.model_dump_json(),
        TORCH_VARIABLE: str(directory),
    }

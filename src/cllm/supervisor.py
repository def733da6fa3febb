"""The process of a run that never loads torch: starts the workers, watches them, and leaves nothing behind.

    cllm train (terminal) ── lifeline ──> supervisor ── lifeline ──> prepare, plan, rank 0, rank 1, ..., compile

The ranks, and the process that compiles for them, begin as soon as the plan can be foreseen, before the data are ready.
A lifeline is a pipe (`training.lifeline`). When the supervisor is gone, however it died, the workers end at once. When
the terminal's process is killed, the supervisor stops the training after its step and saves; when only the terminal is
closed, that process says "detach" first, and the training goes on. The supervisor writes the exit record.

Signals: the first SIGINT or SIGTERM stops after the step and saves, the second ends at once; SIGUSR1 saves. They count
from the moment at which `launch` returns: until this process listens they wait.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from cllm import events
from cllm.errors import CllmError, Interrupted, StorageFull, TrainingFailed
from cllm.runstate import State, write_exit, write_process
from cllm.runstore import RunStore
from cllm.training import lifeline
from cllm.training.kernels import KernelCache, Precompiler, Shape, cache_directory
from cllm.training.lifeline import Worker
from cllm.training.plan import Plan
from cllm.training.runconfig import foreseen_path, forget_preparation, load_foreseen, load_plan
from cllm.training.workers import UNKNOWN, Workers, compiler_environment, rank_environment
from cllm.workspace import RunDirectory

DETACH = b"d"
POLL_S = 0.05
OUTCOME = "compiled"  # the name of the file that says whether the kernels are ready
USAGE_EVERY_S = 2.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
MEMORY_HINT = " (the system may have run out of memory)"
GRACE_S = 3.0  # for the other ranks to tell their error after one has ended


@dataclass(frozen=True)
class Ending:
    """How a run ended: for the exit record and the result."""

    state: State
    reason: str
    exit_code: int


def launch(run: RunDirectory, checkpoint: Path | None, attached: bool) -> tuple[subprocess.Popen[bytes], int | None]:
    """Start the supervisor of `run` in a session of its own, its output in the run's log.

    Returns the process and, if `attached`, the writing end of its lifeline.
    """
    environment = {k: v for k, v in os.environ.items() if k not in (lifeline.VARIABLE, lifeline.FROM_CHECKPOINT)}
    if checkpoint is not None:
        environment[lifeline.FROM_CHECKPOINT] = str(checkpoint)
    reading, writing = os.pipe() if attached else (None, None)
    if reading is not None:
        environment[lifeline.VARIABLE] = str(reading)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # inherited, until `listen`
    try:
        with open(run.log, "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "cllm.supervisor", str(run.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=() if reading is None else (reading,),
                env=environment,
            )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        write_process(run, process.pid)
    except (OSError, CllmError):
        process.kill()
        raise
    if reading is not None:
        os.close(reading)
    return process, writing


class Supervisor:
    """Runs one run to its end."""

    def __init__(self, run: RunDirectory, store: RunStore) -> None:
        self._run, self._store = run, store
        self._children: list[Worker] = []
        self._early: list[Worker] = []  # ranks that wait for the plan
        self._foreseen: Plan | None = None
        self._ranks_begun = 0
        self._job = ""
        self._interrupts = 0
        self._save_asked = False
        self._why_stop = "as asked for"
        self._begun_seq = store.append(events.STAGE, {"stage": "starting", "done": 0, "total": 0})
        self._peak_rss = 0
        self._usage_at = 0.0
        self._processes: dict[int, psutil.Process] = {}

    # ---- signals and lifelines ------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Take signals, and watch the lifeline to the terminal's process if there is one."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_interrupt)
        signal.signal(signal.SIGUSR1, self._on_save)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        descriptor = os.environ.pop(lifeline.VARIABLE, None)
        if descriptor is not None:
            threading.Thread(target=self._watch, args=(int(descriptor),), daemon=True, name="terminal").start()

    def _watch(self, descriptor: int) -> None:
        if os.read(descriptor, 1) != DETACH:
            self._why_stop = "the command that had started it was killed"
            os.kill(os.getpid(), signal.SIGTERM)

    def _on_interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupts += 1

    def _on_save(self, _number: int, _frame: FrameType | None) -> None:
        self._save_asked = True

    # ---- workers --------------------------------------------------------------------------------------------------

    def _start_ranks(self, plan: Plan, scratch: Path) -> list[Worker]:
        """The ranks of `plan`; the rendezvous is a file of their own."""
        self._ranks_begun += 1
        meeting = scratch / f"rendezvous-{self._ranks_begun}"
        environments = [rank_environment(rank, plan, meeting, scratch / OUTCOME) for rank in range(plan.ranks)]
        return [self._workers.start("rank", environment, plan.compile) for environment in environments]

    def run(self) -> Ending:
        """Prepare if there is no plan yet, then train."""
        with tempfile.TemporaryDirectory(prefix="cllm-") as name, closing(Workers(self._run)) as self._workers:
            scratch = Path(name)

            def compile_shape(shape: Shape, directory: Path) -> Worker:
                return self._workers.start("compile", compiler_environment(shape, directory), compiler=True)

            self._precompiler = Precompiler(KernelCache(cache_directory()), scratch / OUTCOME, compile_shape)
            try:
                foreseen_path(self._run).unlink(missing_ok=True)
                if load_plan(self._run) is None:
                    forget_preparation(self._run)
                    self._job, self._children = "prepare", [self._workers.start(job) for job in ("prepare", "plan")]
                    if (ending := self._wait(lambda: self._look_ahead(scratch))) is not None:
                        return ending
                plan = load_plan(self._run)
                if plan is None:
                    raise TrainingFailed(f"the data could not be prepared: see {self._run.log}")
                self._precompiler.want(Shape.of(plan) if plan.compile else None)
                self._job, self._children = "rank", self._ranks_for(plan, scratch)
                return self._wait(self._precompiler.poll) or self._ending_of_ranks()
            finally:
                self._kill_all()

    def _look_ahead(self, scratch: Path) -> None:
        """Once the plan can be foreseen: start its ranks, which take seconds to begin, and compile what they need."""
        if self._foreseen is None and (plan := load_foreseen(self._run)) is not None:
            self._foreseen = plan
            self._precompiler.want(Shape.of(plan) if plan.compile else None)
            self._early = self._start_ranks(plan, scratch)
        self._precompiler.poll()

    def _ranks_for(self, plan: Plan, scratch: Path) -> list[Worker]:
        """The ranks that were started early, if they are what `plan` needs; else new ones.

        They may have been training since the plan was written, before its process was gone: then what has happened to
        them since is for `_wait` to see, and no reason to begin again.
        """
        early, self._early = self._early, []
        seen = self._foreseen
        fits = seen is not None and (seen.ranks, seen.threads_per_rank) == (plan.ranks, plan.threads_per_rank)
        if fits and (self._is_stepping() or all(rank.poll() is None for rank in early)):
            return early
        for rank in early:
            rank.kill()
            rank.wait()
        return self._start_ranks(plan, scratch)

    def _wait(self, meanwhile: Callable[[], None]) -> Ending | None:
        """Until all workers have ended, calling `meanwhile` again and again; None if all went well."""
        told = 0
        while True:
            meanwhile()
            codes = [self._code(child) for child in self._children]
            if all(code == 0 for code in codes):
                self._children.clear()
                return None
            if any(code not in (None, 0) for code in codes):
                return self._failure()
            if self._save_asked:
                self._save_asked = False
                self._store.send("save")
            if self._interrupts > told:
                told = self._interrupts
                if told > 1:
                    return Ending("stopped", "ended at once, as asked for", Interrupted.exit_code)
                if not self._is_stepping():
                    return Ending("stopped", f"stopped ({self._why_stop}) before the first step", Interrupted.exit_code)
                self._store.send("stop")
            self._tell_usage()
            time.sleep(POLL_S)

    def _code(self, child: Worker) -> int | None:
        """Exit code of a worker. One of which it is not known has ended well if what it was for is there."""
        code = child.poll()
        if code != UNKNOWN:
            return code
        done = load_plan(self._run) if self._job == "prepare" else self._since_begun(events.SUMMARY)
        return code if done is None else 0

    def _is_stepping(self) -> bool:
        return self._since_begun(events.STEP) is not None

    def _failure(self) -> Ending:
        """A worker has ended badly: the cause may be in another one, so give that a moment to say so."""
        until = time.monotonic() + GRACE_S
        first = next((i, c) for i, c in enumerate(map(self._code, self._children)) if c not in (None, 0))
        while (
            time.monotonic() < until
            and (error := self._error()) is None
            and any(c.poll() is None for c in self._children)
        ):
            time.sleep(POLL_S)
        error = self._error()
        self._kill_all()
        if error is not None:
            return error
        number, code = first
        if code == StorageFull.exit_code:
            return Ending("failed", full_disk_text(self._run), code)
        if code == UNKNOWN:
            text = f"{self._name(number)} is gone, and the process that had started it too: see {self._run.log}"
            return Ending("failed", f"{text}{MEMORY_HINT}", TrainingFailed.exit_code)
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            hint = MEMORY_HINT if -code == signal.SIGKILL else ""
            return Ending("failed", f"{self._name(number)} was ended by {name}{hint}", TrainingFailed.exit_code)
        return Ending(
            "failed",
            f"{self._name(number)} failed with exit code {code}: see {self._run.log}",
            TrainingFailed.exit_code,
        )

    def _name(self, child: int) -> str:
        return f"rank {child}" if self._job == "rank" else "the preparation"

    def _error(self) -> Ending | None:
        error = self._since_begun(events.ERROR)
        return None if error is None else Ending("failed", error["text"], error["exit_code"])

    def _ending_of_ranks(self) -> Ending:
        """All ranks have ended well: done, unless they were asked to stop."""
        if self._since_begun(events.SUMMARY) is None:
            return Ending("failed", f"the ranks ended without a word: see {self._run.log}", TrainingFailed.exit_code)
        if (stopped := self._since_begun(events.STOPPED)) is not None:
            saved = "and saved" if stopped["saved"] else "without saving"
            return Ending("stopped", f"stopped ({self._why_stop}) {saved}", Interrupted.exit_code)
        return Ending("done", "complete", 0)

    def _since_begun(self, kind: str) -> dict[str, Any] | None:
        """Data of the last event of `kind` of this session; earlier sessions of the run do not count."""
        event = self._store.last(kind)
        return None if event is None or event.seq < self._begun_seq else event.data

    def _kill_all(self) -> None:
        self._precompiler.kill()
        self._workers.end()
        self._children.clear()
        self._early.clear()

    # ---- telling --------------------------------------------------------------------------------------------------

    def _tell_usage(self) -> None:
        """Memory, processor time and disk traffic of all workers together."""
        if time.monotonic() - self._usage_at < USAGE_EVERY_S:
            return
        self._usage_at = time.monotonic()
        rss = read = written = 0
        cpu = 0.0
        compiling = self._precompiler.process
        workers = (*self._children, *self._early, *([] if compiling is None else [compiling]))
        for pid in (*(worker.pid for worker in workers), *self._workers.others):
            if pid is None:
                continue
            try:
                process = self._processes.get(pid) or psutil.Process(pid)
                self._processes[pid] = process
                with process.oneshot():
                    rss += process.memory_info().rss
                    cpu += process.cpu_percent()
                    if hasattr(process, "io_counters"):
                        counters = process.io_counters()
                        read, written = read + counters.read_bytes, written + counters.write_bytes
            except psutil.Error:  # it has just ended
                continue
        self._peak_rss = max(self._peak_rss, rss)
        self._store.append(
            events.USAGE,
            {
                "rss_bytes": rss,
                "peak_rss_bytes": self._peak_rss,
                "cpu_percent": round(cpu, 1),
                "read_bytes": read,
                "write_bytes": written,
            },
        )

    def conclude(self, ending: Ending) -> None:
        """Write the exit record and, as the last event, the result."""
        result: dict[str, Any] = {"state": ending.state, "reason": ending.reason, "exit_code": ending.exit_code}
        if ending.state != "done" and self._run.resumable:
            result["resume"] = f"cllm resume {self._run.id}"
        self._store.append(events.RESULT, result | (self._since_begun(events.SUMMARY) or {}))
        write_exit(self._run, ending.state, ending.reason, ending.exit_code)


def full_disk_text(run: RunDirectory) -> str:
    """What to say where not even an event could be written."""
    return f"no space left on the disk of {run.path}: free some, then 'cllm resume {run.id}'; no file was damaged"


def main() -> None:
    """`python -m cllm.supervisor RUN`."""
    run = RunDirectory(Path(sys.argv[1]))
    run.exit.unlink(missing_ok=True)
    write_process(run, os.getpid())
    with RunStore(run.store) as store:
        supervisor = Supervisor(run, store)
        supervisor.listen()
        try:
            ending = supervisor.run()
        except CllmError as error:
            ending = Ending("failed", str(error), error.exit_code)
        except Exception:  # a fault of this program: the run still gets its exit record, the log the traceback
            traceback.print_exc()
            ending = Ending("failed", f"a fault in CLLM itself: see {run.log}", TrainingFailed.exit_code)
        try:
            supervisor.conclude(ending)
        except StorageFull:
            ending = Ending("failed", full_disk_text(run), StorageFull.exit_code)
    run.process.unlink(missing_ok=True)
    sys.exit(ending.exit_code)


if __name__ == "__main__":
    main()

"""The speed-up against one thread: measured by two short real trainings, one after the other."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from cllm import events
from cllm.errors import CllmError
from cllm.report.figures import Speedup

WARM_STEPS = 3  # not measured: caches, allocators and the CPU's clock settle
MEASURED_S = 20.0
LIMIT_S = 300.0
_SAME = (
    "size",
    "context",
    "batch_size",
    "vocabulary",
    "precision",
    "spheres",
    "microbatches",
    "reducer",
    "seed",
    "deal",
)

CommandLine = Callable[[int], list[str]]  # threads (0 = all cores) -> the training's command line


def training_command(corpus: Path, settings: dict[str, Any], plan: dict[str, Any]) -> CommandLine:
    """`cllm train` on the run's prepared data, at its model shape and batch, for longer than is measured."""
    values = {name: settings[name] for name in _SAME if name in settings}
    values |= {name: plan[name] for name in ("size", "vocabulary", "batch_size", "microbatches") if name in plan}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]

    def command(threads: int) -> list[str]:
        return [
            sys.executable,
            "-P",
            "-m",
            "cllm",
            "train",
            str(corpus),
            "--json",
            f"--threads={threads}",
            "--epochs=1000",
            "--patience=0",
            "--compile=off",
            *options,
        ]

    return command


def measure(command: CommandLine, seconds: float = MEASURED_S) -> Speedup:
    """Tokens per second with one rank and with all. Raises `CllmError` if a training ends before it can be measured."""
    one, _ = tokens_per_s(command(1), seconds)
    every, ranks = tokens_per_s(command(0), seconds)
    return Speedup(one_rank_tokens_per_s=one, all_ranks_tokens_per_s=every, ranks=ranks, speedup=every / one)


def tokens_per_s(command: list[str], seconds: float) -> tuple[float, int]:
    """(tokens per second, ranks) of a training over its first `seconds` after the warm-up; it is then stopped."""
    ranks, before, spent_s = 1, None, 0.0
    with (
        tempfile.TemporaryDirectory(prefix="cllm-speedup-", ignore_cleanup_errors=True) as workspace,
        _running(command, Path(workspace)) as lines,
    ):
        for line in lines:
            event = json.loads(line)
            if event["event"] == events.PLAN:
                ranks = event["ranks"]
            if event["event"] != events.STEP or event["step"] < WARM_STEPS:
                continue
            if before is None:
                before = event["tokens"]
                continue
            spent_s += event["step_s"]  # without validating and saving, which are not shared out among the ranks
            if spent_s >= seconds:
                return (event["tokens"] - before) / spent_s, ranks
    raise CllmError(f"the speed-up could not be measured: the training ended within {seconds:g} s: {' '.join(command)}")


@contextmanager
def _running(command: list[str], workspace: Path) -> Iterator[IO[str]]:
    """The lines that a training prints within `LIMIT_S`; on leaving it is ended as by Ctrl-C twice, and waited for."""
    with (
        open(workspace / "errors.txt", "wb") as errors,
        subprocess.Popen(
            command,
            cwd=workspace,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout is not None
        limit = threading.Timer(LIMIT_S, process.send_signal, [signal.SIGINT])
        limit.start()
        try:
            yield process.stdout
        finally:
            limit.cancel()
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """SIGINT twice ends a training at once and leaves no rank behind; kill it if it does not listen."""
    for wait_s in (1.0, 15.0):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(wait_s)
            except subprocess.TimeoutExpired:
                continue
    if process.poll() is None:
        process.kill()

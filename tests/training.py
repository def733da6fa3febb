"""Steps that the tests of whole trainings share: starting one, waiting for a step, finding its processes."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

from cllm.runstore import RunStore
from cllm.workspace import RunDirectory, Workspace

SMALL = ("--size=nano", "--context=64", "--batch-size=12", "--vocabulary=512", "--compile=off", "--precision=fp32")


def events_of(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """The events that a command with `--json` printed."""
    return [json.loads(line) for line in done.stdout.splitlines()]


def result_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The result, which must be the last line; the command must have ended well."""
    assert done.returncode == 0, done.stderr
    last = events_of(done)[-1]
    assert last["event"] == "result"
    return last


def wait_for_step(workspace: Path, step: int, timeout: float = 60) -> RunDirectory:
    """The workspace's newest run, as soon as it has done `step` steps."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        for run in Workspace(workspace).all_runs()[-1:]:
            if run.store.exists():
                with RunStore(run.store) as store:
                    last = store.last("step")
                    if last is not None and last.data["step"] >= step:
                        return run
        time.sleep(0.02)
    raise AssertionError(f"no step {step} within {timeout} s")


def wait_for_stage(workspace: Path, stage: str, timeout: float = 120) -> RunDirectory:
    """The workspace's newest run, as soon as it has come to `stage`."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        for run in Workspace(workspace).all_runs()[-1:]:
            if run.store.exists():
                with RunStore(run.store) as store:
                    last = store.last("stage")
                    if last is not None and last.data["stage"] == stage:
                        return run
        time.sleep(0.02)
    raise AssertionError(f"it did not come to {stage} within {timeout} s")


def wait_for_checkpoint(run: RunDirectory, timeout: float = 60) -> None:
    """Until `run` has a whole checkpoint: a fast machine does many steps before the first is due."""
    until = time.monotonic() + timeout
    while not list(run.checkpoints.glob("*.cllm")):  # a file gets its name once it is whole
        assert time.monotonic() < until, f"no checkpoint within {timeout} s"
        time.sleep(0.02)


def processes_of(run: RunDirectory) -> list[psutil.Process]:
    """Every process that works for `run`."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if str(run.path) in (process.info["cmdline"] or ()) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def workers_of(run: RunDirectory, job: str) -> list[psutil.Process]:
    """The processes of `run` that do `job`: forked ones have it in their name, others in their command line."""
    return [p for p in processes_of(run) if job in p.name().split() or job in p.cmdline()]


def wait_until_gone(run: RunDirectory, timeout: float = 10) -> None:
    """Fails if a process of `run` is there after `timeout` seconds."""
    until = time.monotonic() + timeout
    while processes_of(run):
        assert time.monotonic() < until, [p.cmdline() for p in processes_of(run)]
        time.sleep(0.05)

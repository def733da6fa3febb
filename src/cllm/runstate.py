"""What became of a run: read from its files alone, so that it is true after any crash."""

from __future__ import annotations

import json
import time
from typing import Literal

import psutil

from cllm.storage import write_json
from cllm.workspace import RunDirectory

STARTING_S = 10  # from the making of a run to the start of its process; far less, on a busy machine too

State = Literal["running", "done", "stopped", "failed", "interrupted"]


def write_process(run: RunDirectory, pid: int) -> None:
    """Say that this process supervises the run. The start time guards against a pid that is used again."""
    write_json(run.process, {"pid": pid, "started": psutil.Process(pid).create_time()})


def supervisor(run: RunDirectory) -> psutil.Process | None:
    """The live process that supervises the run."""
    try:
        record = json.loads(run.process.read_text())
        process = psutil.Process(record["pid"])
        if abs(process.create_time() - record["started"]) < 1 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        pass
    return None


def write_exit(run: RunDirectory, state: State, reason: str, exit_code: int) -> None:
    """The exit record: how the run ended, in a word and in a line."""
    write_json(run.exit, {"state": state, "reason": reason, "exit_code": exit_code})


def read_exit(run: RunDirectory) -> dict[str, object] | None:
    """The exit record, or None where there is none or it cannot be read."""
    try:
        record = json.loads(run.exit.read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def state_of(run: RunDirectory) -> State:
    """No exit record and no live process means "interrupted", never "done"."""
    if supervisor(run) is not None or _is_starting(run):
        return "running"
    record = read_exit(run)
    state = record.get("state") if record else None
    return state if state in ("done", "stopped", "failed") else "interrupted"


def _is_starting(run: RunDirectory) -> bool:
    """Whether it was made just now, and its process has not yet been started."""
    try:
        is_young = time.time() - run.config.stat().st_mtime < STARTING_S
        return is_young and not any(path.exists() for path in (run.process, run.store, run.exit))
    except OSError:
        return False

"""What happened in a run, in the order in which it counts: the events, with what was undone taken out.

A rollback or a resume from an older checkpoint repeats steps; only the last pass over a step is part of the model.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from cllm import events
from cllm.runstore import Event, RunStore
from cllm.workspace import RunDirectory

Data = dict[str, Any]


@dataclass(frozen=True)
class Issue:
    """Something a person should know of: when (seconds since the epoch), what kind, what."""

    time: float
    kind: str
    text: str


@dataclass
class History:
    """The parts of a run's events; lists are in time order, and `steps` and `validations` hold each step once."""

    steps: list[Data] = field(default_factory=list)
    validations: list[Data] = field(default_factory=list)
    spheres: list[Data] = field(default_factory=list)
    usage: list[Event] = field(default_factory=list)
    checkpoints: list[Data] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    corpus: Data = field(default_factory=dict)
    plan: Data = field(default_factory=dict)
    result: Data = field(default_factory=dict)
    errors: int = 0
    rollbacks: int = 0
    repeated_steps: int = 0  # done again after an interruption
    started: float | None = None  # seconds since the epoch
    first_step: float | None = None
    last_step: float | None = None
    running_s: float = 0.0  # time in which the run ran, without the pauses between its sessions


def read_history(run: RunDirectory) -> History:
    """The history of `run`; empty if it ended before it wrote anything."""
    if not run.store.is_file():
        return History()
    try:
        with RunStore(run.store, readonly=True) as store:
            return history_of(store.events())
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):  # killed between making the file and its tables
            return History()
        raise


def history_of(stream: Iterable[Event]) -> History:
    """Sort the events of one run."""
    history = History()
    previous: Event | None = None
    for event in stream:
        if previous is None:
            history.started = event.time
        elif not _begins_session(event):
            history.running_s += max(0.0, event.time - previous.time)
        _take(history, event)
        previous = event
    return history


def _begins_session(event: Event) -> bool:
    """Whether a supervisor says that it starts: what lies before it is a pause, not running."""
    return event.kind == events.STAGE and event.data.get("stage") == "starting"


def _take(history: History, event: Event) -> None:
    data = event.data
    match event.kind:
        case events.STEP:
            if undone := _forget_after(history, data["step"] - 1):
                history.repeated_steps += undone
                text = f"continued from step {data['step'] - 1}; {undone} steps were done again"
                history.issues.append(Issue(event.time, "resume", text))
            history.steps.append(data)
            history.first_step = history.first_step or event.time
            history.last_step = event.time
        case events.VALIDATION:
            history.validations = [v for v in history.validations if v["step"] != data["step"]] + [data]
        case events.SPHERES:
            history.spheres.append(data)
        case events.USAGE:
            history.usage.append(event)
        case events.CHECKPOINT:
            history.checkpoints.append(data)
        case events.CORPUS:
            history.corpus = data
        case events.PLAN:
            history.plan = data
        case events.RESULT:
            history.result = data
        case events.WARNING:
            history.issues.append(Issue(event.time, "warning", str(data.get("text", ""))))
        case events.ERROR:
            history.errors += 1
            history.issues.append(Issue(event.time, "error", str(data.get("text", ""))))
        case events.ROLLBACK:
            history.rollbacks += 1
            _forget_after(history, data["to_step"])
            text = f"at step {data['step']} back to step {data['to_step']}: {data.get('reason', '')}"
            history.issues.append(Issue(event.time, "rollback", text))
        case events.STOPPED:
            history.issues.append(Issue(event.time, "stop", f"at step {data.get('step')}: {data.get('reason', '')}"))


def _forget_after(history: History, step: int) -> int:
    """Take out what came after `step`; returns how many steps that were."""
    before = len(history.steps)
    while history.steps and history.steps[-1]["step"] > step:
        history.steps.pop()
    if before != len(history.steps):
        history.validations = [v for v in history.validations if v["step"] <= step]
    return before - len(history.steps)

"""Following a running training in a terminal: its events as a progress bar, as lines, or as JSON; and its signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Protocol

import click

from cllm import events
from cllm.errors import StorageFull
from cllm.runstate import read_exit, supervisor
from cllm.runstore import Event, RunStore
from cllm.supervisor import DETACH, full_disk_text
from cllm.workspace import RunDirectory

POLL_S = 0.1


class Display(Protocol):
    """What shows a run's events to somebody."""

    def show(self, event: Event) -> None:
        """Show one event."""

    def note(self, text: str) -> None:
        """Say something beside the events."""

    def close(self) -> None:
        """Leave the terminal tidy."""


class JsonLines:
    """One JSON object a line on standard output; the last one is the result."""

    def show(self, event: Event) -> None:
        click.echo(event.as_json())

    def note(self, text: str) -> None:
        click.echo(text, err=True)

    def close(self) -> None:
        sys.stdout.flush()


class Signals:
    """Ctrl-C stops after the step, a second one ends at once; a closed terminal detaches."""

    def __init__(self, process: subprocess.Popen[bytes], lifeline: int | None, display: Display) -> None:
        self._process, self._lifeline, self._display = process, lifeline, display
        self._interrupts = 0
        self.detached = False
        signal.signal(signal.SIGINT, self._interrupt)
        signal.signal(signal.SIGTERM, self._interrupt)
        signal.signal(signal.SIGHUP, self._hang_up)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupts += 1
        if self._interrupts == 1:
            self._display.note("stopping after this step, and saving; Ctrl-C again ends at once")
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            if self._interrupts > 2:
                os.killpg(self._process.pid, signal.SIGKILL)

    def _hang_up(self, _number: int, _frame: FrameType | None) -> None:
        self.detached = True
        if self._lifeline is not None:
            os.write(self._lifeline, DETACH)


def _events(store: RunStore, process: subprocess.Popen[bytes], signals: Signals) -> Iterator[Event]:
    """New events until the process has ended and all are read."""
    last = store.last(events.RESULT)  # of an earlier session of the same run
    seq = last.seq if last is not None else 0
    while not signals.detached:
        ended = process.poll() is not None
        for event in store.events(after=seq):
            seq = event.seq
            yield event
        if ended:
            return
        time.sleep(POLL_S)


def follow(run: RunDirectory, process: subprocess.Popen[bytes], lifeline: int | None, display: Display) -> int:
    """Show the run until it ends. Returns the exit code for the command; what went wrong has then been said."""
    signals = Signals(process, lifeline, display)
    with RunStore(run.store) as store:
        try:
            for event in _events(store, process, signals):
                display.show(event)
        finally:
            display.close()
    if signals.detached:
        return 0
    return conclude(run, process.wait())


def conclude(run: RunDirectory, code: int) -> int:
    """Say on standard error how a run ended that was not simply done."""
    record = read_exit(run)
    if record is None:
        if code == StorageFull.exit_code:
            click.echo(f"cllm: {full_disk_text(run)}", err=True)
            return code
        click.echo(f"cllm: the training was interrupted{_advice(run)}", err=True)
        return 4
    if record["state"] != "done":
        click.echo(f"cllm: {record['reason']}{_advice(run)}", err=True)
    return int(str(record["exit_code"]))


def _advice(run: RunDirectory) -> str:
    if any(run.checkpoints.glob("*.cllm")):
        return f"; continue with 'cllm resume {run.id}'"
    return ""


def wait_for_save(store: RunStore, after: int, run: RunDirectory) -> str | None:
    """Where the next checkpoint that was asked for lies, or None if the run ends before."""
    while True:
        alive = supervisor(run) is not None
        for event in store.events(after=after, kinds=(events.CHECKPOINT,)):
            if event.data["kind"] == "save":
                return str(event.data["path"])
        if not alive:
            return None
        time.sleep(POLL_S)

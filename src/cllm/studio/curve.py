"""A run's curves: every step in columns, validations and samples; what was undone is taken out.

A rollback or a resume repeats steps: as in `cllm.report.history`, only the last pass over a step counts.
"""

from __future__ import annotations

import csv
import io
import math
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from cllm import events
from cllm.runstore import Event, RunStore
from cllm.workspace import RunDirectory

COLUMNS = ("step", "epoch", "elapsed_s", "loss", "learning_rate", "grad_norm", "tokens_per_s")
SNAPSHOT_STEPS = 4000  # a snapshot has fewer than twice as many
KINDS = (events.CORPUS, events.STEP, events.VALIDATION, events.SAMPLE, events.ROLLBACK)
_BATCH = 2000  # events read at once

Data = dict[str, Any]


class Curve:
    """Take events with `take`; `news` gives what has come since it was last asked, `snapshot` all before that."""

    def __init__(self) -> None:
        self.steps: dict[str, array[float]] = {name: array("d") for name in COLUMNS}
        self.validations: list[Data] = []
        self.samples: list[Data] = []
        self.bits_per_nat_token: float | None = None  # of the training text: tokens/bytes/ln 2
        self._told = (0, 0, 0)
        self._told_ratio: float | None = None
        self._rewritten = False

    def take(self, event: Event) -> None:
        """Fold one event in; other kinds than `KINDS` change nothing."""
        data = event.data
        match event.kind:
            case events.STEP:
                if self.steps["step"] and data["step"] <= self.steps["step"][-1]:
                    self._forget_after(data["step"] - 1)
                for name, column in self.steps.items():
                    value = data.get(name)
                    column.append(math.nan if value is None else value)
            case events.VALIDATION:
                row = {name: data[name] for name in ("step", "epoch", "loss", "bits_per_byte")}
                row["elapsed_s"] = self._elapsed_at(data["step"])
                self._add(self.validations, row)
            case events.SAMPLE:
                self._add(self.samples, {name: data[name] for name in ("step", "epoch", "prompt", "text")})
            case events.ROLLBACK:
                self._forget_after(data["to_step"])
            case events.CORPUS if data.get("train_bytes"):
                self.bits_per_nat_token = data["tokens"] / data["train_bytes"] / math.log(2)

    def news(self) -> Data | None:
        """What has come since the last call, as a delta's keys; None if that cannot be said, since told steps were
        undone or replaced: then a new snapshot has to follow."""
        begun = self._told
        self._told = (len(self.steps["step"]), len(self.validations), len(self.samples))
        ratio, self._told_ratio = self._told_ratio, self.bits_per_nat_token
        if self._rewritten:
            self._rewritten = False
            return None
        news: Data = {}
        if self._told[0] > begun[0]:
            news["steps"] = {name: _plain(column[begun[0] :]) for name, column in self.steps.items()}
        if self._told[1] > begun[1]:
            news["validations"] = self.validations[begun[1] :]
        if self._told[2] > begun[2]:
            news["samples"] = self.samples[begun[2] :]
        if ratio != self.bits_per_nat_token:
            news["bits_per_nat_token"] = self.bits_per_nat_token
        return news

    def snapshot(self) -> Data:
        """What was told so far, with the steps thinned evenly; the last one is always there."""
        steps, validations, samples = self._told
        stride = max(1, steps // SNAPSHOT_STEPS)
        first = (steps - 1) % stride if steps else 0
        return {
            "steps": {name: _plain(column[first:steps:stride]) for name, column in self.steps.items()},
            "validations": self.validations[:validations],
            "samples": self.samples[:samples],
            "bits_per_nat_token": self._told_ratio,
        }

    def _elapsed_at(self, step: int) -> float:
        """Seconds since the run began, at the end of `step`."""
        index = bisect_right(self.steps["step"], step)
        return self.steps["elapsed_s"][index - 1] if index else 0.0

    def _add(self, rows: list[Data], row: Data) -> None:
        kept = [other for other in rows if other["step"] != row["step"]]
        if len(kept) != len(rows):
            self._rewritten = True
            rows[:] = kept
        rows.append(row)

    def _forget_after(self, step: int) -> None:
        keep = bisect_right(self.steps["step"], step)
        if keep == len(self.steps["step"]):
            return
        self._rewritten = True
        for column in self.steps.values():
            del column[keep:]
        for rows in (self.validations, self.samples):
            rows[:] = [row for row in rows if row["step"] <= step]


def _plain(column: array[float]) -> list[float | int | None]:
    """As JSON has numbers: whole ones without a point, none for a figure that is not known."""
    return [None if math.isnan(v) else int(v) if v.is_integer() and abs(v) < 2**53 else v for v in column]


def in_batches(store: RunStore, kinds: tuple[str, ...]) -> Iterator[Event]:
    """All events of `kinds`, some at a time, so that a long run does not fill the memory."""
    seq = 0
    while batch := list(store.events(after=seq, kinds=kinds, limit=_BATCH)):
        yield from batch
        seq = batch[-1].seq


def csv_lines(run: RunDirectory) -> Iterator[str]:
    """The whole curve as CSV with a header: a line for each step, with the validation that followed it."""
    curve = Curve()
    if run.store.is_file():
        with RunStore(run.store, readonly=True) as store:
            for event in in_batches(store, KINDS):
                curve.take(event)
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")

    def flush() -> str:
        text = line.getvalue()
        line.seek(0)
        line.truncate()
        return text

    writer.writerow([*COLUMNS, "validation_loss", "validation_bits_per_byte"])
    held_out = {row["step"]: (row["loss"], row["bits_per_byte"]) for row in curve.validations}
    if 0 in held_out:  # before the first step
        writer.writerow([0, 0, 0, *[""] * (len(COLUMNS) - 3), *held_out[0]])
    steps = curve.steps["step"]
    for begin in range(0, len(steps), _BATCH):
        rows = zip(*(_plain(column[begin : begin + _BATCH]) for column in curve.steps.values()), strict=True)
        for row in rows:
            writer.writerow([*("" if v is None else v for v in row), *held_out.get(row[0], ("", ""))])
        yield flush()
    yield flush()

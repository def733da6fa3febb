"""One run as the live page shows it: its events folded into a dozen figures, and which of them are new.

Pure: no files, no clock. `View.data` is plain JSON; its keys are what the page is told by (docs/studio.md).
"""

from __future__ import annotations

import statistics
from collections import deque
from typing import Any

from cllm import events
from cllm.runstore import Event

RATE_WINDOW_S = 10.0  # tokens/s of a sphere count over so long
MOST_MESSAGES = 20
LEAST_INTERVAL_S = {"step": 1.0, "usage": 1.0}  # of keys that change faster than anybody reads
_AS_THEY_COME = {
    events.CORPUS: "corpus",
    events.PLAN: "plan",
    events.STEP: "step",
    events.USAGE: "usage",
    events.RESULT: "result",
}
_STEPPING = ("training", "saving")

Data = dict[str, Any]


def shown_state(state: str, stage: str | None, stopping: bool) -> str:
    """In a person's words: a running run is "preparing", "training" or "stopping"; other states stay as they are."""
    if state != "running":
        return state
    if stopping:
        return "stopping"
    return "training" if stage in _STEPPING else "preparing"


class View:
    """Take events with `take` and the run's state with `set_run`; `due` gives what a page has to be told."""

    def __init__(self) -> None:
        self.data: Data = {
            "run": None,
            **dict.fromkeys(("stage", "plan", "corpus", "step", "usage", "checkpoint", "validation", "result", "best")),
            "spheres": [],
            "totals": totals_of([]),
            "messages": [],
        }
        self._changed: set[str] = set()
        self._told: dict[str, float] = {}
        self._recent: deque[tuple[float, list[int]]] = deque()  # (time, tokens of each sphere so far)
        self._counted: list[Data] = []  # the spheres as the training told them

    @property
    def is_running(self) -> bool:
        """Whether the run has a live process, by the last `set_run`."""
        return bool(self.data["run"] and self.data["run"]["running"])

    def set_run(self, run: Data | None) -> None:
        """The run's own facts: id, name, state, reason, exit_code, started, running, resumable."""
        before = self.is_running
        if self._set("run", run) and self.is_running != before:
            self._show_spheres()

    def take(self, event: Event) -> None:
        """Fold one event in."""
        data = event.data
        match event.kind:
            case events.STAGE:
                self._set("stage", data)
                if data["stage"] == "starting":  # a new session of the run: it has not ended after all
                    self._set("result", None)
                    self._set("usage", None)
            case events.SPHERES:
                self._take_spheres(event)
            case events.CHECKPOINT:
                self._set("checkpoint", {**data, "time": event.time})
            case events.VALIDATION:
                self._set("validation", data)
                best = {"loss": data["best_loss"], "bits_per_byte": data["best_bits_per_byte"]}
                step = data["step"] if data["improved"] else (self.data["best"] or {}).get("step")
                self._set("best", {**best, "step": step})
            case events.WARNING | events.ERROR:
                self._tell(event, str(data.get("text", "")))
            case events.ROLLBACK:
                self._tell(event, f"step {data['step']}: back to step {data['to_step']}. {data.get('reason', '')}")
            case kind if kind in _AS_THEY_COME:
                self._set(_AS_THEY_COME[kind], data)

    def due(self, now: float) -> Data:
        """The changed keys that may be told again at `now` (seconds of any steady clock), with their values."""
        due = [k for k in self._changed if now - self._told.get(k, float("-inf")) >= LEAST_INTERVAL_S.get(k, 0.0)]
        self._changed.difference_update(due)
        self._told.update(dict.fromkeys(due, now))
        return {key: self.data[key] for key in sorted(due)}

    def _set(self, key: str, value: object) -> bool:
        if self.data[key] == value:
            return False
        self.data[key] = value
        self._changed.add(key)
        return True

    def _tell(self, event: Event, text: str) -> None:
        message = {"time": event.time, "kind": event.kind, "text": text}
        self._set("messages", [message, *self.data["messages"]][:MOST_MESSAGES])

    def _take_spheres(self, event: Event) -> None:
        self._counted = event.data["spheres"]
        self._recent.append((event.time, [sphere["tokens"] for sphere in self._counted]))
        while self._recent[0][0] < event.time - RATE_WINDOW_S or len(self._recent[0][1]) != len(self._counted):
            self._recent.popleft()
        self._show_spheres()

    def _show_spheres(self) -> None:
        """A run that does not run has no active sphere, whatever was true when it last told."""
        rates = self._rates()
        now = {} if self.is_running else {"activity": 0.0, "state": "idle"}
        spheres = [{**s, "tokens_per_s": rate, **now} for s, rate in zip(self._counted, rates, strict=True)]
        self._set("spheres", spheres)
        self._set("totals", totals_of(spheres))

    def _rates(self) -> list[float | None]:
        """Tokens/s of each sphere over the window; None where there is not yet a second of it, or nothing runs."""
        if self._recent and self.is_running:
            (begun, before), (now, tokens) = self._recent[0], self._recent[-1]
            if now - begun >= 1.0 and all(b <= t for b, t in zip(before, tokens, strict=True)):
                return [round((t - b) / (now - begun), 1) for b, t in zip(before, tokens, strict=True)]
        return [None] * len(self._counted)


def totals_of(spheres: list[Data]) -> Data:
    """Sums over the spheres; the loss is the mean over all tokens (nats a token), the load variation is the
    coefficient of variation of their microbatches, in percent."""
    batches = [sphere["microbatches"] for sphere in spheres]
    tokens = sum(sphere["tokens"] for sphere in spheres)
    losses = sum(sphere["loss"] * sphere["tokens"] for sphere in spheres if sphere["loss"] is not None)
    rates = [sphere["tokens_per_s"] for sphere in spheres if sphere["tokens_per_s"] is not None]
    mean = statistics.fmean(batches) if batches else 0.0
    return {
        "microbatches": sum(batches),
        "tokens": tokens,
        "loss": round(losses / tokens, 5) if tokens else None,
        "tokens_per_s": round(sum(rates), 1) if rates else None,
        "load_variation_percent": round(100 * statistics.pstdev(batches) / mean, 2) if mean else None,
        "active": sum(sphere["state"] != "idle" for sphere in spheres),
    }

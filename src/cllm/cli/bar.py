"""The progress of a training for people: a bar in a terminal, a line now and then elsewhere. On standard error."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from cllm import events
from cllm.runstore import Event

LINE_EVERY_S = 10.0
_QUIET = {events.USAGE, events.SPHERES, events.SAMPLE, events.ERROR, events.SUMMARY, events.RESULT, events.STOPPED}


def clock(seconds: float | None) -> str:
    """m:ss, or h:mm:ss."""
    if seconds is None:
        return "-:--"
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, second = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes}:{second:02}"


def count(number: float) -> str:
    """With a space as thousands separator, as in 12 345."""
    return f"{number:,.0f}".replace(",", " ")


class _Figures(ProgressColumn):
    """The part of a line behind the bar."""

    def render(self, task: Task) -> Text:
        return Text(str(task.fields.get("figures", "")))


class TrainingBar:
    """Shows the events of a training."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._progress: Progress | None = None
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                _Figures(),
                console=self._console,
                refresh_per_second=5,
            )
            self._progress.start()
            self._task = self._progress.add_task("starting", total=None)
        self._bits: float | None = None
        self._line_at = 0.0
        self._stage_told = ""

    def show(self, event: Event) -> None:
        """Show one event."""
        if event.kind in _QUIET:
            return
        getattr(self, f"_{event.kind}")(event.data)

    def note(self, text: str) -> None:
        """Say something beside the events."""
        self._console.print(text, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the terminal tidy."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _update(self, description: str, done: float, total: float | None, figures: str) -> None:
        if self._progress is not None:
            self._progress.update(
                self._task, description=description, completed=done, total=total or None, figures=figures
            )

    def _stage(self, data: dict[str, Any]) -> None:
        figures = f"{count(data['done'])} of {count(data['total'])}" if data["total"] else ""
        if data["stage"] != "training":
            self._update(data["stage"], data["done"], data["total"], figures)
        if self._progress is None and data["stage"] != self._stage_told:
            self.note(f"{data['stage']} ...")
        self._stage_told = data["stage"]

    def _corpus(self, data: dict[str, Any]) -> None:
        left_out = sum(data["left_out"].values())
        self.note(
            f"{count(data['files'])} files: {count(data['train_bytes'])} bytes to train on "
            f"({count(data['tokens'])} tokens), {count(data['validation_bytes'])} to validate, "
            f"{count(data['test_bytes'])} to test; {count(left_out)} files left out"
        )

    def _plan(self, data: dict[str, Any]) -> None:
        length = f"{count(data['steps'])} steps" if data["steps"] else "as many steps as the time allows"
        self.note(
            f"model {data['size']}: {data['parameters'] / 1e6:.1f} M weights, vocabulary {count(data['vocabulary'])}; "
            f"{data['batch_size']} windows of {data['context']} tokens a step in {data['microbatches']} microbatches, "
            f"{data['ranks']} ranks, {data['precision']}{', compiled' if data['compile'] else ''}; {length}"
        )
        if (expected := data.get("expected_bits_per_byte")) is not None:
            self.note(f"about {expected:.2f} bits per byte of held-out files are to be expected of the network alone")
        for text in data["notes"]:
            self.note(f"note: {text}")

    def _step(self, data: dict[str, Any]) -> None:
        bits = "-" if self._bits is None else f"{self._bits:.3f}"
        steps = f"/{count(data['steps'])}" if data["steps"] else ""
        figures = (
            f"step {count(data['step'])}{steps} epoch {data['epoch']:.2f} | "
            f"loss {data['loss']:.3f} best {data['best_loss']:.3f} | "
            f"{bits} bits/byte held out | {count(data['tokens_per_s'])} tokens/s | "
            f"{clock(data['elapsed_s'])} left {clock(data['eta_s'])}"
        )
        self._update("training", 1000 * data["progress"], 1000, figures)
        if self._progress is None and time.monotonic() - self._line_at > LINE_EVERY_S:
            self._line_at = time.monotonic()
            self.note(figures)

    def _validation(self, data: dict[str, Any]) -> None:
        self._bits = data["bits_per_byte"]
        self.note(
            f"step {count(data['step'])}: held out {data['bits_per_byte']:.4f} bits per byte, "
            f"{data['loss']:.4f} nats per token"
            f"{', the best so far' if data['improved'] else ''}"
        )

    def _checkpoint(self, data: dict[str, Any]) -> None:
        if data["kind"] != "best":
            self.note(f"saved {data['path']}")

    def _warning(self, data: dict[str, Any]) -> None:
        self.note(f"warning: {data['text']}")

    def _rollback(self, data: dict[str, Any]) -> None:
        self.note(f"step {count(data['step'])}: {data['reason']}; back to step {count(data['to_step'])}")

"""What a report says, section by section, as data: every wording and every figure once, for whatever format it gets."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cllm.report.figures import Completion, Report, Throughput, Verdict

UNKNOWN = "–"


@dataclass(frozen=True)
class Span:
    """A piece of running text; code is a command or a name, never a file's text."""

    text: str
    style: Literal["plain", "strong", "code"] = "plain"


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Mark:
    """A verdict as a table cell: the word for it, and whether it is good news, bad news or (None) not known."""

    word: str
    good: bool | None
    sign: str = ""

    def __str__(self) -> str:
        return f"{self.sign} {self.word}".strip()


@dataclass(frozen=True)
class Table:
    """Rows under a header; `align` has a letter, "l" or "r", for each column."""

    header: tuple[str, ...]
    rows: tuple[tuple[str | Mark, ...], ...]
    align: str


@dataclass(frozen=True)
class Code:
    """A prompt and what a model made follow it."""

    prompt: str
    text: str
    language: str


@dataclass(frozen=True)
class Picture:
    """A picture by its name, and what it shows."""

    name: Literal["loss", "spheres"]
    shows: str


@dataclass(frozen=True)
class Section:
    """A title with what stands under it."""

    title: str
    blocks: tuple[Paragraph | Table | Code | Picture | Section, ...]


SAID = {
    "done": (Span("The training is "), Span("done", "strong"), Span(".")),
    "running": (Span("The training is "), Span("still running", "strong"), Span("; these are the figures so far.")),
    "stopped": (
        Span("The training was "),
        Span("stopped", "strong"),
        Span(" before its end; "),
        Span("cllm resume", "code"),
        Span(" continues it."),
    ),
    "failed": (Span("The training "), Span("failed", "strong"), Span(".")),
    "interrupted": (
        Span("The training was "),
        Span("interrupted", "strong"),
        Span(" without a word; "),
        Span("cllm resume", "code"),
        Span(" continues it."),
    ),
}


def number(value: float | None, form: str = ",.0f", unit: str = "") -> str:
    """A figure with its unit, or a dash."""
    return UNKNOWN if value is None else f"{value:{form}}{' ' + unit if unit else ''}"


def duration(seconds: float | None) -> str:
    """9.5 s, 4 min 05 s, 2 h 03 min."""
    if seconds is None:
        return UNKNOWN
    if seconds < 99.5:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def megabytes(count: float | None) -> str:
    """1,234.5 MB, of 10^6 bytes."""
    return UNKNOWN if count is None else f"{count / 1e6:,.1f} MB"


def epochs_of(done: Throughput) -> str:
    """4.2 of 10 epochs; a run by time alone has no plan of epochs."""
    return f"{done.epochs:.1f}" + (f" of {done.planned_epochs:g}" if done.planned_epochs else "") + " epochs"


def clock(seconds: float) -> str:
    """The local time, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def mark(verdict: Verdict, yes: str = "yes", no: str = "no", bad: str = "❌") -> Mark:
    """The verdict in words and signs, or a dash where it is not known."""
    if verdict.passed is None:
        return Mark(UNKNOWN, None)
    return Mark(yes, True, "✅") if verdict.passed else Mark(no, False, bad)


def table(header: Sequence[str], rows: Iterable[Sequence[object]], align: str = "") -> Table:
    """A table of whatever can be shown as text; by default only the first column is aligned to the left."""
    cells = tuple(tuple(cell if isinstance(cell, Mark) else str(cell) for cell in row) for row in rows)
    return Table(tuple(header), cells, align or "l" + "r" * (len(header) - 1))


def plain(text: str) -> Paragraph:
    """A paragraph without emphasis."""
    return Paragraph((Span(text),))


def report_sections(report: Report) -> Section:
    """The whole report but a person's own notes; sections that would be empty are left out."""
    parts: list[Section | Picture | None] = [
        _success(report),
        Picture("loss", "Loss over the steps"),
        Picture("spheres", "The spheres"),
        _performance(report),
        _timeline(report),
        _spheres(report),
        _code_generation(report),
        _issues(report),
        _conditions(report),
    ]
    return Section(f"My training results: {report.state}", (*_headline(report), *(p for p in parts if p is not None)))


def _headline(report: Report) -> tuple[Paragraph, Paragraph]:
    done = report.throughput
    said = SAID[report.state]
    if report.reason and report.state != "done":
        said = (*said, Span(f" Reason: {report.reason}."))
    parts = [f"Run {report.run}"]
    if report.times.started is not None:
        parts.append(f"started {clock(report.times.started)}")
    if done.steps:
        parts.append(f"{done.steps:,} steps, {epochs_of(done)}")
    else:
        parts.append("no steps yet")
    parts.append(duration(report.times.total_s))
    return Paragraph(said), plain(f"{', '.join(parts)}.")


def _success(report: Report) -> Section:
    good = table(["Success indicator", "", "Figure"], [(v.name, mark(v), v.figure) for v in report.success], "lll")
    rows = [(v.name, mark(v, "absent", "present", "⚠️"), v.figure) for v in report.warning_signs]
    return Section("Success indicators", (good, table(["Warning sign", "", "Figure"], rows, "lll")))


def _performance(report: Report) -> Section:
    times, losses, done, used = report.times, report.losses, report.throughput, report.resources
    norm, spheres = report.gradient_norm, report.spheres
    gradient = " / ".join(number(value, ".3g") for value in (norm.first, norm.median, norm.last))
    speedup = "not measured: cllm report --speedup does"
    if done.speedup is not None:
        s = done.speedup
        rates = f"{s.all_ranks_tokens_per_s:,.0f} against {s.one_rank_tokens_per_s:,.0f} tokens/s"
        speedup = f"{s.speedup:.2f}x with {s.ranks} ranks ({rates})"
    used_share = None if done.mfu is None else 100 * done.mfu
    products = UNKNOWN
    if done.gemm_gflops is not None:
        products = f"{number(used_share, '.1f', '%')} of {number(done.gemm_gflops, ',.0f', 'GFLOP/s')}"
    cores = report.machine.get("cores")
    cpu = number(used.cpu_percent, ".0f", "%")
    if cores and used.cpu_percent is not None:
        cpu += f" of {100 * cores} %"
    parts = {
        "Training time": [
            ("Total", duration(times.total_s)),
            ("In steps, without validating and saving", duration(times.training_s)),
            ("Per epoch", duration(times.per_epoch_s)),
            ("Per step (batch)", number(times.per_step_ms, ",.1f", "ms")),
            ("Per step, median", number(times.median_step_ms, ",.1f", "ms")),
        ],
        "Loss": [
            ("Initial loss", number(losses.initial, ".3f", "nats/token")),
            (f"Final loss (mean of the last {losses.final_over} steps)", number(losses.final, ".3f", "nats/token")),
            ("Best loss of a step", number(losses.best, ".3f", "nats/token")),
            ("Reduction", number(losses.reduction_percent, ".1f", "%")),
            ("Held out, last", _held_out(losses.held_out_nats_per_token, losses.held_out_bits_per_byte)),
            ("Held out, best", _held_out(losses.best_held_out_nats_per_token, losses.best_held_out_bits_per_byte)),
            ("Held-out perplexity per token, best", number(losses.held_out_perplexity, ",.2f")),
        ],
        "Spheres": [
            ("Active spheres", f"{spheres.active} / {spheres.total or report.settings.get('spheres', 12)}"),
            ("Average microbatches of a sphere", number(spheres.mean_microbatches, ",.1f")),
            ("Load variance of microbatches", number(spheres.load_variance_percent, ".2f", "%")),
            ("Load variance of tokens", number(spheres.token_variance_percent, ".2f", "%")),
            ("Gradient norm, first / median / last", gradient),
        ],
        "Speed": [
            ("Steps", f"{done.steps:,}" + (f" of {done.planned_steps:,}" if done.planned_steps else "")),
            ("Tokens", number(done.tokens)),
            ("Throughput", number(done.tokens_per_s, ",.0f", "tokens/s")),
            ("Throughput of a step, median", number(done.median_tokens_per_s, ",.0f", "tokens/s")),
            ("Share of the speed of matrix products (MFU)", products),
            ("Speed-up against one thread", speedup),
        ],
        "System": [
            ("Peak memory", megabytes(used.peak_memory_bytes)),
            ("Average CPU (100 % = one core)", cpu),
            ("Disk read", number(used.read_megabytes_per_s, ".2f", "MB/s")),
            ("Disk written", number(used.write_megabytes_per_s, ".2f", "MB/s")),
        ],
    }  # fmt: skip
    return Section("Benchmarks", tuple(table([name, ""], rows) for name, rows in parts.items()))


def _held_out(nats: float | None, bits: float | None) -> str:
    return UNKNOWN if nats is None else f"{nats:.3f} nats/token, {number(bits, '.4f', 'bits/byte')}"


def _timeline(report: Report) -> Section | None:
    if not report.epochs:
        return None
    rows = [
        (
            e.epoch,
            duration(e.seconds),
            f"{e.steps:,}",
            f"{e.first_loss:.2f} → {e.last_loss:.2f}",
            f"{e.mean_loss:.3f}",
            number(e.held_out_nats_per_token, ".3f"),
            number(e.held_out_bits_per_byte, ".4f"),
        )
        for e in report.epochs
    ]
    header = ["Epoch", "Time", "Steps", "Loss", "Mean", "Held out, nats/token", "bits/byte"]
    return Section("Timeline", (table(header, rows, "rrrrrrr"),))


def _spheres(report: Report) -> Section | None:
    if not report.spheres.each:
        return None
    rows = [
        (s.sphere, f"{s.microbatches:,}", f"{s.tokens:,}", number(s.loss, ".3f"), f"{s.activity:.2f}", s.state)
        for s in report.spheres.each
    ]
    header = ["Sphere", "Microbatches", "Tokens", "Average loss", "Activity", "State"]
    note = "Activity is the mean of what was recorded while training; 1 is an even share of the tokens."
    return Section("Spheres", (table(header, rows, "rrrrrl"), plain(note)))


def _code_generation(report: Report) -> Section | None:
    if not report.completions:
        return None
    model = report.model.path if report.model else ""
    intro = f"Completions by {model} at temperature 0. What they mean, a program cannot judge: that is left to you."
    each = [_completion(i, c, report.language or "") for i, c in enumerate(report.completions, 1)]
    return Section("Code generation tests", (plain(intro), *each))


def _completion(index: int, completion: Completion, language: str) -> Section:
    judged = [(v.name, mark(v), v.figure) for v in (completion.syntax, completion.repetition, completion.style)]
    rows = [*judged, ("Semantics", "☐ good ☐ fair ☐ poor", "for a person to judge")]
    code = Code(completion.prompt, completion.text, language)
    return Section(f"{index}. {completion.prompt.strip()}", (code, table(["", "", ""], rows, "lll")))


def _issues(report: Report) -> Section:
    if not report.issues:
        return Section("Issues encountered", (plain("None."),))
    rows = [(clock(i.time), i.kind, i.text) for i in report.issues]
    return Section("Issues encountered", (table(["Time", "Kind", "What"], rows, "lll"),))


def _conditions(report: Report) -> Section | None:
    parts = {
        "Model": {} if report.model is None else report.model.model_dump(),
        "Data": report.corpus,
        "Plan": report.plan,
        "Settings": report.settings,
        "Machine": report.machine,
    }
    tables = [
        table([name, ""], [(_words(key), _shown(value)) for key, value in rows.items()], "ll")
        for name, rows in parts.items()
        if rows
    ]
    return Section("Conditions", tuple(tables)) if tables else None


def _words(name: str) -> str:
    return name.replace("_", " ")


def _shown(value: Any) -> str:
    match value:
        case None | "":
            return UNKNOWN
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.4g}"
        case dict():
            return ", ".join(f"{_words(str(key))}: {_shown(inner)}" for key, inner in value.items()) or UNKNOWN
        case list() | tuple():
            return "; ".join(_shown(inner) for inner in value) or UNKNOWN
    return str(value)

"""`MY_TRAINING_RESULTS.md`: the figures of a report as text for people. Pure; whatever comes from files is escaped."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from typing import Any

from cllm.report.figures import Completion, Report, Throughput, Verdict

UNKNOWN = "–"
NOTES = """## Observations and notes

Yours to write. The next `cllm report` keeps a file that you changed, under another name."""
SAID = {
    "done": "The training is **done**.",
    "running": "The training is **still running**; these are the figures so far.",
    "stopped": "The training was **stopped** before its end; `cllm resume` continues it.",
    "failed": "The training **failed**.",
    "interrupted": "The training was **interrupted** without a word; `cllm resume` continues it.",
}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~#&!])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def escape(value: object) -> str:
    """Text that Markdown shows as it is, on one line and within one table cell."""
    return _SPECIAL.sub(r"\\\1", _CONTROL.sub("\ufffd", " ".join(str(value).split())))


def fenced(text: str, language: str = "") -> str:
    """A code block; its fence is longer than any row of backticks in `text`."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    body = re.sub(r"\r\n?", "\n", text)
    body = re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "\ufffd", body)
    return f"{fence}{language if language.isalnum() else ''}\n{body}{'' if body.endswith(chr(10)) else chr(10)}{fence}"


def table(header: Sequence[str], rows: Iterable[Sequence[object]], align: str = "") -> str:
    """A table; cells are escaped. `align` has a letter, "l" or "r", for each column."""
    align = align or "l" + "r" * (len(header) - 1)
    lines = [
        "| " + " | ".join(header) + " |",
        "| " + " | ".join("---:" if a == "r" else ":---" for a in align) + " |",
        *("| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows),
    ]
    return "\n".join(lines)


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


def mark(verdict: Verdict) -> str:
    """✅, ❌, or a dash where it is not known."""
    return {True: "✅ yes", False: "❌ no", None: UNKNOWN}[verdict.passed]


def document(report: Report, loss_picture: str, spheres_picture: str) -> str:
    """The whole document; the pictures are given by their paths relative to it."""
    sections = [
        _headline(report),
        _success(report),
        f"![Loss over the steps]({loss_picture})",
        f"![The spheres]({spheres_picture})",
        _performance(report),
        _timeline(report),
        _spheres(report),
        _code_generation(report),
        _issues(report),
        _conditions(report),
        NOTES,
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _headline(report: Report) -> str:
    done = report.throughput
    why = f" Reason: {escape(report.reason)}." if report.reason and report.state != "done" else ""
    parts = [f"Run {escape(report.run)}"]
    if report.times.started is not None:
        parts.append(f"started {clock(report.times.started)}")
    if done.steps:
        parts.append(f"{done.steps:,} steps, {epochs_of(done)}")
    else:
        parts.append("no steps yet")
    parts.append(duration(report.times.total_s))
    return f"# My training results: {report.state}\n\n{SAID[report.state]}{why}\n\n{', '.join(parts)}."


def _success(report: Report) -> str:
    good = table(["Success indicator", "", "Figure"], [(v.name, mark(v), v.figure) for v in report.success], "lll")
    present = {True: "✅ absent", False: "⚠️ present", None: UNKNOWN}
    rows = [(v.name, present[v.passed], v.figure) for v in report.warning_signs]
    signs = table(["Warning sign", "", "Figure"], rows, "lll")
    return f"## Success indicators\n\n{good}\n\n{signs}"


def _performance(report: Report) -> str:
    times, losses, done, used = report.times, report.losses, report.throughput, report.resources
    norm, spheres = report.gradient_norm, report.spheres
    gradient = " / ".join(number(value, ".3g") for value in (norm.first, norm.median, norm.last))
    speedup = "not measured: cllm report --speedup does"
    if done.speedup is not None:
        s = done.speedup
        rates = f"{s.all_ranks_tokens_per_s:,.0f} against {s.one_rank_tokens_per_s:,.0f} tokens/s"
        speedup = f"{s.speedup:.2f}x with {s.ranks} ranks ({rates})"
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
            ("Speed-up against one thread", speedup),
        ],
        "System": [
            ("Peak memory", megabytes(used.peak_memory_bytes)),
            ("Average CPU (100 % = one core)", cpu),
            ("Disk read", number(used.read_megabytes_per_s, ".2f", "MB/s")),
            ("Disk written", number(used.write_megabytes_per_s, ".2f", "MB/s")),
        ],
    }  # fmt: skip
    return "## Benchmarks\n\n" + "\n\n".join(table([name, ""], rows) for name, rows in parts.items())


def _held_out(nats: float | None, bits: float | None) -> str:
    return UNKNOWN if nats is None else f"{nats:.3f} nats/token, {number(bits, '.4f', 'bits/byte')}"


def _timeline(report: Report) -> str:
    if not report.epochs:
        return ""
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
    return f"## Timeline\n\n{table(header, rows, 'rrrrrrr')}"


def _spheres(report: Report) -> str:
    if not report.spheres.each:
        return ""
    rows = [
        (s.sphere, f"{s.microbatches:,}", f"{s.tokens:,}", number(s.loss, ".3f"), f"{s.activity:.2f}", s.state)
        for s in report.spheres.each
    ]
    header = ["Sphere", "Microbatches", "Tokens", "Average loss", "Activity", "State"]
    note = "Activity is the mean of what was recorded while training; 1 is an even share of the tokens."
    return f"## Spheres\n\n{table(header, rows, 'rrrrrl')}\n\n{note}"


def _code_generation(report: Report) -> str:
    if not report.completions:
        return ""
    model = report.model.path if report.model else ""
    intro = (
        f"Completions by {escape(model)} at temperature 0. What they mean, a program cannot judge: that is left to you."
    )
    each = [_completion(i, c, report.language or "") for i, c in enumerate(report.completions, 1)]
    return "\n\n".join(["## Code generation tests", intro, *each])


def _completion(index: int, completion: Completion, language: str) -> str:
    judged = [(v.name, mark(v), v.figure) for v in (completion.syntax, completion.repetition, completion.style)]
    rows = [*judged, ("Semantics", "☐ good ☐ fair ☐ poor", "for a person to judge")]
    title = f"### {index}. {escape(completion.prompt.strip())}"
    return f"{title}\n\n{fenced(completion.prompt + completion.text, language)}\n\n{table(['', '', ''], rows, 'lll')}"


def _issues(report: Report) -> str:
    if not report.issues:
        return "## Issues encountered\n\nNone."
    rows = [(clock(i.time), i.kind, i.text) for i in report.issues]
    return f"## Issues encountered\n\n{table(['Time', 'Kind', 'What'], rows, 'lll')}"


def _conditions(report: Report) -> str:
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
    return "## Conditions\n\n" + "\n\n".join(tables) if tables else ""


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

"""Measuring training processes from outside: tokens and the time between the steps that they report."""

from __future__ import annotations

import json
import os
import platform
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

SKIP_S = 3.0  # after the first step: caches, allocators and clocks settle
BLOCK_S = 1.0
LEAST_BLOCKS = 3
ROOT_ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(str(Path(__file__).parents[1] / p) for p in ("", "src"))}


@dataclass(frozen=True)
class Speed:
    """One process: its tokens/s as the median over blocks of a second, and its last loss."""

    tokens_per_s: float
    steps: int
    loss: float
    events: dict[str, dict[str, Any]]  # the last event of each kind


@contextmanager
def process(
    arguments: Sequence[str], cwd: Path, errors: IO[str], **environment: str
) -> Iterator[subprocess.Popen[str]]:
    """A process in a group of its own: asked to stop with Ctrl-C, killed with all its children if it does not."""
    with subprocess.Popen(
        arguments,
        cwd=cwd,
        env=ROOT_ENVIRONMENT | environment,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            yield running
        finally:
            if running.poll() is None:
                running.send_signal(signal.SIGINT)
                try:
                    running.communicate(timeout=60)
                except subprocess.TimeoutExpired:
                    os.killpg(running.pid, signal.SIGKILL)


def speed(arguments: Sequence[str], cwd: Path, seconds: float) -> Speed:
    """Run a process that prints JSON lines with "tokens" and "time" for its steps, for `seconds` after it is warm.

    Raises `SystemExit` with what the process said if it ends before there is something to measure.
    """
    points: list[tuple[int, float]] = []
    loss = float("nan")
    last: dict[str, dict[str, Any]] = {}
    begin: float | None = None
    with tempfile.TemporaryFile("w+") as errors, process(arguments, cwd, errors) as running:
        assert running.stdout is not None
        for line in running.stdout:
            event = json.loads(line)
            last[event.get("event", "step")] = event
            if event.get("event", "step") != "step":
                continue
            loss = event["loss"]
            begin = begin or event["time"]
            if event["time"] >= begin + SKIP_S:
                points.append((event["tokens"], event["time"]))
            if event["time"] >= begin + SKIP_S + seconds and len(block_rates(points)) >= LEAST_BLOCKS:
                break
        rates = block_rates(points)
        if not rates:
            errors.seek(0)
            sys.exit(f"{' '.join(arguments)}: only {len(points)} steps to measure: {errors.read()[-2000:]}")
    return Speed(statistics.median(rates), len(points), loss, last)


def output_of(arguments: Sequence[str], cwd: Path, **environment: str) -> tuple[list[dict[str, Any]], float]:
    """The JSON lines that a command prints, and the seconds it took. Ends the program with its words if it fails."""
    begun = time.time()
    done = subprocess.run(
        arguments, cwd=cwd, env=ROOT_ENVIRONMENT | environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)}: exit code {done.returncode}: {done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")], time.time() - begun


def block_rates(points: Sequence[tuple[int, float]]) -> list[float]:
    """Tokens/s of blocks of at least `BLOCK_S`, from (tokens so far, time): a clock in ms is too coarse for steps."""
    rates = []
    tokens_before, when_before = points[0] if points else (0, 0.0)
    for tokens, when in points:
        if when >= when_before + BLOCK_S:
            rates.append((tokens - tokens_before) / (when - when_before))
            tokens_before, when_before = tokens, when
    return rates


def trainer(corpus: Sequence[str], *options: str) -> list[str]:
    """The command line of `cllm train` that would go on for ever."""
    return [sys.executable, "-m", "cllm", "train", *corpus, "--epochs=10000", "--patience=0", "--json", *options]


def numbers(text: str) -> list[float]:
    """Of an option such as 1,2,5. Raises `ValueError`, which argparse makes a line of."""
    return [float(part) for part in text.split(",")]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest of the rounds."""
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def machine() -> dict[str, Any]:
    """What it was measured on."""
    import torch

    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        name = names[0] if names else name
    return {
        "processor": name, "cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version(),
        "torch": torch.__version__, "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip


def command_line(name: str) -> str:
    """The command that runs now, as a person would repeat it."""
    return shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]])


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines) + "\n"


def write_results(out: Path, name: str, command: str, results: dict[str, Any], text: str) -> None:
    """`name`.json and `name`.md in `out`, and the table on standard output."""
    about = machine()
    note = f"{about['processor']}, {about['cores']} cores, torch {about['torch']}, {about['date']}; made by `{command}`"
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps({"machine": about, "command": command, **results}, indent=2) + "\n")
    (out / f"{name}.md").write_text(f"{text}\n{note}\n")
    print(f"{text}\n{note}")

"""`cllm demo`: train, evaluate and report, each as the command a person would type, and completions of prompts."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from cllm import events
from cllm.cli.options import options_of
from cllm.runstore import RunStore
from cllm.settings import SamplingSettings, TrainSettings
from cllm.workspace import RunDirectory, Workspace

DEFAULT_MINUTES = 5.0
PROMPTS = ("def ", "import ", "class ")
COMPLETION_TOKENS = 80
LAST_STEPS = 50


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@options_of(TrainSettings)
@click.option("--completions", type=int, metavar="N", help="Lines that the evaluation lets the model complete.")
def command(paths: tuple[Path, ...], completions: int | None, **given: Any) -> None:
    """Train on PATHs (Python's standard library if there are none), then show what came out.

    Runs 'cllm train', 'evaluate' and 'report' in turn and prints one table: bits per byte of the training's parts
    beside xz, PPMd and an n-gram on the same files, speed, spheres and time; completions of three prompts; and where
    the model and the report lie. The options are those of 'cllm train', but for the last; without --minutes and
    --epochs it trains for 5 minutes.
    """
    if given["minutes"] is None and given["epochs"] is None:
        given["minutes"] = DEFAULT_MINUTES
    with _studio():
        _demo(paths, completions, given)


def _demo(paths: tuple[Path, ...], completions: int | None, given: dict[str, Any]) -> None:
    workspace = Workspace.here()
    before = {run.id for run in workspace.all_runs()}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value is not None]
    _cllm("train", *(map(str, paths) if paths else ["--stdlib"]), *options)
    run = next(run for run in workspace.all_runs() if run.id not in before)
    facts = _facts(run)
    model = facts[events.RESULT]["model"]
    limit = [] if completions is None else [f"--completions={completions}"]
    evaluation = json.loads(_cllm("evaluate", model, "--json", *limit))
    texts = _complete(Path(model))
    report = _cllm("report", run.id).splitlines()[-1]

    console = Console(highlight=False)
    console.print(_table(facts, evaluation))
    console.print(evaluation["verdict"], style="bold", markup=False)
    console.print("\nCompletions, temperature 0:", highlight=False)
    for text in texts:
        console.rule(align="left")
        console.print(text, markup=False, soft_wrap=True)
    console.rule(align="left")
    click.echo(f"model: {os.path.relpath(model)}")
    click.echo(report)
    click.echo('next: cllm generate latest --prompt "def read_lines(", or cllm studio')


@contextmanager
def _studio() -> Iterator[None]:
    """Show the training in a browser too, as long as this lasts; without one it goes on all the same."""
    command_line = [sys.executable, "-P", "-m", "cllm", "studio"]
    if not sys.stdout.isatty():
        command_line.append("--no-browser")
    with subprocess.Popen(
        command_line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8",
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            if url := process.stdout.readline().strip():
                click.echo(f"watch it: {url}", err=True)
            yield
        finally:
            process.terminate()


def _cllm(*arguments: str) -> str:
    """Run a command of ours; returns its standard output. What it says on standard error goes to the terminal.

    If it fails it has said why, and this process ends with the same exit code. Ctrl-C reaches both: the command decides
    what to do about it, and this process waits for it.
    """
    command_line = [sys.executable, "-P", "-m", "cllm", *arguments]
    with subprocess.Popen(command_line, stdout=subprocess.PIPE, encoding="utf-8") as process:
        while True:
            try:
                out, _ = process.communicate()
                break
            except KeyboardInterrupt:
                continue
    if process.returncode != 0:
        sys.exit(process.returncode)
    return out


def _complete(model: Path) -> list[str]:
    """The prompts with their greedy completions, repetition made less likely."""
    from cllm.checkpoint import load_model
    from cllm.inference.completer import Completer
    from cllm.memory.store import load_memory

    completer = Completer(load_model(model), load_memory(model))
    settings = SamplingSettings(temperature=0, max_tokens=COMPLETION_TOKENS)
    return [prompt + completer.complete(prompt, settings).text for prompt in PROMPTS]


def _facts(run: RunDirectory) -> dict[str, Any]:
    """The run's corpus, plan and result, and the loss of its last steps, in nats per token."""
    with RunStore(run.store, readonly=True) as store:
        facts: dict[str, Any] = {}
        for kind in (events.CORPUS, events.PLAN, events.RESULT):
            event = store.last(kind)
            assert event is not None, f"a run that is done has a {kind} event"
            facts[kind] = event.data
        facts["loss"] = fmean([event.data["loss"] for event in store.events(kinds=(events.STEP,))][-LAST_STEPS:])
    return facts


def _table(facts: dict[str, Any], evaluation: dict[str, Any]) -> Table:
    """The results, one a line."""
    corpus, plan, result = facts[events.CORPUS], facts[events.PLAN], facts[events.RESULT]
    training = facts["loss"] / math.log(2) * corpus["tokens"] / corpus["train_bytes"]
    table = Table(title="Results", title_justify="left")
    table.add_column("What")
    table.add_column("Figure", justify="right")

    def bits(name: str, value: float | None, style: str = "") -> None:
        table.add_row(f"  {name}", "-" if value is None else f"{value:.3f}", style=style)

    table.add_row("bits per byte")
    bits("training files, last steps", training)
    bits("validation files, best", result["best_bits_per_byte"])
    bits(f"{evaluation['files']} test files, network alone", evaluation["bits_per_byte"], "bold")
    if (memory := evaluation["memory"]) is not None:
        bits("  and memory of the training files", memory["static"], "bold")
        bits("  and the file so far", memory["cached"], "bold")
    for baseline in sorted((evaluation["baselines"] or {}).values(), key=lambda b: b["bits_per_byte"]):
        bits(f"  {baseline['name']}", baseline["bits_per_byte"], "dim")
    for key, which in (("next_line", ""), ("next_line_with_memory", ", with memory")):
        if evaluation[key] is not None:
            table.add_row(f"next lines exactly right{which}", f"{evaluation[key]['exact_match']:.1%}")
    if evaluation["syntax"] is not None:
        table.add_row("completions that parse", f"{evaluation['syntax']['valid']:.1%}")
    table.add_section()
    table.add_row("model", f"{plan['size']}, {result['parameters'] / 1e6:.2f} M weights")
    table.add_row("trained on", f"{corpus['train_bytes'] / 1e6:.2f} MB, {result['epochs']:.2f} epochs")
    table.add_row("tokens/s", f"{result['tokens_per_s']:,.0f} on {result['ranks']} ranks, {result['precision']}")
    table.add_row("spheres active", f"{result['spheres_active']} of {result['spheres']}")
    table.add_row("time", f"{result['seconds'] / 60:.1f} minutes")
    return table

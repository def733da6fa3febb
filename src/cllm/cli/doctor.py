"""`cllm doctor`: what this machine has, and what training will use."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from cllm.doctor import Diagnosis


@click.command()
@click.option(
    "--json", "as_json", is_flag=True, help="Print everything as one JSON object; sizes in bytes, speeds in GFLOP/s."
)
@click.option("--quick", is_flag=True, help="Leave out the measurement of speed.")
def command(as_json: bool, quick: bool) -> None:
    """Say what this machine has, what training will therefore use and why, and measure its matrix products.

    Takes about ten seconds. Measures best when the machine does nothing else.
    """
    from cllm.doctor import examine

    with Console(stderr=True).status("looking at the machine" if quick else "measuring matrix products"):
        diagnosis = examine(Path.cwd(), measure=not quick)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(diagnosis)))
        return
    console = Console()
    for title, rows in (("This machine", _machine(diagnosis)), ("Training will use", _training(diagnosis))):
        table = Table(title=title, title_justify="left", title_style="bold", box=None, show_header=False)
        table.add_column(style="cyan", no_wrap=True, min_width=12)
        table.add_column(overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table)
        console.print()
    if diagnosis.speeds:
        console.print(_speeds(diagnosis))
        console.print()
    for line in diagnosis.advice:
        console.print(f"[yellow]![/] {line}", highlight=False)


def _machine(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    cpu, memory, torch = diagnosis.processor, diagnosis.memory, diagnosis.torch
    yield "Processor", cpu.model
    yield "Cores", f"{cpu.physical_cores} ({cpu.logical_cores} logical), {cpu.usable_cores} can be used"
    yield "Can do", ", ".join(cpu.features) or "nothing that speeds up matrix products"
    for gpu in diagnosis.gpus:
        yield "GPU", gpu.name + (f", {_size(gpu.memory)}" if gpu.memory else "")
    if not diagnosis.gpus:
        yield "GPU", "none that torch can use"
    yield "Memory", f"{_size(memory.total)}, {_size(memory.available)} available"
    yield "Disk", f"{_size(diagnosis.disk_free)} free here"
    yield "Compiler", _compiler(diagnosis)
    onednn = f", oneDNN {torch.onednn}" if torch.onednn else ", no oneDNN"
    yield "torch", f"{torch.version} (BLAS {torch.blas}{onednn}, {torch.capability})"
    yield "Python", f"{diagnosis.python} on {diagnosis.system}"


def _compiler(diagnosis: Diagnosis) -> str:
    compiler = diagnosis.compiler
    if compiler is None:
        return "no C++ compiler that works"
    openmp = "with" if compiler.openmp else "without"
    headers = "with" if compiler.python_headers else "without"
    return f"{compiler.version}, {openmp} OpenMP, {headers} Python's headers"


def _training(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    choice = diagnosis.training
    yield "Ranks", f"{choice.ranks}, {choice.threads_per_rank} thread each: {choice.why_ranks}"
    yield "Precision", f"{choice.precision}: {choice.why_precision}"
    yield "Compile", f"{'yes' if choice.compile else 'no'}: {choice.why_compile}"


def _speeds(diagnosis: Diagnosis) -> Table:
    table = Table(title="Matrix products, GFLOP/s", title_justify="left", title_style="bold", box=None)
    table.add_column("", style="cyan", min_width=12)
    threads = sorted({speed.threads for speed in diagnosis.speeds})
    for count in threads:
        table.add_column(f"{count} thread{'s' if count > 1 else ''}", justify="right")
    for precision in ("fp32", "bf16"):
        found = {speed.threads: speed.gflops for speed in diagnosis.speeds if speed.precision == precision}
        table.add_row(precision, *(f"{found[count]:.0f}" for count in threads))
    return table


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB"

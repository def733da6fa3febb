"""`cllm runs`: the runs in this workspace."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from cllm import events
from cllm.runstate import state_of
from cllm.runstore import RunStore
from cllm.workspace import RunDirectory, Workspace

COLOURS = {"done": "green", "running": "cyan", "stopped": "yellow", "failed": "red", "interrupted": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the runs as one JSON object.")
def command(as_json: bool) -> None:
    """List the runs in this workspace, oldest first: state, time, size, held-out bits per byte, step."""
    runs = [summary(run) for run in Workspace(Path.cwd()).all_runs()]
    if as_json:
        click.echo(json.dumps({"runs": runs}))
        return
    if not runs:
        click.echo("no runs here yet: train one with 'cllm train PATH'", err=True)
        return
    table = Table("Run", "State", box=None, pad_edge=False)
    for name in ("Time", "Size", "Bits/byte", "Step"):
        table.add_column(name, justify="right")
    for column in table.columns:
        column.no_wrap = True
    for run in runs:
        table.add_row(*_row(run))
    Console().print(table)


def summary(run: RunDirectory) -> dict[str, Any]:
    """What there is to say of a run; None where it is not known. `bits_per_byte` is the best held-out one."""
    plan, step, validation = (_last(run, kind) for kind in (events.PLAN, events.STEP, events.VALIDATION))
    return {
        "run": run.id,
        "state": state_of(run),
        "started": run.config.stat().st_mtime,
        "elapsed_s": step.get("elapsed_s"),
        "size": plan.get("size"),
        "parameters": plan.get("parameters"),
        "bits_per_byte": validation.get("best_bits_per_byte"),
        "step": step.get("step", 0),
        "steps": step.get("steps", plan.get("steps")),
        "epoch": step.get("epoch", 0.0),
        "loss": step.get("loss"),
    }


def _last(run: RunDirectory, kind: str) -> dict[str, Any]:
    """The data of the newest event of `kind`; empty if there is none, or no store yet."""
    if not run.store.is_file():
        return {}
    try:
        with RunStore(run.store, readonly=True) as store:
            event = store.last(kind)
    except sqlite3.OperationalError:  # killed before its tables were made
        return {}
    return event.data if event else {}


def _row(run: dict[str, Any]) -> list[str]:
    million = "" if run["parameters"] is None else f", {run['parameters'] / 1e6:.1f} M"
    return [
        run["run"],
        f"[{COLOURS[run['state']]}]{run['state']}[/]",
        "–" if run["elapsed_s"] is None else f"{run['elapsed_s'] / 60:.1f} min",
        (run["size"] or "–") + million,
        "–" if run["bits_per_byte"] is None else f"{run['bits_per_byte']:.4f}",
        f"{run['step']:,}/{run['steps']:,}" if run["steps"] else f"{run['step']:,}",
    ]

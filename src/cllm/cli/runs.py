"""`cllm runs`: the runs in this workspace."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from cllm.catalogue import run_summary
from cllm.workspace import Workspace

COLOURS = {"done": "green", "running": "cyan", "stopped": "yellow", "failed": "red", "interrupted": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the runs as one JSON object.")
def command(as_json: bool) -> None:
    """List the runs in this workspace, oldest first: state, time, size, held-out bits per byte, step."""
    runs = [run_summary(run) for run in Workspace.here().all_runs()]
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

"""`cllm train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import psutil

from cllm.cli.options import options_of, settings_from
from cllm.settings import TrainSettings
from cllm.workspace import RunDirectory, Workspace


def started_at() -> float:
    """When this command began: a time limit counts from the moment a person pressed enter."""
    return float(psutil.Process().create_time())


def start_and_follow(run: RunDirectory, checkpoint: Path | None, as_json: bool, detach: bool) -> int:
    """Start the training and show it; returns the exit code."""
    from cllm.cli.attach import JsonLines, follow
    from cllm.cli.bar import TrainingBar
    from cllm.cli.outcome import print_outcome
    from cllm.supervisor import launch

    process, lifeline = launch(run, checkpoint, attached=not detach)
    if detach:
        click.echo(run.id)
        click.echo(f"training in the background; 'cllm runs' shows it, 'cllm stop {run.id}' stops it", err=True)
        return 0
    code = follow(run, process, lifeline, JsonLines() if as_json else TrainingBar())
    if code == 0 and not as_json:
        print_outcome(run)
    return code


@click.command(name="train")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@options_of(TrainSettings)
@click.option("--stdlib", is_flag=True, help="Train on the source of Python's own standard library.")
@click.option("--without", multiple=True, metavar="FILE", help="Leave FILE out, named as in the manifest; repeatable.")
@click.option("--detach", is_flag=True, help="Start in the background and print the run's id.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON; the last one is the result.")
def command(
    paths: tuple[Path, ...], stdlib: bool, without: tuple[str, ...], detach: bool, as_json: bool, **given: Any
) -> None:
    """Train a model on PATHS: directories, source files, or prepared data.

    Without PATHS it takes training_data/repo_code.txt. The final model goes to models/, checkpoints to checkpoints/,
    and everything else about the run to runs/.

    \b
      cllm train src/ --minutes 10
      cllm train training_data/repo_code.txt --epochs 10

    Ctrl-C stops after the step and saves; 'cllm resume' goes on from there.
    """
    from cllm.control import create_run

    settings = settings_from(TrainSettings, given)
    run = create_run(Workspace.here(), paths, stdlib, settings, started_at(), without=without)
    sys.exit(start_and_follow(run, None, as_json, detach))

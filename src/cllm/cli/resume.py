"""`cllm resume`."""

from __future__ import annotations

import sys

import click

from cllm.cli.train import start_and_follow
from cllm.workspace import Workspace


@click.command(name="resume")
@click.argument("run", required=False)
@click.option(
    "--threads", type=int, metavar="N", help="Worker processes from now on; the result does not depend on it."
)
@click.option("--epochs", type=int, metavar="N", help="Epochs in all, those already done included.")
@click.option("--minutes", type=float, metavar="X", help="Minutes in all, those already used included.")
@click.option("--detach", is_flag=True, help="Start in the background and print the run's id.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON; the last one is the result.")
def command(
    run: str | None, threads: int | None, epochs: int | None, minutes: float | None, detach: bool, as_json: bool
) -> None:
    """Continue RUN (an id or its beginning; the newest run if left out) from its newest whole checkpoint.

    The data, their order, the learning rate and the epochs go on where they were. With the same settings the final
    weights are the same, bit for bit, as without the interruption, whatever number of threads there is now.
    """
    from cllm.control import continue_run

    directory = Workspace.here().run(run)
    path, header = continue_run(directory, lambda text: click.echo(text, err=True), threads, epochs, minutes)
    click.echo(f"continuing run {directory.id} from step {header.step} (epoch {header.epoch:.2f})", err=True)
    sys.exit(start_and_follow(directory, path, as_json, detach))

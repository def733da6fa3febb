"""`cllm save`."""

from __future__ import annotations

import click

from cllm import events
from cllm.cli.attach import wait_for_save
from cllm.control import save
from cllm.errors import RunNotFound
from cllm.runstore import RunStore
from cllm.workspace import Workspace


@click.command(name="save")
@click.argument("run", required=False)
def command(run: str | None) -> None:
    """Ask the running training RUN (the newest one if left out) for a checkpoint, and print where it lies."""
    directory = Workspace.here().run(run)
    with RunStore(directory.store) as store:
        last = store.last(events.CHECKPOINT)
        save(directory)
        path = wait_for_save(store, last.seq if last else 0, directory)
    if path is None:
        raise RunNotFound(f"run {directory.id} ended before it could save; 'cllm runs' shows how")
    click.echo(path)

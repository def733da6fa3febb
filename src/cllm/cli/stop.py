"""`cllm stop`."""

from __future__ import annotations

import signal
import time

import click

from cllm.cli.attach import POLL_S, conclude
from cllm.control import signal_run
from cllm.runstate import supervisor
from cllm.workspace import Workspace


@click.command(name="stop")
@click.argument("run", required=False)
@click.option("--now", is_flag=True, help="End at once, without saving.")
def command(run: str | None, now: bool) -> None:
    """Stop the running training RUN (the newest run if left out) after its step; it saves, and can be resumed."""
    directory = Workspace.here().run(run)
    signal_run(directory, signal.SIGINT)
    if now:
        time.sleep(0.3)  # two signals at the same moment would count as one
        if supervisor(directory) is not None:
            signal_run(directory, signal.SIGINT)
    while supervisor(directory) is not None:
        time.sleep(POLL_S)
    conclude(directory, 0)

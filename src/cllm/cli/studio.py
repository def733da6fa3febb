"""`cllm studio`."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

import click

from cllm.errors import InvalidInput
from cllm.workspace import Workspace


@click.command()
@click.option("--port", type=int, metavar="N", help="Port to listen at.  [default: 8020, or the next free one]")
@click.option(
    "--root", "roots", multiple=True, type=click.Path(path_type=Path), metavar="DIR",
    help="Another directory that training data may be taken from; may be given several times.",
)  # fmt: skip
@click.option("--no-browser", is_flag=True, help="Print the address, but open no browser.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
    help="Address to listen at. The token then crosses the network unencrypted: rather use ssh -L.",
)  # fmt: skip
@click.option("--allow-host", multiple=True, metavar="NAME", help="Another hostname by which browsers may reach it.")
def command(
    port: int | None, roots: tuple[Path, ...], no_browser: bool, host: str, allow_host: tuple[str, ...]
) -> None:
    """Open the studio of this directory: train, watch, complete and compare in a browser.

    Prints its address, with the token that lets you in. Ctrl-C ends the studio; trainings go on, and the next
    'cllm studio' shows them again. On a machine without a screen, forward the port and open the address on yours:

    \b
      ssh -L 8020:localhost:8020 HOST
    """
    from cllm.studio.serve import last_address, open_studio

    workspace = Workspace.here()
    for root in roots:
        if not root.is_dir():
            raise InvalidInput(f"--root {root}: there is no such directory")
    last = last_address(workspace)
    if last is not None and last.is_served:
        click.echo(last.url)
        click.echo(f"the studio of this directory is running already, as process {last.pid}", err=True)
        if not no_browser:
            show(last.url)
        return
    address, server, listener = open_studio(workspace, [root.resolve() for root in roots], host, port, allow_host)
    click.echo(address.url)
    sys.stdout.flush()
    if not no_browser:
        show(address.url)
    server.run(sockets=[listener])


def show(url: str) -> None:
    """Open a browser where a person would see it."""
    has_screen = sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    if has_screen:
        webbrowser.open(url)

"""`cllm`: finds the command's module only when it is asked for, so that `--help` and `inspect` never import torch."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any

import click

from cllm import __version__
from cllm.errors import CllmError

# name -> help line; the module is cllm.cli.<name>, and holds a click command called `command`
COMMANDS = {
    "prepare": "Scan directories, redact, deduplicate and split them into training data.",
    "train": "Train a model on directories, files or prepared data.",
    "resume": "Continue a training that was stopped or interrupted.",
    "save": "Ask a running training for a checkpoint now.",
    "stop": "Ask a running training to save and stop.",
    "runs": "List the runs in this workspace.",
    "generate": "Complete a prompt with a model.",
    "evaluate": "Held-out bits per byte and completion quality, beside compressors and an n-gram.",
    "forget": "Take files out of a model's memory, and say what that changed.",
    "inspect": "Say what a .cllm file holds.",
    "report": "Fill in the training report of a run.",
    "demo": "Train, evaluate, complete and report, with one table at the end.",
    "studio": "Train, watch and complete in a browser.",
    "doctor": "Say what this machine has and what training will use.",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"cllm.cli.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # who read the output has left; click would call that a failure
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="cllm")
def cllm() -> None:
    """Train a language model of your code from scratch, on this machine, in the minutes you give it."""


def main() -> None:
    """Entry point: errors are one line on standard error, and the exit code says which kind."""
    try:
        sys.exit(cllm.main(standalone_mode=False))  # None, or what a command gave to `ctx.exit`
    except click.ClickException as error:
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx is not None else "cllm"
        message = error.format_message()
        if "\n" not in message:  # else it is the help itself, for a command without arguments
            message = f"{path}: {message.rstrip('.')}; '{path} --help' says how it is used"
        click.echo(message, err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("cllm: interrupted", err=True)
        sys.exit(130)
    except CllmError as error:
        click.echo(f"cllm: {error}", err=True)
        sys.exit(error.exit_code)
    except MemoryError:
        click.echo(
            "cllm: out of memory: close other programs, or use a smaller --size, --batch-size or --context", err=True
        )
        sys.exit(6)


if __name__ == "__main__":
    main()

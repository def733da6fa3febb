"""`cllm generate`: a prompt in, its completion streamed to standard output."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cllm.catalogue import find_model
from cllm.cli.options import options_of, settings_from
from cllm.errors import Interrupted, InvalidInput
from cllm.settings import SamplingSettings
from cllm.workspace import Workspace

if TYPE_CHECKING:
    from cllm.inference.completer import Completion

# What would move the cursor, clear the screen or set a title: shown, not obeyed, when standard output is a terminal.
_CONTROLS = {code: 0x2400 + code for code in range(32) if code not in b"\t\n\r"} | {
    code: 0xFFFD for code in range(0x7F, 0xA0)
}


@click.command()
@click.argument("model", required=False)
@click.option("--prompt", "-p", metavar="TEXT", help="The text to complete.")
@click.option("--file", "-f", metavar="FILE", help="Take the prompt from FILE, every byte of it; - is standard input.")
@options_of(SamplingSettings)
@click.option("--echo", is_flag=True, help="Print the prompt before its completion.")
@click.option("--stats", is_flag=True, help="Say on standard error how it ended and how fast it was.")
@click.option(
    "--provenance", is_flag=True, help="Say on standard error which parts stand in the training files, and where."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead, when it is done.")
def command(
    model: str | None,
    prompt: str | None,
    file: str | None,
    echo: bool,
    stats: bool,
    provenance: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Complete a prompt with MODEL: a .cllm file, the name of one in models/, or left out for the newest there.

    The prompt is --prompt, --file, or what is piped in. The completion is printed as it is made, exactly: nothing is
    added, stripped or changed. A prompt that ends inside a word or an indentation is continued as if it were typed on.

    With --provenance, spans of 12 tokens or more that stand verbatim in the training files are listed with file, lines
    and SPDX tag; the rest is new. JSON then has them, too.

    Repetition penalty, temperature, top-k, top-p and min-p are applied in this order.

    \b
    Examples:
      cllm generate --prompt 'def main(' --temperature 0
      cllm generate models/mine.cllm --file start.c --max-tokens 100 --stop $'\\n}'
      head -20 start.py | cllm generate --seed 1 --echo > whole.py
    """
    settings: SamplingSettings = settings_from(SamplingSettings, given)
    text = _prompt(prompt, file)
    path = find_model(Workspace.here(), model)

    import torch

    from cllm.checkpoint import load_model
    from cllm.inference.completer import Completer
    from cllm.memory.provenance import listing
    from cllm.memory.store import load_memory

    torch.set_num_threads(1)  # one token at a time is too little work to share
    memory = load_memory(path) if settings.memory == "on" or provenance else None
    if provenance and memory is None:
        raise InvalidInput(f"{path} has no memory, so --provenance has nothing to compare with: train one anew")
    completer = Completer(load_model(path), memory)
    generation = completer.stream(text, settings)
    with _first_interrupt(generation.cancel):
        if as_json:
            for _ in generation:
                pass
            parts = completer.provenance(generation.completion) if provenance else None
            _print_json(generation.completion, path, settings, parts)
        else:
            _write(text if echo else "")
            for piece in generation:
                _write(piece)
    completion = generation.completion
    shown = text * echo + completion.text
    cancelled = completion.finish_reason == "cancelled"
    unended = not as_json and bool(shown) and not shown.endswith("\n")
    if unended and (cancelled or sys.stdout.isatty()):
        _write("\n")
    elif unended and (provenance or stats) and _share_a_target():
        click.echo(err=True)
    if provenance and not as_json:
        for line in listing(completer.provenance(completion)):
            click.echo(line, err=True)
    if stats:
        click.echo(_stats(completion), err=True)
    if cancelled:
        raise Interrupted(f"cancelled after {completion.tokens} tokens")


def _share_a_target() -> bool:
    """Whether what goes to standard error comes right behind the text, as with `2>&1`."""
    try:
        return os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno())
    except (OSError, ValueError):  # not files
        return False


def _prompt(prompt: str | None, file: str | None) -> str:
    """The text to complete, every byte of it as it was given."""
    if prompt is not None and file is not None:
        raise InvalidInput("give either --prompt or --file, not both")
    if prompt is not None:
        return prompt
    if file is None and sys.stdin.isatty():
        raise InvalidInput("no prompt: give --prompt TEXT or --file FILE, or pipe it in")
    name = "standard input" if file in (None, "-") else file
    try:
        data = sys.stdin.buffer.read() if file in (None, "-") else Path(str(file)).read_bytes()
        return data.decode()
    except OSError as error:
        raise InvalidInput(f"cannot read the prompt from {name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"the prompt in {name} is not UTF-8 text: convert it first, for example with iconv"
        ) from error


@contextmanager
def _first_interrupt(cancel: Callable[[], None]) -> Iterator[None]:
    """While this lasts, the first Ctrl-C calls `cancel`, and a second one ends the program."""

    def interrupted(_signal: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        cancel()

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _write(text: str) -> None:
    """Text to standard output, now, as UTF-8 whatever the locale."""
    if sys.stdout.isatty():
        text = text.translate(_CONTROLS)
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def _print_json(
    completion: Completion, path: Path, settings: SamplingSettings, parts: list[dict[str, Any]] | None
) -> None:
    result = {
        "model": path.stem,
        "path": os.fspath(path),
        "prompt": completion.prompt,
        "text": completion.text,
        "tokens": completion.tokens,
        "finish_reason": completion.finish_reason,
        "tokens_per_s": round(completion.tokens_per_s, 1),
        "prefill_s": round(completion.prefill_s, 4),
        "seed": completion.seed,
        "settings": settings.model_dump(mode="json"),
    }
    if parts is not None:
        result["provenance"] = parts
    _write(json.dumps(result, ensure_ascii=False) + "\n")


_ENDINGS = {
    "stop": "stopped at a stop string",
    "length": "stopped at --max-tokens",
    "end": "the model ended the text",
    "cancelled": "cancelled",
}


def _stats(completion: Completion) -> str:
    drafted = f"{completion.decoded / completion.passes:.1f} tokens a pass, " if completion.passes else ""
    return (
        f"{completion.tokens} tokens, {completion.tokens_per_s:.0f} tokens/s, {drafted}prompt read in "
        f"{completion.prefill_s * 1000:.0f} ms, seed {completion.seed}: {_ENDINGS[completion.finish_reason]}"
    )

"""`cllm evaluate`: held-out figures of a model, beside what compressors and an n-gram model make of the same files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from cllm.catalogue import find_model
from cllm.cli.options import options_of, settings_from
from cllm.errors import InvalidInput
from cllm.machine import usable_cores
from cllm.settings import EvaluateSettings
from cllm.workspace import Workspace

if TYPE_CHECKING:
    from cllm.evaluation.evaluate import Evaluation

_MOST_NAMED = 10


@click.command()
@click.argument("model")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@click.option(
    "--split",
    type=click.Choice(["test", "validation"]),
    default="test",
    help="Without PATHs: which split.  [default: test]",
)
@click.option(
    "--training-data",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The prepared text the model was trained on, if it has moved.",
)
@click.option("--include-seen", is_flag=True, help="Evaluate also on files that were in the training data.")
@click.option("--no-baselines", is_flag=True, help="Leave out the compressors and the n-gram.")
@options_of(EvaluateSettings)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with every figure.")
def command(
    model: str,
    paths: tuple[Path, ...],
    split: str,
    training_data: Path | None,
    include_seen: bool,
    no_baselines: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Measure MODEL (a .cllm file, a name in models/, or "latest") on files or directories it was not trained on.

    Without PATHs it is measured on the test split of the data it was trained on. Bits per byte: each file alone, the
    weights never change, every token of it predicted once with at least half a context before it. Files that were in
    the training data, or nearly, are named and left out. See docs/evaluation.md for what each figure means.
    """
    settings = settings_from(EvaluateSettings, given)
    path = find_model(Workspace.here(), model)

    import torch

    from cllm.checkpoint import load_model
    from cllm.evaluation.evaluate import evaluate
    from cllm.evaluation.files import Files, read_files
    from cllm.evaluation.training_data import find_training_data
    from cllm.memory.store import load_memory

    torch.set_num_threads(1)  # batches run side by side instead
    loaded, memory = load_model(path), load_memory(path)
    training, reason = None, None
    try:
        training = find_training_data(loaded.header, path, training_data)
    except InvalidInput as error:
        if training_data is not None or not paths:
            raise
        reason = str(error)
    if paths:
        files, data = read_files(paths), " ".join(map(str, paths))
    else:
        assert training is not None
        files, data = Files(training.split(split)), f"{split} split of {training.corpus}"
    errors = Console(stderr=True, highlight=False)
    with _Bar(errors) as bar:
        result = evaluate(
            loaded,
            files.documents,
            memory=memory,
            data=data,
            training=training,
            training_reason=reason,
            own_split=not paths and training_data is None,
            include_seen=include_seen,
            baselines=not no_baselines,
            settings=settings,
            skipped=files.skipped,
            workers=usable_cores(),
            progress=bar.update,
        )
    for line in _remarks(result, no_baselines):
        errors.print(line, style="yellow", markup=False, soft_wrap=True)
    if as_json:
        click.echo(result.as_json())
    else:
        _show(result)


def _remarks(result: Evaluation, switched_off: bool) -> list[str]:
    """What a person should know besides the figures; `switched_off` is whether the baselines were not wanted."""
    lines = [f"skipped {name}: {reason}" for name, reason in list(result.skipped.items())[:_MOST_NAMED]]
    if len(result.skipped) > _MOST_NAMED:
        lines.append(f"skipped {len(result.skipped) - _MOST_NAMED} more files: --json names them")
    lines += [f"warning: {text}" for text in result.warnings]
    if result.baselines_reason and not switched_off:
        lines.append(f"no baselines: {result.baselines_reason}")
    return lines


def _show(result: Evaluation) -> None:
    """The table, and what it says."""
    console = Console(highlight=False)
    console.print(
        f"{escape(result.model)}: {result.parameters:,} parameters, context {result.context}\n"
        f"{escape(result.data)}: {result.files:,} files, {result.bytes:,} bytes, {result.tokens:,} tokens",
        soft_wrap=True,
    )
    table = Table()
    table.add_column("What")
    table.add_column("Bits per byte", justify="right")
    table.add_column("Times the network", justify="right")
    rows = [("this network", result.bits_per_byte, 1.0, "bold")]
    if result.memory is not None:
        for name, bits in (
            ("with its memory", result.memory.static),
            ("with its memory and the file so far", result.memory.cached),
        ):
            rows.append((name, bits, bits / result.bits_per_byte, "bold"))
    rows += [(b.name, b.bits_per_byte, b.ratio, "") for b in (result.baselines or {}).values()]
    for name, bits, ratio, style in sorted(rows, key=lambda row: row[1]):
        table.add_row(name, f"{bits:.4f}", f"{ratio:.3f}", style=style)
    console.print(table)
    console.print(f"{result.nats_per_token:.4f} nats per token")
    if result.memory is not None:
        for what, part in (("similar to", result.memory.similar), ("unlike", result.memory.novel)):
            if part is not None:
                console.print(
                    f"files {what} training files: network {part.network:.4f}, with memory {part.static:.4f},"
                    f" and the file so far {part.cached:.4f} ({part.files} files)"
                )
    if len(result.languages) > 1:
        console.print(
            "by language: "
            + ", ".join(f"{n} {f.bits_per_byte:.4f} ({f.files} files)" for n, f in result.languages.items())
        )
    if result.unseen is not None:
        console.print(
            f"without the files that were trained on: {result.unseen.bits_per_byte:.4f} ({result.unseen.files} files)"
        )
    for how, line in (("", result.next_line), (", with memory", result.next_line_with_memory)):
        if line is None:
            continue
        console.print(
            f"next line{how}: {line.exact_match:.1%} exactly right, edit similarity {line.edit_similarity:.3f}"
            f" ({line.points} lines)"
        )
    if result.syntax is not None:
        syntax = result.syntax
        console.print(
            f"syntax: {syntax.valid:.1%} of completions parse, {syntax.valid_of_true_continuations:.1%}"
            f" of the true ones ({syntax.points} places)"
        )
    if result.baselines:
        console.print(
            "The compressors are treated generously: they also learn from each of these files for the next ones.",
            style="dim",
        )
    console.print(result.verdict, style="bold", markup=False, soft_wrap=True)


class _Bar:
    """Progress on standard error, one bar for each stage, gone when it is done."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, stage: str, done: int, total: int) -> None:
        """`done` of `total`, which is 0 where it is not known."""
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=None)
        self._progress.update(self._tasks[stage], completed=done, total=total or None)

"""`cllm forget`: a model whose memory lacks some files, and a receipt."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from cllm.catalogue import find_model
from cllm.errors import InvalidInput
from cllm.workspace import Workspace


@click.command()
@click.argument("model")
@click.argument("files", nargs=-1, metavar="FILE...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write the model.  [default: beside MODEL, with '-forgot' in its name]",
)
@click.option("--list", "list_files", is_flag=True, help="Only name the files that the memory has.")
@click.option("--json", "as_json", is_flag=True, help="Print the receipt as one JSON object.")
def command(model: str, files: tuple[str, ...], out: Path | None, list_files: bool, as_json: bool) -> None:
    """Take FILEs out of the memory of MODEL, exactly, and write the result as a new model file.

    FILEs are named as in the manifest of the training data, or by their place on the disk. The receipt gives bits per
    byte of each: by the network alone, with the memory as it was, and with the new one. The network's own weights
    stay; the command that is printed trains anew without the files. MODEL itself is left as it is: delete it to be
    rid of it.
    """
    path = find_model(Workspace.here(), model)

    import torch

    from cllm.checkpoint import load_model
    from cllm.memory.forget import find_documents, receipts, training_command, write_without
    from cllm.memory.store import load_memory

    torch.set_num_threads(1)
    memory = load_memory(path)
    if memory is None:
        raise InvalidInput(f"{path} has no memory: there is nothing to forget; only training anew changes its weights")
    if list_files:
        for source in memory.sources:
            click.echo(source.path)
        return
    if not files:
        raise InvalidInput("no file to forget: name some; --list shows those that the memory has")
    documents = find_documents(memory, files)
    target = out or path.with_name(f"{path.stem}-forgot{path.suffix}")
    loaded = load_model(path)
    after = memory.without(documents)
    made = receipts(loaded, memory, after, documents)
    names = [receipt.path for receipt in made]
    write_without(path, target, after, names)
    again = training_command(loaded.header, names)
    if as_json:
        shown = {
            "model": str(path),
            "written": str(target),
            "files": [receipt._asdict() for receipt in made],
            "remembered": after.index.documents,
            "train_again": again,
        }
        click.echo(json.dumps(shown))
        return
    console = Console(highlight=False)
    table = Table("Forgotten", "Bytes", "Network alone", "With the memory before", "and after", title="Bits per byte")
    for column in table.columns[1:]:
        column.justify = "right"
    for receipt in made:
        figures = (f"{value:.4f}" for value in (receipt.network, receipt.before, receipt.after))
        table.add_row(receipt.path, f"{receipt.bytes:,}", *figures)
    console.print(table)
    click.echo(f"written: {target} ({after.index.documents} files remembered); {path} still has them")
    if again is not None:
        click.echo(f"the network's weights have seen them; to train anew without them:\n  {again}")

"""`cllm prepare`: make training data, and say what went in and what did not."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click
from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from cllm.corpus.manifest import Manifest, manifest_path
from cllm.workspace import DEFAULT_CORPUS

_SPLITS = ("train", "validation", "test")


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="PATH...")
@click.option(
    "--out", type=click.Path(path_type=Path), default=DEFAULT_CORPUS, show_default=True, help="File to write."
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Seed of the split.")
@click.option("--stdlib", is_flag=True, help="Add the source of Python's own standard library (about 8 MB).")
@click.option("--show-left-out", is_flag=True, help="List every file that was left out, with the reason.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def command(paths: tuple[Path, ...], out: Path, seed: int, stdlib: bool, show_left_out: bool, as_json: bool) -> None:
    """Scan directories and files, and write one text file to train on, with its manifest.

    Files are found through git where there is a repository, else honouring .gitignore. What is no source text is left
    out, each with its reason: binary, empty, generated, minified, vendored, too large, lock files, data, duplicates.
    Secrets are replaced. Whole groups of similar files are held out for validation (5 %) and test (5 %).

    A PATH may be a text file that was prepared before; its splits are then kept.
    """
    from cllm.corpus.prepare import prepare

    with _Bar() as bar:
        manifest = prepare(
            paths,
            out,
            seed=seed,
            stdlib=stdlib,
            progress=bar.update,
            note=lambda line: bar.console.print(f"note: {line}", markup=False, highlight=False, soft_wrap=True),
        )
    result = summary(manifest, out)
    if as_json:
        if show_left_out:
            result["left_out_files"] = _left_out_files(manifest)
        click.echo(json.dumps(result, ensure_ascii=False))
        return
    if show_left_out:
        for entry in _left_out_files(manifest):
            of = f" of {entry['duplicate_of']}" if "duplicate_of" in entry else ""
            click.echo(f"{entry['path']}: {entry['reason']}{of}")
    Console(highlight=False).print(_report(result))


def summary(manifest: Manifest, out: Path) -> dict[str, Any]:
    """What `--json` prints. Sizes are bytes of text, after redaction."""
    tails = Counter(entry.path.endswith("#tail") for entry in manifest.included())
    bytes_of: Counter[str] = Counter()
    for entry in manifest.included():
        bytes_of[entry.language] += entry.size
    return {
        "files": tails[False],
        "bytes": manifest.bytes_of(),
        "languages": {name: {"files": files, "bytes": bytes_of[name]} for name, files in manifest.languages().items()},
        "left_out": manifest.left_out(),
        "redactions": sum(entry.redactions for entry in manifest.included()),
        "secrets": [secret.model_dump() for secret in manifest.secrets],
        "splits": {name: {"files": len(manifest.included(name)), "bytes": manifest.bytes_of(name)} for name in _SPLITS},
        "holdout": manifest.holdout,
        "corpus": str(out),
        "manifest": str(manifest_path(out)),
        "corpus_sha256": manifest.corpus_sha256,
        "manifest_sha256": manifest.sha256,
    }


def _left_out_files(manifest: Manifest) -> list[dict[str, str]]:
    return [
        {"path": e.path, "reason": e.reason} | ({"duplicate_of": e.duplicate_of} if e.duplicate_of else {})
        for e in manifest.files
        if e.reason is not None
    ]


def _report(result: dict[str, Any]) -> Group:
    went_in = Table("Went in", "Files", "Bytes", box=None, pad_edge=False)
    for name, figures in result["languages"].items():
        went_in.add_row(name, f"{figures['files']:,}", f"{figures['bytes']:,}")
    went_in.add_row("[bold]all[/]", f"[bold]{result['files']:,}[/]", f"[bold]{result['bytes']:,}[/]")
    left_out = Table("Left out", "Files", box=None, pad_edge=False)
    for reason, count in result["left_out"].items():
        left_out.add_row(reason, f"{count:,}")
    splits = Table("Split", "Files", "Bytes", "Share", box=None, pad_edge=False)
    for name, figures in result["splits"].items():
        share = 100 * figures["bytes"] / result["bytes"]
        splits.add_row(name, f"{figures['files']:,}", f"{figures['bytes']:,}", f"{share:.1f} %")
    for table in (went_in, left_out, splits):
        for column in table.columns[1:]:
            column.justify = "right"
    secrets = Counter(secret["type"] for secret in result["secrets"])
    kinds = ", ".join(f"{count} {kind}" for kind, count in secrets.most_common())
    parts: list[Any] = [went_in, ""]
    if result["left_out"]:
        parts += [left_out, ""]
    parts += [splits, ""]
    if result["holdout"] == "tails":
        parts.append("Few files: the last part of each is held out for validation.")
    parts.append(f"Secrets replaced: {result['redactions']:,}" + (f" ({kinds})" if kinds else ""))
    parts.append(f"Written: {result['corpus']} and {result['manifest']}")
    return Group(*parts)


class _Bar:
    """A progress bar on standard error; nothing there when that is no terminal."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        columns = (TextColumn("{task.description:14}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=self.console, transient=True, disable=not sys.stderr.isatty())
        self._tasks: dict[str, TaskID] = {}

    def update(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage)
        self._progress.update(self._tasks[stage], completed=done, total=total or None)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

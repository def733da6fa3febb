"""`cllm inspect`: what a `.cllm` file says of itself. Never imports torch."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from cllm import container
from cllm.container import Header
from cllm.errors import InvalidCheckpoint

TOKENIZER = "tokenizer"


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--quick", is_flag=True, help="Read the header only; do not verify the digests of the sections.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
def command(file: Path, quick: bool, as_json: bool) -> None:
    """Say what FILE, a .cllm model or checkpoint, holds, and verify every byte of it.

    Kind, model configuration, step and epoch, digest of the weights, tokenizer, summary of the training, sections.
    """
    header = container.read_header(file)
    tokenizer: dict[str, Any] = {"sha256": header.tokenizer_sha256}
    if not quick:
        container.verify(file)
        tokenizer |= _tokenizer(file)
    found = describe(file, header) | {"tokenizer": tokenizer, "verified": not quick}
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, value in found.items():
        first, *more = _shown(name, value).split("\n")
        click.echo(f"{name.replace('_', ' '):<17}{first}")
        for line in more:
            click.echo(" " * 17 + line)


def describe(file: Path, header: Header) -> dict[str, Any]:
    """The header in the order in which a person asks; sizes in bytes."""
    fields = header.model_dump()
    first = ("kind", "name", "cllm_version", "created", "run", "step", "epoch", "weights_sha256")
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        "version": container.VERSION,
        **{name: fields[name] for name in first},
        "config": fields["model"],
        "corpus": fields["corpus"],
        "manifest_sha256": fields["manifest_sha256"],
        "settings": fields["settings"],
        "training": fields["training"],
        "sections": [{"name": s.name, "bytes": s.length, "sha256": s.sha256} for s in header.sections],
    }


def _tokenizer(file: Path) -> dict[str, Any]:
    """Kind and vocabulary from the tokenizer's own JSON (the layout of the tokenizers library)."""
    _, sections = container.read(file, [TOKENIZER])
    try:
        model = json.loads(sections[TOKENIZER])["model"]
        return {"kind": model["type"], "vocabulary": len(model["vocab"])}
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidCheckpoint(f"{file}: its tokenizer is not valid; use another checkpoint") from error


def _shown(name: str, value: Any) -> str:
    match name, value:
        case "created", float():
            return datetime.fromtimestamp(value).strftime("%Y-%m-%d %H:%M:%S")
        case "bytes", int():
            return f"{value:,}"
        case "sections", list():
            return "\n".join(f"{section['name']}: {section['bytes']:,} bytes" for section in value)
        case _, dict():
            return "\n".join(f"{key}: {_plain(inner)}" for key, inner in value.items()) or "–"
    return _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)

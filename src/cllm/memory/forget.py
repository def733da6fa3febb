"""Taking files out of a model's memory, and saying what that changed.

What is written is the index that would be built without these files, byte for byte. The gates stay: they never saw text
of the training files, but learned from counts and probabilities on others. The network's weights stay too, so what they
may have learned from the files goes only by training again without them.
"""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cllm import container
from cllm.checkpoint import MEMORY, LoadedModel
from cllm.container import Header
from cllm.corpus.documents import stored_manifest
from cllm.errors import InvalidInput
from cllm.memory.mixture import Memory, gather, mix
from cllm.memory.store import to_bytes
from cllm.settings import TrainSettings


class Receipt(NamedTuple):
    """Bits per byte of a forgotten file: by the network alone, with its memory before, and with that after."""

    path: str
    bytes: int
    network: float
    before: float
    after: float


def find_documents(memory: Memory, names: Sequence[str]) -> list[int]:
    """The documents that `names` name: paths as in the manifest, or of the files on the disk. Raises `InvalidInput`."""
    number = {source.path: d for d, source in enumerate(memory.sources)}
    found: set[int] = set()
    for name in names:
        if name in number:
            found.add(number[name])
            continue
        absolute = str(Path(name).absolute())
        ends = [d for path, d in number.items() if absolute.endswith("/" + path)]
        if not ends:
            raise InvalidInput(
                f"{name}: the memory has no such file; 'cllm forget MODEL --list' names those that it has"
            )
        longest = max(ends, key=lambda d: len(memory.sources[d].path))
        found.add(longest)
    if len(found) == len(memory.sources):
        raise InvalidInput(
            "these are all files of the memory: train without a memory instead (cllm train --memory off)"
        )
    return sorted(found)


def receipts(loaded: LoadedModel, before: Memory, after: Memory, documents: Sequence[int]) -> list[Receipt]:
    """What network and memory make of the `documents` (numbers in `before`), with them in the memory and without."""
    texts = [before.index.document(d).astype(np.int64) for d in documents]
    reads = [mix(memory, gather(memory.index, loaded.model, texts)) for memory in (before, after)]
    made = []
    for number, (d, text) in enumerate(zip(documents, texts, strict=True)):
        size = sum(len(loaded.tokenizer.token_bytes(int(token))) for token in text)
        rows = reads[0].documents == number
        network, with_it, without = (
            -float(logs[rows].sum()) / math.log(2) / max(1, size)
            for logs in (reads[0].network, reads[0].static, reads[1].static)
        )
        made.append(Receipt(before.sources[d].path, size, network, with_it, without))
    return made


def write_without(source: Path, target: Path, memory: Memory, forgotten: Sequence[str]) -> None:
    """Write the model of `source` with another memory to `target`. Raises `InvalidInput` if something is there."""
    if os.path.lexists(target):
        raise InvalidInput(f"{target} is there already: give another place with --out")
    header, sections = container.read(source)
    before = header.training.get("forgotten", [])
    training = header.training | {"forgotten": [*before, *forgotten]}
    container.write(target, header.model_copy(update={"training": training}), {**sections, MEMORY: to_bytes(memory)})


def training_command(header: Header, forgotten: Sequence[str]) -> str | None:
    """The command that trains the model anew without these files; None if its training data are not known.

    Files that had been left out as duplicates of a forgotten one are left out too: one of them would take its place.
    """
    if header.corpus is None:
        return None
    names = [*dict.fromkeys([*header.training.get("forgotten", []), *forgotten])]
    manifest = stored_manifest(Path(header.corpus)) if Path(header.corpus).is_file() else None
    if manifest is not None:
        names += [f.path for f in manifest.files if f.duplicate_of in names and f.path not in names]
    words = ["cllm", "train", header.corpus]
    for name in names:
        words += ["--without", name]
    for name, field in TrainSettings.model_fields.items():
        value = header.settings.get(name, field.default)
        if value != field.default and value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)

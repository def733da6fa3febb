"""From paths to what the ranks read: corpus, tokenizer, token files. Done once a run.

In a run's `data/`: `tokenizer.json`, and for each split tokens (uint16, documents joined) and offsets (int64).
Everything a training reads is kept here, so a resume has the same data, whatever became of the sources.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cllm import events
from cllm.corpus import parallel
from cllm.corpus.likeness import HELD_OUT_BYTES, TRAINING_BYTES, ppmd_bits_per_byte
from cllm.corpus.manifest import FileEntry, Manifest, manifest_path
from cllm.corpus.prepare import Document, load, prepare
from cllm.errors import EmptyCorpus
from cllm.runstore import RunStore
from cllm.settings import TrainSettings
from cllm.spheres import Piece, deal
from cllm.storage import write_bytes, write_json
from cllm.tokenizer import Tokenizer, suggested_vocabulary
from cllm.workspace import RunDirectory

_ENCODE_BYTES = 1 << 20  # text encoded at a time
TOKENIZER_BYTES = 24 << 20  # of the training text, at most, from which the tokenizer is learned
_tokenizer: list[Tokenizer] = []  # of a process that encodes


@dataclass(frozen=True)
class Split:
    """The tokens of one split: documents joined, document i at offsets[i]:offsets[i + 1]."""

    tokens: np.ndarray[Any, np.dtype[np.uint16]]
    offsets: np.ndarray[Any, np.dtype[np.int64]]

    @property
    def documents(self) -> list[np.ndarray[Any, np.dtype[np.uint16]]]:
        """The tokens of each document: views, not copies."""
        return [self.tokens[a:b] for a, b in pairwise(self.offsets)]

    @property
    def counts(self) -> list[int]:
        return [int(n) for n in np.diff(self.offsets)]

    def stream(self, end_of_text: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
        """All documents with an end_of_text before each and after the last."""
        between = np.uint16(end_of_text)
        return np.append(np.insert(self.tokens, self.offsets[:-1], between), between)


@dataclass(frozen=True)
class Shards:
    """What a rank trains on; the token arrays are memory-mapped."""

    train: Split
    validation: Split
    directories: list[str]  # of each training document
    tokenizer: Tokenizer
    facts: dict[str, Any]  # the "corpus" event

    @staticmethod
    def load(run: RunDirectory) -> Shards:
        """Open what `write_shards` wrote."""
        facts = json.loads((run.data / "facts.json").read_text())
        return Shards(
            _open(run.data, "train"),
            _open(run.data, "validation"),
            facts.pop("directories"),
            Tokenizer.from_json(run.tokenizer.read_text()),
            facts,
        )

    def deal(self, spheres: int, how: Literal["even", "directory"]) -> list[list[Piece]]:
        """The training tokens of each sphere."""
        return deal(self.train.counts, self.directories, spheres, how)


def _open(directory: Path, split: str) -> Split:
    return Split(
        np.load(directory / f"{split}_tokens.npy", mmap_mode="r", allow_pickle=False),
        np.load(directory / f"{split}_offsets.npy", allow_pickle=False),
    )


def _begin_encoding(tokenizer: str) -> None:
    _tokenizer[:] = [Tokenizer.from_json(tokenizer)]


def _encode_batch(texts: list[str]) -> list[np.ndarray[Any, np.dtype[np.uint16]]]:
    return _tokenizer[0].encode_arrays(texts)


def _batches(documents: Iterable[Document]) -> Iterator[list[str]]:
    """Their texts, in batches of about `_ENCODE_BYTES`."""
    batch: list[str] = []
    waiting = 0
    for document in documents:
        batch.append(document.text.decode())
        waiting += len(document.text)
        if waiting >= _ENCODE_BYTES:
            yield batch
            batch, waiting = [], 0
    if batch:
        yield batch


def encode(documents: Iterable[Document], tokenizer: Tokenizer, size: int) -> Split:
    """Encode about `size` bytes of documents side by side, keeping only the tokens."""
    arrays: list[np.ndarray[Any, Any]] = []
    with parallel.executor(size, _begin_encoding, (tokenizer.to_json(),)) as pool:
        for encoded in parallel.in_order(pool, _encode_batch, _batches(documents)):
            arrays.extend(encoded)
    offsets = np.zeros(len(arrays) + 1, dtype=np.int64)
    np.cumsum([len(a) for a in arrays], out=offsets[1:])
    return Split(np.concatenate(arrays) if arrays else np.zeros(0, dtype=np.uint16), offsets)


def even_choice(entries: Sequence[FileEntry], most_bytes: int) -> frozenset[str]:
    """Paths of files with so many bytes at most, but of one at least: all, or a choice by the digests of contents."""
    chosen: list[str] = []
    total = 0
    for entry in sorted(entries, key=lambda entry: (entry.sha256, entry.path)):
        if chosen and total + entry.size > most_bytes:
            break
        chosen.append(entry.path)
        total += entry.size
    return frozenset(chosen)


def _some(corpus: Path, manifest: Manifest, split: str, most_bytes: int) -> Iterator[bytes]:
    """Texts of a split, about so many bytes at most."""
    chosen = even_choice(manifest.included(split), most_bytes)
    return (document.text for document in load(corpus, split) if document.path in chosen)


def _likeness(corpus: Path, manifest: Manifest) -> float | None:
    return ppmd_bits_per_byte(
        _some(corpus, manifest, "train", TRAINING_BYTES), _some(corpus, manifest, "validation", HELD_OUT_BYTES)
    )


def _save(directory: Path, name: str, split: Split) -> None:
    np.save(directory / f"{name}_tokens.npy", split.tokens, allow_pickle=False)
    np.save(directory / f"{name}_offsets.npy", split.offsets, allow_pickle=False)


def write_shards(
    run: RunDirectory,
    paths: Sequence[Path],
    settings: TrainSettings,
    stdlib: bool,
    store: RunStore,
    only: Collection[str] | None = None,
    without: Collection[str] = (),
    vocabulary_for: Callable[[int], int] | None = None,
) -> None:
    """Prepare `paths`, of their directories `only` these files, and `without` those, into the run's `data/`.

    `vocabulary_for` gets the bytes of the training files before there is a tokenizer, and says how many tokens it
    shall have; else the settings do, or the corpus.
    Raises `EmptyCorpus`, `InvalidInput` or `StorageFull`."""

    def progress(stage: str, done: int, total: int) -> None:
        store.append(events.STAGE, {"stage": stage, "done": done, "total": total})

    manifest = prepare(
        paths, run.corpus, seed=settings.seed, only=only, without=without, stdlib=stdlib, progress=progress
    )
    sizes = {s: sum(f.size for f in manifest.included(s)) for s in ("train", "validation", "test")}
    if sizes["train"] < 256:
        raise EmptyCorpus(
            f"only {sizes['train']} bytes of text are left to train on: give more or larger files (2 kB will do)"
        )
    if vocabulary_for is not None:
        vocabulary = vocabulary_for(sizes["train"])
    else:
        vocabulary = settings.vocabulary or suggested_vocabulary(sizes["train"])
    progress("tokenizer", 0, sizes["train"])
    with ThreadPoolExecutor(1) as pool:  # PPMd does not hold the interpreter's lock
        likeness = pool.submit(_likeness, run.corpus, manifest)
        # Words repeat: from some tens of megabytes on, more text takes more time and changes the tokens little.
        texts = (text.decode() for text in _some(run.corpus, manifest, "train", TOKENIZER_BYTES))
        tokenizer = Tokenizer.train(texts, vocabulary)
        write_bytes(run.tokenizer, tokenizer.to_json().encode())
        progress("tokenizing", 0, sizes["train"])
        train = encode(load(run.corpus, "train"), tokenizer, sizes["train"])
        validation = encode(load(run.corpus, "validation"), tokenizer, sizes["validation"])
    _save(run.data, "train", train)
    _save(run.data, "validation", validation)
    facts = {
        "files": sum(manifest.languages().values()),
        "languages": manifest.languages(),
        "left_out": manifest.left_out(),
        "bytes": sum(sizes.values()),
        **{f"{name}_bytes": size for name, size in sizes.items()},
        "tokens": int(train.offsets[-1]),
        "validation_tokens": int(validation.offsets[-1]),
        "vocabulary": tokenizer.vocabulary,
        "ppmd_bits_per_byte": likeness.result(),
        "manifest": str(manifest_path(run.corpus)),
        "manifest_sha256": manifest.sha256,
    }
    directories = [str(Path(f.path).parent) for f in manifest.included("train")]
    write_json(run.data / "facts.json", {**facts, "directories": directories})
    store.append(events.CORPUS, facts)

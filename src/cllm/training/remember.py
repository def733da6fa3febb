"""The memory at the end of a training: the index of what was trained on, and gates learned on the validation split."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cllm import events
from cllm.corpus.manifest import Manifest, manifest_path
from cllm.memory.index import MemoryIndex, go_on
from cllm.memory.mixture import Source, gather, learn
from cllm.memory.store import to_bytes
from cllm.model.transformer import Transformer
from cllm.runstore import RunStore
from cllm.training.shards import Shards, Split
from cllm.workspace import RunDirectory

MOST_TOKENS, LEAST_TOKENS = 80_000, 2_000  # of the validation split, for the gates
SHARE = 0.05  # of a run's time that it should take
MOST_SHARE = 0.15  # that it may take where this cannot be: then it is an index of a part of the files
FIT_S = 2e-4  # a token of the validation files; from above
OVERHEAD_S = 1.0
_MEASURED, _SLOWER = 100_000, 1.6  # tokens of the index that the machine is measured by; how much slower large ones are
READING = 2.7  # how much longer a token takes than in a validation: windows overlap, whole distributions are looked at


@dataclass(frozen=True)
class Remembered:
    """A memory section, and figures of it: bits per byte by cross-fitting over the files its gates learned from."""

    section: bytes
    figures: dict[str, Any]


class _Affordable(NamedTuple):
    """Tokens of the training files to index, tokens to learn the gates from, and seconds for all of it."""

    indexed: int
    gates: int
    seconds: float


def _some(split: Split, tokens: int) -> list[int]:
    """Numbers, ascending, of documents of `split` with at most so many tokens: all, or a choice by a fixed seed."""
    sizes = [len(document) for document in split.documents]
    if sum(sizes) <= tokens:
        return list(range(len(sizes)))
    order = np.random.default_rng(1).permutation(len(sizes)).tolist()
    whole = np.cumsum([sizes[d] for d in order])
    return sorted(order[: max(1, int((whole <= tokens).sum()))])


def chosen(split: Split, tokens: int) -> list[NDArray[np.uint16]]:
    """Documents of `split` that have about so many tokens: all, or a choice by a fixed seed, the last one cut."""
    documents = split.documents
    left, taken = tokens, {}
    for number in np.random.default_rng(0).permutation(len(documents)).tolist():
        if left <= 0:
            break
        taken[number] = documents[number][:left]
        left -= len(taken[number])
    return [taken[number] for number in sorted(taken)]


class Rememberer:
    """Makes the memory of one run. Only rank 0 has one that does anything."""

    def __init__(
        self, run: RunDirectory, shards: Shards, store: RunStore, minutes: float | None, workers: int, scored: int
    ) -> None:
        """`minutes` is the time of the whole run; its validations score `scored` tokens, on `workers` cores."""
        self._run, self._shards, self._store = run, shards, store
        self._minutes, self._workers, self._scored = minutes, workers, max(1, scored)

    @cached_property
    def _index_s(self) -> float:
        """Seconds that a token of the index costs on this machine, as it is now."""
        tokens = self._shards.train.tokens[:_MEASURED]
        begun = time.monotonic()
        index = MemoryIndex.build([tokens], self._shards.tokenizer.end_of_text)
        index.statistics(np.array([0]), np.array([len(tokens)]))
        return _SLOWER * (time.monotonic() - begun) / max(1, len(tokens))

    def _affordable(self, validation_s: float) -> _Affordable:
        """How much there is time for, from the seconds of one validation."""
        indexed, gates = int(self._shards.train.tokens.size), int(self._shards.validation.tokens.size)
        gates = min(MOST_TOKENS, gates)
        each_s = FIT_S + READING * validation_s / self._scored
        if self._minutes is not None:
            left_s = MOST_SHARE * 60 * self._minutes - OVERHEAD_S - min(gates, LEAST_TOKENS) * each_s
            indexed = min(indexed, max(_MEASURED, int(left_s / self._index_s)))
            left_s = SHARE * 60 * self._minutes - OVERHEAD_S - indexed * self._index_s
            gates = min(gates, max(LEAST_TOKENS, int(left_s / each_s)))
        return _Affordable(indexed, gates, OVERHEAD_S + indexed * self._index_s + gates * each_s)

    def reserve_s(self, validation_s: float) -> float:
        """Seconds to keep for it at the end of the run."""
        return self._affordable(validation_s).seconds

    def remember(self, model: Transformer, validation_s: float, check: Callable[[], None] = go_on) -> Remembered:
        """Index the training files, learn the gates of `model`; what `check`, called now and then, raises ends it."""
        begun = time.monotonic()
        afforded = self._affordable(validation_s)
        self._tell("remembering", 0, 0)
        check()
        train, tokenizer = self._shards.train, self._shards.tokenizer
        kept = _some(train, afforded.indexed)
        entries = Manifest.load(manifest_path(self._run.corpus)).included("train")
        sources = [Source(entry.path, entry.language, entry.spdx) for entry in (entries[d] for d in kept)]
        if len(kept) < len(entries):
            text = f"the memory holds {len(kept):,} of {len(entries):,} training files: there was no time for more"
            self._store.append(events.WARNING, {"text": text})
        documents = train.documents
        index = MemoryIndex.build([documents[d] for d in kept], tokenizer.end_of_text, check=check)
        index_s = time.monotonic() - begun
        documents = chosen(self._shards.validation, afforded.gates)
        found = gather(
            index, model, documents, workers=self._workers,
            progress=lambda done, total: self._read(done, total, check), check=check,
        )  # fmt: skip
        self._tell("learning when to use the memory", 0, 0)
        memory, static, cached = learn(index, found, sources, check)
        section = to_bytes(memory)
        size = sum(len(tokenizer.token_bytes(int(token))) for document in documents for token in document)
        network = float(found.network_log.astype(np.float64).sum())

        def bits(nats: float | None) -> float | None:
            return None if nats is None or not size else nats * len(found.documents) / math.log(2) / size

        figures = {
            "files": len(sources),
            "tokens": index.rows - index.documents,
            "bytes": len(section),
            "gate_tokens": len(found.documents),
            "network_bits_per_byte": bits(-network / max(1, len(found.documents))),
            "static_bits_per_byte": bits(static.cross_fitted),
            "cached_bits_per_byte": bits(cached.cross_fitted),
            "index_s": index_s,
            "seconds": time.monotonic() - begun,
        }
        return Remembered(section, {k: round(v, 6) if isinstance(v, float) else v for k, v in figures.items()})

    def _read(self, done: int, total: int, check: Callable[[], None]) -> None:
        check()
        self._tell("reading for the memory", done, total)

    def _tell(self, stage: str, done: int, total: int) -> None:
        self._store.append(events.STAGE, {"stage": stage, "done": done, "total": total})

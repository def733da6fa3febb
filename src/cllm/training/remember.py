"""The memory at the end of a training: the index of what was trained on, and gates learned on the validation split."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cllm import events
from cllm.corpus.manifest import Manifest, manifest_path
from cllm.memory.index import MemoryIndex
from cllm.memory.mixture import Source, gather, learn
from cllm.memory.store import to_bytes
from cllm.model.transformer import Transformer
from cllm.runstore import RunStore
from cllm.training.shards import Shards, Split
from cllm.workspace import RunDirectory

MOST_TOKENS, LEAST_TOKENS = 80_000, 2_000  # of the validation split, for the gates
SHARE = 0.05  # of a run's time that may go into it
INDEX_S, FIT_S = 3e-6, 3e-4  # a token of the training, and of the validation files; from above
OVERHEAD_S = 2.0
READING = 2.7  # how much longer a token takes than in a validation: windows overlap, whole distributions are looked at


@dataclass(frozen=True)
class Remembered:
    """A memory section, and figures of it: bits per byte by cross-fitting over the files its gates learned from."""

    section: bytes
    figures: dict[str, Any]


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

    def _gate_tokens(self, validation_s: float) -> tuple[int, float]:
        """Tokens to learn the gates from, and seconds for all of it, from the seconds of one validation."""
        index_s = OVERHEAD_S + INDEX_S * self._shards.train.tokens.size
        each_s = FIT_S + READING * validation_s / self._scored
        there = min(MOST_TOKENS, int(self._shards.validation.tokens.size))
        if self._minutes is not None:
            affordable = int((SHARE * 60 * self._minutes - index_s) / each_s)
            there = min(there, max(LEAST_TOKENS, affordable))
        return there, index_s + there * each_s

    def reserve_s(self, validation_s: float) -> float:
        """Seconds to keep for it at the end of the run."""
        return self._gate_tokens(validation_s)[1]

    def remember(self, model: Transformer, validation_s: float) -> Remembered:
        """Index the training files and learn the gates of `model`."""
        begun = time.monotonic()
        tokens, _ = self._gate_tokens(validation_s)
        self._tell("remembering", 0, 0)
        train, tokenizer = self._shards.train, self._shards.tokenizer
        index = MemoryIndex.build(train.documents, tokenizer.end_of_text)
        index_s = time.monotonic() - begun
        entries = Manifest.load(manifest_path(self._run.corpus)).included("train")
        sources = [Source(entry.path, entry.language, entry.spdx) for entry in entries]
        documents = chosen(self._shards.validation, tokens)
        found = gather(
            index, model, documents, workers=self._workers,
            progress=lambda done, total: self._tell("reading for the memory", done, total),
        )  # fmt: skip
        self._tell("learning when to use the memory", 0, 0)
        memory, static, cached = learn(index, found, sources)
        section = to_bytes(memory)
        size = sum(len(tokenizer.token_bytes(int(token))) for document in documents for token in document)
        network = float(found.network_log.astype(np.float64).sum())

        def bits(nats: float | None) -> float | None:
            return None if nats is None or not size else nats * len(found.documents) / math.log(2) / size

        figures = {
            "files": len(sources),
            "tokens": int(train.tokens.size),
            "bytes": len(section),
            "gate_tokens": len(found.documents),
            "network_bits_per_byte": bits(-network / max(1, len(found.documents))),
            "static_bits_per_byte": bits(static.cross_fitted),
            "cached_bits_per_byte": bits(cached.cross_fitted),
            "index_s": index_s,
            "seconds": time.monotonic() - begun,
        }
        return Remembered(section, {k: round(v, 6) if isinstance(v, float) else v for k, v in figures.items()})

    def _tell(self, stage: str, done: int, total: int) -> None:
        self._store.append(events.STAGE, {"stage": stage, "done": done, "total": total})

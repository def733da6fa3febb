"""The figures of docs/memory.md: what a memory costs, and what it is worth, for the network of one run.

    python -m benchmarks.memory --run runs/ID        of a run that has ended; or
    python -m benchmarks.memory PATH... --minutes 20   trains one first

What was tried is compared on the validation split, by cross-fitting over its files; the test split is read once, at the
end.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measure import table, write_results
from cllm import checkpoint, container
from cllm.checkpoint import load_model
from cllm.evaluation.evaluate import evaluate
from cllm.evaluation.training_data import find_training_data
from cllm.inference.engine import Engine
from cllm.memory import evidence
from cllm.memory.evidence import CACHED_COMPONENTS, LENGTHS, OWN, Evidence
from cllm.memory.gate import fit
from cllm.memory.index import MemoryIndex
from cllm.memory.mixture import Reader, gather
from cllm.memory.store import load_memory
from cllm.runstore import RunStore
from cllm.settings import EvaluateSettings
from cllm.training.remember import Rememberer, chosen
from cllm.training.runconfig import load_plan
from cllm.training.shards import Shards
from cllm.workspace import RunDirectory

Ints = NDArray[np.int64]


class HashedNGrams:
    """The other way to remember: for each length a table of hashed contexts, and one of contexts with what followed."""

    def __init__(self, documents: Sequence[NDArray[Any]], end_of_text: int) -> None:
        self._end_of_text = end_of_text
        self.tables = []
        stream, reach = self._stream(documents)
        for length in LENGTHS:
            context, where = self._hashed(stream, reach, length)
            pair = self._with_next(context, stream[where])
            self.tables.append((np.unique(context, return_counts=True), np.unique(pair, return_counts=True)))

    def _stream(self, documents: Sequence[NDArray[Any]]) -> tuple[Ints, Ints]:
        """Documents behind end_of_text, and of each place how many tokens of its document precede it."""
        end = np.array([self._end_of_text])
        parts = [part for d in documents for part in (end, d.astype(np.int64))]
        reach = [np.arange(len(d) + 1) for d in documents]
        return np.concatenate([*parts, end]), np.concatenate([*reach, np.zeros(1, dtype=np.int64)])

    @staticmethod
    def _hashed(stream: Ints, reach: Ints, length: int) -> tuple[NDArray[np.uint64], Ints]:
        where = np.flatnonzero(reach >= length)
        hashed = np.full(len(where), length, dtype=np.uint64)
        for back in range(1, length + 1):
            hashed = (hashed ^ stream[where - back].astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
            hashed ^= hashed >> np.uint64(29)
        return hashed, where

    @staticmethod
    def _with_next(context: NDArray[np.uint64], token: Ints) -> NDArray[np.uint64]:
        return (context + token.astype(np.uint64) + np.uint64(1)) * np.uint64(0xBF58476D1CE4E5B9)

    @property
    def bytes(self) -> int:
        """Of sorted 64-bit keys with 32-bit counts: a hash table is larger, by its load."""
        return sum(12 * (len(contexts[0]) + len(pairs[0])) for contexts, pairs in self.tables)

    def count(self, documents: Sequence[NDArray[Any]]) -> tuple[Ints, Ints]:
        """(n, L) totals and counts of every token of `documents`."""
        stream, reach = self._stream(documents)
        totals, counts = np.zeros((2, len(stream), len(LENGTHS)), dtype=np.int64)
        for column, (length, tables) in enumerate(zip(LENGTHS, self.tables, strict=True)):
            context, where = self._hashed(stream, reach, length)
            for found, (keys, number), wanted in (
                (totals, tables[0], context),
                (counts, tables[1], self._with_next(context, stream[where])),
            ):
                place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
                found[where, column] = np.where(keys[place] == wanted, number[place], 0)
        inside = reach > 0
        return totals[inside], counts[inside]


def trials(found: Evidence, size: int) -> list[list[str]]:
    """Rows of what was tried: bits per byte by cross-fitting, of files of `size` bytes."""
    L = len(LENGTHS)
    n = len(found.documents)
    upto8 = [i for i, length in enumerate(LENGTHS) if length <= 8]

    def bits(nats: float | None) -> str:
        return "-" if nats is None else f"{nats * n / math.log(2) / size:.4f}"

    def trial(cached: bool, columns: Sequence[int]) -> str:
        p, there = found.probabilities(cached)[:, columns], evidence.present(found.situation, cached)[:, columns]
        return bits(fit(evidence.features(found.situation, cached), there, p, found.documents).cross_fitted)

    return [
        ["network alone", bits(-float(found.network_log.mean()))],
        ["static: training counts, all lengths", trial(False, range(1 + L))],
        ["static: lengths to 8", trial(False, [0, *(1 + i for i in upto8)])],
        ["static: lengths 1, 4, 16", trial(False, [0, *(1 + LENGTHS.index(m) for m in (1, 4, 16))])],
        ["with the file so far, all components", trial(True, range(CACHED_COMPONENTS))],
        ["with the file so far, counts of lengths alone", trial(True, range(OWN))],
        ["the file so far, without the training counts", trial(True, [0, *range(1 + L, CACHED_COMPONENTS)])],
        [
            "both, lengths to 8",
            trial(True, [0, *(1 + i for i in upto8), *(1 + L + i for i in upto8), *range(OWN, CACHED_COMPONENTS)]),
        ],
    ]


def decoding_ms(reader: Reader, engine: Engine, tokens: Ints) -> tuple[float, float]:
    """Milliseconds a token: of the network, and of the mixture on top of it; medians."""
    logits = engine.prefill([[reader.memory.index.end_of_text]])[0]
    network, mixture = [], []
    for token in tokens.tolist():
        begun = time.perf_counter()
        reader.distribution(logits.numpy())
        reader.feed([token])
        between = time.perf_counter()
        logits = engine.decode_one([token])[0]
        network.append(time.perf_counter() - between)
        mixture.append(between - begun)
    return 1000 * statistics.median(network), 1000 * statistics.median(mixture)


def measure(run: RunDirectory, out: Path, test: bool) -> tuple[dict[str, Any], str]:
    """All figures of a run whose final model is in its directory, and the text of the tables."""
    plan, shards = load_plan(run), Shards.load(run)
    assert plan is not None
    source = next(iter(sorted(run.checkpoints.glob("final_step_*.cllm"))))
    loaded = load_model(source)
    split = shards.train
    train = split.documents
    held_out = chosen(shards.validation, int(shards.validation.tokens.size))
    token_bytes = np.array([len(loaded.tokenizer.token_bytes(t)) for t in range(loaded.tokenizer.vocabulary)])
    size = sum(int(token_bytes[d].sum()) for d in held_out)

    begun = time.perf_counter()
    index = MemoryIndex.build(train, loaded.tokenizer.end_of_text)
    index_s = time.perf_counter() - begun
    begun = time.perf_counter()
    counted = evidence.count(index, held_out)
    looked_up_s = time.perf_counter() - begun
    begun = time.perf_counter()
    hashed = HashedNGrams(train, loaded.tokenizer.end_of_text)
    hashed_s = time.perf_counter() - begun
    begun = time.perf_counter()
    totals, counts = hashed.count(held_out)
    hashed_look_s = time.perf_counter() - begun
    agree = float((counts == counted.memory.count).mean())
    n = len(totals)
    sizes = sum(array.nbytes for array in index.arrays().values())
    text = table(
        ["Training tokens", "Built in", "Bytes a token", "Looked up, us a token"],
        [
            ["sorted positions", f"{index_s:.1f} s", f"{sizes / split.tokens.size:.1f}",
             f"{1e6 * looked_up_s / n:.1f}"],
            ["hashed n-grams, the same lengths", f"{hashed_s:.1f} s", f"{hashed.bytes / split.tokens.size:.1f}",
             f"{1e6 * hashed_look_s / n:.1f}"],
        ],
    )  # fmt: skip
    text += (
        f"\n{split.tokens.size:,} tokens of {len(train):,} files; the counts agree in {agree:.4%} of the places.\n\n"
    )

    found = gather(index, loaded.model, held_out, workers=torch.get_num_threads() or 1)
    rows = trials(found, size)
    text += table(["Validation split, cross-fitted over files", "bits per byte"], rows)

    path = out / "memory.cllm"
    with tempfile.TemporaryDirectory() as directory, RunStore(Path(directory) / "store.db") as store:
        begun = time.perf_counter()
        made = Rememberer(run, shards, store, None, plan.ranks, plan.validation_tokens).remember(loaded.model, 1.0)
        remembering_s = time.perf_counter() - begun
    header, sections = container.read(source, [checkpoint.WEIGHTS, checkpoint.TOKENIZER])
    path.parent.mkdir(parents=True, exist_ok=True)
    container.write(path, header, {**sections, checkpoint.MEMORY: made.section})
    begun = time.perf_counter()
    memory = load_memory(path)
    load_s = time.perf_counter() - begun
    assert memory is not None
    network_ms, mixture_ms = decoding_ms(Reader(memory), Engine(loaded.model), held_out[0][:2000].astype(np.int64))
    costs = [
        ["made at the end of the training", f"{remembering_s:.1f} s"],
        ["size in the model file", f"{len(made.section) / 1e6:.1f} MB"],
        ["loaded and verified", f"{load_s:.2f} s"],
        ["network, one token", f"{network_ms:.2f} ms"],
        ["mixture on top of it, one token", f"{mixture_ms:.2f} ms"],
    ]
    text += "\n" + table(["Cost", ""], costs)
    results: dict[str, Any] = {
        "index_s": index_s, "index_bytes": sizes, "hashed_s": hashed_s, "hashed_bytes": hashed.bytes, "trials": rows,
        "remembered": made.figures, "load_s": load_s, "network_ms": network_ms, "mixture_ms": mixture_ms,
    }  # fmt: skip
    if test:
        training = find_training_data(header, source)
        result = evaluate(
            load_model(path), training.split("test"), memory=memory, data="test split", training=training,
            own_split=True, settings=EvaluateSettings(completions=0), workers=plan.ranks,
        )  # fmt: skip
        assert result.memory is not None
        shown = [
            ["network", result.bits_per_byte],
            ["network and memory (static)", result.memory.static],
            ["network, memory and the file so far", result.memory.cached],
            *([b.name, b.bits_per_byte] for b in (result.baselines or {}).values()),
        ]
        for name, part in (("similar", result.memory.similar), ("novel", result.memory.novel)):
            if part is not None:
                shown += [
                    [f"{name} files ({part.files}): network", part.network],
                    [f"{name} files: static", part.static],
                    [f"{name} files: with the file so far", part.cached],
                ]
        text += f"\n{result.files} test files, {result.bytes:,} bytes:\n\n"
        text += table(["Test split", "bits per byte"], [[str(name), f"{bits:.4f}"] for name, bits in shown])
        results["test"] = result.model_dump(mode="json")
    return results, text


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, help="code to train on; default: Python's standard library")
    parser.add_argument("--run", type=Path, help="directory of a run that has ended, instead of training one")
    parser.add_argument("--minutes", type=float, default=20.0, help="of the training; default: 20")
    parser.add_argument("--no-test", action="store_true", help="leave the test split alone")
    parser.add_argument("--out", type=Path, default=Path("artefacts/benchmarks"), help="default: artefacts/benchmarks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        path = arguments.run
        if path is None:
            corpus = [str(p.resolve()) for p in arguments.paths] or ["--stdlib"]
            command = [sys.executable, "-m", "cllm", "train", *corpus, f"--minutes={arguments.minutes}"]
            if code := subprocess.run(command, cwd=directory, check=False).returncode:
                sys.exit(code)  # it has said why
            path = next((Path(directory) / "runs").iterdir())
        results, text = measure(RunDirectory(path.resolve()), arguments.out, not arguments.no_test)
    write_results(arguments.out, "memory", "python -m benchmarks.memory " + " ".join(sys.argv[1:]), results, text)


if __name__ == "__main__":
    main()

"""Whole runs of `cllm train --minutes M` and what they come to on held-out files, kept for all benchmarks in runs.json.

Every run has an empty cache of kernels of its own, as on a machine where CLLM has never trained.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.corpora import Corpus
from benchmarks.measure import output_of
from benchmarks.points import Point, Points
from benchmarks.quality_data import splits_sha256
from cllm.machine import usable_cores
from cllm.workspace import Workspace

FILE = "runs.json"
PLANNED = (  # what is kept of a plan
    "size", "vocabulary", "context", "batch_size", "precision", "compile", "dropout", "weight_decay", "renaming",
    "expected_bits_per_byte",
)  # fmt: skip


def key_of(corpus: Corpus, minutes: float, options: Sequence[str], seed: int = 0, cores: int | None = None) -> Point:
    """What a run is known by; on all cores unless said."""
    return {
        "kind": "run", "corpus": corpus.name, "sha256": corpus.sha256, "minutes": minutes, "seed": seed,
        "options": list(options), "cores": cores or usable_cores(),
    }  # fmt: skip


def found(runs: Points, key: Point, test: bool) -> Point | None:
    """The run of `key` that is there; with its figure of the test files, if `test`."""
    return next((run for run in runs.matching(**key) if not test or "test_bits_per_byte" in run), None)


def kept_or_made(
    runs: Points, key: Point, what: Sequence[str], test: bool, redo: bool, work: Path, seat: Sequence[int] | None = None
) -> Point:
    """The run of `key` that is there, or a new one, which takes its place: always with `redo`.

    Trained on `what`, on the cores of `seat` if given; evaluated on validation files and, if `test`, on test files.
    The test files are for the planner's own choice: who compares hand-set ones would choose by them.
    """
    if not redo and (there := found(runs, key, test)) is not None:
        return there
    with tempfile.TemporaryDirectory(dir=work, prefix="run-") as name:
        cwd = Path(name)
        cllm = [*(["taskset", "-c", ",".join(map(str, seat))] if seat else []), sys.executable, "-m", "cllm"]
        train = [*cllm, "train", *what, f"--minutes={key['minutes']:g}", f"--seed={key['seed']}", "--json"]
        lines, wall_s = output_of([*train, *key["options"]], cwd, CLLM_CACHE=str(cwd / "cache"))
        splits = splits_sha256(Workspace(cwd).run().corpus)
        evaluate = [*cllm, "evaluate", "latest", "--json", "--no-baselines", "--completions=0"]
        figures = {
            split: output_of([*evaluate, f"--split={split}"], cwd)[0][-1]
            for split in ("validation", *(["test"] if test else []))
        }
    facts, plan = (next(line for line in lines if line["event"] == event) for event in ("corpus", "plan"))
    runs.forget(**key)
    return runs.add(
        key
        | {f"{split}_bits_per_byte": figure["bits_per_byte"] for split, figure in figures.items()}
        | {f"{split}_bytes": figure["bytes"] for split, figure in figures.items()}
        | {
            "tokens": lines[-1]["tokens"], "passes": lines[-1]["epochs"], "wall_s": wall_s, "splits_sha256": splits,
            "ppmd_bits_per_byte": facts["ppmd_bits_per_byte"], "plan": {k: plan.get(k) for k in PLANNED},
        }
    )  # fmt: skip

"""The benchmarks measure what they say: rates from the steps' own clock, and a reference that really trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.measure import SKIP_S, speed, table

REPOSITORY = Path(__file__).resolve().parents[2]

# Steps of 1000 tokens: slow ones while warming up, then 0.1 s each but for one pause of a minute.
STEPS = f"""
import json, time
when, tokens = 1e9, 0
for step in range(200):
    when += 60 if step == 100 else 0.5 if when < 1e9 + {SKIP_S} else 0.1
    tokens += 1000
    print(json.dumps({{"event": "step", "tokens": tokens, "time": when, "loss": 2.0}}), flush=True)
    if step == 0:
        print(json.dumps({{"event": "plan", "ranks": 2}}), flush=True)
time.sleep(600)
"""


def test_the_rate_leaves_out_warming_up_and_pauses_and_the_process_is_ended(tmp_path: Path) -> None:
    found = speed([sys.executable, "-c", STEPS], tmp_path, seconds=5)
    assert found.tokens_per_s == pytest.approx(10_000)
    assert found.events["plan"]["ranks"] == 2
    assert not [p for p in psutil.Process().children(recursive=True) if "time.sleep(600)" in " ".join(p.cmdline())]


def test_a_process_that_fails_is_reported_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no such thing"):
        speed([sys.executable, "-c", "import sys; sys.exit('no such thing')"], tmp_path, seconds=1)


def test_the_reference_learns_what_can_be_learned(tmp_path: Path) -> None:
    np.save(tmp_path / "tokens.npy", np.tile(np.arange(16, dtype=np.uint16), 500))
    shape = ["--layers=1", "--width=32", "--heads=2", "--context=32", "--batch-size=4", "--vocabulary=16"]
    begun = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.reference", tmp_path / "tokens.npy", *shape, "--threads=1", "--seconds=10"],
        cwd=REPOSITORY, env=os.environ, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert steps[0]["loss"] == pytest.approx(np.log(16), abs=0.3)
    assert steps[-1]["loss"] < 0.7 * steps[0]["loss"]
    assert steps[-1]["tokens"] == len(steps) * 4 * 32
    assert begun < steps[0]["time"] < steps[-1]["time"] < time.time()


def test_a_table_is_markdown() -> None:
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"


def test_nanochat_is_imported_from_a_checkout_or_not_at_all(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.nanochat", tmp_path, tmp_path / "tokens.npy"]
    np.save(tmp_path / "tokens.npy", np.zeros(600, dtype=np.uint16))
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{tmp_path}: not a checkout of nanochat")

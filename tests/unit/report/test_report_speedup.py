"""The speed-up is computed from the steps that real processes print."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from cllm.errors import CllmError
from cllm.report.speedup import measure, training_command

# Prints what a training prints, at a speed and for a number of steps; ends at the first Ctrl-C.
TRAINING = """
import json, os, sys, time
ranks, rate, steps = map(int, sys.argv[1:4])
open(sys.argv[4], "a").write(f"{os.getpid()}\\n")
print(json.dumps({"event": "plan", "ranks": ranks}), flush=True)
for n in range(1, steps + 1):
    seconds = 0.5 if n > 3 else 9.0  # the first steps are slow
    print(json.dumps({"event": "step", "step": n, "tokens": rate * n, "step_s": seconds}), flush=True)
try:
    time.sleep(60 if steps > 5 else 0)
except KeyboardInterrupt:
    pass
"""


def test_both_trainings_are_measured_and_ended(tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    def command(threads: int) -> list[str]:
        ranks, rate = (1, 100) if threads == 1 else (4, 350)
        return [sys.executable, "-c", TRAINING, str(ranks), str(rate), "50", str(pids)]

    begun = time.monotonic()
    found = measure(command, seconds=15)
    assert (found.one_rank_tokens_per_s, found.all_ranks_tokens_per_s, found.ranks) == (200, 700, 4)
    assert found.speedup == pytest.approx(3.5)
    assert time.monotonic() - begun < 60
    for pid in pids.read_text().split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_a_training_that_ends_too_soon_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CllmError, match="could not be measured"):
        measure(lambda _: [sys.executable, "-c", TRAINING, "1", "100", "5", str(tmp_path / "pids")], seconds=20)


def test_the_command_repeats_the_shape_of_the_run() -> None:
    line = training_command(Path("/data/repo_code.txt"), {"context": 128, "seed": 7, "size": "auto"}, {"size": "mini"})(
        1
    )
    assert line[1:6] == ["-P", "-m", "cllm", "train", "/data/repo_code.txt"]
    assert {"--threads=1", "--context=128", "--seed=7", "--size=mini", "--json"} <= set(line)
    assert "--size=auto" not in line

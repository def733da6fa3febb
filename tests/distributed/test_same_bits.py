"""The exact tree's promise: the same weights, bit for bit, for any number of ranks and through interruptions."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.training import SMALL, result_of, wait_for_step


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_weights_do_not_depend_on_the_number_of_ranks(run_cllm, tiny_corpus: Path, precision: str) -> None:
    results = [
        result_of(
            run_cllm("train", tiny_corpus, *SMALL, "--epochs=1", f"--precision={precision}", f"--threads={n}", "--json")
        )
        for n in (1, 2, 3)
    ]
    assert [r["ranks"] for r in results] == [1, 2, 3]
    assert len({r["weights_sha256"] for r in results}) == 1
    assert len({r["validation_loss"] for r in results}) == 1
    assert len({r["final_loss"] for r in results}) == 1


def test_plain_all_reduce_does_depend_on_it(run_cllm, tiny_corpus: Path) -> None:
    """Shows that the test above can fail."""
    results = [
        result_of(run_cllm("train", tiny_corpus, *SMALL, "--epochs=1", "--reducer=fast", f"--threads={n}", "--json"))
        for n in (1, 3)
    ]
    assert results[0]["weights_sha256"] != results[1]["weights_sha256"]


@pytest.mark.parametrize("options", [["--dropout=0", "--renaming=0"], ["--dropout=0.2", "--renaming=0.5"]])
def test_stopped_within_an_epoch_and_resumed_with_other_ranks(
    run_cllm, start_cllm, workspace: Path, tmp_path: Path, tiny_corpus: Path, options: list[str]
) -> None:
    arguments = ("train", tiny_corpus, *SMALL, *options, "--epochs=4", "--patience=0", "--json")
    whole = result_of(run_cllm(*arguments, "--threads=2", cwd=tmp_path))

    process = start_cllm(*arguments, "--threads=1")
    run = wait_for_step(workspace, 5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"cllm resume {run.id}" in said

    resumed = run_cllm("resume", run.id, "--threads=3", "--json")
    result = result_of(resumed)
    assert 0 < int(resumed.stderr.split("from step ")[1].split()[0]) < whole["steps"]
    assert result["ranks"] == 3
    assert result["steps"] == whole["steps"]
    assert result["tokens"] == whole["tokens"]
    assert result["weights_sha256"] == whole["weights_sha256"]
    assert result["best_loss"] == whole["best_loss"]

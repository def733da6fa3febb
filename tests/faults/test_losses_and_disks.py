"""A loss that is not a number, a damaged checkpoint, a full disk: said in one line, and nothing lost."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import torch
from safetensors.torch import load, save

from cllm import container
from cllm.runstate import state_of
from cllm.workspace import RunDirectory
from tests.conftest import TinyRun
from tests.training import SMALL, events_of, result_of


def copy_of(tiny_run: TinyRun, workspace: Path) -> RunDirectory:
    """The tiny run in a workspace of this test's own."""
    shutil.copytree(tiny_run.run, workspace / "runs" / tiny_run.run.name)
    run = RunDirectory(workspace / "runs" / tiny_run.run.name)
    config = run.config.read_text().replace(str(tiny_run.workspace), str(workspace))
    run.config.write_text(config)
    return run


def poison(path: Path, value: float) -> None:
    """Put `value` into one weight of a checkpoint, whose digests stay right."""
    header, sections = container.read(path)
    weights = load(sections["weights"])
    weights["norm.weight"][0] = value
    container.write(path, header, {**sections, "weights": save(weights)})


def test_a_loss_that_is_not_a_number_goes_back_and_then_gives_up(run_cllm, workspace: Path, tiny_run: TinyRun) -> None:
    run = copy_of(tiny_run, workspace)
    newest = next(run.checkpoints.glob("periodic_*.cllm"))
    (run.checkpoints / "epoch_2.cllm").unlink()
    poison(newest, math.nan)
    before = {p.name: p.read_bytes() for p in run.checkpoints.glob("*.cllm")}
    done = run_cllm("resume", run.id, "--epochs=4", "--json")
    assert done.returncode == 4
    assert "not a number" in done.stderr.strip().splitlines()[-1]
    rollbacks = [e for e in events_of(done) if e["event"] == "rollback"]
    assert len(rollbacks) == 3
    assert state_of(run) == "failed"
    assert {p.name: p.read_bytes() for p in run.checkpoints.glob("*.cllm")} == before


def test_a_damaged_newest_checkpoint_is_passed_over(run_cllm, workspace: Path, tiny_run: TinyRun) -> None:
    run = copy_of(tiny_run, workspace)
    newest = next(run.checkpoints.glob("periodic_*.cllm"))
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    done = run_cllm("resume", run.id, "--epochs=3", "--json")
    assert "passed over" in done.stderr
    assert newest.name in done.stderr
    assert result_of(done)["epochs"] >= 3


def test_a_finished_run_needs_more_epochs_to_go_on(run_cllm, workspace: Path, tiny_run: TinyRun) -> None:
    run = copy_of(tiny_run, workspace)
    done = run_cllm("resume", run.id)
    assert done.returncode == 2
    assert "--epochs 4" in done.stderr


def test_a_full_disk(run_cllm, small_disk: Path, tiny_corpus: Path) -> None:
    (small_disk / "keep").write_bytes(b"a person's file")
    done = run_cllm("train", tiny_corpus, *SMALL, "--size=micro", "--epochs=2", cwd=small_disk)
    assert done.returncode == 5, done.stderr
    assert "no space left" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert (small_disk / "keep").read_bytes() == b"a person's file"
    for path in small_disk.rglob("*.cllm"):
        container.verify(path)
    assert not list(small_disk.rglob("*.tmp"))


def test_weights_that_are_not_numbers_change_the_hash() -> None:
    """`weights_sha256` sees values, names, shapes and types."""
    from cllm.checkpoint import weights_sha256

    one = {"a": torch.zeros(4), "b": torch.ones(2, 2)}
    others = [
        {"a": torch.zeros(4), "b": torch.ones(4)},
        {"a": torch.zeros(4), "c": torch.ones(2, 2)},
        {"a": torch.zeros(4, dtype=torch.int32), "b": torch.ones(2, 2)},
        {"a": torch.tensor([0.0, 0.0, 0.0, -0.0]), "b": torch.ones(2, 2)},
    ]
    digests = {weights_sha256(w) for w in [one, *others]}
    assert len(digests) == 5
    assert weights_sha256({"b": one["b"], "a": one["a"]}) == weights_sha256(one)

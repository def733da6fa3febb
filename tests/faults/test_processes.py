"""No orphan is ever left, nothing that was saved is lost, however a process of a training dies."""

from __future__ import annotations

import email
import json
import os
import signal
import time
from pathlib import Path

import pytest

from cllm.memory.store import load_memory
from cllm.runstate import state_of, supervisor
from cllm.training.runconfig import load_plan
from tests.training import (
    SMALL,
    processes_of,
    result_of,
    wait_for_checkpoint,
    wait_for_stage,
    wait_for_step,
    wait_until_gone,
    workers_of,
)

LONG = (*SMALL, "--epochs=500", "--patience=0", "--threads=2")


def rank_pids(run) -> list[int]:
    return [p.pid for p in workers_of(run, "rank")]


def test_a_killed_rank_ends_the_run_with_a_reason(start_cllm, workspace: Path, tiny_corpus: Path) -> None:
    process = start_cllm("train", tiny_corpus, *LONG)
    run = wait_for_step(workspace, 3)
    os.kill(rank_pids(run)[1], signal.SIGKILL)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 4
    assert "SIGKILL" in said or "ended by" in said, said
    assert state_of(run) == "failed"
    wait_until_gone(run)


def test_a_training_goes_on_without_the_process_that_forked_its_ranks(
    start_cllm, workspace: Path, tiny_corpus: Path
) -> None:
    process = start_cllm("train", tiny_corpus, *SMALL, "--epochs=8", "--patience=0", "--threads=2", "--json")
    run = wait_for_step(workspace, 3)
    (nursery,) = (p for p in processes_of(run) if "nursery" in p.cmdline() and not p.name().startswith("cllm"))
    nursery.kill()
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert json.loads(said.splitlines()[-1])["epochs"] == 8
    assert state_of(run) == "done"
    wait_until_gone(run)


def test_a_rank_that_is_killed_after_the_process_that_forked_it_ends_the_run(
    start_cllm, workspace: Path, tiny_corpus: Path
) -> None:
    process = start_cllm("train", tiny_corpus, *LONG)
    run = wait_for_step(workspace, 3)
    ranks = rank_pids(run)
    for other in processes_of(run):
        if "nursery" in other.cmdline() and other.pid not in ranks:
            other.kill()
    os.kill(ranks[1], signal.SIGKILL)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 4
    assert "rank 1 is gone" in said or "Connection closed" in said, said
    assert state_of(run) == "failed"
    wait_until_gone(run)


def test_a_rank_that_is_killed_while_the_planning_process_ends_ends_the_run(
    start_cllm, workspace: Path, tiny_corpus: Path
) -> None:
    process = start_cllm("train", tiny_corpus, *LONG)
    run = wait_for_stage(workspace, "planning")
    (planner,) = workers_of(run, "plan")
    while load_plan(run) is None:
        time.sleep(0.001)
    planner.suspend()
    wait_for_step(workspace, 3)
    os.kill(rank_pids(run)[1], signal.SIGKILL)
    time.sleep(0.5)  # for the supervisor to see both at once
    planner.resume()
    process.communicate(timeout=30)
    assert process.returncode == 4
    assert state_of(run) == "failed"
    wait_until_gone(run)


def test_a_killed_supervisor_takes_its_ranks_along(start_cllm, run_cllm, workspace: Path, tiny_corpus: Path) -> None:
    process = start_cllm("train", tiny_corpus, *LONG, "--save-every-minutes=0.005")
    run = wait_for_step(workspace, 12)
    wait_for_checkpoint(run)
    head = supervisor(run)
    assert head is not None
    head.kill()
    _, said = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "interrupted" in said
    wait_until_gone(run)
    assert state_of(run) == "interrupted"
    result = result_of(run_cllm("resume", run.id, "--epochs=3", "--json"))
    assert result["epochs"] >= 3


def test_a_killed_terminal_process_makes_the_training_save_and_end(
    start_cllm, workspace: Path, tiny_corpus: Path
) -> None:
    process = start_cllm("train", tiny_corpus, *LONG)
    run = wait_for_step(workspace, 3)
    process.kill()
    wait_until_gone(run)
    assert state_of(run) == "stopped"
    assert list(run.checkpoints.glob("save_step_*.cllm"))


def test_a_closed_terminal_leaves_the_training_alone(start_cllm, run_cllm, workspace: Path, tiny_corpus: Path) -> None:
    process = start_cllm("train", tiny_corpus, *LONG)
    run = wait_for_step(workspace, 3)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=10)
    wait_for_step(workspace, 20)
    assert state_of(run) == "running"
    saved = run_cllm("save", run.id)
    assert Path(saved.stdout.strip()).is_file(), saved.stderr
    stopped = run_cllm("stop", run.id)
    assert stopped.returncode == 0
    assert state_of(run) == "stopped"
    wait_until_gone(run)


def test_a_second_interrupt_ends_at_once(start_cllm, workspace: Path, tiny_corpus: Path) -> None:
    process = start_cllm("train", tiny_corpus, *LONG)
    run = wait_for_step(workspace, 3)
    for pid in rank_pids(run):  # ranks that never finish their step
        os.kill(pid, signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    with pytest.raises(Exception, match="timed out"):
        process.communicate(timeout=1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    wait_until_gone(run)


@pytest.mark.parametrize("limit", ["--epochs=1", "--minutes=0.4"])
def test_an_interrupt_while_the_memory_is_made_loses_nothing(start_cllm, run_cllm, workspace: Path, limit: str) -> None:
    code = Path(email.__file__).parent
    process = start_cllm("train", code, *SMALL, limit, "--threads=2")
    run = wait_for_stage(workspace, "remembering")
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    said = "".join(process.communicate(timeout=30))
    assert time.monotonic() - begun < 8
    assert process.returncode == 130, said
    assert state_of(run) == "stopped"
    assert "not made yet" in said and f"cllm resume {run.id}" in said
    assert list(run.checkpoints.glob("periodic_step_*.cllm"))
    assert not list(run.checkpoints.glob("final_step_*.cllm"))
    wait_until_gone(run)
    result = result_of(run_cllm("resume", run.id, "--json"))
    assert state_of(run) == "done"
    assert load_memory(Path(result["model"])) is not None
    assert result["memory"]["cached_bits_per_byte"] < result["memory"]["network_bits_per_byte"]

"""What became of a run, as its files tell it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cllm.runstate import STARTING_S, state_of, write_exit, write_process
from cllm.workspace import RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """As it is when it was just asked for: no process has said anything yet."""
    made = RunDirectory(tmp_path)
    made.config.write_text("{}")
    return made


def age(run: RunDirectory, seconds: float) -> None:
    then = run.config.stat().st_mtime - seconds
    os.utime(run.config, (then, then))


def test_a_run_that_is_just_being_started_is_not_interrupted(run: RunDirectory) -> None:
    assert state_of(run) == "running"
    age(run, STARTING_S + 1)
    assert state_of(run) == "interrupted"


def test_a_process_that_has_gone_without_a_word_was_interrupted_at_any_age(run: RunDirectory) -> None:
    write_process(run, os.getpid())
    assert state_of(run) == "running"
    run.process.write_text('{"pid": 999999999, "started": 1.0}')
    assert state_of(run) == "interrupted"


def test_a_run_that_has_said_something_and_has_no_process_was_interrupted(run: RunDirectory) -> None:
    run.store.touch()
    assert state_of(run) == "interrupted"


def test_an_exit_record_says_it_at_any_age(run: RunDirectory) -> None:
    write_exit(run, "failed", "no reason", 1)
    assert state_of(run) == "failed"


def test_a_directory_without_a_request_is_no_start(tmp_path: Path) -> None:
    assert state_of(RunDirectory(tmp_path)) == "interrupted"


def test_a_model_is_not_something_to_go_on_from(run: RunDirectory) -> None:
    assert not run.resumable
    run.checkpoints.mkdir()
    for name in ("best_step_00000010", "final_step_00000012"):
        (run.checkpoints / f"{name}.cllm").touch()
    assert not run.resumable
    (run.checkpoints / "periodic_step_00000012.cllm").touch()
    assert run.resumable

"""Workers that are forked off and workers that are started anew are alike to those who wait for them."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from cllm.errors import RunNotFound
from cllm.runstore import RunStore
from cllm.settings import TrainSettings
from cllm.training import workers
from cllm.training.lifeline import Worker
from cllm.training.runconfig import RunConfig
from cllm.training.workers import Forked, Started, Workers
from cllm.workspace import RunDirectory, Workspace

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path / "run")
    run.data.mkdir(parents=True)
    return run


@pytest.fixture(params=["forked", "started"])
def made(run: RunDirectory, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    if request.param == "started":
        monkeypatch.setattr(workers.sys, "platform", "darwin")
    with closing(Workers(run)) as made:
        monkeypatch.undo()
        yield made


def wait_until_there(worker: Worker, timeout: float = 60) -> psutil.Process:
    until = time.monotonic() + timeout
    while worker.poll() is None and worker.pid is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert worker.pid is not None
    return psutil.Process(worker.pid)


def is_gone(process: psutil.Process) -> bool:
    try:
        process.wait(timeout=10)
    except psutil.TimeoutExpired:
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def asked(run: RunDirectory) -> None:
    """A request whose plan waits for data that never come."""
    RunConfig(TrainSettings(), (), False, Workspace(run.path), time.time()).save(run)


def test_a_worker_that_fails_says_why_and_gives_its_exit_code(made: Workers, run: RunDirectory) -> None:
    worker = made.start("plan")  # of a run that nobody has asked for
    assert worker.wait() == worker.poll() == RunNotFound.exit_code
    with RunStore(run.store) as store:
        error = store.last("error")
    assert error is not None and "damaged or missing" in error.data["text"]


def test_a_worker_that_is_killed_gives_the_signal(made: Workers, run: RunDirectory) -> None:
    asked(run)
    worker = made.start("plan")
    process = wait_until_there(worker)
    assert worker.poll() is None
    worker.kill()
    assert worker.wait() == -signal.SIGKILL
    assert is_gone(process)
    worker.kill()  # is no error


def test_workers_end_with_those_who_started_them(made: Workers, run: RunDirectory) -> None:
    asked(run)
    processes = [wait_until_there(made.start("plan")) for _ in range(2)]
    made.end()
    assert all(is_gone(process) for process in processes)


def test_a_worker_that_is_killed_before_it_is_there_never_works(run: RunDirectory) -> None:
    asked(run)
    with closing(Workers(run)) as made:
        worker = made.start("plan")  # its parent imports torch first
        assert isinstance(worker, Forked) and worker.pid is None
        worker.kill()
        assert worker.wait() == -signal.SIGKILL
        other = made.start("plan")
        wait_until_there(other)  # so the first one has had its turn
        assert isinstance(worker, Forked) and worker.pid is not None
        assert is_gone(psutil.Process(worker.pid)) if psutil.pid_exists(worker.pid) else True
        assert other.poll() is None


def test_what_cannot_be_compiled_is_an_exit_code(run: RunDirectory) -> None:
    with closing(Workers(run)) as made:
        compiling = made.start("compile", {"CLLM_SHAPE": "{"})
        assert compiling.wait() == 1
    assert "validation error" in run.log.read_text()


def test_without_the_process_that_forks_workers_are_started_anew(run: RunDirectory) -> None:
    asked(run)
    with closing(Workers(run)) as made:
        first = made.start("plan")
        process = wait_until_there(first)
        os.kill(made.others[0], signal.SIGKILL)
        until = time.monotonic() + 10
        while isinstance(second := made.start("plan"), Forked):  # until it is noticed
            assert time.monotonic() < until
            time.sleep(0.05)
        assert isinstance(second, Started)
        assert first.poll() is None  # goes on
        process.kill()
        assert first.wait() == workers.UNKNOWN

"""Compiling ahead: what it gives, and that neither its absence nor its end harms a training or leaves anything."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil
import pytest

from cllm.machine import has_cpp_compiler
from cllm.runstate import state_of, supervisor
from cllm.workspace import RunDirectory, Workspace
from tests.training import SMALL, events_of, result_of, wait_until_gone, workers_of

COMPILED = (*(option for option in SMALL if not option.startswith("--compile")), "--compile=on", "--patience=0")

needs_compiler = pytest.mark.skipif(not has_cpp_compiler(), reason="no C++ compiler here")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "compiled"


def wait_for_compiler(workspace: Path, timeout: float = 60) -> tuple[RunDirectory, psutil.Process]:
    """The newest run, and the process that compiles for it."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        for run in Workspace(workspace).all_runs()[-1:]:
            for process in workers_of(run, "compile"):
                return run, process
        time.sleep(0.02)
    raise AssertionError(f"nothing compiles within {timeout} s")


@needs_compiler
def test_compiled_once_and_used_by_all(run_cllm, tiny_corpus: Path, own_cache: Path) -> None:
    """The first run compiles beside its preparation; the second loads that, and has the same bits with other ranks."""
    arguments = ("train", tiny_corpus, *COMPILED, "--epochs=1", "--json")
    plain = result_of(run_cllm(*arguments[:-1], "--compile=off", "--json"))
    first = result_of(run_cllm(*arguments, "--threads=2", timeout=400))
    made = sorted(own_cache.rglob("*.so"))
    second = result_of(run_cllm(*arguments, "--threads=1", timeout=400))
    assert first["compiled"] and second["compiled"] and not plain["compiled"]
    assert made and sorted(own_cache.rglob("*.so")) == made
    assert [path for path in (own_cache / "headers").iterdir() if path.is_file()]  # not below a name in /tmp
    assert first["weights_sha256"] == second["weights_sha256"]
    assert first["validation_loss"] == pytest.approx(plain["validation_loss"], rel=1e-3)


@needs_compiler
@pytest.mark.parametrize("end", ["interrupt", "kill the supervisor", "kill the command"])
def test_a_run_that_ends_takes_its_compiler_along(start_cllm, workspace: Path, tiny_corpus: Path, end: str) -> None:
    process = start_cllm("train", tiny_corpus, *COMPILED, "--epochs=500")
    run, compiler = wait_for_compiler(workspace)
    until = time.monotonic() + 60
    while not (tools := compiler.children(recursive=True)) and time.monotonic() < until:
        time.sleep(0.02)
    if end == "interrupt":
        process.send_signal(signal.SIGINT)
    elif end == "kill the command":
        process.kill()
    else:
        head = supervisor(run)
        assert head is not None
        head.kill()
    process.communicate(timeout=30)
    wait_until_gone(run)
    assert not compiler.is_running() or compiler.status() == psutil.STATUS_ZOMBIE
    _, left = psutil.wait_procs(tools, timeout=5)
    assert not [tool for tool in left if tool.is_running() and tool.status() != psutil.STATUS_ZOMBIE]
    assert state_of(run) != "running"


@needs_compiler
def test_a_killed_compiler_leaves_the_training_as_it_is(
    start_cllm, workspace: Path, tiny_corpus: Path, own_cache: Path
) -> None:
    process = start_cllm("train", tiny_corpus, *COMPILED, "--epochs=1", "--json")
    _, compiler = wait_for_compiler(workspace)
    compiler.kill()
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert '"compiled": false' in said.splitlines()[-1]
    assert not list(own_cache.rglob("complete*"))


def test_no_compiler_is_no_error(run_cllm, tiny_corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/nowhere/g++")
    done = run_cllm("train", tiny_corpus, *COMPILED, "--epochs=1", "--json", timeout=400)
    assert not result_of(done)["compiled"]
    assert not [event for event in events_of(done) if event["event"] in ("error", "warning")]
    assert "rror" not in done.stderr
    auto = run_cllm("train", tiny_corpus, *COMPILED, "--compile=auto", "--epochs=1", timeout=400)
    assert auto.returncode == 0
    assert "compiled" not in auto.stderr

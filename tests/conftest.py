"""What all tests share: the command line as a real process, small corpora of real code, and one tiny trained run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
TINY_TRAINING = (
    "--epochs=2", "--size=nano", "--context=64", "--batch-size=12", "--vocabulary=512", "--threads=1", "--compile=off",
    "--precision=fp32", "--patience=0",
)  # fmt: skip


class RunCllm(Protocol):
    """`run_cllm("train", "src", "--epochs", "1")`: the finished process, with text in stdout and stderr."""

    def __call__(
        self, *args: str | Path, cwd: Path | None = None, input: str | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    """Small tensors are slower with more threads, and sums then come out in one order."""
    import torch

    torch.set_num_threads(1)


def environment() -> dict[str, str]:
    """The environment of a command that tests start: no colours, a fixed width, warnings to be seen."""
    return os.environ | {"NO_COLOR": "1", "COLUMNS": "120", "PYTHONUNBUFFERED": "1"}


def command_line(*args: str | Path) -> list[str]:
    return [sys.executable, "-m", "cllm", *map(str, args)]


def run_command(args: list[str], cwd: Path, input: str | None, timeout: float) -> subprocess.CompletedProcess[str]:
    """Like `subprocess.run`, but a timeout kills the whole process group, so that no rank outlives the test."""
    with subprocess.Popen(
        args, cwd=cwd, env=environment(), text=True, encoding="utf-8", start_new_session=True,
        stdin=subprocess.DEVNULL if input is None else subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            out, err = process.communicate(input, timeout)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(args, process.returncode, out, err)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """An empty directory to be the working directory of commands."""
    path = tmp_path / "workspace"
    path.mkdir()
    return path


@pytest.fixture
def run_cllm(workspace: Path) -> RunCllm:
    """Runs the command line as a real process, in `workspace` unless `cwd` is given."""

    def run(
        *args: str | Path, cwd: Path | None = None, input: str | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        return run_command(command_line(*args), cwd or workspace, input, timeout)

    return run


@pytest.fixture
def start_cllm(workspace: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command line and returns its Popen, for tests that send signals; in the end it is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*args: str | Path, cwd: Path | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command_line(*args), cwd=cwd or workspace, env=environment(), text=True, encoding="utf-8",
            start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def copy_stdlib(directory: Path, total_bytes: int) -> Path:
    """Fill `directory` with real Python files, top-level modules of the standard library in the order of their size.

    Stops before `total_bytes` are passed; the files are the same for every call on one machine.
    """
    directory.mkdir(parents=True, exist_ok=True)
    library = Path(sysconfig.get_path("stdlib"))
    files = sorted(
        (p for p in library.glob("*.py") if 1500 < p.stat().st_size < 40_000), key=lambda p: (p.stat().st_size, p.name)
    )
    used = 0
    for source in files:
        text = source.read_text(encoding="utf-8")
        used += len(text.encode())
        if used > total_bytes:
            break
        (directory / source.name).write_text(text, encoding="utf-8")
    return directory


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of about 30 real Python files, 100 kB together. Not to be written to."""
    return copy_stdlib(tmp_path_factory.mktemp("corpus") / "code", 100_000)


@pytest.fixture
def make_corpus() -> Callable[[Path, int], Path]:
    """`make_corpus(directory, total_bytes)`: a directory of real Python files."""
    return copy_stdlib


@dataclass(frozen=True)
class TinyRun:
    """A real training of a few seconds, made by `cllm train`. Not to be written to: copy `workspace` for that."""

    workspace: Path
    corpus: Path
    events: list[dict[str, Any]] = field(repr=False)

    @property
    def result(self) -> dict[str, Any]:
        """The figures of the whole run."""
        (result,) = (event for event in self.events if event["event"] == "result")
        return result

    @property
    def run(self) -> Path:
        """The run's directory."""
        (run,) = (self.workspace / "runs").iterdir()
        return run

    @property
    def model(self) -> Path:
        """The final model."""
        (model,) = (self.workspace / "models").glob("*.cllm")
        return model


@pytest.fixture(scope="session")
def tiny_run(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """One training for all tests that only read its files."""
    workspace = tmp_path_factory.mktemp("trained")
    done = run_command(command_line("train", tiny_corpus, *TINY_TRAINING, "--json"), workspace, None, 120)
    assert done.returncode == 0, done.stderr
    return TinyRun(workspace, tiny_corpus, [json.loads(line) for line in done.stdout.splitlines()])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 6 MB of its own, where this user may mount one."""
    path = tmp_path / "small"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a file system can be mounted by root only")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)

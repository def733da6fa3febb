"""The store of a run: readers beside the writer, and nothing lost by a killed process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cllm.runstore import RunStore


def test_events_are_numbered_and_filtered(tmp_path: Path) -> None:
    with RunStore(tmp_path / "s") as store, RunStore(tmp_path / "s", readonly=True) as reader:
        for i in range(5):
            assert store.append("step" if i % 2 else "other", {"i": i}) == i + 1
        assert [e.data["i"] for e in reader.events(after=2)] == [2, 3, 4]
        assert [e.data["i"] for e in reader.events(kinds=("step",))] == [1, 3]
        last = reader.last("step")
        assert last is not None
        assert last.data == {"i": 3}
        assert reader.last("none") is None


def test_figures_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    with RunStore(tmp_path / "s") as store, pytest.raises(ValueError, match="not JSON compliant"):
        store.append("step", {"loss": float("nan")})


def test_commands_are_taken_once(tmp_path: Path) -> None:
    with RunStore(tmp_path / "s") as store, RunStore(tmp_path / "s") as sender:
        sender.send("save")
        sender.send("stop")
        assert store.take_commands() == ["save", "stop"]
        assert store.take_commands() == []


def test_a_killed_writer_loses_nothing(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from cllm.runstore import RunStore\n"
        "s = RunStore(Path(sys.argv[1]))\n"
        "for i in range(100): s.append('step', {'i': i})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "s")])
    with RunStore(tmp_path / "s") as store:
        assert [e.data["i"] for e in store.events()] == list(range(100))
        assert store.append("step", {"i": 100}) == 101

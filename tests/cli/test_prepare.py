"""`cllm prepare` as a person runs it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_a_directory_of_code(run_cllm: Run, workspace: Path, tiny_corpus: Path) -> None:
    done = run_cllm("prepare", tiny_corpus)
    assert done.returncode == 0, done.stderr
    for words in ("python", "Split", "validation", "Secrets replaced: 0", "training_data/repo_code.txt"):
        assert words in done.stdout
    assert done.stderr == ""
    assert (workspace / "training_data" / "repo_code.manifest.json").is_file()


def test_json_and_the_list_of_what_is_left_out(run_cllm: Run, workspace: Path, tiny_corpus: Path) -> None:
    mine = workspace / "mine"
    mine.mkdir()
    (mine / "data.csv").write_text("1,2")
    (mine / "empty.py").write_text("")
    (mine / "copy.py").write_text((sorted(tiny_corpus.glob("*.py"))[-1]).read_text())
    done = run_cllm("prepare", tiny_corpus, "mine", "--out", "o.txt", "--json", "--seed", "3", "--show-left-out")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["files"] == result["languages"]["python"]["files"] > 15
    assert result["files"] + sum(result["left_out"].values()) == len(list(tiny_corpus.glob("*.py"))) + 3
    assert result["bytes"] == sum(split["bytes"] for split in result["splits"].values())
    mine_left_out = {
        file["path"]: file["reason"] for file in result["left_out_files"] if file["path"].startswith("mine")
    }
    assert mine_left_out == {"mine/copy.py": "duplicate", "mine/data.csv": "data", "mine/empty.py": "empty"}
    assert Path(workspace, result["corpus"]).is_file() and Path(workspace, result["manifest"]).is_file()
    shown = run_cllm("prepare", tiny_corpus, "mine", "--out", "o.txt", "--show-left-out", "--seed", "3")
    assert "mine/data.csv: data\n" in shown.stdout
    assert "mine/copy.py: duplicate of " in shown.stdout


def test_what_was_there_is_said_on_standard_error(run_cllm: Run, workspace: Path, tiny_corpus: Path) -> None:
    (workspace / "o.txt").write_text("mine")
    done = run_cllm("prepare", tiny_corpus, "--out", "o.txt", "--json")
    assert done.stderr == "note: o.txt was there already, and is now o.1.txt\n"
    json.loads(done.stdout)


@pytest.mark.parametrize("arguments", [[], ["missing"], ["a.qqq"], ["useless"]])
def test_bad_input_is_one_line_and_an_exit_code(run_cllm: Run, workspace: Path, arguments: list[str]) -> None:
    (workspace / "useless").mkdir()
    (workspace / "useless" / "a.json").write_text("{}")
    (workspace / "a.qqq").write_text("text\n" * 100)
    done = run_cllm("prepare", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("cllm: ") and done.stderr.count("\n") == 1
    assert not (workspace / "training_data").exists()

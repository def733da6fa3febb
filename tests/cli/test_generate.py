"""`cllm generate` as a real process: exact text on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import RunCllm, command_line
from tests.memorised import LOOP, TEXT, looping, memorised, write_model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with memorised.cllm and looping.cllm."""
    directory = tmp_path_factory.mktemp("files")
    write_model(memorised(), directory / "memorised.cllm")
    write_model(looping(), directory / "looping.cllm")
    return directory


@pytest.fixture
def trained(workspace: Path, models: Path) -> Path:
    """A workspace whose newest model is the memorised one."""
    shutil.copytree(models, workspace / "models")
    os.utime(workspace / "models" / "looping.cllm", (1, 1))
    return workspace


def test_a_prompt_that_is_piped_in_is_echoed_and_completed_by_the_newest_model(
    trained: Path, run_cllm: RunCllm
) -> None:
    done = run_cllm("generate", "--temperature", "0", "--echo", "--stats", input=TEXT[:101])
    assert (done.returncode, done.stdout) == (0, TEXT)
    (line,) = done.stderr.splitlines()
    assert "tokens/s" in line


def test_json_says_what_was_asked_and_what_came(trained: Path, run_cllm: RunCllm) -> None:
    (trained / "start.py").write_bytes(b"import os\nimpo")
    arguments = ("--file", "start.py", "--top-k", "5", "--stop", "\n\n", "--stop", "zzz", "--seed", "7", "--json")
    done = run_cllm("generate", "memorised", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result["prompt"] == "import os\nimpo"
    assert result["text"] == "rt sys"
    assert (result["finish_reason"], result["seed"], result["model"]) == ("stop", 7, "memorised")
    assert result["tokens"] > 0 < result["prefill_s"]
    assert result["tokens_per_s"] > 0
    assert result["settings"]["top_k"] == 5
    assert result["settings"]["stop"] == ["\n\n", "zzz"]


def test_control_c_keeps_what_was_generated(trained: Path, start_cllm: Callable[..., subprocess.Popen[str]]) -> None:
    endless = ("--temperature", "0", "--dry-multiplier", "0", "--max-tokens", "1000000")
    process = start_cllm("generate", "models/looping.cllm", *endless, "-p", "")
    assert process.stdout is not None
    first = process.stdout.read(100)  # it is streamed: a million tokens are not there yet
    process.send_signal(signal.SIGINT)
    shown = first + process.stdout.read()  # `communicate` would lose what the reading above has buffered
    assert process.wait(timeout=30) == 130
    assert process.stderr is not None
    errors = process.stderr.read()
    assert shown.endswith("\n")
    assert (LOOP * (len(shown) // len(LOOP) + 1)).startswith(shown.removesuffix("\n"))
    (line,) = errors.splitlines()
    assert "cancelled after" in line


def test_a_reader_that_leaves_ends_it(trained: Path, workspace: Path) -> None:
    endless = ("--temperature", "0", "--dry-multiplier", "0", "--max-tokens", "1000000")
    arguments = command_line("generate", "looping", *endless, "-p", "while")
    with subprocess.Popen(arguments, cwd=workspace, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(timeout=30) == 141
        assert process.stderr.read() == b""


def test_what_cannot_be_done_is_one_line_and_an_exit_code(trained: Path, workspace: Path) -> None:
    (workspace / "latin.py").write_bytes(b"# caf\xe9")
    (workspace / "cut.cllm").write_bytes((workspace / "models" / "memorised.cllm").read_bytes()[:-100])
    cases = {
        ("generate", "-p", "x", "--temperature", "nan"): (2, "temperature = nan"),
        ("generate", "-p", "x", "--top-p", "0"): (2, "top-p = 0"),
        ("generate", "-p", "x", "--max-tokens", "many"): (2, "'many' is not a valid integer"),
        ("generate", "nothing", "-p", "x"): (2, "no model 'nothing'"),
        ("generate", "-p", "x", "-f", "y"): (2, "not both"),
        ("generate", "-f", "latin.py"): (2, "not UTF-8"),
        ("generate", "cut.cllm", "-p", "x"): (3, "cut.cllm"),
        ("generate", "-p", "x", "--stop", ""): (2, "stop = ''"),
    }
    started = {
        arguments: subprocess.Popen(
            command_line(*arguments), cwd=workspace, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for arguments in cases
    }
    for arguments, (code, message) in cases.items():
        out, err = started[arguments].communicate(timeout=60)
        assert (started[arguments].returncode, out) == (code, ""), (arguments, err)
        assert len(err.splitlines()) == 1
        assert message in err


def test_without_a_model_it_says_how_to_get_one(run_cllm: RunCllm) -> None:
    done = run_cllm("generate", "-p", "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert "train one with 'cllm train PATH'" in done.stderr

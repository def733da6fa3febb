"""`cllm demo`, which `make run` calls: every step of it, as real processes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import TINY_TRAINING, RunCllm


@pytest.mark.timeout(180)
def test_it_trains_evaluates_completes_and_reports(run_cllm: RunCllm, workspace: Path, tiny_corpus: Path) -> None:
    done = run_cllm("demo", tiny_corpus, *TINY_TRAINING, "--epochs=1", "--completions=4", timeout=170)
    assert done.returncode == 0, done.stderr
    out = done.stdout
    figures = {name: float(f) for name, f in re.findall(r"^│ {3,5}(.*?) *│ +([\d.]+) │", out, re.MULTILINE)}
    assert {"training files, last steps", "validation files, best", "PPMd given the training files"} <= figures.keys()
    assert all(0.5 < figure < 9 for figure in figures.values()), figures
    assert "12 of 12" in out
    assert "│ 1.00 epochs" in out or "1.00 epochs │" in out
    for prompt in ("def ", "import ", "class "):
        assert re.search(f"^─+\n{prompt}", out, re.MULTILINE), f"no completion of {prompt!r}"
    model, report = re.findall(r"^(?:model|report): (.*)$", out, re.MULTILINE)
    assert (workspace / model).samefile(workspace / "models" / "trained_model_kissing_spheres.cllm")
    assert Path(report).samefile(workspace / "MY_TRAINING_RESULTS.md")


def test_when_a_step_fails_its_words_and_exit_code_are_the_demos(run_cllm: RunCllm, workspace: Path) -> None:
    done = run_cllm("demo", "nowhere", "--epochs=1")
    assert done.returncode == 2
    assert done.stdout == ""
    watch, said = done.stderr.splitlines()
    assert watch.startswith("watch it: http://127.0.0.1:")
    assert said.startswith("cllm: nowhere: there is no such file")
    assert not list(workspace.glob("models/*"))

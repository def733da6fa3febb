"""`cllm evaluate` as a person types it."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import RunCllm, TinyRun

NEW = "import os\n\n\ndef read_lines(path):\n    with open(path) as stream:\n        return stream.readlines()\n"


def test_the_test_split_of_the_training_data_in_a_table(tiny_run: TinyRun, run_cllm: RunCllm) -> None:
    done = run_cllm("evaluate", "latest", "--completions", "4", cwd=tiny_run.workspace)
    assert done.returncode == 0, done.stderr
    for words in (
        "test split of",
        "this network",
        "xz given the training files",
        "PPMd",
        "5-gram",
        "next line:",
        "syntax:",
    ):
        assert words in done.stdout
    assert "not worth it" in done.stdout


def test_every_figure_as_json(tiny_run: TinyRun, run_cllm: RunCllm, tmp_path: Path) -> None:
    new = tmp_path / "new.py"
    new.write_text(NEW)
    latin = tmp_path / "latin.py"
    latin.write_bytes(b"# caf\xe9\n")
    done = run_cllm("evaluate", tiny_run.model, new, latin, tiny_run.corpus, "--completions", "0", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["bytes"] >= len(NEW)
    assert found["seen_in_training"] >= 10
    assert 2 <= found["files"] <= 1 + len(list(tiny_run.corpus.iterdir())) - found["seen_in_training"]
    assert 0 < found["bits_per_byte"] < 8
    assert found["nats_per_token"] == pytest.approx(
        found["bits_per_byte"] * found["bytes"] * 0.693147 / found["tokens"], rel=1e-4
    )
    assert found["baselines"]["xz"]["bits_per_byte"] > 0
    assert found["next_line"] is None
    assert f"skipped {latin}: not UTF-8" in done.stderr
    assert "were in the training data" in done.stderr
    assert len(found["seen"]) == found["seen_in_training"]


def test_validation_is_what_the_training_measured(tiny_run: TinyRun, run_cllm: RunCllm) -> None:
    """The sliding window sees more than the training's fixed windows, never less."""
    done = run_cllm(
        "evaluate",
        "latest",
        "--split=validation",
        "--no-baselines",
        "--completions=0",
        "--json",
        cwd=tiny_run.workspace,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bits_per_byte"] == pytest.approx(tiny_run.result["bits_per_byte"], rel=0.03)


def test_a_model_without_its_training_data(tiny_run: TinyRun, run_cllm: RunCllm, tmp_path: Path) -> None:
    """Moved to another machine: its own figures, and why there are no others."""
    from cllm import container

    header, sections = container.read(tiny_run.model)
    model = tmp_path / "alone" / "deep" / "model.cllm"
    container.write(model, header.model_copy(update={"corpus": "/nowhere/repo_code.txt", "run": None}), sections)
    new = tmp_path / "new.py"
    new.write_text(NEW)
    done = run_cllm("evaluate", model, new, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["baselines"] is None
    assert "no longer there" in found["baselines_reason"]
    assert found["files"] == 1
    alone = run_cllm("evaluate", model)
    assert alone.returncode == 2
    assert alone.stderr.count("\n") == 1
    assert "no longer there" in alone.stderr


def test_mistakes_are_one_line(tiny_run: TinyRun, run_cllm: RunCllm, tmp_path: Path) -> None:
    broken = tmp_path / "broken.cllm"
    shutil.copy(tiny_run.model, broken)
    data = bytearray(broken.read_bytes())
    data[len(data) // 2] ^= 1
    broken.write_bytes(data)
    (tmp_path / "empty.py").write_bytes(b"")
    cases: list[tuple[tuple[str | Path, ...], int, str]] = [
        (("nothing.cllm",), 2, "no model"),
        ((broken, tmp_path), 3, "digest"),
        ((tiny_run.model, "missing.py"), 2, "missing.py does not exist"),
        ((tiny_run.model, tmp_path / "empty.py"), 2, "empty"),
        ((tiny_run.model, tmp_path, "--context", "0"), 2, "context"),
    ]
    with ThreadPoolExecutor(2) as pool:
        finished = list(pool.map(lambda case: run_cllm("evaluate", *case[0]), cases))
    for (_, code, words), done in zip(cases, finished, strict=True):
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert words in done.stderr
        assert done.stderr.startswith("cllm: ")
        assert done.stderr.count("\n") == 1

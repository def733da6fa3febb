"""`config.json`: what was asked for comes back, also from files of earlier versions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cllm.errors import RunNotFound
from cllm.settings import TrainSettings
from cllm.training.runconfig import RunConfig
from cllm.workspace import RunDirectory, Workspace


@pytest.mark.parametrize("only", [None, (), ("a.py", "pkg/é.c")])
def test_what_was_asked_for_comes_back(tmp_path: Path, only: tuple[str, ...] | None) -> None:
    run = RunDirectory(tmp_path)
    settings = TrainSettings(epochs=3, sample_prompt="def main")
    asked = RunConfig(settings, (tmp_path / "src",), True, Workspace(tmp_path), 1000.0, only)
    asked.save(run)
    found = RunConfig.load(run)
    assert found == asked
    assert found.settings.model_fields_set == {"epochs", "sample_prompt"}
    assert ("only" in json.loads(run.config.read_text())) is (only is not None)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"only": 3}'])
def test_what_is_no_request_is_one_line(tmp_path: Path, text: str) -> None:
    run = RunDirectory(tmp_path)
    run.config.write_text(text)
    with pytest.raises(RunNotFound, match="damaged"):
        RunConfig.load(run)

"""`cllm report` and `cllm runs` as real processes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from cllm.report.build import find_model
from cllm.report.history import read_history
from tests.conftest import RunCllm
from tests.synthetic_run import SyntheticRun, write_model

DONE = "20260101-000000-aaaa"


def make_run(workspace: Path, run_id: str = DONE, **more: object) -> Path:
    model = workspace / "models" / "tiny.cllm"
    digest = write_model(model, run_id)
    return (
        SyntheticRun(workspace / "runs" / run_id, epochs=3, steps_per_epoch=20, model=(model, digest), **more)
        .write()
        .path
    )  # type: ignore[arg-type]


def test_report_of_a_run_with_its_model(workspace: Path, run_cllm: RunCllm) -> None:
    make_run(workspace)
    done = run_cllm("report", "--json", "20260101")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["run"] == DONE
    assert report["model"]["loads"] is True
    assert report["model"]["path"] == "models/tiny.cllm"
    assert report["language"] == "python"
    assert [c["prompt"] for c in report["completions"]][:3] == ["def ", "import ", "class "]
    assert {v["passed"] for v in report["success"]} == {True}
    for directory in (workspace, workspace / "runs" / DONE / "report"):
        text = (directory / "MY_TRAINING_RESULTS.md").read_text()
        assert "## Code generation tests" in text
        for picture in re.findall(r"!\[[^]]*\]\(([^)]*)\)", text):
            assert (directory / picture).read_bytes().startswith(b"\x89PNG")


def test_report_for_people_and_for_runs_that_came_to_nothing(workspace: Path, run_cllm: RunCllm) -> None:
    SyntheticRun(workspace / "runs" / DONE, until=0, state=None).write()
    done = run_cllm("report", "--out", "elsewhere")
    assert done.returncode == 0, done.stderr
    assert "interrupted" in done.stdout
    assert (workspace / "elsewhere" / "MY_TRAINING_RESULTS.md").is_file()
    assert not (workspace / "MY_TRAINING_RESULTS.md").exists()
    assert "Traceback" not in done.stderr


def test_no_run_is_one_line(workspace: Path, run_cllm: RunCllm) -> None:
    done = run_cllm("report")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


def test_pictures_never_go_through_a_symlink(workspace: Path, tmp_path: Path, run_cllm: RunCllm) -> None:
    SyntheticRun(workspace / "runs" / DONE, until=0, state=None).write()
    outside = tmp_path / "outside"
    outside.mkdir()
    (workspace / "MY_TRAINING_RESULTS_files").symlink_to(outside)
    done = run_cllm("report")
    assert done.returncode == 2
    assert "symlink" in done.stderr
    assert list(outside.iterdir()) == []


def test_runs_lists_every_state(workspace: Path, run_cllm: RunCllm) -> None:
    SyntheticRun(workspace / "runs" / DONE, epochs=2).write()
    SyntheticRun(workspace / "runs" / "20260102-000000-bbbb", until=50, state="stopped").write()
    SyntheticRun(workspace / "runs" / "20260103-000000-cccc", until=0, state=None).write()
    bare = workspace / "runs" / "20260104-000000-dddd"
    bare.mkdir()
    shutil.copy(workspace / "runs" / DONE / "config.json", bare)
    (bare / "run.sqlite").touch()
    runs = json.loads(run_cllm("runs", "--json").stdout)["runs"]
    assert [run["state"] for run in runs] == ["done", "stopped", "interrupted", "interrupted"]
    assert [(run["step"], run["steps"]) for run in runs] == [(96, 96), (50, 480), (0, 480), (0, None)]
    assert 0.7 < runs[0]["bits_per_byte"] < 0.8
    text = run_cllm("runs").stdout
    assert all(run["run"] in text for run in runs)


def test_the_model_judged_is_the_runs_own(workspace: Path) -> None:
    """A later run publishes its model under the same name; the first run's own file is then the one to judge."""
    run = SyntheticRun(workspace / "runs" / DONE, epochs=1)
    published = workspace / "models" / "tiny.cllm"
    run.model = (published, write_model(published, DONE))
    directory = run.write()
    history = read_history(directory)
    found = find_model(directory, history)
    assert found is not None
    assert found.path == "models/tiny.cllm"

    own = directory.checkpoints / "final_step_00000048.cllm"
    own.parent.mkdir()
    published.rename(own)
    shutil.copy(own, published)
    history.checkpoints[0]["weights_sha256"] = "another"
    assert find_model(directory, history) is None  # neither file holds what the run saved
    history.checkpoints[0]["weights_sha256"] = run.model[1]
    published.unlink()
    found = find_model(directory, history)
    assert found is not None
    assert found.path.endswith("checkpoints/final_step_00000048.cllm")

"""Success indicators and warning signs: each is seen to hold and to fail."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from cllm.report.figures import ModelFile, Verdict
from cllm.report.gather import gather
from cllm.report.history import History, read_history
from cllm.report.indicators import noise, rises, success_indicators, warning_signs
from tests.synthetic_run import SyntheticRun

MODEL = ModelFile(path="models/m.cllm", kind="final", bytes=1000, loads=True)


def judged(
    made: SyntheticRun, model: ModelFile | None = MODEL, change: Any = None, **updates: Any
) -> dict[str, Verdict]:
    run = made.write()
    history = read_history(run)
    if change is not None:
        change(history)
    settings = {"spheres": made.spheres, "minutes": None, **made.settings}
    report = gather(run.id, made.state or "interrupted", history, settings, updates.pop("reason", ""))
    report = report.model_copy(update={"model": model, **updates})
    verdicts = (*success_indicators(report, history), *warning_signs(report, history))
    return {verdict.name: verdict for verdict in verdicts}


def named(verdicts: dict[str, Verdict], part: str) -> Verdict:
    (verdict,) = (v for name, v in verdicts.items() if part in name)
    return verdict


def test_a_good_run_passes_everything(tmp_path: Path) -> None:
    verdicts = judged(SyntheticRun(tmp_path / "r"), machine={"memory_bytes": 8_000_000_000})
    assert {name: v.passed for name, v in verdicts.items()} == dict.fromkeys(verdicts, True)
    assert len(verdicts) == 12
    assert named(verdicts, "All 12 spheres").figure == "12 / 12"


@pytest.mark.parametrize(
    ("state", "complete", "no_crash"),
    [("stopped", False, True), ("failed", False, False), ("interrupted", False, False), ("running", None, True)],
)
def test_runs_that_did_not_end(tmp_path: Path, state: str, complete: bool | None, no_crash: bool) -> None:
    verdicts = judged(SyntheticRun(tmp_path / "r", until=100, state=state))
    assert named(verdicts, "All epochs").passed is complete
    assert named(verdicts, "No crashes").passed is no_crash
    assert named(verdicts, "Final loss").passed is False


def test_done_with_fewer_steps_than_planned(tmp_path: Path) -> None:
    def early(history: History) -> None:
        history.result["stopped_early"] = True

    assert named(judged(SyntheticRun(tmp_path / "a", until=100)), "All epochs").passed is False
    assert named(judged(SyntheticRun(tmp_path / "b", until=100), change=early), "All epochs").passed is True
    by_time = judged(SyntheticRun(tmp_path / "c", until=100, settings={"minutes": 5.0}))
    assert named(by_time, "All epochs").passed is True


def test_a_rise_of_the_loss_is_found_and_noise_is_not(tmp_path: Path) -> None:
    def rise(history: History) -> None:
        for step in history.steps[144:192]:
            step["loss"] += 2.0

    assert named(judged(SyntheticRun(tmp_path / "a", noise=0.4)), "Loss decreases").passed is True
    found = named(judged(SyntheticRun(tmp_path / "b"), change=rise), "Loss decreases")
    assert found.passed is False
    assert "1 rise beyond" in found.figure


def test_a_loss_that_ends_rising_is_a_warning_sign(tmp_path: Path) -> None:
    def rise(history: History) -> None:
        for step in history.steps[400:]:
            step["loss"] += 1.0

    assert named(judged(SyntheticRun(tmp_path / "a"), change=rise), "Loss increases").passed is False


def test_pure_noise_is_rarely_called_a_rise() -> None:
    draw = random.Random(0)
    flat = [[draw.gauss(2, 0.1) for _ in range(50)] for _ in range(200)]
    assert rises(flat) <= 3  # 0.13 % of 199 comparisons are expected
    assert rises([flat[0], [loss + 0.2 for loss in flat[1]]]) == 1
    assert noise(flat[0]) == pytest.approx(0.1, rel=0.3)
    assert noise([1.0]) == 0.0


def test_idle_spheres_are_named(tmp_path: Path) -> None:
    verdicts = judged(SyntheticRun(tmp_path / "r", idle=(3,)))
    assert named(verdicts, "All 12 spheres").passed is False
    assert named(verdicts, "Spheres become inactive").figure == "3"


def test_no_step_is_neither_yes_nor_no(tmp_path: Path) -> None:
    verdicts = judged(SyntheticRun(tmp_path / "r", until=0, state="running"), model=None)
    assert {v.passed for name, v in verdicts.items() if "crashes" not in name} == {None}


@pytest.mark.parametrize(
    ("model", "passed"),
    [
        (None, False),
        (MODEL.model_copy(update={"loads": False}), False),
        (MODEL.model_copy(update={"loads": None}), None),
        (MODEL.model_copy(update={"kind": "best"}), False),
    ],
)
def test_a_model_counts_when_it_is_final_and_loads(
    tmp_path: Path, model: ModelFile | None, passed: bool | None
) -> None:
    assert named(judged(SyntheticRun(tmp_path / "r"), model=model), "Model saved").passed is passed


def test_errors_and_rollbacks_are_not_hidden(tmp_path: Path) -> None:
    def trouble(history: History) -> None:
        history.rollbacks, history.errors = 2, 1

    found = named(judged(SyntheticRun(tmp_path / "r"), change=trouble), "No crashes")
    assert found.passed is False
    assert found.figure == "1 error; 2 rollbacks"


def test_other_warning_signs(tmp_path: Path) -> None:
    def worse(history: History) -> None:
        history.validations[-1]["loss"] *= 1.2
        history.steps[-1]["grad_norm"] = 50.0
        for step in history.steps[350:]:
            step["tokens_per_s"] /= 4

    verdicts = judged(SyntheticRun(tmp_path / "r"), change=worse, machine={"memory_bytes": 850_000_000})
    for sign in ("Held-out loss rises", "Gradient norm", "Very slow", "Memory"):
        assert named(verdicts, sign).passed is False, sign

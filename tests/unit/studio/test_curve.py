"""The curves of a run, above all what is undone by rollbacks and resumes."""

from __future__ import annotations

import csv
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cllm import events
from cllm.report.history import history_of, read_history
from cllm.runstore import Event
from cllm.studio.curve import COLUMNS, SNAPSHOT_STEPS, Curve, csv_lines
from tests.synthetic_run import SyntheticRun


def step(number: int, loss: float | None = None) -> Event:
    data = dict.fromkeys(COLUMNS, 1.0) | {"step": number, "loss": loss or 1 / number, "elapsed_s": number / 2}
    return Event(number, 0.0, events.STEP, data)


def validation(number: int, loss: float = 2.0) -> Event:
    data = {"step": number, "epoch": number / 10, "loss": loss, "bits_per_byte": loss / 2}
    return Event(0, 0.0, events.VALIDATION, data)


def sample(number: int) -> Event:
    return Event(0, 0.0, events.SAMPLE, {"step": number, "epoch": 0.1, "prompt": "def ", "text": f"f{number}()"})


def rollback(to: int) -> Event:
    return Event(0, 0.0, events.ROLLBACK, {"step": to + 5, "to_step": to, "reason": "loss is not finite"})


def curve_of(*stream: Event) -> Curve:
    curve = Curve()
    for event in stream:
        curve.take(event)
    return curve


def test_news_holds_each_thing_once() -> None:
    curve = curve_of(step(1), step(2), validation(2), sample(2))
    first = curve.news()
    assert first is not None
    assert first["steps"]["step"] == [1, 2]
    assert [row["step"] for row in first["validations"]] == [2]
    assert first["validations"][0]["elapsed_s"] == 1.0
    assert first["samples"][0]["text"] == "f2()"
    assert curve.news() == {}
    curve.take(step(3))
    assert curve.news() == {
        "steps": {name: [{"step": 3, "loss": 1 / 3, "elapsed_s": 1.5}.get(name, 1)] for name in COLUMNS}
    }


def test_a_snapshot_and_the_news_after_it_fit_together() -> None:
    curve = curve_of(step(1), step(2))
    curve.news()
    curve.take(step(3))
    curve.take(validation(3))
    assert curve.snapshot()["steps"]["step"] == [1, 2]  # step 3 has not been told to anybody yet
    news = curve.news()
    assert news is not None
    assert news["steps"]["step"] == [3]
    assert curve.snapshot()["steps"]["step"] == [1, 2, 3]


@pytest.mark.parametrize(
    "undoing", [[step(3, 0.9)], [rollback(2), step(3, 0.9)]], ids=["a resume from an older checkpoint", "a rollback"]
)
def test_undone_steps_leave_and_a_new_snapshot_is_asked_for(undoing: list[Event]) -> None:
    stream = [step(1), step(2), validation(2), step(3), step(4), validation(4), sample(4), *undoing]
    curve = Curve()
    for event in stream[: -len(undoing)]:
        curve.take(event)
    curve.news()
    for event in undoing:
        curve.take(event)
    assert curve.news() is None
    snapshot = curve.snapshot()
    assert snapshot["steps"]["step"] == [1, 2, 3]
    assert snapshot["steps"]["loss"][-1] == 0.9
    assert [row["step"] for row in snapshot["validations"]] == [2]
    assert snapshot["samples"] == []
    history = history_of(stream)
    assert [data["step"] for data in history.steps] == snapshot["steps"]["step"]
    assert [data["step"] for data in history.validations] == [row["step"] for row in snapshot["validations"]]


def test_a_validation_that_is_repeated_replaces_the_first() -> None:
    curve = curve_of(step(1), validation(1, 2.0))
    curve.news()
    curve.take(validation(1, 1.5))
    assert curve.news() is None
    assert [row["loss"] for row in curve.snapshot()["validations"]] == [1.5]


@pytest.mark.parametrize("steps", [1, SNAPSHOT_STEPS, 2 * SNAPSHOT_STEPS + 1, 9 * SNAPSHOT_STEPS + 7])
def test_a_long_run_is_thinned_evenly_to_its_last_step(steps: int) -> None:
    curve = curve_of(*map(step, range(1, steps + 1)))
    curve.news()
    shown = curve.snapshot()["steps"]["step"]
    assert shown[-1] == steps
    assert min(steps, SNAPSHOT_STEPS) <= len(shown) < 2 * SNAPSHOT_STEPS
    assert len({b - a for a, b in pairwise(shown)}) <= 1


def test_bits_for_a_nat_come_from_the_training_text() -> None:
    curve = curve_of(Event(1, 0.0, events.CORPUS, {"tokens": 250, "train_bytes": 1000}))
    assert curve.news() == {"bits_per_nat_token": pytest.approx(0.25 / math.log(2))}


def test_an_unknown_figure_is_null_and_not_a_number() -> None:
    event = step(1)
    event.data["grad_norm"] = None
    news = curve_of(event).news()
    assert news is not None
    assert news["steps"]["grad_norm"] == [None]


def test_csv_holds_every_step_with_the_validation_after_it(tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path / "run", epochs=2).write()
    rows: list[dict[str, Any]] = list(csv.DictReader("".join(csv_lines(run)).splitlines()))
    history = read_history(run)
    trained = [row for row in rows if row["step"] != "0"]
    assert [int(row["step"]) for row in trained] == [data["step"] for data in history.steps]
    assert [float(row["loss"]) for row in trained] == [data["loss"] for data in history.steps]
    held_out = {int(row["step"]): float(row["validation_loss"]) for row in rows if row["validation_loss"]}
    assert held_out == {data["step"]: data["loss"] for data in history.validations}


def test_csv_of_a_run_without_a_store_has_only_the_header(tmp_path: Path) -> None:
    from cllm.workspace import RunDirectory

    (line,) = "".join(csv_lines(RunDirectory(tmp_path))).splitlines()
    assert line.startswith("step,epoch,")

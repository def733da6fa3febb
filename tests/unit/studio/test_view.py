"""The figures of the live page, folded from events."""

from __future__ import annotations

from typing import Any

import pytest

from cllm import events
from cllm.runstore import Event
from cllm.studio.view import MOST_MESSAGES, View, shown_state

RUN = {"id": "r", "name": "n", "state": "training", "reason": None, "exit_code": None, "started": 1.0, "running": True}


def sphere(number: int, tokens: int, state: str = "active", batches: int = 10) -> dict[str, Any]:
    return {
        "sphere": number,
        "microbatches": batches,
        "tokens": tokens,
        "loss": 2.0 + number,
        "activity": 1.0,
        "state": state,
    }


def spheres(time: float, *each: dict[str, Any]) -> Event:
    return Event(0, time, events.SPHERES, {"step": 1, "spheres": list(each)})


def running_view() -> View:
    view = View()
    view.set_run(RUN)
    view.due(0.0)
    return view


@pytest.mark.parametrize(
    ("state", "stage", "stopping", "shown"),
    [
        ("running", None, False, "preparing"),
        ("running", "tokenizing", False, "preparing"),
        ("running", "training", False, "training"),
        ("running", "saving", False, "training"),
        ("running", "training", True, "stopping"),
        ("done", "training", True, "done"),
        ("interrupted", "training", False, "interrupted"),
    ],
)
def test_states_are_worded(state: str, stage: str | None, stopping: bool, shown: str) -> None:
    assert shown_state(state, stage, stopping) == shown


def test_only_what_changed_is_due_and_once() -> None:
    view = running_view()
    stage = {"stage": "scanning", "done": 1, "total": 2}
    view.take(Event(1, 0.0, events.STAGE, stage))
    assert view.due(1.0) == {"stage": stage}
    view.take(Event(2, 0.0, events.STAGE, dict(stage)))
    assert view.due(2.0) == {}


def test_steps_are_told_once_a_second_and_the_last_one_is_not_lost() -> None:
    view = running_view()
    told = []
    for tick in range(10):
        view.take(Event(tick, 0.0, events.STEP, {"step": tick}))
        told += [view.due(tick / 5)]
    assert [one["step"]["step"] for one in told if one] == [0, 5]
    assert view.due(2.0) == {"step": {"step": 9}}


def test_rates_of_spheres_are_tokens_over_the_window() -> None:
    view = running_view()
    for second in range(15):
        view.take(spheres(100.0 + second, sphere(0, 1000 * second), sphere(1, 500 * second)))
    assert [one["tokens_per_s"] for one in view.data["spheres"]] == [1000.0, 500.0]
    assert view.data["totals"]["tokens_per_s"] == 1500.0


def test_totals_are_sums_and_the_loss_counts_tokens() -> None:
    view = running_view()
    view.take(
        spheres(0.0, sphere(0, 100, batches=8), sphere(1, 300, "computing", batches=12), sphere(2, 0, "idle", 10))
    )
    totals = view.data["totals"]
    assert (totals["microbatches"], totals["tokens"], totals["active"]) == (30, 400, 2)
    assert totals["loss"] == pytest.approx((100 * 2.0 + 300 * 3.0) / 400)
    assert totals["load_variation_percent"] == pytest.approx(100 * (8 / 3) ** 0.5 / 10, abs=0.01)


def test_nothing_is_active_in_a_run_that_has_ended() -> None:
    view = running_view()
    view.take(spheres(0.0, sphere(0, 100, "computing")))
    view.take(spheres(5.0, sphere(0, 600, "computing")))
    assert view.data["totals"]["active"] == 1
    view.set_run({**RUN, "state": "interrupted", "running": False})
    (one,) = view.data["spheres"]
    assert (one["state"], one["activity"], one["tokens_per_s"], one["tokens"]) == ("idle", 0.0, None, 600)
    assert view.data["totals"]["active"] == 0


def test_a_resumed_run_has_no_result_any_more() -> None:
    view = running_view()
    view.take(Event(1, 0.0, events.RESULT, {"state": "stopped"}))
    view.take(Event(2, 0.0, events.STAGE, {"stage": "starting", "done": 0, "total": 0}))
    assert view.data["result"] is None


def test_best_names_the_step_it_was_reached_at() -> None:
    view = running_view()
    both = {"epoch": 1.0, "tokens": 1, "bytes": 1, "seconds": 0.1}
    first = {
        "step": 10,
        "loss": 2.0,
        "bits_per_byte": 1.0,
        "best_loss": 2.0,
        "best_bits_per_byte": 1.0,
        "improved": True,
    }
    view.take(Event(1, 0.0, events.VALIDATION, first | both))
    view.take(Event(2, 0.0, events.VALIDATION, first | both | {"step": 20, "loss": 2.5, "improved": False}))
    assert view.data["best"] == {"loss": 2.0, "bits_per_byte": 1.0, "step": 10}
    assert view.data["validation"]["step"] == 20


def test_only_the_newest_messages_are_kept() -> None:
    view = running_view()
    for number in range(MOST_MESSAGES + 5):
        view.take(Event(number, float(number), events.WARNING, {"text": f"w{number}"}))
    assert len(view.data["messages"]) == MOST_MESSAGES
    assert view.data["messages"][0]["text"] == f"w{MOST_MESSAGES + 4}"

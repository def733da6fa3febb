"""Figures against a run of which every figure is known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from cllm import events
from cllm.report.figures import Report
from cllm.report.gather import epoch_of, gather, variation_percent
from cllm.report.history import History, history_of, read_history
from cllm.runstore import Event, RunStore
from cllm.workspace import RunDirectory
from tests.synthetic_run import START, STEP_S, TOKENS_PER_STEP, SyntheticRun


def report_of(made: SyntheticRun) -> tuple[Report, History]:
    run = made.write()
    history = read_history(run)
    return gather(run.id, made.state or "interrupted", history, {}), history


def step(number: int, loss: float = 3.0, elapsed_s: float | None = None, **more: Any) -> dict[str, Any]:
    elapsed_s = 2.0 * number if elapsed_s is None else elapsed_s
    data = {"step": number, "steps": 10, "epoch": number / 5, "loss": loss, "grad_norm": 1.0, "learning_rate": 0.001}
    return data | {"tokens": 100 * number, "tokens_per_s": 50.0, "step_s": 1.5, "elapsed_s": elapsed_s} | more


def stream(*parts: tuple[str, dict[str, Any]] | tuple[str, dict[str, Any], float]) -> list[Event]:
    """Events one second apart, or as far as the third value says."""
    now, found = START, []
    for number, (kind, data, *after) in enumerate(parts, 1):
        now += after[0] if after else 1.0
        found.append(Event(number, now, kind, data))
    return found


def test_figures_of_a_whole_run(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "run", noise=0.0)
    report, _ = report_of(made)
    assert report.times.total_s == pytest.approx(7.0 + 480 * STEP_S)
    assert report.times.training_s == pytest.approx(480 * 0.9 * STEP_S)
    assert report.times.per_epoch_s == pytest.approx(48 * STEP_S)
    assert report.times.per_step_ms == pytest.approx(900 * STEP_S)
    assert report.times.median_step_ms == pytest.approx(900 * STEP_S)
    assert report.losses.initial == pytest.approx(made.loss(1))
    assert report.losses.final_over == 10
    assert report.losses.final == pytest.approx(sum(made.loss(s) for s in range(471, 481)) / 10)
    assert report.losses.best == pytest.approx(made.loss(480))
    assert report.losses.reduction_percent == pytest.approx(100 * (1 - report.losses.final / made.loss(1)))
    held_out = made.loss(480) + 0.25
    assert report.losses.held_out_nats_per_token == pytest.approx(held_out)
    assert report.losses.held_out_bits_per_byte == pytest.approx(held_out / 3.3 / math.log(2))
    assert report.losses.held_out_perplexity == pytest.approx(math.exp(held_out))
    assert report.throughput.steps == report.throughput.planned_steps == 480
    assert report.throughput.tokens_per_s == pytest.approx(TOKENS_PER_STEP / (0.9 * STEP_S))
    assert report.gradient_norm.first == 2.5
    assert report.gradient_norm.last == pytest.approx(0.5 + 2 / 480)
    assert report.resources.peak_memory_bytes == 800_000_480
    assert report.resources.cpu_percent == 190.0
    assert report.resources.write_megabytes_per_s == pytest.approx(48.0 / report.times.total_s)


def test_the_timeline_has_a_line_for_each_epoch(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "run", until=200, noise=0.0)
    epochs = report_of(made)[0].epochs
    assert [(e.epoch, e.steps) for e in epochs] == [(1, 48), (2, 48), (3, 48), (4, 48), (5, 8)]
    assert epochs[1].first_loss == made.loss(49)
    assert epochs[1].last_loss == made.loss(96)
    assert epochs[0].seconds == pytest.approx(48 * STEP_S)
    assert epochs[0].held_out_nats_per_token == pytest.approx(made.loss(48) + 0.25)
    assert epochs[4].held_out_nats_per_token is None


def test_spheres_are_counted(tmp_path: Path) -> None:
    spheres = report_of(SyntheticRun(tmp_path / "run", idle=(3, 7)))[0].spheres
    assert (spheres.total, spheres.active) == (12, 10)
    assert spheres.each[3].microbatches == 0
    assert spheres.each[3].activity == 0.0
    assert spheres.each[0].activity == 1.0
    assert spheres.fell_silent == (3, 7)
    counts = [s.microbatches for s in spheres.each]
    assert sum(counts) == 4 * 480
    mean = sum(counts) / 12
    deviation = math.sqrt(sum((c - mean) ** 2 for c in counts) / 12)
    assert spheres.load_variance_percent == pytest.approx(100 * deviation / mean)


def test_variation_of_even_and_of_no_counts() -> None:
    assert variation_percent([4, 4, 4]) == 0
    assert variation_percent([]) is None
    assert variation_percent([0, 0]) is None


def test_a_run_without_steps(tmp_path: Path) -> None:
    report, history = report_of(SyntheticRun(tmp_path / "run", until=0, state="interrupted"))
    assert report.throughput.steps == 0
    assert report.losses.final is None
    assert report.epochs == ()
    assert report.times.total_s == 7.0
    assert history.started == START


def test_a_run_that_was_killed_before_its_store_had_tables(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert read_history(run).started is None
    run.store.touch()
    assert read_history(run).steps == []
    with RunStore(run.store):
        pass
    assert read_history(run).steps == []


def test_a_rollback_takes_out_what_it_undid() -> None:
    history = history_of(
        stream(
            (events.STEP, step(1)),
            (events.STEP, step(2)),
            (events.VALIDATION, {"step": 2, "loss": 9.0}),
            (events.STEP, step(3)),
            (events.ROLLBACK, {"step": 3, "to_step": 1, "reason": "not a number"}),
            (events.STEP, step(2, loss=2.5)),
        )
    )
    assert [(s["step"], s["loss"]) for s in history.steps] == [(1, 3.0), (2, 2.5)]
    assert history.validations == []
    assert history.rollbacks == 1
    assert history.repeated_steps == 0
    assert history.issues[0].text == "at step 3 back to step 1: not a number"


def test_a_resume_from_an_older_checkpoint_repeats_steps_once() -> None:
    first = [(events.STEP, step(n)) for n in (1, 2, 3, 4)]
    again = [(events.STEP, step(n, loss=2.0, elapsed_s=100.0 + n)) for n in (3, 4, 5)]
    history = history_of(stream(*first, (events.STAGE, {"stage": "starting"}, 5000.0), *again))
    assert [s["loss"] for s in history.steps] == [3.0, 3.0, 2.0, 2.0, 2.0]
    assert history.repeated_steps == 2
    assert "continued from step 2" in history.issues[0].text
    assert history.running_s == 6.0  # the pause does not count


def test_pauses_between_sessions_do_not_count() -> None:
    stopped = {"step": 2, "reason": "asked to", "resume": "cllm resume"}
    history = history_of(
        stream(
            (events.STEP, step(1)),
            (events.STEP, step(2)),
            (events.STOPPED, stopped),
            (events.STAGE, {"stage": "starting"}, 300.0),
            (events.STEP, step(3)),
        )
    )
    assert history.running_s == 3.0
    assert [issue.kind for issue in history.issues] == ["stop"]
    assert history.repeated_steps == 0


def test_time_that_begins_anew_is_not_negative() -> None:
    history = history_of(
        stream(*[(events.STEP, step(n, elapsed_s=t)) for n, t in ((1, 2.0), (2, 4.0), (3, 1.0), (4, 3.0))])
    )
    assert sum(e.seconds for e in gather("x", "done", history, {}).epochs) == pytest.approx(8.0)


def test_disk_counters_begin_again_with_each_process() -> None:
    def usage(read: int) -> tuple[str, dict[str, Any]]:
        numbers = {"read_bytes": read, "write_bytes": 0, "peak_rss_bytes": 5, "rss_bytes": 5, "cpu_percent": 10.0}
        return events.USAGE, numbers

    history = history_of(stream(*map(usage, (1_000_000, 3_000_000, 500_000, 2_000_000))))
    assert gather("x", "done", history, {}).resources.read_megabytes_per_s == pytest.approx(5.0 / 3)


def test_time_by_minutes_has_no_planned_steps() -> None:
    history = history_of(stream((events.STEP, step(1, steps=None)), (events.STEP, step(2, steps=None))))
    assert gather("x", "running", history, {}).throughput.planned_steps is None


@pytest.mark.parametrize(("step", "epoch"), [(0, 1), (1, 1), (44, 1), (45, 1), (46, 2), (90, 2), (91, 3), (402, 9)])
def test_a_step_that_goes_on_into_the_next_pass_still_belongs_to_its_own(step: int, epoch: int) -> None:
    """44.625 steps are a pass: the validation after step 45 is the one at the end of the first."""
    assert epoch_of({"step": step, "epoch": round(step / 44.625, 6)}) == epoch

"""The guide's success indicators and warning signs, each with yes or no and the figure it rests on."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

from cllm.report.figures import Report, Verdict
from cllm.report.gather import epoch_of
from cllm.report.history import Data, History
from cllm.report.sections import duration, epochs_of

TARGET_LOSS = 2.5  # nats per token
SIGMAS = 3.0  # a rise between two stretches of a run counts when it is larger than this many standard errors
MEMORY_SHARE = 0.9


def success_indicators(report: Report, history: History) -> tuple[Verdict, ...]:
    """What the guide calls a successful training."""
    return (
        _complete(report, history),
        _decreases(history.steps),
        _loss_target(report),
        _all_active(report),
        _no_crash(report, history),
        _saved(report),
    )


def stretches(steps: Sequence[Data]) -> list[list[float]]:
    """The losses of each epoch, or of ten equal parts of the run when it has fewer than three epochs."""
    by_epoch: dict[int, list[float]] = {}
    for step in steps:
        by_epoch.setdefault(epoch_of(step), []).append(step["loss"])
    whole = [losses for losses in by_epoch.values() if len(losses) >= 2]
    if len(whole) >= 3:
        return whole
    losses = [step["loss"] for step in steps]
    parts = min(10, len(losses) // 2)
    return [losses[len(losses) * i // parts : len(losses) * (i + 1) // parts] for i in range(parts)]


def noise(losses: Sequence[float]) -> float:
    """Standard deviation of the losses round their trend, from successive differences (von Neumann 1941)."""
    if len(losses) < 2:
        return 0.0
    return math.sqrt(sum((b - a) ** 2 for a, b in pairwise(losses)) / (2 * (len(losses) - 1)))


def rises(parts: Sequence[Sequence[float]]) -> int:
    """How often the mean loss of a part is above that of the part before it by more than the noise explains."""
    count = 0
    for before, after in pairwise(parts):
        error = math.sqrt(noise(before) ** 2 / len(before) + noise(after) ** 2 / len(after))
        count += statistics.fmean(after) - statistics.fmean(before) > max(SIGMAS * error, 1e-9)
    return count


def _complete(report: Report, history: History) -> Verdict:
    name = "All epochs complete, or the time used up as planned"
    done = report.throughput
    steps = f"{done.steps:,}" + (f" of {done.planned_steps:,}" if done.planned_steps else "")
    figure = f"{epochs_of(done)}, {steps} steps, {duration(report.times.total_s)}"
    if (minutes := report.settings.get("minutes")) is not None:
        figure += f" of {duration(60 * minutes)}"
    if report.state == "running":
        return Verdict(name=name, passed=None, figure=f"{figure} so far")
    if report.state != "done":
        return Verdict(name=name, passed=False, figure=f"{figure}; {report.state}")
    if done.planned_steps and done.steps < done.planned_steps:
        as_planned = report.settings.get("minutes") is not None or bool(history.result.get("stopped_early"))
        early = history.result.get("stopped_early")
        why = "held-out loss no longer better" if early else report.reason or "ended early"
        return Verdict(name=name, passed=as_planned, figure=f"{figure}; {why}")
    return Verdict(name=name, passed=True, figure=figure)


def _decreases(steps: Sequence[Data]) -> Verdict:
    name = "Loss decreases consistently"
    parts = stretches(steps)
    if len(parts) < 2:
        return Verdict(name=name, passed=None, figure="too few steps to tell")
    up, first, last = rises(parts), statistics.fmean(parts[0]), statistics.fmean(parts[-1])
    beyond = f"{up} rise{'' if up == 1 else 's'} beyond {SIGMAS:g} standard errors"
    figure = f"mean {first:.2f} → {last:.2f} over {len(parts)} parts; {beyond}"
    return Verdict(name=name, passed=up == 0 and last < first, figure=figure)


def _loss_target(report: Report) -> Verdict:
    name = f"Final loss below {TARGET_LOSS:g} nats/token"
    losses = report.losses
    if losses.final is None:
        return Verdict(name=name, passed=None, figure="no step yet")
    held_out = "" if losses.held_out_nats_per_token is None else f" (held out: {losses.held_out_nats_per_token:.3f})"
    return Verdict(name=name, passed=losses.final < TARGET_LOSS, figure=f"{losses.final:.3f}{held_out}")


def _all_active(report: Report) -> Verdict:
    spheres = report.spheres
    total = spheres.total or report.settings.get("spheres", 12)
    name = f"All {total} spheres active"
    if not spheres.total:
        return Verdict(name=name, passed=None, figure="no sphere has reported yet")
    return Verdict(name=name, passed=spheres.active == spheres.total, figure=f"{spheres.active} / {spheres.total}")


def _no_crash(report: Report, history: History) -> Verdict:
    found = []
    if report.state in ("failed", "interrupted"):
        found.append(f"{report.state}: {report.reason}" if report.reason else report.state)
    if history.errors:
        found.append(f"{history.errors} error{'s' if history.errors > 1 else ''}")
    if history.rollbacks:
        found.append(f"{history.rollbacks} rollback{'s' if history.rollbacks > 1 else ''}")
    if history.repeated_steps:
        found.append(f"interrupted and continued, {history.repeated_steps} steps done again")
    return Verdict(name="No crashes or errors", passed=not found, figure="; ".join(found) or "none")


def _saved(report: Report) -> Verdict:
    name = "Model saved, and it loads"
    model = report.model
    if model is None:
        return Verdict(name=name, passed=None if report.state == "running" else False, figure="no model file yet")
    figure = f"{model.path}, {model.bytes / 1e6:.1f} MB, {model.detail or 'loading not tried'}"
    if model.kind != "final":
        passed = None if report.state == "running" else False
        return Verdict(name=name, passed=passed, figure=f"only a checkpoint: {figure}")
    return Verdict(name=name, passed=model.loads, figure=figure)


def warning_signs(report: Report, history: History) -> tuple[Verdict, ...]:
    """The guide's warning signs and those of overfitting; `passed` means that the sign is absent."""
    return (
        _loss_rises(history),
        _overfits(report),
        _silent(report),
        _gradient_explodes(report),
        _slows_down(report),
        _memory(report),
    )


def _loss_rises(history: History) -> Verdict:
    name = "Loss increases"
    parts = stretches(history.steps)
    if len(parts) < 3:
        return Verdict(name=name, passed=None, figure="too few steps to tell")
    late = parts[-max(2, len(parts) // 3) :]
    change = statistics.fmean(late[-1]) - statistics.fmean(late[0])
    figure = f"{change:+.3f} nats/token over the last third"
    return Verdict(name=name, passed=rises([late[0], late[-1]]) == 0, figure=figure)


def _overfits(report: Report) -> Verdict:
    name = "Held-out loss rises (overfitting)"
    last, best = report.losses.held_out_nats_per_token, report.losses.best_held_out_nats_per_token
    if last is None or best is None:
        return Verdict(name=name, passed=None, figure="not validated yet")
    return Verdict(name=name, passed=last <= 1.01 * best, figure=f"last {last:.3f}, best {best:.3f} nats/token")


def _silent(report: Report) -> Verdict:
    name = "Spheres become inactive"
    if not report.spheres.total:
        return Verdict(name=name, passed=None, figure="no sphere has reported yet")
    silent = report.spheres.fell_silent
    return Verdict(name=name, passed=not silent, figure=", ".join(map(str, silent)) or "none")


def _gradient_explodes(report: Report) -> Verdict:
    name = "Gradient norm explodes"
    norm = report.gradient_norm
    if norm.median is None or norm.last is None:
        return Verdict(name=name, passed=None, figure="no step yet")
    figure = f"median {norm.median:.3g}, last {norm.last:.3g}"
    return Verdict(name=name, passed=norm.last <= 10 * norm.median, figure=figure)


def _slows_down(report: Report) -> Verdict:
    name = "Very slow progress"
    done = report.throughput
    if done.median_tokens_per_s is None or done.late_tokens_per_s is None:
        return Verdict(name=name, passed=None, figure="no step yet")
    figure = f"{done.median_tokens_per_s:,.0f} tokens/s, {done.late_tokens_per_s:,.0f} in the last quarter"
    return Verdict(name=name, passed=done.late_tokens_per_s >= 0.5 * done.median_tokens_per_s, figure=figure)


def _memory(report: Report) -> Verdict:
    name = "Memory runs short"
    peak, there = report.resources.peak_memory_bytes, report.machine.get("memory_bytes")
    if peak is None:
        return Verdict(name=name, passed=None, figure="not measured")
    if not there:
        return Verdict(name=name, passed=None, figure=f"peak {peak / 1e6:,.0f} MB")
    figure = f"peak {peak / 1e6:,.0f} of {there / 1e6:,.0f} MB"
    return Verdict(name=name, passed=peak < MEMORY_SHARE * there, figure=figure)

"""The figures of a run, computed from its history. Pure: nothing here opens a file or loads a model."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from cllm.report.figures import (
    Epoch,
    GradientNorm,
    IssueNote,
    Losses,
    Report,
    Resources,
    Sphere,
    Spheres,
    Throughput,
    Times,
)
from cllm.report.history import Data, History

LATE = 0.25  # the share of a run that counts as its end


def gather(run: str, state: str, history: History, settings: dict[str, Any], reason: str = "") -> Report:
    """All figures that the run's events hold."""
    return Report(
        run=run,
        state=state,
        reason=reason or str(history.result.get("reason", "")),
        times=times(history),
        losses=losses(history),
        epochs=epochs(history),
        spheres=spheres(history),
        gradient_norm=gradient_norm(history.steps),
        throughput=throughput(history, settings),
        resources=resources(history),
        corpus=history.corpus,
        plan=history.plan,
        settings=settings,
        issues=tuple(IssueNote(time=i.time, kind=i.kind, text=i.text) for i in history.issues),
    )


def step_seconds(steps: Sequence[Data]) -> list[float]:
    """The time that each step took, with the validating and saving since the one before it.

    The first step's time is not on record and taken as the median of the others. `elapsed_s` may begin anew after a
    resume; such a step, too, gets the median.
    """
    gaps = [b["elapsed_s"] - a["elapsed_s"] for a, b in pairwise(steps)]
    known = [gap for gap in gaps if gap >= 0]
    if not known:
        return [float(step["elapsed_s"]) for step in steps]
    typical = statistics.median(known)
    first = min(typical, steps[0]["elapsed_s"])
    return [first, *(gap if gap >= 0 else typical for gap in gaps)]


def epoch_of(step: Data) -> int:
    """The pass, from 1, in which a step's first window lies: so the validation at the end of a pass belongs to it, even
    where its last step has begun the next one."""
    done, number = float(step["epoch"]), int(step["step"])
    return 1 + math.floor(done * (number - 1) / number + 1e-6) if number > 0 else 1


def times(history: History) -> Times:
    """How long it took."""
    steps = history.steps
    if not steps:
        return Times(started=history.started, total_s=history.running_s)
    in_steps = [step["step_s"] for step in steps]
    training_s, in_loop_s, passes = sum(in_steps), sum(step_seconds(steps)), steps[-1]["epoch"]
    return Times(
        started=history.started,
        total_s=max(history.running_s, in_loop_s, history.result.get("seconds", 0.0)),
        training_s=training_s,
        per_epoch_s=in_loop_s / passes if passes > 0 else None,
        per_step_ms=1000 * training_s / len(steps),
        median_step_ms=1000 * statistics.median(in_steps),
    )


def losses(history: History) -> Losses:
    """Training losses and held-out losses."""
    held_out = history.validations
    last = held_out[-1] if held_out else {}
    best = min(held_out, key=lambda v: v["loss"]) if held_out else {}
    found: dict[str, Any] = {
        "held_out_nats_per_token": last.get("loss"),
        "held_out_bits_per_byte": last.get("bits_per_byte"),
        "best_held_out_nats_per_token": best.get("loss"),
        "best_held_out_bits_per_byte": best.get("bits_per_byte"),
        "held_out_perplexity": math.exp(min(best["loss"], 700.0)) if best else None,
    }
    values = [step["loss"] for step in history.steps]
    if not values:
        return Losses(**found)
    over = max(1, min(50, round(len(values) / 50)))
    final = statistics.fmean(values[-over:])
    return Losses(
        initial=values[0],
        final=final,
        final_over=over,
        best=min(values),
        reduction_percent=100 * (values[0] - final) / values[0] if values[0] else None,
        **found,
    )


def epochs(history: History) -> tuple[Epoch, ...]:
    """The timeline, one line for each pass."""
    groups: dict[int, list[tuple[Data, float]]] = {}
    for step, seconds in zip(history.steps, step_seconds(history.steps), strict=True):
        groups.setdefault(epoch_of(step), []).append((step, seconds))
    held_out = {epoch_of(v): v for v in history.validations if v["step"] > 0}
    return tuple(
        Epoch(
            epoch=number,
            seconds=sum(seconds for _, seconds in group),
            steps=len(group),
            first_loss=group[0][0]["loss"],
            last_loss=group[-1][0]["loss"],
            mean_loss=statistics.fmean(step["loss"] for step, _ in group),
            held_out_nats_per_token=held_out.get(number, {}).get("loss"),
            held_out_bits_per_byte=held_out.get(number, {}).get("bits_per_byte"),
        )
        for number, group in groups.items()
    )


def variation_percent(values: Sequence[float]) -> float | None:
    """Coefficient of variation: population standard deviation over mean, in percent."""
    mean = statistics.fmean(values) if values else 0.0
    return 100 * statistics.pstdev(values) / mean if mean else None


def spheres(history: History) -> Spheres:
    """What each sphere did."""
    if not history.spheres:
        return Spheres()
    last = history.spheres[-1]["spheres"]
    activity: dict[int, list[float]] = {sphere["sphere"]: [] for sphere in last}
    for snapshot in history.spheres:
        if any(sphere["activity"] > 0 for sphere in snapshot["spheres"]):  # not those of before and after the training
            for sphere in snapshot["spheres"]:
                activity.setdefault(sphere["sphere"], []).append(sphere["activity"])
    each = tuple(
        Sphere(
            sphere=sphere["sphere"],
            microbatches=sphere["microbatches"],
            tokens=sphere["tokens"],
            loss=sphere.get("loss"),
            activity=statistics.fmean(activity[sphere["sphere"]] or [0.0]),
            state=sphere["state"],
        )
        for sphere in last
    )
    return Spheres(
        total=len(each),
        active=sum(sphere.microbatches > 0 for sphere in each),
        mean_microbatches=statistics.fmean(sphere.microbatches for sphere in each),
        load_variance_percent=variation_percent([sphere.microbatches for sphere in each]),
        token_variance_percent=variation_percent([sphere.tokens for sphere in each]),
        fell_silent=_fell_silent(history.spheres),
        each=each,
    )


def _fell_silent(snapshots: list[Data]) -> tuple[int, ...]:
    """Spheres without a new microbatch in the last quarter of the run's steps, in which an even share was 2 or more."""
    last = snapshots[-1]
    earlier = [s for s in snapshots if s["step"] <= (1 - LATE) * last["step"]]
    if not earlier:
        return ()
    before = {sphere["sphere"]: sphere["microbatches"] for sphere in earlier[-1]["spheres"]}
    gained = {s["sphere"]: s["microbatches"] - before.get(s["sphere"], 0) for s in last["spheres"]}
    if sum(gained.values()) < 2 * len(gained):
        return ()
    return tuple(number for number, gain in gained.items() if gain <= 0)


def gradient_norm(steps: Sequence[Data]) -> GradientNorm:
    """The gradient's norm at the beginning, in the middle of its values, at the end, and its largest."""
    norms = [step["grad_norm"] for step in steps if step.get("grad_norm") is not None]
    if not norms:
        return GradientNorm()
    return GradientNorm(first=norms[0], median=statistics.median(norms), last=norms[-1], largest=max(norms))


def throughput(history: History, settings: dict[str, Any]) -> Throughput:
    """Steps and tokens, done and planned."""
    planned_epochs = history.plan.get("epochs", settings.get("epochs"))
    if not history.steps:
        return Throughput(planned_steps=history.plan.get("steps"), planned_epochs=planned_epochs)
    last = history.steps[-1]
    rates = [step["tokens_per_s"] for step in history.steps]
    training_s = sum(step["step_s"] for step in history.steps)
    return Throughput(
        steps=last["step"],
        planned_steps=last["steps"],
        epochs=last["epoch"],
        planned_epochs=planned_epochs,
        tokens=last["tokens"],
        tokens_per_s=last["tokens"] / training_s if training_s > 0 else None,
        median_tokens_per_s=statistics.median(rates),
        late_tokens_per_s=statistics.median(rates[-max(1, round(LATE * len(rates))) :]),
        mfu=history.result.get("mfu"),
        gemm_gflops=history.result.get("gemm_gflops"),
    )


def resources(history: History) -> Resources:
    """Memory, CPU and disk, from the usage events."""
    if not history.usage:
        return Resources()
    first, last = history.first_step or 0.0, history.last_step or 0.0
    training = [event.data["cpu_percent"] for event in history.usage if first <= event.time <= last]
    cpu = training or [event.data["cpu_percent"] for event in history.usage]
    read, written = (_counted([event.data[name] for event in history.usage]) for name in ("read_bytes", "write_bytes"))
    seconds = history.running_s
    return Resources(
        peak_memory_bytes=max(event.data["peak_rss_bytes"] for event in history.usage),
        cpu_percent=statistics.fmean(cpu),
        read_megabytes_per_s=read / 1e6 / seconds if seconds > 0 else None,
        write_megabytes_per_s=written / 1e6 / seconds if seconds > 0 else None,
    )


def _counted(counter: Sequence[int]) -> int:
    """What a counter counted in all; it starts again at 0 with each new process, so after each resume."""
    return counter[0] + sum(b - a if b >= a else b for a, b in pairwise(counter))

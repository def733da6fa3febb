"""The results table at the end of a training. On standard output."""

from __future__ import annotations

from typing import Any

import click

from cllm import events
from cllm.cli.bar import clock, count
from cllm.runstore import RunStore
from cllm.workspace import RunDirectory


def _figure(value: Any, pattern: str) -> str:
    return "-" if value is None else pattern.format(value)


def rows_of(result: dict[str, Any]) -> list[tuple[str, str]]:
    """What a "result" event says, for people."""
    return [
        ("time", f"{clock(result['seconds'])} in all, {clock(result['training_seconds'])} in training steps"),
        (
            "steps, epochs",
            f"{count(result['steps'])} steps, {result['epochs']:.2f} epochs, {count(result['tokens'])} tokens",
        ),
        (
            "speed",
            f"{_figure(result['tokens_per_s'], '{:,.0f}')} tokens/s on {result['ranks']} ranks, {result['precision']}"
            + _figure_of_mfu(result),
        ),
        (
            "training loss",
            f"{_figure(result['first_loss'], '{:.3f}')} -> {_figure(result['final_loss'], '{:.3f}')} nats per token",
        ),
        (
            "held-out loss",
            f"{_figure(result['initial_loss'], '{:.3f}')} -> {_figure(result['validation_loss'], '{:.3f}')} "
            "nats per token",
        ),
        (
            "held-out bits per byte",
            f"{_figure(result['bits_per_byte'], '{:.4f}')} (best {_figure(result['best_bits_per_byte'], '{:.4f}')} "
            f"at step {count(result['best_step'])})",
        ),
        *_memory_rows(result.get("memory")),
        ("spheres active", f"{result['spheres_active']}/{result['spheres']}"),
        ("model", f"{result['model']}  ({result['parameters'] / 1e6:.2f} M weights)"),
        ("best model", str(result["best_model"] or "-")),
        ("weights", f"sha256 {result['weights_sha256']}"),
    ]


def _figure_of_mfu(result: dict[str, Any]) -> str:
    if (mfu := result.get("mfu")) is None:
        return ""
    return f", {mfu:.0%} of the {result['gemm_gflops']:,.0f} GFLOP/s of matrix products here (MFU)"


def _memory_rows(memory: dict[str, Any] | None) -> list[tuple[str, str]]:
    if memory is None:
        return []
    figures = [_figure(memory[f"{name}_bits_per_byte"], "{:.4f}") for name in ("network", "static", "cached")]
    return [
        (
            "with its memory",
            f"{figures[0]} -> {figures[1]} bits per byte, {figures[2]} with the file so far "
            f"(validation files, cross-fitted; {memory['bytes'] / 1e6:.1f} MB)",
        )
    ]


def print_outcome(run: RunDirectory) -> None:
    """Print the result of a finished run."""
    with RunStore(run.store, readonly=True) as store:
        result = store.last(events.RESULT)
    if result is None:
        return
    for name, text in [*rows_of(result.data), ("run", run.id)]:
        click.echo(f"{name:<23} {text}")

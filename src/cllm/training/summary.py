"""The figures of a run so far: in the header of every `.cllm` file, and in the run's result."""

from __future__ import annotations

from typing import Any

from cllm.machine import mfu
from cllm.training.plan import Plan
from cllm.training.recorder import Totals


def summarise(plan: Plan, totals: Totals, compiled: bool, gemm_gflops: float | None = None) -> dict[str, Any]:
    """Losses in nats per token, times in seconds; figures that do not exist yet are None.

    `compiled` says whether the compiled model is in use by now. `gemm_gflops` is the speed of matrix products of all
    ranks together, of which "mfu" is the share that training used.
    """
    tokens_per_s = totals.tokens / totals.training_s if totals.training_s else None
    share = None
    if tokens_per_s is not None and gemm_gflops:
        share = round(mfu(tokens_per_s, plan.model.flops_per_token(plan.context), gemm_gflops), 4)
    spheres = [s.tokens for s in totals.spheres]
    mean = sum(spheres) / len(spheres)
    variance = sum((n - mean) ** 2 for n in spheres) / len(spheres)
    return {
        "steps": totals.step,
        "epochs": round(totals.step / plan.steps_per_epoch, 4),
        "tokens": totals.tokens,
        "seconds": round(totals.wall_s, 3),
        "training_seconds": round(totals.training_s, 3),
        "tokens_per_s": None if tokens_per_s is None else round(tokens_per_s, 1),
        "gemm_gflops": None if gemm_gflops is None else round(gemm_gflops, 1),
        "mfu": share,
        "initial_loss": totals.initial_loss,
        "first_loss": totals.first_loss,
        "final_loss": totals.loss,
        "best_train_loss": totals.best_train_loss,
        "validation_loss": totals.validation_loss,
        "bits_per_byte": totals.bits_per_byte,
        "best_loss": totals.best_loss,
        "best_bits_per_byte": totals.best_bits_per_byte,
        "best_step": totals.best_step,
        "grad_norm": totals.grad_norm,
        "spheres": len(spheres),
        "spheres_active": sum(n > 0 for n in spheres),
        "load_variation_percent": round(100 * variance**0.5 / mean, 3) if mean else None,
        "rollbacks": totals.rollbacks,
        "parameters": plan.model.parameters,
        "ranks": plan.ranks,
        "precision": plan.precision,
        "compiled": compiled,
    }

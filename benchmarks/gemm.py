"""How fast this machine's matrix products are, for shares of it (MFU)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from cllm.machine import Precision, measure_gemm, usable_cores

ABOUT = (
    "MFU: floating point operations of forward and backward (6 for each weight and token, the embedding once, and "
    "causal attention) in a second, by the speed of matrix products that was measured on all cores between the rounds "
    "in the same precision (cllm.machine.measure_gemm, the faster of one thread a core side by side and all in one)"
)


def gemm_gflops(precision: Precision, seconds: float = 1.0) -> float:
    """GFLOP/s on all cores: with as many threads in each product, or a product for each core, whichever is faster."""
    cores = usable_cores()
    together = measure_gemm(precision, cores, seconds)
    if cores == 1:
        return together
    with ThreadPoolExecutor(cores) as pool:
        apart = sum(pool.map(lambda _: measure_gemm(precision, 1, seconds), range(cores)))
    return max(together, apart)

"""Chooses what the settings leave open, by timing a few steps on this machine (docs/planner.md)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from cllm import machine
from cllm.errors import CllmError, EmptyCorpus
from cllm.model.config import SIZES, ModelConfig, config_for
from cllm.order import WindowOrder
from cllm.settings import TrainSettings
from cllm.training.kernels import KernelCache, Shape, cache_directory
from cllm.training.plan import Data, Machine, Plan, compile_pays, default_size, fitting_context, make_plan
from cllm.training.shards import Shards

CANDIDATES = ("micro", "mini", "small")
TOKENS_PER_WEIGHT = 3.0  # the largest candidate is taken that reaches so many in the time given
OVERHEAD_S = 12.0  # of a timed run: starting processes, validating, saving
TYPICAL_FLOPS = 80e9  # a second, of one thread: a guess that is good enough where there is no time limit
PROBE_WINDOWS, PROBE_REPEATS, PROBE_S = 2, 5, 0.5  # at most so many repeats or seconds a model, after the first
BYTES_PER_TOKEN = 3.3  # of source code: a guess, until it is tokenized


def this_machine(settings: TrainSettings) -> Machine:
    """The facts that planning needs; what `settings` decide already is not looked for."""
    return Machine(
        machine.usable_cores(),
        machine.available_memory_bytes(),
        settings.precision == "auto" and machine.bf16_pays(),
        settings.compile == "auto" and machine.has_cpp_compiler(),
    )


@cache
def probe(config: ModelConfig, bf16: bool) -> float:
    """Tokens a second of one thread, forward and backward, not compiled: the median of a few small microbatches."""
    import torch

    from cllm.model.transformer import Transformer

    torch.set_num_threads(1)
    model = Transformer(config, torch.bfloat16 if bf16 else torch.float32)
    model.initialise(0)
    ids = torch.zeros(PROBE_WINDOWS, config.context, dtype=torch.int64)
    starts = torch.zeros_like(ids, dtype=torch.bool)
    times: list[float] = []
    while len(times) < 2 or (len(times) <= PROBE_REPEATS and sum(times[1:]) < PROBE_S):  # the first one prepares
        begun = time.perf_counter()
        model(ids, ids, starts).backward()
        times.append(time.perf_counter() - begun)
    return ids.numel() / statistics.median(times[1:])


@dataclass(frozen=True)
class Timing:
    """A candidate and how fast it is on all ranks."""

    size: str
    parameters: int  # that every token is multiplied with
    tokens_per_s: float


def choose_size(timings: list[Timing], seconds: float) -> Timing:
    """The largest candidate that sees `TOKENS_PER_WEIGHT` tokens for each weight in `seconds`, or the smallest."""
    fitting = [t for t in timings if t.tokens_per_s * seconds >= TOKENS_PER_WEIGHT * t.parameters]
    return max(fitting, key=lambda t: t.parameters) if fitting else min(timings, key=lambda t: t.parameters)


def data_for(shards: Shards, settings: TrainSettings) -> tuple[int, Data]:
    """The context that the data allow, and what there is of data at it. Raises `EmptyCorpus`."""
    spheres = shards.deal(settings.spheres, settings.deal)
    least = min(sum(len(piece) for piece in pieces) for pieces in spheres)
    if least < 2:
        raise EmptyCorpus(
            f"the training data have {shards.train.tokens.size} tokens, too few for {settings.spheres} spheres: "
            "give more or larger files (2 kB is enough to try)"
        )
    context = fitting_context(settings.context, least)
    order = WindowOrder(
        shards.train.tokens, shards.train.offsets, spheres, context, shards.tokenizer.end_of_text, settings.seed
    )
    return context, Data(
        int(shards.train.tokens.size),
        int(shards.validation.tokens.size),
        shards.tokenizer.vocabulary,
        order.windows_per_epoch,
    )


def foresee(settings: TrainSettings, train_bytes: int, vocabulary: int, started: float) -> Plan | None:
    """The plan that `plan_run` will probably come to, when so much text is left to train on; None if there is none.

    It is made while the text is still being tokenized, so that ranks and kernels can be ready when the data are.
    """
    tokens = int(train_bytes / BYTES_PER_TOKEN)
    context = fitting_context(settings.context, tokens // settings.spheres)
    windows = max(1, tokens // settings.spheres // context)
    try:
        return plan_for(settings, context, Data(tokens, tokens // 20, vocabulary, windows), started)
    except CllmError:  # the real plan will say so
        return None


def plan_run(
    settings: TrainSettings, shards: Shards, started: float, progress: Callable[[int, int], None] = lambda *_: None
) -> Plan:
    """The plan of a new run. Raises `EmptyCorpus`, `InvalidSettings` or `NotEnoughMemory`."""
    context, data = data_for(shards, settings)
    return plan_for(settings, context, data, started, progress)


def plan_for(
    settings: TrainSettings,
    context: int,
    data: Data,
    started: float,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Plan:
    """The plan for such data. `progress` gets the numbers of candidates that are timed, and of all."""
    here = this_machine(settings)
    bf16 = settings.precision == "bf16" or (settings.precision == "auto" and here.bf16_pays)
    workers = min(settings.threads or here.cores, here.cores)
    timed = settings.minutes is not None

    def timing(size: str) -> Timing:
        config = config_for(size, data.vocabulary, context)
        one = probe(config, bf16) if timed else TYPICAL_FLOPS / config.flops_per_token(context)
        return Timing(size, config.multiplied, one * workers)

    if settings.size != "auto":
        candidates = [settings.size]
    elif not timed:
        candidates = [default_size(data.train_tokens)]
    else:
        candidates = [*CANDIDATES]
    seconds = float("inf") if settings.minutes is None else settings.minutes * 60 - (time.time() - started) - OVERHEAD_S
    progress(0, len(candidates))
    timings: list[Timing] = []
    for number, size in enumerate(candidates):  # from small to large
        timings.append(timing(size))
        progress(number + 1, len(candidates))
        if choose_size(timings, seconds) is not timings[-1]:  # too large already
            break
    chosen = choose_size(timings, seconds)
    assert chosen.size in SIZES or chosen.size == settings.size
    plan = make_plan(settings, chosen.size, context, data, here, chosen.tokens_per_s, started)
    expected_s = seconds if plan.steps is None else plan.steps * plan.tokens_per_step / chosen.tokens_per_s
    if not plan.compile and compile_pays(settings, here, expected_s, cached=True):
        return plan.model_copy(update={"compile": KernelCache(cache_directory()).is_complete(Shape.of(plan))})
    return plan


def plan_event(plan: Plan) -> dict[str, object]:
    """The "plan" event."""
    return {
        **plan.model_dump(mode="json", exclude={"model"}),
        "size": f"{plan.model.layers}x{plan.model.width}",
        "parameters": plan.model.parameters,
        "vocabulary": plan.model.vocabulary,
        "tokens_per_step": plan.tokens_per_step,
        "steps_per_epoch": round(plan.steps_per_epoch, 3),
    }

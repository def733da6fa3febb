"""Chooses what the settings leave open, by timing a few steps on this machine (docs/planner.md)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from cllm import machine
from cllm.errors import CllmError, EmptyCorpus
from cllm.model.config import ModelConfig, config_for
from cllm.order import WindowOrder
from cllm.settings import TrainSettings
from cllm.tokenizer import suggested_vocabulary
from cllm.training.expected import TYPICAL, bytes_per_token, expected_bits
from cllm.training.kernels import KernelCache, Shape, cache_directory
from cllm.training.plan import (
    Data,
    Machine,
    Plan,
    compile_pays,
    default_size,
    fitting_context,
    make_plan,
    most_passes,
    precision_for,
    regularised,
    wanted_context,
    with_note,
    with_passes,
)
from cllm.training.shards import Shards

CANDIDATES = (
    "2x128", "3x128", "4x128", "3x192", "4x192", "4x256", "6x256", "6x384", "8x384", "8x512", "10x512",
)  # fmt: skip
FIRST = "2x128"  # is timed before any other: the speed of the others is guessed from it
FEWEST_PASSES = 4.0  # a larger model than FIRST that does not gain by so many is too large for the data
OVERHEAD_S, OVERHEAD = 8.0, 0.04  # seconds and share of a timed run: starting processes, the memory, saving
SLOW_START_S = 20.0  # that a compiled training loses while its kernels are made beside its first steps
STEPPING = 0.95  # share of the rest that goes into steps, and not into validations and checkpoints
TYPICAL_FLOPS = 80e9  # a second, of one thread: a guess that is good enough where there is no time limit
PROBE_TOKENS, PROBE_REPEATS, PROBE_S = 1024, 5, 0.5  # at most so many repeats or seconds a model, after the first
COMPILED = 1.3  # times as fast as what is timed are forward and backward pass when they are compiled (docs/planner.md)
ALL_AT_ONCE = 0.8  # of that speed is left with the optimizer, the sums of gradients, and all ranks on one memory
REFERENCE_VOCABULARY = 2048  # at which it is timed
VOCABULARIES = (512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384)


def this_machine(settings: TrainSettings) -> Machine:
    """The facts that planning needs; what `settings` decide already is not looked for."""
    return Machine(
        machine.usable_cores(),
        machine.available_memory_bytes(),
        settings.precision == "auto" and machine.bf16_pays(),
        settings.compile == "auto" and machine.has_cpp_compiler(),
    )


@cache
def probe(config: ModelConfig, precision: machine.Precision) -> float:
    """Tokens a second of one thread, forward and backward, not compiled: the median of a few small microbatches."""
    import torch

    from cllm.model.transformer import Transformer

    torch.set_num_threads(1)
    model = Transformer(config, torch.bfloat16 if precision == "bf16" else torch.float32)
    model.initialise(0)
    ids = torch.zeros(max(1, PROBE_TOKENS // config.context), config.context, dtype=torch.int64)
    starts = torch.zeros_like(ids, dtype=torch.bool)
    times: list[float] = []
    while len(times) < 2 or (len(times) <= PROBE_REPEATS and sum(times[1:]) < PROBE_S):  # the first one prepares
        begun = time.perf_counter()
        model(ids, ids, starts).backward()
        times.append(time.perf_counter() - begun)
    return ids.numel() / statistics.median(times[1:])


def workers_of(settings: TrainSettings, here: Machine) -> int:
    """Threads that train at the same time."""
    return min(settings.threads or here.cores, here.cores)


def uncompiled_rate(config: ModelConfig, settings: TrainSettings, here: Machine) -> float:
    """Tokens a second of a training that is not compiled, by timing its model."""
    return ALL_AT_ONCE * probe(config, precision_for(settings, here)) * workers_of(settings, here)


def first_config(settings: TrainSettings) -> ModelConfig:
    """The model that is timed before any other."""
    return config_for(FIRST, REFERENCE_VOCABULARY, wanted_context(settings))


def flops_per_s(settings: TrainSettings, here: Machine) -> float:
    """Floating point operations a second of a training of a small model, by timing one."""
    config = first_config(settings)
    return uncompiled_rate(config, settings, here) * config.flops_per_token(config.context)


def gain_of_compiling(settings: TrainSettings, here: Machine, seconds: float) -> float:
    """What the speed of a training of so many seconds is taken times."""
    return COMPILED if compile_pays(settings, here, seconds) else 1.0


def stepping_s(settings: TrainSettings, here: Machine, seconds: float) -> float:
    """How long steps at their full speed would take for what a training of so many seconds gets done."""
    slow_start_s = SLOW_START_S if compile_pays(settings, here, seconds) else 0.0
    return STEPPING * max(1.0, seconds - slow_start_s)


def operations_in(settings: TrainSettings, seconds: float) -> float:
    """Floating point operations that a training of a small model does in so many seconds."""
    here = this_machine(settings)
    full_s = stepping_s(settings, here, seconds)
    return flops_per_s(settings, here) * gain_of_compiling(settings, here, seconds) * full_s


def context_for(settings: TrainSettings, train_tokens: float) -> int:
    """Tokens in a window, if the data allow it: what is set, or what time, machine and data are enough for."""
    if settings.minutes is None or "context" in settings.model_fields_set:
        return wanted_context(settings)
    first = first_config(settings)
    tokens = operations_in(settings, 60 * settings.minutes) / first.flops_per_token(first.context)
    return wanted_context(settings, min(tokens, passes_at_most(settings, first, train_tokens) * train_tokens))


def passes_at_most(settings: TrainSettings, config: ModelConfig, train_tokens: float) -> float:
    """Through the data: those that are set, or in a limited time those that the model gains by."""
    if settings.minutes is None or "epochs" in settings.model_fields_set:
        return settings.epochs
    return most_passes(config.parameters, train_tokens)


def seconds_left(settings: TrainSettings, started: float) -> float:
    """Of the time given, to train in."""
    minutes = float("inf") if settings.minutes is None else settings.minutes
    return max(1.0, (1 - OVERHEAD) * minutes * 60 - (time.time() - started) - OVERHEAD_S)


def choose_vocabulary(settings: TrainSettings, train_bytes: int, started: float) -> int:
    """The vocabulary that will do best with the best size of model; without a time limit by the corpus alone.

    A small one is learnt sooner, and makes the output layer cheap; a large one shows more of a file at a time.
    """
    most = suggested_vocabulary(train_bytes)
    if settings.minutes is None:
        return most
    operations = operations_in(settings, seconds_left(settings, started))
    sizes = CANDIDATES if settings.size == "auto" else (settings.size,)
    context = context_for(settings, train_bytes / bytes_per_token(REFERENCE_VOCABULARY))

    def bits(vocabulary: int) -> float:
        configs = [config_for(size, vocabulary, context) for size in sizes]
        there = train_bytes / bytes_per_token(vocabulary)
        read = [
            min(operations / c.flops_per_token(context), passes_at_most(settings, c, there) * there) for c in configs
        ]
        return min(expected_bits(c, tokens, train_bytes) for c, tokens in zip(configs, read, strict=True))

    return min((v for v in (*VOCABULARIES, most) if v <= most), key=bits)


@dataclass(frozen=True)
class Choice:
    """A size, and how fast its training will be."""

    size: str
    tokens_per_s: float
    timed: tuple[str, ...] = ()  # the sizes whose speed was measured


def choose_size(
    operations: Mapping[str, float], tokens_per_s: Callable[[str], float], bits: Callable[[str, float], float]
) -> Choice:
    """The size with the least `bits(size, tokens a second)`; only those that may be it are timed by `tokens_per_s`.

    `operations` has the sizes in ascending order, with their floating point operations a token. One that was not timed
    is taken to do as many operations a second as the nearest one that was.
    """
    sizes = list(operations)
    first = FIRST if FIRST in operations else sizes[0]
    rates = {first: tokens_per_s(first)}

    def rate(size: str) -> float:
        nearest = min(rates, key=lambda timed: abs(sizes.index(timed) - sizes.index(size)))
        return rates[nearest] * operations[nearest] / operations[size]

    while (best := min(sizes, key=lambda size: bits(size, rate(size)))) not in rates:
        rates[best] = tokens_per_s(best)
    return Choice(best, rates[best], tuple(rates))


def fitting_sizes(context: int, data: Data) -> list[str]:
    """The candidates that are not too large for the data: the smallest always is one."""

    def passes(size: str) -> float:
        return most_passes(config_for(size, data.vocabulary, context).parameters, data.train_tokens)

    return [size for size in CANDIDATES if size == FIRST or passes(size) >= FEWEST_PASSES]


def data_for(shards: Shards, settings: TrainSettings) -> tuple[int, Data]:
    """The context that the data allow, and what there is of data at it. Raises `EmptyCorpus`."""
    spheres = shards.deal(settings.spheres, settings.deal)
    least = min(sum(len(piece) for piece in pieces) for pieces in spheres)
    if least < 2:
        raise EmptyCorpus(
            f"the training data have {shards.train.tokens.size} tokens, too few for {settings.spheres} spheres: "
            "give more or larger files (2 kB is enough to try)"
        )
    context = fitting_context(context_for(settings, shards.train.tokens.size), least)
    order = WindowOrder(
        shards.train.tokens, shards.train.offsets, spheres, context, shards.tokenizer.end_of_text, settings.seed
    )
    return context, Data(
        int(shards.train.tokens.size),
        int(shards.validation.tokens.size),
        shards.tokenizer.vocabulary,
        order.windows_per_epoch,
        shards.facts["train_bytes"],
        shards.facts.get("ppmd_bits_per_byte") or TYPICAL,
    )


def foresee(settings: TrainSettings, train_bytes: int, vocabulary: int, started: float) -> Plan | None:
    """The plan that `plan_run` will probably come to, when so much text is left to train on; None if there is none.

    It is made while the text is still being tokenized, so that ranks and kernels can be ready when the data are.
    """
    tokens = int(train_bytes / bytes_per_token(vocabulary))
    context = fitting_context(context_for(settings, tokens), tokens // settings.spheres)
    windows = max(1, tokens // settings.spheres // context)
    try:
        return plan_for(settings, context, Data(tokens, tokens // 20, vocabulary, windows, train_bytes), started)
    except CllmError:  # the real plan will say so
        return None


def plan_run(settings: TrainSettings, shards: Shards, started: float) -> Plan:
    """The plan of a new run. Raises `EmptyCorpus`, `InvalidSettings` or `NotEnoughMemory`."""
    context, data = data_for(shards, settings)
    return plan_for(settings, context, data, started)


def plan_for(settings: TrainSettings, context: int, data: Data, started: float) -> Plan:
    """The plan for such data."""
    here = this_machine(settings)
    timed, seconds = settings.minutes is not None, seconds_left(settings, started)
    gain = gain_of_compiling(settings, here, seconds)
    full_s = stepping_s(settings, here, seconds) if timed else seconds
    if settings.size != "auto":
        sizes: Sequence[str] = (settings.size,)
    else:
        sizes = fitting_sizes(context, data) if timed else (default_size(data.train_tokens),)
    configs = {size: config_for(size, data.vocabulary, context) for size in sizes}
    operations = {size: config.flops_per_token(context) for size, config in configs.items()}

    def tokens_per_s(size: str) -> float:
        if not timed:
            return TYPICAL_FLOPS * workers_of(settings, here) / operations[size]
        if size == FIRST:
            return gain * flops_per_s(settings, here) / operations[size]
        return gain * uncompiled_rate(configs[size], settings, here)

    passes = {size: passes_at_most(settings, config, data.train_tokens) for size, config in configs.items()}

    def read(size: str, rate: float) -> float:
        return min(rate * full_s, passes[size] * data.train_tokens)

    def bits(size: str, rate: float) -> float:
        return expected_bits(configs[size], read(size, rate), data.train_bytes)

    chosen = choose_size(operations, tokens_per_s, bits)
    most, tokens = passes[chosen.size], read(chosen.size, chosen.tokens_per_s)
    plan = make_plan(settings, chosen.size, context, data, here, chosen.tokens_per_s, started, most * data.train_tokens)
    if context != (wanted := context_for(settings, data.train_tokens)):
        plan = with_note(plan, f"context {context} instead of {wanted}: a sphere has too few tokens for more")
    if plan.steps is None and tokens < full_s * chosen.tokens_per_s:
        plan = with_passes(plan, max(1, int(most)))
    plan = regularised(plan, settings, tokens / data.train_tokens, data.train_tokens)
    expected = expected_bits(plan.model, tokens, data.train_bytes, data.ppmd_bits_per_byte)
    plan = plan.model_copy(update={"expected_bits_per_byte": expected})
    if not plan.compile and compile_pays(settings, here, tokens / chosen.tokens_per_s, cached=True):
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

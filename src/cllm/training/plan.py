"""The plan of a run: every choice that the settings left open, made once, recorded, and kept by a resume.

Pure: what the machine and the corpus are like comes in as arguments; `planner` measures them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from cllm.errors import InvalidSettings, NotEnoughMemory
from cllm.machine import Precision
from cllm.model.config import ModelConfig, config_for
from cllm.settings import TrainSettings
from cllm.training.expected import TYPICAL

LEAST_CONTEXT = 16
# Where time is short: smaller steps learn more in a minute, and long windows show more of a file (docs/recipe.md).
SHORT_CONTEXT, LONG_CONTEXT = 1024, 2048  # tokens in a window; the second needs steps that are too few in minutes
LONG_PAYS_FROM = 3.5e6  # tokens that the planner's smallest model would read in the time
TIMED_TOKENS, MANY_TIMED_TOKENS = 4096, 8192  # in a step; the second where steps are many all the same
MANY_TIMED_FROM = 12e6  # tokens that are read in the time
FEWEST_WINDOWS, MOST_WINDOWS = 2, 16  # of such a step
FEWEST_MICROBATCHES = 4  # of other steps, so that four ranks can share them
COMPILE_PAYS_AFTER_S = 240.0  # seconds of training from which compiling pays
CACHED_COMPILE_PAYS_AFTER_S = 45.0  # and from which using what was compiled before does
VALIDATION_SHARE = 0.003  # of a run that one validation may take: there are about a dozen of them
SCORING = 3  # times as fast as training


class Regularisation(NamedTuple):
    """Against learning the data by heart."""

    dropout: float
    weight_decay: float
    renaming: float


LITTLE, SOME = Regularisation(0.0, 0.1, 0.0), Regularisation(0.05, 0.1, 0.0)
MUCH, MOST = Regularisation(0.1, 0.3, 0.0), Regularisation(0.2, 1.0, 0.0)
# By what could be learnt by heart: the square of the passes, times weights for each training token (docs/planner.md).
FROM = ((1500.0, MOST), (150.0, MUCH), (50.0, SOME), (0.0, LITTLE))
RENAMING, LEAST_RENAMING, MOST_RENAMING = 1 / 400, 0.03, 0.5  # share of the names, for each of these; less is none
MOST_BY_HEART = 3000.0  # from there on, more passes only make a network worse


class Plan(BaseModel):
    """What all ranks agree on."""

    model_config = ConfigDict(frozen=True)

    model: ModelConfig
    context: int  # tokens in a window
    batch_size: int  # windows in a step
    spheres: int
    microbatches: int  # K
    ranks: int
    threads_per_rank: int
    precision: str  # "bf16" | "fp32"
    compile: bool
    learning_rate: float
    warmup: float  # share of the run
    dropout: float = 0.0  # share of what each part of a layer adds
    weight_decay: float = LITTLE.weight_decay
    renaming: float = 0.0  # share of the names that are exchanged
    steps: int | None  # of the whole run; None: the time limit ends it
    epochs: float | None
    deadline: float | None = None  # seconds since the epoch, saving included
    windows_per_epoch: int  # of one sphere
    validation_tokens: int  # the most that one validation reads
    expected_bits_per_byte: float | None = None  # of held-out files, network alone
    notes: tuple[str, ...] = ()

    @property
    def tokens_per_step(self) -> int:
        return self.batch_size * self.context

    @property
    def windows_per_microbatch(self) -> int:
        return self.batch_size // self.microbatches

    @property
    def steps_per_epoch(self) -> float:
        return self.spheres * self.windows_per_epoch / self.batch_size


@dataclass(frozen=True)
class Machine:
    """What planning needs to know of the machine."""

    cores: int
    memory_bytes: int
    bf16_pays: bool
    has_compiler: bool


def divisors(number: int) -> list[int]:
    """All divisors of `number`, ascending."""
    return [d for d in range(1, number + 1) if number % d == 0]


def wanted_context(settings: TrainSettings, tokens: float = 0.0) -> int:
    """Tokens in a window, if the data allow it; `tokens` is how many a small model would read in a limited time."""
    if settings.minutes is None or "context" in settings.model_fields_set:
        return settings.context
    return LONG_CONTEXT if tokens >= LONG_PAYS_FROM else SHORT_CONTEXT


def wanted_batch(settings: TrainSettings, context: int, cores: int, tokens: float = 0.0) -> int:
    """Windows in a step, if the data allow it: enough for all cores, and with a time limit few.

    `tokens` is how many will be read in the time.
    """
    if "batch_size" in settings.model_fields_set:
        return settings.batch_size
    timed = settings.minutes is not None
    workers = min(max(FEWEST_WINDOWS if timed else FEWEST_MICROBATCHES, cores), settings.spheres)
    possible = divisors(settings.spheres)
    each = settings.microbatches if settings.microbatches in possible else next(d for d in possible if d >= workers)
    if not timed:
        return each * math.ceil(settings.batch_size / each)
    in_step = MANY_TIMED_TOKENS if tokens >= MANY_TIMED_FROM else TIMED_TOKENS
    return each * max(1, min(MOST_WINDOWS, in_step // context) // each)


def fitting_context(wanted: int, tokens_per_sphere: int) -> int:
    """`wanted`, or the largest power of two of which every sphere has a window."""
    if tokens_per_sphere > wanted:
        return wanted
    context = LEAST_CONTEXT
    while context * 2 < tokens_per_sphere:
        context *= 2
    return min(context, wanted)


def fitting_batch(settings: TrainSettings, wanted: int, windows: int, notes: list[str]) -> int:
    """The batch size, if the data has so many windows; a default one is made smaller, an explicit one refused."""
    if wanted <= windows:
        return wanted
    if "batch_size" in settings.model_fields_set:
        raise InvalidSettings(
            f"batch-size = {settings.batch_size}: the data has only {windows} windows of the context; "
            f"use --batch-size {max(1, windows)} or less, a shorter --context, or more data"
        )
    batch = max(d for d in divisors(settings.spheres) if d <= windows)
    notes.append(f"batch size {batch} instead of {wanted}: the data has only {windows} windows")
    return batch


def choose_microbatches(settings: TrainSettings, batch_size: int, cores: int) -> int:
    """K: divides spheres and batch, enough for 4 ranks and for the cores. It sets the bits: not by `--threads`."""
    possible = [d for d in divisors(settings.spheres) if batch_size % d == 0]
    if settings.microbatches:
        if settings.microbatches not in possible:
            raise InvalidSettings(
                f"microbatches = {settings.microbatches}: it must divide both {settings.spheres} spheres and the "
                f"batch of {batch_size} windows; possible are {', '.join(map(str, possible))}"
            )
        return settings.microbatches
    enough = [d for d in possible if d >= max(FEWEST_MICROBATCHES, min(cores, settings.spheres))]
    return enough[0] if enough else possible[-1]


def deal_threads(settings: TrainSettings, microbatches: int, cores: int, notes: list[str]) -> tuple[int, int]:
    """(ranks, threads per rank): one thread a rank wherever the ranks alone can use all cores, for the bits' sake."""
    workers = settings.threads or cores
    ranks = min(workers, microbatches)
    if workers > microbatches:
        notes.append(f"{ranks} ranks of {workers // ranks} threads: a step has {microbatches} microbatches")
    return ranks, workers // ranks


def memory_needed(model: ModelConfig, plan_ranks: int, windows: int, context: int) -> int:
    """Bytes for all ranks, roughly: weights, gradients, partial sums, optimizer, snapshot and activations."""
    weights = 4 * model.parameters * 11
    tokens = windows * context
    activations = tokens * (model.layers * (14 * model.width + 5 * model.ffn_width) * 4 + 10 * model.vocabulary)
    scores = tokens * model.heads * sum(model.reaches(context)) * 10
    return plan_ranks * (weights + activations + scores + (350 << 20))


def check_memory(needed: int, available: int) -> None:
    """Raises `NotEnoughMemory` with what to change."""
    if needed > available:
        raise NotEnoughMemory(
            f"these settings need about {needed / 1e9:.1f} GB of memory and {available / 1e9:.1f} GB are free: "
            "use a smaller --size, --batch-size or --context, fewer --threads, or close other programs"
        )


@dataclass(frozen=True)
class Data:
    """What planning needs to know of the prepared data."""

    train_tokens: int
    validation_tokens: int
    vocabulary: int
    windows_per_epoch: int  # of one sphere, at the plan's context
    train_bytes: int
    ppmd_bits_per_byte: float = TYPICAL  # of validation files


def default_size(tokens: int) -> str:
    """Without a time limit: the largest model with no more than 3 weights for each token of the corpus."""
    for name in ("small", "mini", "micro"):
        if tokens * 3 >= config_for(name, 1024, LEAST_CONTEXT).parameters:
            return name
    return "nano"


def compile_pays(settings: TrainSettings, machine: Machine, expected_s: float, cached: bool = False) -> bool:
    """Whether to run torch.compile; `expected_s` is how long the training will take without.

    `cached` says that the kernels are there from an earlier run.
    """
    if settings.compile == "auto":
        return machine.has_compiler and expected_s > (CACHED_COMPILE_PAYS_AFTER_S if cached else COMPILE_PAYS_AFTER_S)
    return settings.compile == "on"


def precision_for(settings: TrainSettings, machine: Machine) -> Precision:
    """The number format of the matrix products."""
    if settings.precision != "auto":
        return settings.precision
    return "bf16" if machine.bf16_pays else "fp32"


def make_plan(
    settings: TrainSettings,
    size: str,
    context: int,
    data: Data,
    machine: Machine,
    tokens_per_s: float,
    started: float,
    most_tokens: float = math.inf,
) -> Plan:
    """Resolve everything. `tokens_per_s`, the expected speed, decides on compiling and on the validation's share.

    `started` is when the run began, in seconds since the epoch: the time limit counts from there, and a run that has
    read `most_tokens` ends before it.
    Raises `InvalidSettings` or `NotEnoughMemory`.
    """
    notes: list[str] = []
    windows = settings.spheres * data.windows_per_epoch
    tokens = min(60 * (settings.minutes or 0) * tokens_per_s, most_tokens)
    batch_size = fitting_batch(settings, wanted_batch(settings, context, machine.cores, tokens), windows, notes)
    microbatches = choose_microbatches(settings, batch_size, machine.cores)
    ranks, threads = deal_threads(settings, microbatches, machine.cores, notes)
    model = config_for(size, data.vocabulary, context)
    check_memory(memory_needed(model, ranks, batch_size // microbatches, context), machine.memory_bytes)

    timed = settings.minutes is not None
    epochs = float(settings.epochs) if not timed or "epochs" in settings.model_fields_set else None
    steps = None if epochs is None else max(1, math.ceil(epochs * windows / batch_size))
    expected_s = (tokens if steps is None else steps * batch_size * context) / tokens_per_s
    validation = VALIDATION_SHARE * expected_s * SCORING * tokens_per_s
    if settings.warmup_steps is None:
        warmup = 0.02
    elif steps is not None:
        warmup = min(1.0, settings.warmup_steps / steps)
    else:
        warmup = min(1.0, settings.warmup_steps * batch_size * context / (tokens_per_s * expected_s))
    return Plan(
        model=model,
        context=context,
        batch_size=batch_size,
        spheres=settings.spheres,
        microbatches=microbatches,
        ranks=ranks,
        threads_per_rank=threads,
        precision=precision_for(settings, machine),
        compile=compile_pays(settings, machine, expected_s),
        learning_rate=settings.learning_rate,
        warmup=warmup,
        steps=steps,
        epochs=epochs,
        deadline=None if settings.minutes is None else started + settings.minutes * 60,
        windows_per_epoch=data.windows_per_epoch,
        validation_tokens=min(data.validation_tokens, max(16_384, min(262_144, int(validation)))),
        notes=tuple(notes),
    )


def regularisation_for(passes: float, weights_per_token: float) -> Regularisation:
    """What so many passes through the data ask for, with so many weights for each of the data's tokens.

    Neither decides alone: what matters is how much of the data the weights could hold, and how often it is seen.
    """
    by_heart = passes**2 * weights_per_token
    names = round(min(MOST_RENAMING, by_heart * RENAMING), 2)
    fitting = next(fitting for least, fitting in FROM if by_heart >= least)
    return fitting._replace(renaming=names if names >= LEAST_RENAMING else 0.0)


def most_passes(weights: int, train_tokens: float) -> float:
    """Through so many tokens that a network of so many weights still gains by; less than one if it is too large."""
    return math.sqrt(MOST_BY_HEART * train_tokens / weights)


def regularised(plan: Plan, settings: TrainSettings, passes: float, train_tokens: int) -> Plan:
    """The plan with the settings' regularisation, or with what so many passes through the data ask for."""
    fitting = regularisation_for(passes, plan.model.parameters / max(1, train_tokens))
    set_ones = {name: value for name in fitting._fields if (value := getattr(settings, name)) is not None}
    return plan.model_copy(update=fitting._asdict() | set_ones)


def with_note(plan: Plan, note: str) -> Plan:
    """The plan with one more thing for people to know."""
    return plan.model_copy(update={"notes": (*plan.notes, note)})


def with_epochs(plan: Plan, epochs: int) -> Plan:
    """The plan with an end after `epochs` passes through the data, if the time does not end it before."""
    steps = max(1, math.ceil(epochs * plan.steps_per_epoch))
    return plan.model_copy(update={"epochs": float(epochs), "steps": steps})


def with_passes(plan: Plan, passes: int) -> Plan:
    """`with_epochs`, and a note that says why a run does not use its time."""
    note = (
        f"ends after {passes} passes through the data, before its time: more would be learnt by heart; --epochs sets it"
    )
    return with_note(with_epochs(plan, passes), note)


def with_ranks(plan: Plan, threads: int) -> Plan:
    """The same plan for another number of workers. Threads within a rank stay: they would change the bits."""
    ranks = max(1, min(threads // plan.threads_per_rank, plan.microbatches))
    return plan.model_copy(update={"ranks": ranks})


def extended(plan: Plan, epochs: int | None, minutes: float | None, wall_s: float, now: float) -> Plan:
    """The plan with its end moved: to `epochs` in all, or to `minutes` in all of which `wall_s` seconds are used up."""
    if epochs is not None:
        plan = with_epochs(plan, epochs)
    if minutes is not None:
        plan = plan.model_copy(update={"deadline": now + max(0.0, minutes * 60 - wall_s)})
    return plan

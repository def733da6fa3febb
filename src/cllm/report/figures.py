"""Every figure of a report, with its unit. `Report.model_dump()` is what `cllm report --json` prints.

None means that the figure is not known, for example because the run has no step yet. Losses are in nats per token.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Figures(BaseModel):
    """Base: frozen, and nothing undeclared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Times(Figures):
    """Seconds unless named otherwise."""

    started: float | None = None  # seconds since the epoch
    total_s: float = 0.0  # from the first event to the last, without the pauses between a stop and a resume
    training_s: float = 0.0  # in steps, without validating and saving
    per_epoch_s: float | None = None  # with validating and saving
    per_step_ms: float | None = None  # mean of the training time
    median_step_ms: float | None = None


class Losses(Figures):
    """`final` is a mean over the last steps (`final_over`), because the loss of one step is noisy."""

    initial: float | None = None
    final: float | None = None
    final_over: int = 0
    best: float | None = None
    reduction_percent: float | None = None
    held_out_nats_per_token: float | None = None
    held_out_bits_per_byte: float | None = None
    best_held_out_nats_per_token: float | None = None
    best_held_out_bits_per_byte: float | None = None
    held_out_perplexity: float | None = None  # per token, of the best held-out loss


class Epoch(Figures):
    """One pass, or the begun part of one."""

    epoch: int  # from 1
    seconds: float
    steps: int
    first_loss: float
    last_loss: float
    mean_loss: float
    held_out_nats_per_token: float | None = None
    held_out_bits_per_byte: float | None = None


class Sphere(Figures):
    """One sphere over the whole run. `activity` is the mean of what was recorded; 1 = an even share."""

    sphere: int  # from 0
    microbatches: int
    tokens: int
    loss: float | None
    activity: float
    state: str


class Spheres(Figures):
    """All spheres. The load variances are coefficients of variation, in percent."""

    total: int = 0
    active: int = 0
    mean_microbatches: float | None = None
    load_variance_percent: float | None = None  # of microbatches
    token_variance_percent: float | None = None
    fell_silent: tuple[int, ...] = ()  # no new microbatch in the last quarter of the run, though others had some
    each: tuple[Sphere, ...] = ()


class GradientNorm(Figures):
    """Global L2 norm before clipping."""

    first: float | None = None
    median: float | None = None
    last: float | None = None
    largest: float | None = None


class Speedup(Figures):
    """Two short trainings at the same settings, measured one after the other."""

    one_rank_tokens_per_s: float
    all_ranks_tokens_per_s: float
    ranks: int
    speedup: float


class Throughput(Figures):
    """Steps and tokens."""

    steps: int = 0
    planned_steps: int | None = None
    epochs: float = 0.0
    planned_epochs: float | None = None
    tokens: int = 0
    tokens_per_s: float | None = None  # tokens over training time
    median_tokens_per_s: float | None = None  # of the steps
    late_tokens_per_s: float | None = None  # median of the last quarter
    mfu: float | None = None  # model FLOPs utilisation: share of `gemm_gflops` that training used, 0..1
    gemm_gflops: float | None = None  # of matrix products on all ranks at once
    speedup: Speedup | None = None


class Resources(Figures):
    """Of all processes of the run together."""

    peak_memory_bytes: int | None = None
    cpu_percent: float | None = None  # 100 = one core; mean while training
    read_megabytes_per_s: float | None = None  # 1 MB = 10^6 bytes
    write_megabytes_per_s: float | None = None


class ModelFile(Figures):
    """The model that the report judges. `loads` is None when loading it was not tried."""

    path: str
    kind: str  # "final", or the kind of the checkpoint used for want of a final model
    bytes: int
    loads: bool | None = None
    detail: str = ""
    weights_sha256: str | None = None


class Verdict(Figures):
    """Yes, no, or not known (None), and the figure that it rests on."""

    name: str
    passed: bool | None
    figure: str


class Completion(Figures):
    """One prompt, what the model made of it at temperature 0, and what a program can judge of it."""

    prompt: str
    text: str
    syntax: Verdict
    repetition: Verdict
    style: Verdict


class IssueNote(Figures):
    """Something that went wrong or was worth a warning."""

    time: float
    kind: str
    text: str


class Report(Figures):
    """Everything."""

    run: str
    state: str
    reason: str = ""
    times: Times = Times()
    losses: Losses = Losses()
    epochs: tuple[Epoch, ...] = ()
    spheres: Spheres = Spheres()
    gradient_norm: GradientNorm = GradientNorm()
    throughput: Throughput = Throughput()
    resources: Resources = Resources()
    corpus: dict[str, Any] = {}
    plan: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    machine: dict[str, Any] = {}
    issues: tuple[IssueNote, ...] = ()
    model: ModelFile | None = None
    language: str | None = None  # the one with the most text in the corpus
    completions: tuple[Completion, ...] = ()
    success: tuple[Verdict, ...] = ()
    warning_signs: tuple[Verdict, ...] = ()  # passed = the sign is absent

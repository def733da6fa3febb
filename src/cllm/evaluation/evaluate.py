"""All figures of one model on one set of held-out files, with what they are compared with."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from pydantic import BaseModel, ConfigDict

from cllm.checkpoint import LoadedModel
from cllm.corpus.textfile import Document
from cllm.errors import InvalidInput
from cllm.evaluation.baselines import NAMES, Progress, run_baselines
from cllm.evaluation.completion import next_line
from cllm.evaluation.likelihood import Likelihood, Tokens, likelihoods
from cllm.evaluation.syntax import validity
from cllm.evaluation.training_data import TrainingData, nearest_in_training, seen_in_training
from cllm.inference.completer import Completer
from cllm.memory.mixture import Memory, Read, gather, mix
from cllm.settings import EvaluateSettings

SIMILAR_FROM = 0.2  # estimated Jaccard index with a training file; from 0.5 on it would be in the same split


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Figures(_Frozen):
    """The network's figures over some files."""

    bits_per_byte: float
    nats_per_token: float
    bytes: int
    tokens: int
    files: int


class Baseline(_Frozen):
    """What something else needs for the same files."""

    name: str
    bits_per_byte: float
    ratio: float  # to the network: above 1 the network is better


class NextLineFigures(_Frozen):
    """See `cllm.evaluation.completion.NextLine`."""

    points: int
    exact_match: float
    edit_similarity: float


class SyntaxFigures(_Frozen):
    """See `cllm.evaluation.syntax.Validity`."""

    points: int
    valid: float
    valid_of_true_continuations: float


class MemoryFigures(_Frozen):
    """The mixture of network and memory over some files, in bits per byte; `cached` is with the file so far."""

    files: int
    bytes: int
    network: float
    static: float
    cached: float


class MemoryEvaluation(MemoryFigures):
    """Over all files, and apart for those that resemble a training file and for those that do not.

    Attributes:
        similar_from: the estimated Jaccard index from which a file counts as similar to a training file.
        similar, novel: None if there are no such files, or if the training data are not there.
    """

    training_files: int
    similar_from: float
    similar: MemoryFigures | None
    novel: MemoryFigures | None


class Evaluation(Figures):
    """The result. Shares are from 0 to 1, times in seconds.

    Attributes:
        held_out: False if files were trained on are among those evaluated; None if that cannot be known.
        seen_in_training: how many of all files were trained on; None if that cannot be known.
        unseen: the figures without those, when they were taken in on request.
        baselines: by name; None, with the reason, if there are none.
        memory: figures with the model's memory; None if it has none.
        skipped: path -> why it was not used.
    """

    model: str
    weights_sha256: str
    parameters: int
    data: str
    context: int
    languages: dict[str, Figures]
    held_out: bool | None
    seen_in_training: int | None
    seen: tuple[str, ...]
    unseen: Figures | None
    baselines: dict[str, Baseline] | None
    baselines_reason: str | None
    baselines_training_bytes: int | None
    memory: MemoryEvaluation | None = None
    next_line: NextLineFigures | None
    next_line_with_memory: NextLineFigures | None = None
    syntax: SyntaxFigures | None
    skipped: dict[str, str]
    warnings: tuple[str, ...]
    verdict: str
    seconds: dict[str, float]

    def as_json(self) -> str:
        """One line of JSON."""
        return self.model_dump_json()


def _figures(parts: Sequence[Likelihood]) -> Figures:
    total = sum(parts, Likelihood(0.0, 0, 0))
    return Figures(
        bits_per_byte=total.bits_per_byte,
        nats_per_token=total.nats_per_token,
        bytes=total.bytes,
        tokens=total.tokens,
        files=len(parts),
    )


def verdict_line(
    network: float, baselines: dict[str, Baseline] | None, held_out: bool | None, cached: float | None = None
) -> str:
    """What the figures say, in one sentence.

    `network` and `cached`, the mixture with the file so far, are in bits per byte. Where there is a mixture it is
    what is judged: like the compressors it learns from the file that it reads.
    """
    ours, name = (network, "the network") if cached is None else (cached, "the network with its memory")
    if held_out is False:
        return "no verdict: files that were trained on are among these"
    if not baselines:
        return "no verdict: there is no baseline to compare with"
    best = min((b for b in baselines.values()), key=lambda b: b.bits_per_byte)
    if best.bits_per_byte <= ours:
        return f"not worth it: {best.name} reaches {best.bits_per_byte:.3f} bits per byte, {name} {ours:.3f}"
    saved = 100 * (1 - ours / best.bits_per_byte)
    gain = f"{saved:.1f} % fewer bits than {best.name}, the best of the others ({best.bits_per_byte:.3f})"
    return f"worth it: {gain}" if cached is None else f"worth it: {name} needs {gain}"


def _memory_figures(read: Read, sizes: Sequence[int], chosen: Sequence[int]) -> MemoryFigures | None:
    """Figures over the `chosen` documents, whose lengths in bytes are `sizes`."""
    if not chosen:
        return None
    rows = np.isin(read.documents, chosen)
    size = sum(sizes[i] for i in chosen)
    network, static, cached = (
        -float(logs[rows].sum()) / math.log(2) / size for logs in (read.network, read.static, read.cached)
    )
    return MemoryFigures(files=len(chosen), bytes=size, network=network, static=static, cached=cached)


def evaluate_memory(
    memory: Memory, read: Read, documents: Sequence[Document], training: TrainingData | None
) -> MemoryEvaluation:
    """The figures of the mixture over `documents`, which `read` is of."""
    sizes = [len(d.text) for d in documents]
    nearest = None if training is None else nearest_in_training(documents, training)
    groups: dict[bool, list[int]] = {True: [], False: []}
    for number, value in enumerate(nearest or ()):
        groups[value >= SIMILAR_FROM].append(number)
    whole = _memory_figures(read, sizes, range(len(documents)))
    assert whole is not None
    return MemoryEvaluation(
        **whole.model_dump(),
        training_files=memory.index.documents,
        similar_from=SIMILAR_FROM,
        similar=_memory_figures(read, sizes, groups[True]),
        novel=_memory_figures(read, sizes, groups[False]),
    )


class _Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - begin, 3)


def evaluate(
    loaded: LoadedModel,
    documents: Sequence[Document],
    *,
    memory: Memory | None = None,
    data: str = "files",
    training: TrainingData | None = None,
    training_reason: str | None = None,
    own_split: bool = False,
    include_seen: bool = False,
    baselines: bool = True,
    settings: EvaluateSettings = EvaluateSettings(),  # noqa: B008 - frozen
    skipped: dict[str, str] | None = None,
    workers: int = 1,
    progress: Progress = lambda stage, done, total: None,
) -> Evaluation:
    """Evaluate a model, and with `memory` also what it makes of them, on `documents` (UTF-8, none of them empty).

    `training` is what the model was trained on, if it is there, else `training_reason` says why not. Files found in it
    are left out, unless `include_seen`, or unless nothing would remain. `own_split` says that `documents` are a split
    of it, which was held out already. `workers` threads run the network. Raises `InvalidInput` if there are none.
    """
    if not documents:
        raise InvalidInput("no file to evaluate on: give files or directories")
    clock = _Clock()
    warnings: list[str] = []
    seen: list[int] | None = None
    if own_split:
        seen = []
    elif training is not None:
        with clock.measure("contamination"):
            progress("comparing with the training files", 0, 0)
            seen = seen_in_training(documents, training)
    else:
        warnings.append(f"whether these files were trained on is not known: {training_reason}")
    seen_paths = tuple(documents[i].path for i in seen or ())
    left_out = bool(seen_paths) and not include_seen and len(seen_paths) < len(documents)
    if seen_paths:
        named = ", ".join(seen_paths[:5]) + (", ..." if len(seen_paths) > 5 else "")
        consequence = "left out" if left_out else "counted in: these figures are not held out"
        warnings.append(
            f"{len(seen_paths)} of {len(documents)} files were in the training data ({named}): {consequence}"
        )
    fresh = [i not in set(seen or ()) for i in range(len(documents))]
    if left_out:
        documents = [d for d, new in zip(documents, fresh, strict=True) if new]
        fresh = [True] * len(documents)

    with clock.measure("network"):
        ids = loaded.tokenizer.encode_batch([d.text.decode() for d in documents])
        read = None
        if memory is not None:
            arrays = [np.asarray(t, dtype=np.int64) for t in ids]
            evidence = gather(
                memory.index, loaded.model, arrays, context=settings.context, batch=settings.batch, workers=workers,
                progress=lambda done, total: progress("network and memory", done, total),
            )  # fmt: skip
            read = mix(memory, evidence)
            nats = np.bincount(read.documents, weights=-read.network, minlength=len(documents))
            each = [Likelihood(float(n), len(t), len(d.text)) for n, t, d in zip(nats, ids, documents, strict=True)]
        else:
            each = likelihoods(
                loaded.model,
                [Tokens(t, len(d.text)) for t, d in zip(ids, documents, strict=True)],
                loaded.tokenizer.end_of_text,
                context=settings.context,
                batch=settings.batch,
                workers=workers,
                progress=lambda done, total: progress("network", done, total),
            )
    total = _figures(each)

    lines = lines_with_memory = syntax = None
    if settings.completions:
        completer = Completer(loaded)
        with clock.measure("completions"):
            lines = next_line(
                completer,
                documents,
                settings.completions,
                settings.seed,
                lambda done, n: progress("next lines", done, n),
            )
            if memory is not None:
                lines_with_memory = next_line(
                    Completer(loaded, memory),
                    documents,
                    settings.completions,
                    settings.seed,
                    lambda done, n: progress("next lines, with memory", done, n),
                )
            syntax = validity(
                completer,
                documents,
                max(1, settings.completions // 2),
                settings.seed,
                lambda done, n: progress("syntax", done, n),
            )

    found: dict[str, Baseline] | None = None
    reason, used = training_reason, None
    if not baselines:
        reason = "switched off"
    elif training is not None:
        with clock.measure("baselines"):
            bits, used = run_baselines(loaded, documents, ids, training, progress, warnings)
        found = {n: Baseline(name=NAMES[n], bits_per_byte=b, ratio=b / total.bits_per_byte) for n, b in bits.items()}
    held_out = None if seen is None else all(fresh)
    remembered = None if memory is None or read is None else evaluate_memory(memory, read, documents, training)
    by_language: dict[str, list[Likelihood]] = {}
    for document, part in zip(documents, each, strict=True):
        by_language.setdefault(document.language, []).append(part)
    return Evaluation(
        **total.model_dump(),
        model=str(loaded.path),
        weights_sha256=loaded.header.weights_sha256,
        parameters=loaded.model.config.parameters,
        data=data,
        context=settings.context or loaded.model.config.context,
        languages={name: _figures(parts) for name, parts in sorted(by_language.items())},
        held_out=held_out,
        seen_in_training=None if seen is None else len(seen),
        seen=seen_paths,
        unseen=_figures([p for p, new in zip(each, fresh, strict=True) if new])
        if any(fresh) and not all(fresh)
        else None,
        baselines=found,
        baselines_reason=None if found else reason,
        baselines_training_bytes=used,
        memory=remembered,
        next_line=None if lines is None else NextLineFigures(**vars(lines)),
        next_line_with_memory=None if lines_with_memory is None else NextLineFigures(**vars(lines_with_memory)),
        syntax=None
        if syntax is None
        else SyntaxFigures(points=syntax.points, valid=syntax.share, valid_of_true_continuations=syntax.true_share),
        skipped=skipped or {},
        warnings=tuple(warnings),
        verdict=verdict_line(total.bits_per_byte, found, held_out, None if remembered is None else remembered.cached),
        seconds=clock.seconds,
    )

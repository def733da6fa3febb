"""What the planner measures, and what it foresees before the data are there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cllm.model.config import config_for
from cllm.runstore import RunStore
from cllm.settings import TrainSettings
from cllm.tokenizer import suggested_vocabulary
from cllm.training import planner
from cllm.training.expected import TYPICAL, expected_bits
from cllm.training.kernels import KernelCache, Shape, cache_directory
from cllm.training.plan import LITTLE, MOST, MOST_RENAMING, MUCH, SOME, Data, most_passes
from cllm.training.planner import (
    CANDIDATES,
    Choice,
    choose_size,
    choose_vocabulary,
    context_for,
    foresee,
    plan_for,
    plan_run,
    probe,
)
from cllm.training.shards import Shards, write_shards
from cllm.workspace import RunDirectory

DATA = Data(
    train_tokens=2_000_000, validation_tokens=100_000, vocabulary=512, windows_per_epoch=650, train_bytes=6_000_000
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLLM_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("settings", [TrainSettings(vocabulary=512), TrainSettings(minutes=0.5, vocabulary=512)])
def test_the_plan_is_foreseen_before_the_text_is_tokenized(
    tmp_path: Path, tiny_corpus: Path, settings: TrainSettings
) -> None:
    run = RunDirectory(tmp_path)
    run.data.mkdir()
    foreseen = []
    with RunStore(run.store) as store:

        def vocabulary_for(train_bytes: int) -> int:
            assert not run.tokenizer.exists()
            foreseen.append(foresee(settings, train_bytes, 512, started=1e12))
            return 512

        write_shards(run, (tiny_corpus,), settings, False, store, vocabulary_for=vocabulary_for)
    plan = plan_run(settings, Shards.load(run), started=1e12)
    (early,) = foreseen
    assert early is not None
    assert Shape.of(early) == Shape.of(plan)
    assert (early.ranks, early.threads_per_rank, early.compile) == (plan.ranks, plan.threads_per_rank, plan.compile)


def test_nothing_is_foreseen_of_a_training_that_cannot_be() -> None:
    assert foresee(TrainSettings(size="200x8192"), 1_000_000, 512, started=1e12) is None


OPERATIONS = {"2x64": 1e6, "2x128": 3e6, "4x192": 10e6, "6x256": 30e6, "8x512": 150e6}


def choose(rate: Callable[[str], float], seconds: float) -> Choice:
    """By a rule of which the best is known: as many operations a token as a tenth of the tokens, in millions."""
    return choose_size(OPERATIONS, rate, lambda size, tokens: abs(math.log(OPERATIONS[size] / (seconds * tokens / 10))))


@pytest.mark.parametrize("seconds", [1, 30, 1000, 100_000])
@pytest.mark.parametrize("flops", [1e9, 1e11])
def test_the_choice_is_that_of_timing_all_sizes_but_few_are_timed(seconds: float, flops: float) -> None:
    def rate(size: str) -> float:
        asked.append(size)
        return flops * (1 + list(OPERATIONS).index(size) / 4) / OPERATIONS[size]  # large products are faster

    asked: list[str] = []
    chosen = choose(rate, seconds)
    few = list(asked)
    best = min(OPERATIONS, key=lambda size: abs(math.log(OPERATIONS[size] / (seconds * rate(size) / 10))))
    assert chosen.size == best
    assert chosen.tokens_per_s == rate(best)
    assert few == list(chosen.timed) and few[0] == "2x128"
    assert len(few) == len(set(few)) <= 4


def test_the_vocabulary_grows_with_the_time_and_is_no_larger_than_the_corpus_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planner, "flops_per_s", lambda *_: 8e10)

    def chosen(minutes: float | None, train_bytes: int) -> int:
        return choose_vocabulary(TrainSettings(minutes=minutes), train_bytes, time.time())

    by_time = [chosen(minutes, 7_000_000) for minutes in (1, 5, 20, 120)]
    assert by_time == sorted(by_time) and by_time[0] < by_time[-1]
    assert chosen(None, 7_000_000) == suggested_vocabulary(7_000_000) == 4096
    assert all(chosen(minutes, 50_000) == 512 for minutes in (1, 20, 120))


def test_more_time_gives_no_smaller_model() -> None:
    def size(minutes: float) -> int:
        operations = {s: config_for(s, 4096, 256).flops_per_token(256) for s in CANDIDATES}
        configs = {s: config_for(s, 4096, 256) for s in CANDIDATES}
        chosen = choose_size(
            operations,
            lambda s: 1e11 / operations[s],
            lambda s, rate: expected_bits(configs[s], rate * 60 * minutes, 6_000_000),
        )
        return CANDIDATES.index(chosen.size)

    sizes = [size(minutes) for minutes in (1, 2, 5, 10, 20, 60, 120)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


@pytest.mark.parametrize(
    ("minutes", "operations_per_s", "width"), [(2, 1.1e11, 128), (5, 1.38e11, 128), (20, 1.9e11, 192)]
)
def test_wide_models_are_for_trainings_in_which_they_were_better(
    minutes: float, operations_per_s: float, width: int
) -> None:
    """As measured on 6 MB of C by two cores, with that many operations a second: docs/planner.md, "Against a grid"."""
    configs = {size: config_for(size, 3072 if minutes > 10 else 1536, 2048) for size in CANDIDATES}
    tokens = {s: operations_per_s * (60 * minutes - 40) / c.flops_per_token(2048) for s, c in configs.items()}
    best = min(CANDIDATES, key=lambda size: expected_bits(configs[size], tokens[size], 6_500_000))
    assert configs[best].width == width


def test_a_small_corpus_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "flops_per_s", lambda *_: 8e10)
    monkeypatch.setattr(planner, "probe", lambda *_: 20_000.0)
    small = Data(20_000, 1_000, vocabulary=512, windows_per_epoch=6, train_bytes=50_000)
    made = plan_for(TrainSettings(minutes=20), 256, small, time.time())
    passes = int(most_passes(made.model.parameters, small.train_tokens))
    assert 4 < passes < 12 and made.epochs == passes and made.deadline is not None
    assert made.steps == math.ceil(passes * made.steps_per_epoch)
    assert any(f"{passes} passes" in note for note in made.notes)
    assert made.dropout == MOST.dropout and made.renaming == MOST_RENAMING and not made.compile
    tiny = Data(750, 60, vocabulary=512, windows_per_epoch=1, train_bytes=2_000)
    assert plan_for(TrainSettings(minutes=20), 64, tiny, time.time()).model.parameters < 1e6
    assert plan_for(TrainSettings(minutes=20), 256, DATA, time.time()).steps is None
    assert plan_for(TrainSettings(minutes=20, epochs=100), 256, small, time.time()).epochs == 100


def test_what_could_be_learnt_by_heart_is_regularised_unless_the_settings_say_how(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planner, "flops_per_s", lambda *_: 8e10)
    monkeypatch.setattr(planner, "probe", lambda *_: 10_000.0)

    def asked(minutes: float | None, **settings: object) -> tuple[float, float, float]:
        made = plan_for(TrainSettings(minutes=minutes, **settings), 256, DATA, time.time())
        return made.dropout, made.weight_decay, made.renaming

    assert asked(1) == asked(3, size="2x128") == LITTLE  # a quarter of a weight for each token, some four times
    dropout, weight_decay, renaming = asked(14, size="2x128")
    assert (dropout, weight_decay) == LITTLE[:2] and 0 < renaming < 0.2
    dropout, weight_decay, renaming = asked(30, size="3x128")
    assert (dropout, weight_decay) == SOME[:2] and 0.2 < renaming < 0.5
    assert asked(45, size="3x128")[:2] == MUCH[:2]
    assert asked(None, epochs=10)[:2] == MUCH[:2]
    assert asked(None, epochs=2) == LITTLE
    assert asked(20, dropout=0.0, weight_decay=0.2, renaming=0.3) == (0.0, 0.2, 0.3)


def test_a_training_that_is_compiled_is_expected_to_get_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "flops_per_s", lambda *_: 8e10)
    monkeypatch.setattr(planner, "probe", lambda *_: 10_000.0)

    def expected(**settings: object) -> float:
        made = plan_for(TrainSettings(minutes=5, size="3x128", **settings), 256, DATA, time.time())  # type: ignore[arg-type]
        assert made.expected_bits_per_byte is not None
        return made.expected_bits_per_byte

    assert expected(compile="on") < expected(compile="off")


def test_what_a_compressor_makes_of_the_files_changes_what_is_expected_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planner, "flops_per_s", lambda *_: 8e10)
    monkeypatch.setattr(planner, "probe", lambda *_: 10_000.0)
    started = time.time()
    usual, alike = (
        plan_for(TrainSettings(minutes=5), 1024, replace(DATA, ppmd_bits_per_byte=ppmd), started)
        for ppmd in (TYPICAL, TYPICAL / 2)
    )
    assert usual.expected_bits_per_byte is not None and alike.expected_bits_per_byte is not None
    assert 0.5 < alike.expected_bits_per_byte / usual.expected_bits_per_byte < 0.8
    assert alike.model == usual.model


@pytest.mark.parametrize(("speed", "minutes", "context"), [(8e10, 1, 1024), (8e10, 20, 2048), (8e11, 2, 2048)])
def test_windows_are_longer_where_there_is_time_for_it(
    monkeypatch: pytest.MonkeyPatch, speed: float, minutes: float, context: int
) -> None:
    monkeypatch.setattr(planner, "flops_per_s", lambda *_: speed)
    assert context_for(TrainSettings(minutes=minutes), 2_000_000) == context
    assert context_for(TrainSettings(minutes=minutes), 50_000) == 1024  # of which a training reads no more than 3 M
    assert context_for(TrainSettings(minutes=minutes, context=64), 2_000_000) == 64


def test_a_context_that_is_too_long_for_the_data_is_shorter_and_the_plan_says_so() -> None:
    tiny = Data(train_tokens=600, validation_tokens=60, vocabulary=300, windows_per_epoch=1, train_bytes=2_000)
    assert any("context 32 instead of 256" in note for note in plan_for(TrainSettings(), 32, tiny, 0.0).notes)


def test_a_model_is_timed_once() -> None:
    probe.cache_clear()
    config = config_for("nano", 512, 64)
    assert probe(config, "fp32") == probe(config, "fp32") > 0
    assert probe.cache_info().misses == 1


def test_kernels_of_an_earlier_run_are_used_in_shorter_trainings() -> None:
    settings = TrainSettings(minutes=2.5, size="nano")
    plans = []
    for _ in range(2):
        plans.append(plan_for(settings, 64, DATA, 1e12))
        KernelCache(cache_directory()).complete(Shape.of(plans[-1]))
    assert [plan.compile for plan in plans] == [False, True]

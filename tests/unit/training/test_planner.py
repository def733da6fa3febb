"""What the planner measures, and what it foresees before the data are there."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cllm.model.config import config_for
from cllm.runstore import RunStore
from cllm.settings import TrainSettings
from cllm.training.kernels import KernelCache, Shape, cache_directory
from cllm.training.plan import Data
from cllm.training.planner import CANDIDATES, foresee, plan_for, plan_run, probe
from cllm.training.shards import Shards, write_shards
from cllm.workspace import RunDirectory

DATA = Data(train_tokens=2_000_000, validation_tokens=100_000, vocabulary=512, windows_per_epoch=650)


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

        def known(train_bytes: int, vocabulary: int) -> None:
            assert not run.tokenizer.exists()
            foreseen.append(foresee(settings, train_bytes, vocabulary, started=1e12))

        write_shards(run, (tiny_corpus,), settings, False, store, known=known)
    plan = plan_run(settings, Shards.load(run), started=1e12)
    (early,) = foreseen
    assert early is not None
    assert Shape.of(early) == Shape.of(plan)
    assert (early.ranks, early.threads_per_rank, early.compile) == (plan.ranks, plan.threads_per_rank, plan.compile)


def test_nothing_is_foreseen_of_a_training_that_cannot_be() -> None:
    assert foresee(TrainSettings(size="200x8192"), 1_000_000, 512, started=1e12) is None


def test_models_that_are_too_large_for_the_time_are_not_timed() -> None:
    """Half a minute is too little for the second candidate on any machine; the third is then not looked at."""
    told: list[tuple[int, int]] = []
    probe.cache_clear()
    plan_for(TrainSettings(minutes=0.36), 64, DATA, time.time(), lambda *numbers: told.append(numbers))
    assert told[0] == (0, len(CANDIDATES))
    assert told[-1][0] < len(CANDIDATES)


def test_a_model_is_timed_once() -> None:
    probe.cache_clear()
    config = config_for("nano", 512, 64)
    assert probe(config, False) == probe(config, False) > 0
    assert probe.cache_info().misses == 1


def test_kernels_of_an_earlier_run_are_used_in_shorter_trainings() -> None:
    settings = TrainSettings(minutes=2.5, size="nano")
    plans = []
    for _ in range(2):
        plans.append(plan_for(settings, 64, DATA, 1e12))
        KernelCache(cache_directory()).complete(Shape.of(plans[-1]))
    assert [plan.compile for plan in plans] == [False, True]

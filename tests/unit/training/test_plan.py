"""The plan: what the settings leave open, and what it refuses."""

from __future__ import annotations

import pytest

from cllm.errors import InvalidSettings, NotEnoughMemory
from cllm.settings import TrainSettings
from cllm.training.plan import (
    LITTLE,
    LONG_CONTEXT,
    LONG_PAYS_FROM,
    MOST,
    MUCH,
    SHORT_CONTEXT,
    SOME,
    Data,
    Machine,
    Plan,
    choose_microbatches,
    compile_pays,
    default_size,
    extended,
    fitting_context,
    make_plan,
    most_passes,
    regularisation_for,
    wanted_context,
    with_ranks,
)

DATA = Data(
    train_tokens=2_000_000, validation_tokens=100_000, vocabulary=4096, windows_per_epoch=650, train_bytes=7_000_000
)
TWO_CORES = Machine(cores=2, memory_bytes=20 << 30, bf16_pays=True, has_compiler=True)


def plan(data: Data = DATA, machine: Machine = TWO_CORES, context: int = 256, **settings: object) -> Plan:
    return make_plan(TrainSettings(**settings), "mini", context, data, machine, 10_000.0, 1000.0)


def test_epochs_make_whole_epochs() -> None:
    made = plan(epochs=3)
    assert made.steps == -(-3 * 12 * 650 // 32)
    assert made.steps / made.steps_per_epoch >= 3
    assert (made.microbatches, made.ranks, made.threads_per_rank) == (4, 2, 1)
    assert made.precision == "bf16"
    assert made.deadline is None


def test_minutes_leave_the_steps_open_unless_epochs_are_given_too() -> None:
    assert plan(minutes=5).steps is None
    assert plan(minutes=5).deadline == 1300.0
    assert plan(minutes=5, epochs=1).steps is not None


def test_microbatches_never_depend_on_the_threads_asked_for() -> None:
    assert {plan(threads=t).microbatches for t in range(1, 13)} == {4}
    assert [plan(threads=t).ranks for t in (1, 2, 3, 4, 9)] == [1, 2, 3, 4, 4]
    assert plan(threads=9).threads_per_rank == 2
    assert choose_microbatches(TrainSettings(batch_size=48), 48, 16) == 12


def test_microbatches_must_divide() -> None:
    with pytest.raises(InvalidSettings, match="possible are 1, 2, 4"):
        plan(microbatches=5)
    with pytest.raises(InvalidSettings, match="possible are 1, 2, 4"):
        plan(microbatches=3, batch_size=32)


@pytest.mark.parametrize(("cores", "batch"), [(1, 32), (4, 32), (5, 36), (16, 36)])
def test_every_core_has_a_microbatch_of_a_default_batch(cores: int, batch: int) -> None:
    made = plan(machine=Machine(cores, 20 << 30, True, True))
    assert made.batch_size == batch
    assert (made.ranks, made.threads_per_rank) == (min(cores, 12), 1)
    assert plan(machine=Machine(cores, 20 << 30, True, True), batch_size=32).microbatches == 4
    assert plan(microbatches=3).batch_size == 33


def test_a_batch_larger_than_the_data() -> None:
    tiny = Data(train_tokens=600, validation_tokens=60, vocabulary=300, windows_per_epoch=1, train_bytes=2_000)
    with pytest.raises(InvalidSettings, match="use --batch-size 12 or less"):
        plan(tiny, batch_size=13)
    made = plan(tiny, context=32)
    assert made.batch_size == 12
    assert any("batch size 12 instead of 32" in note for note in made.notes)


@pytest.mark.parametrize(("context", "batch"), [(64, 16), (256, 16), (512, 8), (1024, 4), (2048, 2)])
def test_with_a_time_limit_a_step_has_about_as_many_tokens_whatever_the_context(context: int, batch: int) -> None:
    data = Data(2_000_000, 100_000, 2048, 100, 6_000_000)
    assert plan(data, context=context, minutes=5).batch_size == batch
    assert plan(data, context=context, minutes=5, batch_size=24).batch_size == 24
    assert plan(data, context=context).batch_size == 32
    assert plan(data, context=context, minutes=60).batch_size == min(16, 2 * batch)


@pytest.mark.parametrize(
    ("cores", "context", "batch"), [(1, 2048, 2), (3, 1024, 3), (5, 2048, 6), (8, 512, 12), (64, 64, 12)]
)
def test_with_a_time_limit_every_core_has_a_microbatch(cores: int, context: int, batch: int) -> None:
    made = plan(machine=Machine(cores, 20 << 30, True, True), context=context, minutes=5)
    assert (made.batch_size, made.microbatches) == (batch, min(batch, 12))
    assert made.ranks * made.threads_per_rank >= min(cores, 12)


def test_with_a_time_limit_windows_are_longer() -> None:
    assert wanted_context(TrainSettings()) == 256
    assert wanted_context(TrainSettings(minutes=5)) == SHORT_CONTEXT == 1024
    assert wanted_context(TrainSettings(minutes=5), LONG_PAYS_FROM) == LONG_CONTEXT == 2048
    assert wanted_context(TrainSettings(minutes=5, context=256), 1e9) == 256
    assert wanted_context(TrainSettings(), 1e9) == 256


def test_too_little_memory_says_what_to_do() -> None:
    with pytest.raises(NotEnoughMemory, match="--batch-size"):
        plan(machine=Machine(cores=2, memory_bytes=100 << 20, bf16_pays=True, has_compiler=True))


@pytest.mark.parametrize(("tokens", "context"), [(10, 16), (33, 32), (50, 32), (255, 128), (257, 256), (10_000, 256)])
def test_the_context_fits_into_a_sphere(tokens: int, context: int) -> None:
    assert fitting_context(256, tokens) == context
    assert fitting_context(8, tokens) == 8


def test_default_sizes_grow_with_the_corpus() -> None:
    assert [default_size(n) for n in (1_000, 300_000, 1_000_000, 10_000_000)] == ["nano", "micro", "mini", "small"]


def test_compiling_needs_a_compiler_and_time() -> None:
    assert plan(minutes=10).compile
    assert not plan(minutes=1).compile
    assert not plan(minutes=10, machine=Machine(2, 20 << 30, True, False)).compile
    assert plan(minutes=1, compile="on").compile


def test_a_resume_moves_the_end_but_keeps_what_sets_the_bits() -> None:
    made = plan(epochs=2)
    more = extended(with_ranks(made, 3), 4, None, 0, 0)
    assert (more.ranks, more.epochs) == (3, 4)
    assert more.steps == 2 * made.steps or more.steps == 2 * made.steps - 1
    assert (more.microbatches, more.batch_size, more.threads_per_rank) == (4, 32, 1)
    assert extended(plan(minutes=5), None, 5, 100, 2000).deadline == 2200


@pytest.mark.parametrize(
    ("seconds", "cached", "pays"), [(30, True, False), (100, True, True), (100, False, False), (300, False, True)]
)
def test_kernels_that_are_there_already_pay_sooner(seconds: float, cached: bool, pays: bool) -> None:
    assert compile_pays(TrainSettings(), TWO_CORES, seconds, cached) is pays


def test_compiling_is_what_a_person_says_if_they_say_it() -> None:
    assert compile_pays(TrainSettings(compile="on"), TWO_CORES, 1)
    assert not compile_pays(TrainSettings(compile="off"), TWO_CORES, 1e6, cached=True)


def test_regularised_is_what_the_weights_could_hold_the_more_the_more_often_it_is_seen() -> None:
    assert regularisation_for(1, 0.5) == regularisation_for(4, 0.5) == regularisation_for(2, 2) == LITTLE
    assert regularisation_for(6, 0.5) == regularisation_for(3, 2) == LITTLE._replace(renaming=0.04)
    assert regularisation_for(6, 2) == SOME._replace(renaming=0.18)
    assert regularisation_for(13, 1) == MUCH._replace(renaming=0.42)
    assert regularisation_for(16, 4) == MUCH._replace(renaming=0.5)
    assert regularisation_for(20, 4) == regularisation_for(60, 10) == MOST._replace(renaming=0.5)


def test_a_network_gains_by_fewer_passes_the_more_of_the_data_it_could_hold() -> None:
    assert int(most_passes(1_000_000, 1_000_000)) == 54
    assert int(most_passes(600_000, 170_000)) == 29
    assert int(most_passes(500_000, 20_000)) == 10
    assert most_passes(500_000, 100) < 1

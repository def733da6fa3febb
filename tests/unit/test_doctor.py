"""The judgement: what is chosen on which machine, and what a person is told to do."""

import pytest

from cllm.doctor import Gpu, advise, choose
from cllm.errors import InvalidSettings
from cllm.machine import Compiler, Memory, Processor
from cllm.settings import TrainSettings

WHOLE = Compiler("/usr/bin/g++", "g++ 12", openmp=True, python_headers=True)
BARE = Compiler("/usr/bin/g++", "g++ 12", openmp=False, python_headers=False)


def processor(usable: int = 4, *features: str) -> Processor:
    return Processor("A processor", 4, 8, usable, features)


@pytest.mark.parametrize(("usable", "ranks", "threads"), [(1, 1, 1), (2, 2, 1), (4, 4, 1), (24, 4, 6)])
def test_every_core_gets_work(usable: int, ranks: int, threads: int) -> None:
    choice = choose(processor(usable), WHOLE, True, True, TrainSettings(batch_size=4))
    assert (choice.ranks, choice.threads_per_rank) == (ranks, threads)
    assert str(usable) in choice.why_ranks


def test_precision_and_its_reason() -> None:
    choice = choose(processor(4, "AVX2", "AMX BF16"), WHOLE, True, True, TrainSettings())
    assert (choice.precision, choice.why_precision) == ("bf16", "the processor has AMX BF16")
    choice = choose(processor(4, "AVX2"), WHOLE, True, False, TrainSettings())
    assert choice.precision == "fp32"
    assert "not faster" in choice.why_precision


@pytest.mark.parametrize(
    ("compiler", "can", "reason"),
    [
        (WHOLE, True, "longer than"),
        (None, False, "no C++ compiler"),
        (BARE, False, "g++ has no OpenMP and no Python.h"),
    ],
)
def test_compiling_and_its_reason(compiler: Compiler | None, can: bool, reason: str) -> None:
    choice = choose(processor(), compiler, can, True, TrainSettings())
    assert choice.compile is can
    assert reason in choice.why_compile


def test_settings_that_contradict_each_other_are_refused_as_in_a_training() -> None:
    with pytest.raises(InvalidSettings, match="microbatches"):
        choose(processor(), WHOLE, True, True, TrainSettings(microbatches=5))


def test_a_good_machine_needs_no_advice() -> None:
    assert advise(processor(4), Memory(16 << 30, 8 << 30), 50 << 30, True, WHOLE, ()) == []


@pytest.mark.parametrize(
    ("changed", "advice"),
    [
        ({"writable": False}, "cannot be written"),
        ({"disk_free": 3 << 20}, "0.0 GB of disk"),
        ({"memory": Memory(16 << 30, 1 << 30)}, "1.1 GB of memory"),
        ({"compiler": None}, "install a C++ compiler"),
        ({"compiler": BARE}, "Python's headers"),
        ({"processor": processor(2)}, "only 2 of 4 cores"),
        ({"gpus": (Gpu("cuda", "A GPU", 1 << 30),)}, "A GPU is not used"),
    ],
)
def test_each_want_is_told(changed: dict[str, object], advice: str) -> None:
    good = {
        "processor": processor(), "memory": Memory(16 << 30, 8 << 30), "disk_free": 50 << 30, "writable": True,
        "compiler": WHOLE, "gpus": (),
    }  # fmt: skip
    (line,) = advise(**(good | changed))
    assert advice in line

"""The cache of compiled kernels, and the process that fills it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cllm.model.config import config_for
from cllm.settings import TrainSettings
from cllm.training import kernels
from cllm.training.kernels import KernelCache, Precompiler, Shape, cache_directory
from cllm.training.plan import Data, Machine, make_plan


def shape(size: str = "nano", vocabulary: int = 512, windows: int = 4, context: int = 64) -> Shape:
    one = config_for(size, vocabulary, context).model_copy(update={"layers": 1})
    return Shape(model=one, windows=windows, precision="fp32", threads=1)


@pytest.fixture
def cache(tmp_path: Path) -> KernelCache:
    return KernelCache(tmp_path / "cache")


def test_what_the_compiled_code_depends_on() -> None:
    assert shape().key == shape(vocabulary=1024).key  # the layer's; the loss has a mark of its own
    others = [shape("micro"), shape(windows=5), shape(context=128), shape().model_copy(update={"precision": "bf16"})]
    assert len({s.key for s in (shape(), *others)}) == 5


def test_layers_that_look_differently_far_share_what_is_compiled() -> None:
    model = config_for("6x128", 512, 512)
    plan = make_plan(
        TrainSettings(minutes=5), "6x128", 512, Data(10**6, 10**5, 512, 100, 10**6), Machine(2, 1 << 40, False, True),
        1e4, 0.0,
    )  # fmt: skip
    assert plan.model == model and len(set(model.reach)) == 2
    one = Shape.of(plan).model
    assert one.layers == 1 and one.reach == ()
    assert Shape.model_validate_json(Shape.of(plan).model_dump_json()) == Shape.of(plan)


def test_a_shape_is_complete_for_one_vocabulary(cache: KernelCache) -> None:
    assert not cache.is_complete(shape())
    cache.complete(shape())
    assert cache.is_complete(shape())
    assert not cache.is_complete(shape(vocabulary=1024))
    assert not cache.is_complete(shape("micro"))


def test_the_cache_is_its_owners_alone(cache: KernelCache, tmp_path: Path) -> None:
    path = cache.directory(shape())
    assert path is not None
    assert {p.stat().st_mode & 0o777 for p in (path, path.parent)} == {0o700}


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o755])
def test_a_directory_that_others_may_enter_is_not_used(cache: KernelCache, tmp_path: Path, mode: int) -> None:
    cache.complete(shape())
    (tmp_path / "cache").chmod(mode)
    assert cache.directory(shape()) is None
    assert not cache.is_complete(shape())


def test_a_link_to_another_place_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "cache").symlink_to(tmp_path / "elsewhere")
    assert KernelCache(tmp_path / "cache").directory(shape()) is None


def test_no_place_for_a_cache_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    nowhere = KernelCache(tmp_path / "file" / "cache")
    assert nowhere.directory(shape()) is None
    nowhere.used(shape())
    nowhere.complete(shape())
    assert not nowhere.is_complete(shape())


def test_the_place_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLLM_CACHE", str(tmp_path))
    assert cache_directory() == tmp_path / "compiled"


def test_what_was_not_used_for_longest_goes_first(cache: KernelCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "MOST_BYTES", 250_000)
    shapes = [shape(windows=n) for n in range(1, 5)]
    for age, each in enumerate(shapes):
        path = cache.directory(each)
        assert path is not None
        (path / "kernel.so").write_bytes(bytes(100_000))
        cache.complete(each)
        old = time.time() - (10 - age) * kernels.IN_USE_S
        os.utime(path, (old, old))
    cache.used(shapes[0])
    assert [cache.is_complete(each) for each in shapes] == [True, False, False, True]


def test_what_is_in_use_stays_however_much_it_is(cache: KernelCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "MOST_BYTES", 10)
    for each in (shape(windows=1), shape(windows=2)):
        cache.complete(each)
        cache.used(each)
    assert cache.is_complete(shape(windows=1)) and cache.is_complete(shape(windows=2))


class Started:
    """Starts a Python program in place of the one that compiles, and remembers it."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.processes: list[subprocess.Popen[bytes]] = []

    def __call__(self, _shape: Shape, directory: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", self.program, str(directory)]
        self.processes.append(subprocess.Popen(command, start_new_session=True))
        return self.processes[-1]


def ended(precompiler: Precompiler, outcome: Path) -> str:
    until = time.monotonic() + 30
    while not outcome.exists():
        precompiler.poll()
        assert time.monotonic() < until
        time.sleep(0.01)
    return outcome.read_text()


def test_a_shape_is_compiled_once(cache: KernelCache, tmp_path: Path) -> None:
    start, outcome = Started("import sys, pathlib; pathlib.Path(sys.argv[1], 'kernel.so').touch()"), tmp_path / "out"
    precompiler = Precompiler(cache, outcome, start)
    precompiler.want(shape())
    precompiler.want(shape())
    assert ended(precompiler, outcome) == "yes"
    path = cache.directory(shape())
    assert path is not None and (path / "kernel.so").exists()
    again = Precompiler(cache, tmp_path / "again", start)
    again.want(shape())
    assert (tmp_path / "again").read_text() == "yes"
    assert len(start.processes) == 1


def test_a_compiler_that_fails_says_no_and_marks_nothing(cache: KernelCache, tmp_path: Path) -> None:
    precompiler = Precompiler(cache, tmp_path / "out", Started("raise SystemExit(1)"))
    precompiler.want(shape())
    assert ended(precompiler, tmp_path / "out") == "no"
    assert not cache.is_complete(shape())


def test_a_wrong_guess_is_given_up(cache: KernelCache, tmp_path: Path) -> None:
    start = Started("import time; time.sleep(600)")
    precompiler = Precompiler(cache, tmp_path / "out", start)
    precompiler.want(shape())
    precompiler.want(shape("micro"))
    assert start.processes[0].poll() is not None
    assert start.processes[1].poll() is None
    precompiler.want(None)
    assert start.processes[1].poll() is not None
    assert not (tmp_path / "out").exists()


def test_kernels_that_cannot_be_cached_lie_with_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    start = Started("import sys, os; os.mkdir(sys.argv[1])")
    precompiler = Precompiler(KernelCache(tmp_path / "file" / "cache"), tmp_path / "out", start)
    precompiler.want(shape())
    assert ended(precompiler, tmp_path / "out") == "yes"
    assert (tmp_path / "kernels").is_dir()

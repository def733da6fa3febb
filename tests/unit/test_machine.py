"""Facts about the machine: limits of containers, a Mac's answers, compilers with parts missing, measured speed."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from cllm import machine

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="cgroups and affinity are Linux's")


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`cgroup("0::/a/b", {"a/b/cpu.max": "100 100"})`: this process seems to be in these groups."""
    (tmp_path / "fs").mkdir()
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "fs")
    monkeypatch.setattr(machine, "_OWN_CGROUPS", tmp_path / "own")

    def make(own: str, files: dict[str, str]) -> None:
        (tmp_path / "own").write_text(own + "\n")
        for name, text in files.items():
            path = tmp_path / "fs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")

    return make


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def quota_1(controllers: str, quota: str) -> dict[str, str]:
    """The files of version 1 of cgroups."""
    return {f"{controllers}/cpu.cfs_quota_us": quota, f"{controllers}/cpu.cfs_period_us": "100000"}


def memory_2(group: str, limit: str, used: str, stat: str = "") -> dict[str, str]:
    """The files of version 2 of cgroups."""
    return {f"{group}/memory.max": limit, f"{group}/memory.current": used, f"{group}/memory.stat": stat}


def memory_1(group: str, limit: str, used: str, stat: str = "") -> dict[str, str]:
    return {
        f"memory/{group}/memory.limit_in_bytes": limit,
        f"memory/{group}/memory.usage_in_bytes": used,
        f"memory/{group}/memory.stat": stat,
    }


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("0::/", {}, 8),
        ("0::/", {"cpu.max": "max 100000"}, 8),
        ("0::/", {"cpu.max": "300000 100000"}, 3),
        ("0::/", {"cpu.max": "250000 100000"}, 2),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/job/step", {"job/cpu.max": "200000 100000", "job/step/cpu.max": "max 100000"}, 2),
        ("0::/job/step", {"other/cpu.max": "200000 100000"}, 8),
        ("4:cpu,cpuacct:/docker/1\n0::/", quota_1("cpu,cpuacct", "400000"), 4),
        ("4:cpu:/", quota_1("cpu", "-1"), 8),
        ("4:cpuset:/", quota_1("cpu", "100000"), 8),
    ],
)  # fmt: skip
def test_a_quota_limits_the_cores(cgroup, own: str, files: dict[str, str], cores: int) -> None:
    cgroup(own, files)
    assert machine.usable_cores() == cores


@pytest.mark.parametrize(
    ("own", "files", "total", "available"),
    [
        ("0::/x", memory_2("x", "1000000", "400000", "anon 5\ninactive_file 100000"), 1_000_000, 700_000),
        ("0::/x", memory_2("x", "max", "400000") | memory_2(".", "900000", "850000"), 900_000, 50_000),
        ("0::/x", memory_2("x", "1000", "2000"), 1000, 0),
        ("9:memory:/x", memory_1("x", "1000000", "300000", "inactive_file 7"), 1_000_000, 700_007),
        ("9:memory:/x", memory_1("x", "1000000", "300000", "total_inactive_file 9"), 1_000_000, 700_009),
    ],
)
def test_a_containers_memory_counts(cgroup, own: str, files: dict[str, str], total: int, available: int) -> None:
    cgroup(own, files)
    assert machine.memory().total == total
    assert machine.memory().available == available
    assert machine.available_memory_bytes() == available


def test_without_a_limit_the_machines_memory_counts(cgroup) -> None:
    cgroup("9:memory:/", memory_1(".", "9223372036854771712", "1"))
    assert machine.memory().total == psutil.virtual_memory().total
    assert abs(machine.memory().available - psutil.virtual_memory().available) < 1 << 30


@LINUX
def test_affinity_limits_the_cores() -> None:
    script = "import os; from cllm.machine import usable_cores; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    done = subprocess.run([sys.executable, "-c", f"{script}; print(usable_cores())"], capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`mac({"hw.x": "1"})`: a machine without /proc whose `sysctl -n NAME` gives these answers."""
    monkeypatch.setattr(machine, "_MACOS", True)
    for name in ("_CPUINFO", "_OWN_CGROUPS", "_CGROUPS"):
        monkeypatch.setattr(machine, name, tmp_path / "nothing")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def make(answers: dict[str, str]) -> None:
        cases = "".join(f"{name}) echo '{value}' ;;\n" for name, value in answers.items())
        sysctl = tmp_path / "sysctl"
        sysctl.write_text(f'#!/bin/sh\ncase "$2" in\n{cases}*) echo "unknown oid" >&2; exit 1 ;;\nesac\n')
        sysctl.chmod(0o755)

    return make


def test_an_apple_silicon_mac(mac, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.platform, "machine", lambda: "arm64")
    mac({"machdep.cpu.brand_string": "Apple M2", "hw.perflevel0.logicalcpu": "4", "hw.optional.arm.FEAT_BF16": "1"})
    found = machine.processor()
    assert (found.model, found.usable_cores, found.logical_cores) == ("Apple M2", 4, 8)
    assert found.features == ("Neon", "Arm BF16")


def test_an_intel_mac(mac) -> None:
    mac({"machdep.cpu.features": "SSE4.2 FMA AVX1.0", "machdep.cpu.leaf7_features": "BMI1 AVX2 AVX512F"})
    assert machine.processor_features() == ("AVX2", "AVX-512")
    assert machine.usable_cores() == 8
    assert machine.processor().model


@pytest.mark.parametrize(
    ("line", "features", "pays"),
    [
        ("flags\t\t: fpu sse2", (), False),
        ("flags\t\t: fpu avx2", ("AVX2",), False),
        ("flags\t\t: avx2 avx512f avx512_bf16", ("AVX2", "AVX-512", "AVX-512 BF16"), True),
        ("flags\t\t: avx2 amx_tile amx_bf16", ("AVX2", "AMX BF16"), True),
        ("Features\t: fp asimd", ("Neon",), False),
    ],
)
def test_flags_decide_where_they_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, features: tuple[str, ...], pays: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nmodel name\t: A processor\n{line}\n\nprocessor\t: 1\n")
    monkeypatch.setattr(machine, "_MACOS", False)
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    assert machine.processor_features() == features
    assert machine.processor().model == "A processor"
    assert machine.bf16_pays.__wrapped__() is pays


@pytest.mark.parametrize(("bf16", "pays"), [(120, False), (140, True)])
def test_measuring_decides_where_flags_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bf16: float, pays: bool
) -> None:
    (tmp_path / "cpuinfo").write_text("Features\t: fp asimd sve bf16\n")
    monkeypatch.setattr(machine, "_MACOS", False)
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine, "measure_gemm", lambda precision, *_: {"fp32": 100, "bf16": bf16}[precision])
    assert machine.bf16_pays.__wrapped__() is pays


def compiler_that_refuses(option: str, directory: Path) -> Path:
    """A compiler that works, but for one option."""
    path = directory / "c++"
    path.write_text(
        f'#!/bin/sh\nfor o in "$@"; do [ "$o" = "{option}" ] && exit 1; done\nexec {shutil.which("g++")} "$@"\n'
    )
    path.chmod(0o755)
    return path


@pytest.mark.skipif(sys.platform == "darwin" or not shutil.which("g++"), reason="needs g++")
@pytest.mark.parametrize(
    ("refused", "openmp", "headers", "enough"),
    [("-none", True, True, True), ("-fopenmp", False, True, False), ("-DWITH_PYTHON", True, False, False)],
)
def test_what_a_compiler_lacks_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str, openmp: bool, headers: bool, enough: bool
) -> None:
    monkeypatch.setenv("CXX", str(compiler_that_refuses(refused, tmp_path)))
    found = machine.cpp_compiler.__wrapped__()
    assert (found.openmp, found.python_headers) == (openmp, headers)
    monkeypatch.setattr(machine, "cpp_compiler", lambda: found)
    assert machine.has_cpp_compiler() is enough


@pytest.mark.parametrize("script", ["exit 1", "exit 0", 'printf "#!/bin/sh\\necho 7" > "$3"; chmod +x "$3"', None])
def test_a_compiler_whose_programs_do_not_run_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    path = tmp_path / "c++"
    if script is not None:
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    monkeypatch.setenv("CXX", str(path))
    assert machine.cpp_compiler.__wrapped__() is None
    monkeypatch.setattr(machine, "cpp_compiler", lambda: None)
    assert not machine.has_cpp_compiler()


def test_measured_speed_is_that_of_the_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "GEMM_SHAPES", ((512, 512, 512),))
    inputs, weight = torch.ones(512, 512), torch.ones(512, 512)
    times = []
    for _ in range(30):
        begin = time.perf_counter()
        torch.nn.functional.linear(inputs, weight)
        times.append(time.perf_counter() - begin)
    expected = 2 * 512**3 / sorted(times)[15] / 1e9
    before = torch.get_num_threads()
    assert expected / 5 < machine.measure_gemm("fp32", 1, 0.3) < expected * 5
    assert torch.get_num_threads() == before


def test_measuring_takes_the_time_it_is_given() -> None:
    machine.measure_gemm("bf16", 2, 0.1)
    begin = time.perf_counter()
    assert machine.measure_gemm("bf16", 2, 0.3) > 0.1
    assert 0.25 < time.perf_counter() - begin < 3
    assert torch.get_num_threads() == 1

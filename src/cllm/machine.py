"""Facts about this machine: what a process may use of its cores and memory, what its processor can do, how fast it is.

Linux and macOS. Where a fact cannot be found out, the answer is the careful one. torch is loaded only to measure.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import psutil

Precision = Literal["fp32", "bf16"]

_MACOS = sys.platform == "darwin"
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")
_CPUINFO = Path("/proc/cpuinfo")
GEMM_SHAPES = ((1024, 256, 1024), (1024, 512, 2048), (1024, 256, 4096))  # (tokens, in, out): MLP, wider MLP, logits
BF16_GAIN = 1.3  # bf16 costs conversions around the matrix products; below this gain it does not pay

# What the flags of /proc/cpuinfo (x86, Arm) and the keys of sysctl (macOS) are called here.
_FEATURES = {
    "AVX2": {"avx2"},
    "AVX-512": {"avx512f"},
    "AVX-512 BF16": {"avx512_bf16", "avx512bf16"},
    "AMX BF16": {"amx_bf16"},
    "Neon": {"asimd", "neon"},
    "SVE": {"sve"},
    "Arm BF16": {"bf16", "feat_bf16"},
}
_MEASURED_BF16 = {"Arm BF16"}  # some of these processors gain by it, some have slow libraries
_FAST_BF16 = {"AVX-512 BF16", "AMX BF16"}

_COMPILER_TEST = r"""
#ifdef WITH_PYTHON
#include <Python.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif
#include <cstdio>
#include <vector>
int main() {
    std::vector<int> v(1000, 1);
    int sum = 0;
    #pragma omp parallel for reduction(+:sum)
    for (int i = 0; i < 1000; i++) sum += v[i];
#ifdef _OPENMP
    sum += omp_get_max_threads() > 0 ? 0 : 1;
#endif
    std::printf("%d", sum);
}
"""


@dataclass(frozen=True)
class Processor:
    """The processor, and how much of it this process may use."""

    model: str
    physical_cores: int
    logical_cores: int
    usable_cores: int
    features: tuple[str, ...]  # names in `_FEATURES`


@dataclass(frozen=True)
class Memory:
    """In bytes; a cgroup's limit counts as the machine's."""

    total: int
    available: int


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler that made programs which ran."""

    command: str
    version: str
    openmp: bool
    python_headers: bool


def _output(*command: str) -> str:
    """What a command printed, or "" if it failed or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _sysctl(*names: str) -> str:
    """The first of `names` that this macOS knows, else ""."""
    return next((value for name in names if (value := _output("sysctl", "-n", name))), "") if _MACOS else ""


def _text(path: Path) -> str:
    """A file of the system, or "" where there is none."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _cgroups(controller: str) -> Iterator[Path]:
    """The directories whose limits for `controller` ("cpu", "memory") bind this process: its own and those above it."""
    for line in _text(_OWN_CGROUPS).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            roots = [_CGROUPS, _CGROUPS / "unified"]
        elif controller in controllers.split(","):
            roots = [_CGROUPS / controllers, _CGROUPS / controller]
        else:
            continue
        inside = Path(path.lstrip("/"))
        for root in roots:
            yield from (root / part for part in (inside, *inside.parents))


def _cpu_quota() -> float:
    """Cores' worth of time that cgroups allow; infinite where they set no limit."""
    quotas = [float("inf")]
    for group in _cgroups("cpu"):
        limit = _text(group / "cpu.max").split()  # version 2: "200000 100000" or "max 100000"
        limit = limit or [_text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")]  # version 1: -1 = none
        if len(limit) == 2 and limit[0].isdigit() and limit[1].isdigit():
            quotas.append(int(limit[0]) / int(limit[1]))
    return min(quotas)


def usable_cores() -> int:
    """Cores that ranks can run on at once: those this process may use, within the quota of its cgroup, at least 1.

    On Apple's processors only the performance cores count: ranks go in step, and would wait for those on the others.
    """
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = int(_sysctl("hw.perflevel0.logicalcpu") or os.cpu_count() or 1)
    return max(1, int(min(allowed, _cpu_quota())))


def memory() -> Memory:
    """Memory of this machine, or of the container in which this process runs."""
    machine = psutil.virtual_memory()
    total, available = machine.total, machine.available
    for group in _cgroups("memory"):
        limit = _text(group / "memory.max") or _text(group / "memory.limit_in_bytes")
        used = _text(group / "memory.current") or _text(group / "memory.usage_in_bytes")
        if not limit.isdigit() or not used.isdigit() or int(limit) >= machine.total:
            continue
        # Cached files count as used, and are given up when memory is needed.
        cached = re.search(r"^(?:total_)?inactive_file (\d+)$", _text(group / "memory.stat"), re.MULTILINE)
        free = int(limit) - int(used) + (int(cached[1]) if cached else 0)
        total, available = min(total, int(limit)), min(available, max(0, free))
    return Memory(total, available)


def available_memory_bytes() -> int:
    """Bytes that a training can take without swapping or being killed."""
    return memory().available


def processor_features() -> tuple[str, ...]:
    """The instruction sets that matter to matrix products, in the spelling of `_FEATURES`."""
    if _MACOS:
        flags = _sysctl("machdep.cpu.features") + " " + _sysctl("machdep.cpu.leaf7_features")
        found = set(flags.lower().split())
        if platform.machine() == "arm64":
            found |= {"neon"} | ({"feat_bf16"} if _sysctl("hw.optional.arm.FEAT_BF16") == "1" else set())
    else:
        lines = re.findall(r"^(?:flags|Features)\s*:(.*)$", _text(_CPUINFO), re.MULTILINE)
        found = set(lines[0].lower().split()) if lines else set()
    return tuple(name for name, flags in _FEATURES.items() if flags & found)


def processor_model() -> str:
    """Name of the processor."""
    named = re.search(r"^model name\s*:\s*(.+)$", _text(_CPUINFO), re.MULTILINE)
    return (named[1] if named else _sysctl("machdep.cpu.brand_string")) or platform.processor() or platform.machine()


def processor() -> Processor:
    """The processor of this machine."""
    logical = os.cpu_count() or 1
    physical = psutil.cpu_count(logical=False) or logical
    return Processor(processor_model(), physical, logical, usable_cores(), processor_features())


def _compiles(command: str, directory: Path, *options: str) -> bool:
    """Whether `command` makes a program of `_COMPILER_TEST` that runs here and counts to a thousand."""
    program = directory / "test"
    program.unlink(missing_ok=True)
    _output(command, str(directory / "test.cpp"), "-o", str(program), *options)
    return _output(str(program)) == "1000"


@cache
def cpp_compiler() -> Compiler | None:
    """The compiler that torch.compile would take (`$CXX`, else clang++ on macOS and g++ elsewhere), if it works."""
    command = shutil.which(os.environ.get("CXX") or ("clang++" if _MACOS else "g++"))
    if command is None:
        return None
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "test.cpp").write_text(_COMPILER_TEST)
        openmp = "-fopenmp"
        # Only compiled: an extension takes the interpreter's functions from the process that loads it.
        headers = ("-DWITH_PYTHON", f"-I{sysconfig.get_path('include')}")
        everything = _compiles(command, directory, openmp, *headers)
        if not everything and not _compiles(command, directory):
            return None
        return Compiler(
            command=command,
            version=_output(command, "--version").partition("\n")[0],
            openmp=everything or _compiles(command, directory, openmp),
            python_headers=everything or _compiles(command, directory, *headers),
        )


def has_cpp_compiler() -> bool:
    """Whether torch.compile can make its kernels here. The first time tiny programs are compiled (up to a second)."""
    compiler = cpp_compiler()
    # On macOS torch brings OpenMP along; the compiler there has none.
    return compiler is not None and compiler.python_headers and (compiler.openmp or _MACOS)


def measure_gemm(precision: Precision, threads: int, seconds: float = 1.0) -> float:
    """GFLOP/s of matrix products as a small transformer makes them, with `threads` threads of this process.

    The median time of each of `GEMM_SHAPES`; it takes about `seconds`. Other work on the machine makes the figure less.
    """
    import torch

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        medians = []
        for tokens, fan_in, fan_out in GEMM_SHAPES:
            inputs, weight = torch.ones(tokens, fan_in, dtype=dtype), torch.ones(fan_out, fan_in, dtype=dtype)
            times: list[float] = []
            end = time.perf_counter() + seconds / len(GEMM_SHAPES)
            while len(times) < 2 or time.perf_counter() < end:
                begin = time.perf_counter()
                torch.nn.functional.linear(inputs, weight)
                times.append(time.perf_counter() - begin)
            medians.append(statistics.median(times[1:]))  # the first one prepares the kernel
    finally:
        torch.set_num_threads(threads_before)
    return sum(2 * m * k * n for m, k, n in GEMM_SHAPES) / sum(medians) / 1e9


def mfu(tokens_per_s: float, flops_per_token: float, gflops: float) -> float:
    """Model FLOPs utilisation (Chowdhery et al. 2022, PaLM): the share, 0 to 1, of a measured speed of products."""
    return tokens_per_s * flops_per_token / (gflops * 1e9)


@cache
def bf16_pays() -> bool:
    """Whether training on this processor is faster in bf16: by its features, or measured where they do not decide."""
    features = set(processor_features())
    if features & _FAST_BF16:
        return True
    if features & _MEASURED_BF16:
        return measure_gemm("bf16", 1, 0.3) > BF16_GAIN * measure_gemm("fp32", 1, 0.3)
    return False

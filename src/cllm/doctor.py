"""What this machine has, what a training will therefore use and why, and how fast its matrix products are."""

from __future__ import annotations

import os
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from cllm import machine
from cllm.machine import Compiler, Memory, Precision, Processor
from cllm.settings import TrainSettings
from cllm.training.plan import COMPILE_PAYS_AFTER_S, choose_microbatches, deal_threads, wanted_batch

LITTLE_MEMORY = 2 << 30  # bytes: below it the larger models do not fit
LITTLE_DISK = 1 << 30  # bytes: a run of the default size writes some hundred megabytes


@dataclass(frozen=True)
class Torch:
    """The torch that is installed, and the libraries it multiplies matrices with."""

    version: str
    blas: str
    onednn: str  # version, or "" where torch was built without it
    capability: str  # the instruction set torch takes for itself, such as AVX512


@dataclass(frozen=True)
class Gpu:
    """A graphics processor that torch can use."""

    kind: str  # "cuda" or "mps"
    name: str
    memory: int  # bytes; 0 where it is the machine's own


@dataclass(frozen=True)
class Speed:
    """Measured matrix products."""

    precision: Precision
    threads: int
    gflops: float  # GFLOP/s


@dataclass(frozen=True)
class Choice:
    """What training will use, and why."""

    device: str
    ranks: int
    threads_per_rank: int
    microbatches: int
    why_ranks: str
    precision: Precision
    why_precision: str
    compile: bool  # in trainings that are long enough to win by it
    why_compile: str


@dataclass(frozen=True)
class Diagnosis:
    """Everything `cllm doctor` has to say."""

    system: str
    python: str
    torch: Torch
    processor: Processor
    memory: Memory
    disk_free: int  # bytes, in the workspace
    compiler: Compiler | None
    gpus: tuple[Gpu, ...]
    speeds: tuple[Speed, ...]
    training: Choice
    advice: tuple[str, ...]  # what a person could do to make training better, or possible


def examine(workspace: Path, measure: bool = True) -> Diagnosis:
    """Look at this machine; with `measure`, also time matrix products for about five seconds."""
    processor, memory, compiler = machine.processor(), machine.memory(), machine.cpp_compiler()
    disk_free = shutil.disk_usage(workspace).free
    gpus = _gpus()
    choice = choose(processor, compiler, machine.has_cpp_compiler(), machine.bf16_pays(), TrainSettings())
    return Diagnosis(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        torch=_torch(),
        processor=processor,
        memory=memory,
        disk_free=disk_free,
        compiler=compiler,
        gpus=gpus,
        speeds=_speeds(processor.usable_cores) if measure else (),
        training=choice,
        advice=tuple(advise(processor, memory, disk_free, os.access(workspace, os.W_OK), compiler, gpus)),
    )


def choose(
    processor: Processor, compiler: Compiler | None, can_compile: bool, bf16_pays: bool, settings: TrainSettings
) -> Choice:
    """What a training with `settings` uses on such a machine. Pure."""
    cores = processor.usable_cores
    microbatches = choose_microbatches(settings, wanted_batch(settings, settings.context, cores), cores)
    ranks, threads = deal_threads(settings, microbatches, cores, [])
    if bf16_pays:
        why_precision = f"the processor has {' and '.join(name for name in processor.features if 'BF16' in name)}"
    else:
        why_precision = "this processor is not faster in bf16"
    if can_compile:
        why_compile = f"a C++ compiler works; it pays in trainings longer than {COMPILE_PAYS_AFTER_S:g} s"
    elif compiler is None:
        why_compile = "no C++ compiler works here"
    else:
        missing = [
            name for name, there in (("OpenMP", compiler.openmp), ("Python.h", compiler.python_headers)) if not there
        ]
        why_compile = f"{Path(compiler.command).name} has no {' and no '.join(missing)}"
    return Choice(
        device="cpu",
        ranks=ranks,
        threads_per_rank=threads,
        microbatches=microbatches,
        why_ranks=f"{cores} of {processor.logical_cores} cores can be used, and a step has {microbatches} microbatches",
        precision="bf16" if bf16_pays else "fp32",
        why_precision=why_precision,
        compile=can_compile,
        why_compile=why_compile,
    )


def advise(
    processor: Processor,
    memory: Memory,
    disk_free: int,
    writable: bool,
    compiler: Compiler | None,
    gpus: tuple[Gpu, ...],
) -> list[str]:
    """What to do about what is missing; nothing where all is well. Pure."""
    advice = []
    if not writable:
        advice.append("this directory cannot be written to: change to one where runs and models may lie")
    if disk_free < LITTLE_DISK:
        advice.append(f"only {disk_free / 1e9:.1f} GB of disk are free here: make room for checkpoints")
    if memory.available < LITTLE_MEMORY:
        advice.append(
            f"only {memory.available / 1e9:.1f} GB of memory are free: close other programs, or use a small --size"
        )
    if compiler is None:
        advice.append(
            "install a C++ compiler (Debian: apt install g++; macOS: xcode-select --install): longer trainings gain"
        )
    elif not compiler.python_headers:
        advice.append("install Python's headers (Debian: apt install python3-dev): longer trainings gain")
    if processor.usable_cores < processor.physical_cores:
        cores = f"{processor.usable_cores} of {processor.physical_cores} cores"
        advice.append(f"only {cores} may be used: lift the limit of the container or the affinity to train faster")
    if gpus:
        advice.append(f"{gpus[0].name} is not used: this version trains on the processor")
    return advice


def _speeds(cores: int) -> tuple[Speed, ...]:
    threads = (1,) if cores == 1 else (1, cores)
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    return tuple(Speed(p, n, round(machine.measure_gemm(p, n), 1)) for p in precisions for n in threads)


def _torch() -> Torch:
    import torch

    built = torch.__config__.show()
    blas = re.search(r"BLAS_INFO=(\w+)", built)
    onednn = re.search(r"MKL-DNN v([\w.]+)", built)
    return Torch(
        version=torch.__version__,
        blas=blas[1] if blas else "unknown",
        onednn=onednn[1] if onednn and torch.backends.mkldnn.is_available() else "",
        capability=torch.backends.cpu.get_cpu_capability(),
    )


def _gpus() -> tuple[Gpu, ...]:
    import torch

    if torch.cuda.is_available():
        found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        return tuple(Gpu("cuda", one.name, one.total_memory) for one in found)
    return (Gpu("mps", "Apple GPU", 0),) if torch.backends.mps.is_available() else ()

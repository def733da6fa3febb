"""What compressors make of the held-out text when they may read the training text first.

The conditional size C(training + held-out) - C(training), as in the normalised compression distance (Cilibrasi &
Vitanyi 2005). This is generous to the compressor: it also learns from each held-out file for the next ones, while
the network meets every file with the same weights.
"""

from __future__ import annotations

import json
import lzma
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from cllm import ppmd
from cllm.machine import available_memory_bytes

_XZ_MIN, _XZ_MAX = 1 << 16, 1536 << 20  # bounds of the dictionary
ZPAQ_MOST_S = 180.0


def xz_bytes(*parts: bytes, stop: Event | None = None) -> int:
    """Size of `parts`, one after another, under `xz -9e` with a dictionary that holds all of it, as a raw stream."""
    # xz takes about eleven times its dictionary, and two of them run at once.
    dictionary = max(_XZ_MIN, min(sum(map(len, parts)), _XZ_MAX, available_memory_bytes() // 32))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": dictionary}]
    compressor = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=filters)
    size = sum(len(compressor.compress(chunk)) for part in parts for chunk in ppmd.chunks(part, stop))
    return size + len(compressor.flush())


def conditional_xz_bytes(training: bytes, held_out: bytes, stop: Event | None = None) -> int:
    """Bytes that xz needs for `held_out` after `training`; both runs side by side."""
    with ThreadPoolExecutor(1) as pool:
        alone = pool.submit(xz_bytes, training, stop=stop)
        return xz_bytes(training, held_out, stop=stop) - alone.result()


def run_compressors(training: bytes, held_out: bytes, done: Callable[[str], None] = lambda _: None) -> dict[str, int]:
    """Sizes of `held_out` in bytes: "xz" and "ppmd" after the training text, "xz_alone" without; on all cores at once.

    `done` is told the name of each as it is ready, from another thread. All of them release the interpreter lock, and
    all end soon after an exception such as Ctrl-C.
    """
    stop = Event()
    jobs: dict[str, Callable[[], int]] = {
        "xz": lambda: conditional_xz_bytes(training, held_out, stop),
        "ppmd": lambda: ppmd.conditional_bytes(training, held_out, stop),
        "xz_alone": lambda: xz_bytes(held_out, stop=stop),
    }

    def run(name: str) -> int:
        size = jobs[name]()
        done(name)
        return size

    with ThreadPoolExecutor(len(jobs)) as pool:
        try:
            return dict(zip(jobs, pool.map(run, jobs), strict=True))
        except BaseException:
            stop.set()
            raise


def each_ppmd_bytes(training: bytes, files: Sequence[bytes]) -> list[int]:
    """Bytes that PPMd needs for each of `files` alone after `training`: nothing is learned from one for the next."""
    job = {"training": len(training), "files": [len(f) for f in files]}
    command = [sys.executable, "-m", "cllm.evaluation.alone"]
    data = b"".join((json.dumps(job).encode(), b"\n", training, *files))
    found: list[int] = json.loads(subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout)
    return found


def conditional_zpaq_bytes(training: bytes, held_out: bytes, most_s: float = ZPAQ_MOST_S) -> int | None:
    """Bytes that `zpaq -m5` needs for `held_out` after `training`; None where there is no such program.

    Raises `subprocess.TimeoutExpired` after `most_s` seconds.
    """
    program = shutil.which("zpaq")
    if program is None:
        return None
    until = time.monotonic() + most_s

    def size(directory: Path, name: str, *parts: bytes) -> int:
        (directory / name).write_bytes(b"".join(parts))
        command = [program, "add", f"{name}.zpaq", name, "-m5", "-t1"]
        subprocess.run(
            command, cwd=directory, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            timeout=max(0.0, until - time.monotonic()),
        )  # fmt: skip
        return (directory / f"{name}.zpaq").stat().st_size

    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(1) as pool:
        alone = pool.submit(size, Path(directory), "training", training)
        return size(Path(directory), "both", training, held_out) - alone.result()

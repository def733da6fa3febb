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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import psutil
import pyppmd

PPMD_ORDER = 16
PPMD_MEMORY_PER_BYTE = 64  # bytes of model for each byte of text: more than it uses on code, so it never starts anew
_PPMD_MIN, _PPMD_MAX = 16 << 20, (1 << 32) - (1 << 20)
_XZ_MIN, _XZ_MAX = 1 << 16, 1536 << 20  # bounds of the dictionary
_CHUNK = 1 << 20
ZPAQ_MOST_S = 180.0


def _chunks(data: bytes, stop: Event | None) -> Iterator[memoryview]:
    """`data` in parts; fewer of them once `stop` is set, which spoils the result and is for when nobody wants it."""
    view = memoryview(data)
    for at in range(0, len(data), _CHUNK):
        if stop is not None and stop.is_set():
            return
        yield view[at : at + _CHUNK]


def _available_bytes() -> int:
    return int(psutil.virtual_memory().available)


def xz_bytes(*parts: bytes, stop: Event | None = None) -> int:
    """Size of `parts`, one after another, under `xz -9e` with a dictionary that holds all of it, as a raw stream."""
    # xz takes about eleven times its dictionary, and two of them run at once.
    dictionary = max(_XZ_MIN, min(sum(map(len, parts)), _XZ_MAX, _available_bytes() // 32))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": dictionary}]
    compressor = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=filters)
    size = sum(len(compressor.compress(chunk)) for part in parts for chunk in _chunks(part, stop))
    return size + len(compressor.flush())


def conditional_xz_bytes(training: bytes, held_out: bytes, stop: Event | None = None) -> int:
    """Bytes that xz needs for `held_out` after `training`; both runs side by side."""
    with ThreadPoolExecutor(1) as pool:
        alone = pool.submit(xz_bytes, training, stop=stop)
        return xz_bytes(training, held_out, stop=stop) - alone.result()


def conditional_ppmd_bytes(training: bytes, held_out: bytes, stop: Event | None = None) -> int:
    """Bytes that PPMd (variant I, order 16) needs for `held_out` after `training`.

    PPMd reads its text once, so one run gives both sizes; a few bytes in the range coder count as held-out.
    """
    wanted = max(_PPMD_MIN, PPMD_MEMORY_PER_BYTE * (len(training) + len(held_out)))
    encoder = pyppmd.Ppmd8Encoder(PPMD_ORDER, min(wanted, _PPMD_MAX, max(_PPMD_MIN, _available_bytes() // 2)))
    for chunk in _chunks(training, stop):
        encoder.encode(chunk)
    size: int = sum(len(encoder.encode(chunk)) for chunk in _chunks(held_out, stop)) + len(encoder.flush())
    return size


def run_compressors(training: bytes, held_out: bytes, done: Callable[[str], None] = lambda _: None) -> dict[str, int]:
    """Sizes of `held_out` in bytes: "xz" and "ppmd" after the training text, "xz_alone" without; on all cores at once.

    `done` is told the name of each as it is ready, from another thread. All of them release the interpreter lock, and
    all end soon after an exception such as Ctrl-C.
    """
    stop = Event()
    jobs: dict[str, Callable[[], int]] = {
        "xz": lambda: conditional_xz_bytes(training, held_out, stop),
        "ppmd": lambda: conditional_ppmd_bytes(training, held_out, stop),
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
    wanted = max(_PPMD_MIN, PPMD_MEMORY_PER_BYTE * (len(training) + max(map(len, files), default=0)))
    job = {
        "order": PPMD_ORDER,
        "memory": min(wanted, _PPMD_MAX, max(_PPMD_MIN, _available_bytes() // 2)),
        "training": len(training),
        "files": [len(f) for f in files],
    }
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

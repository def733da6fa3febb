"""Work in several processes: the same results in the same order, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from cllm.corpus import parallel
from cllm.corpus.gather import Source, examine_all
from cllm.machine import usable_cores

several_cores = pytest.mark.skipif(usable_cores() < 2, reason="one core has no processes")


def where(number: int) -> tuple[int, int]:
    time.sleep(0.02 * (number % 3))
    return number, os.getpid()


def fail(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


def end(_: int) -> None:
    os._exit(9)


@several_cores
def test_much_text_goes_to_other_processes_and_comes_back_in_order() -> None:
    with parallel.executor(parallel.LEAST_BYTES) as pool:
        done = list(parallel.in_order(pool, where, range(40)))
    assert [number for number, _ in done] == list(range(40))
    assert os.getpid() not in {process for _, process in done}


def test_little_text_stays_in_this_process() -> None:
    with parallel.executor(parallel.LEAST_BYTES - 1) as pool:
        assert list(parallel.in_order(pool, where, range(3))) == [(n, os.getpid()) for n in range(3)]


def test_an_error_comes_out_where_it_happened() -> None:
    got = []
    with parallel.executor(0) as pool, pytest.raises(ValueError, match="three"):
        got.extend(n for n in parallel.in_order(pool, fail, range(10)))
    assert got in ([], [0, 1, 2])


@several_cores
def test_a_process_that_the_system_ends_is_an_error_of_ours() -> None:
    from cllm.errors import NotEnoughMemory

    with parallel.executor(parallel.LEAST_BYTES) as pool, pytest.raises(NotEnoughMemory, match="ended by the system"):
        list(parallel.in_order(pool, end, range(4)))


@several_cores
def test_processes_end_with_a_killed_parent(tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(
        "import time\n"
        "from cllm.corpus import parallel\n"
        "if __name__ == '__main__':\n"
        "    with parallel.executor(parallel.LEAST_BYTES) as pool:\n"
        "        for _ in range(4):\n"
        "            pool.submit(time.sleep, 600)\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == "ready\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        time.sleep(2.0)  # they are at work
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert children
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive


def test_files_are_examined_alike_in_threads_and_in_processes(tiny_corpus: Path) -> None:
    sources = [Source(p.name, str(p), p.stat().st_size) for p in sorted(tiny_corpus.iterdir())]
    threads, processes = (list(examine_all(sources, size)) for size in (0, parallel.LEAST_BYTES))
    assert [(e.source, e.sha256, e.reason, e.language) for e in threads] == [
        (e.source, e.sha256, e.reason, e.language) for e in processes
    ]
    assert all(np.array_equal(a.signature, b.signature) for a, b in zip(threads, processes, strict=True))

"""A real full disk while a corpus is written: one clear error, and nothing lost."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cllm.corpus.prepare import prepare
from cllm.errors import StorageFull


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True)
    if os.geteuid() != 0 or mounted.returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("kilobytes", [180, 1000])
def test_a_full_disk(small_disk: Path, tmp_path: Path, kilobytes: int) -> None:
    """180 kB: the first pass fits and the output beside it does not; 1000 kB: the first pass does not fit."""
    rng = random.Random(1)
    root = tmp_path / "root"
    root.mkdir()
    for n in range(kilobytes // 10):
        names = ["".join(rng.choices("abcdefghijklmnop", k=14)) for _ in range(500)]
        (root / f"m{n}.py").write_text("".join(f"{name} = 1\n" for name in names))
    out = small_disk / "repo_code.txt"
    out.write_text("mine\n")
    with pytest.raises(StorageFull, match="no space left"):
        prepare([root], out)
    assert out.read_text() == "mine\n"
    assert os.listdir(small_disk) == ["repo_code.txt"]

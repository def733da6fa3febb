"""Conditional sizes: less for what the training text holds, never less than the information that is new."""

from __future__ import annotations

import lzma
import random
import shutil
import subprocess
from pathlib import Path

import pyppmd
import pytest

from cllm import ppmd
from cllm.evaluation import compressors


def text(seed: int, lines: int = 400) -> bytes:
    draw = random.Random(seed)
    names = [f"name_{draw.randrange(10_000)}" for _ in range(200)]
    return "".join(
        f"    {draw.choice(names)} = {draw.choice(names)}({draw.randrange(100)})\n" for _ in range(lines)
    ).encode()


TRAINING = text(1)


@pytest.mark.parametrize("size", [compressors.conditional_xz_bytes, ppmd.conditional_bytes])
def test_what_was_in_the_training_text_is_nearly_free(size: object) -> None:
    assert callable(size)
    assert size(TRAINING, TRAINING) < len(TRAINING) / 50
    assert size(TRAINING, text(2)) > 5 * size(TRAINING, TRAINING)
    noise = random.Random(3).randbytes(5000)
    assert size(TRAINING, noise) == pytest.approx(5000, rel=0.1)


def test_ppmd_in_one_run_is_the_difference_of_two() -> None:
    def whole(data: bytes) -> int:
        encoder = pyppmd.Ppmd8Encoder(ppmd.ORDER, 16 << 20)
        return len(encoder.encode(data)) + len(encoder.flush())

    held_out = text(2)
    assert abs(ppmd.conditional_bytes(TRAINING, held_out) - (whole(TRAINING + held_out) - whole(TRAINING))) <= 10


def test_the_dictionary_of_xz_holds_everything() -> None:
    """A repeat 2 MB back is found, and the raw stream is smaller than an .xz file."""
    far = random.Random(5).randbytes(2 << 20)
    assert compressors.conditional_xz_bytes(far, far[:100_000]) < 1000
    assert compressors.xz_bytes(TRAINING) < len(lzma.compress(TRAINING, preset=9 | lzma.PRESET_EXTREME))


def test_all_of_them_side_by_side() -> None:
    done: list[str] = []
    held_out = text(2)
    found = compressors.run_compressors(TRAINING, held_out, done.append)
    assert sorted(done) == sorted(found) == ["ppmd", "xz", "xz_alone"]
    assert found["xz"] == compressors.conditional_xz_bytes(TRAINING, held_out)
    assert found["ppmd"] == ppmd.conditional_bytes(TRAINING, held_out)
    assert found["xz_alone"] == compressors.xz_bytes(held_out)


def test_each_file_alone_is_what_a_run_for_it_alone_gives() -> None:
    training = b"".join(b"int f%d(int x) { return x + %d; }\n" % (n, n) for n in range(300))
    files = [b"int g(int x) { return x * 2; }\n" * 3, b"", b"completely different \xe2\x82\xac text\n" * 5]
    for size, file in zip(compressors.each_ppmd_bytes(training, files), files, strict=True):
        assert abs(size - ppmd.conditional_bytes(training, file)) <= 8  # of the range coder's last bytes
        assert size <= len(file)


def test_zpaq_learns_from_the_training_text_where_there_is_one() -> None:
    text = bytes(random.Random(0).choices(b"abcdefgh \n", k=20_000))
    size = compressors.conditional_zpaq_bytes(text, text)
    assert (size is None) == (shutil.which("zpaq") is None)
    if size is not None:
        assert size < 0.1 * len(text)


@pytest.mark.skipif(shutil.which("zpaq") is None, reason="there is no zpaq")
def test_zpaq_that_takes_too_long_is_ended() -> None:
    text = Path(__file__).read_bytes() * 200
    with pytest.raises(subprocess.TimeoutExpired):
        compressors.conditional_zpaq_bytes(text, text, most_s=0.05)

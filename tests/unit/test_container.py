"""The bytes of a .cllm file: whatever is wrong in it is one clear InvalidCheckpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from cllm import container
from cllm.container import MAGIC, Header
from cllm.errors import InvalidCheckpoint, StorageFull

SECTIONS = {"weights": bytes(range(256)) * 4, "tokenizer": b'{"a": 1}', "empty": b"", "odd": b"x" * 77}


def header(**changes) -> Header:
    return Header(
        **{
            "kind": "checkpoint", "name": "name", "cllm_version": "0", "model": {"layers": 2}, "weights_sha256": "w",
            "tokenizer_sha256": "t", "step": 7, "epoch": 1.5, "state": {"loss": 0.25}, **changes,
        }
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "a.cllm"
    container.write(file, header(), SECTIONS)
    return file


def test_round_trip(path: Path) -> None:
    read, sections = container.read(path)
    assert sections == SECTIONS
    assert read.model_copy(update={"sections": ()}) == header(created=read.created)
    assert all(s.offset % 64 == 0 for s in read.sections)
    assert container.read_header(path) == read
    assert container.read(path, ["odd"])[1] == {"odd": SECTIONS["odd"]}


@pytest.mark.parametrize("filler", range(60, 70))
def test_headers_of_any_length(tmp_path: Path, filler: int) -> None:
    """Offsets and the header's length depend on each other."""
    container.write(tmp_path / "b.cllm", header(name="n" * filler), SECTIONS)
    assert container.read(tmp_path / "b.cllm")[1] == SECTIONS


def test_every_truncation_is_found(path: Path) -> None:
    data = path.read_bytes()
    for length in [*range(0, 400, 7), *range(400, len(data), 61), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(InvalidCheckpoint, match=r"a\.cllm: "):
            container.read_header(path)


def test_every_changed_byte_is_found(path: Path) -> None:
    data = path.read_bytes()
    for place in [*range(0, 60), *range(60, len(data), 13), len(data) - 1]:
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :])
        with pytest.raises(InvalidCheckpoint):
            container.verify(path)


def test_what_follows_the_last_section_is_found(path: Path) -> None:
    with open(path, "ab") as stream:
        stream.write(b"x")
    with pytest.raises(InvalidCheckpoint, match="1 bytes follow"):
        container.read_header(path)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "not a .cllm file"),
        (b"PK\x03\x04 a zip file or a pickle of torch", "not a .cllm file"),
        (MAGIC[:6], "truncated"),
        (MAGIC.replace(b"\r\n", b"\n") + b"x" * 60, "text mode"),
        (MAGIC + (99).to_bytes(4, "little") + b"x" * 60, "newer CLLM"),
        (MAGIC + (1).to_bytes(4, "little") + b"\xff" * 60, "header is corrupt"),
    ],
)
def test_what_is_no_cllm_file_says_why(tmp_path: Path, data: bytes, what: str) -> None:
    path = tmp_path / "x.cllm"
    path.write_bytes(data)
    with pytest.raises(InvalidCheckpoint, match=what):
        container.read_header(path)


def test_a_missing_file_a_directory_and_a_missing_section(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidCheckpoint, match="no such file"):
        container.read(tmp_path / "nothing.cllm")
    with pytest.raises(InvalidCheckpoint, match="directory"):
        container.read(tmp_path)
    with pytest.raises(InvalidCheckpoint, match="it has no optimizer"):
        container.read(path, ["optimizer"])


def test_a_full_disk_leaves_the_old_file(path: Path, tmp_path: Path, small_disk: Path) -> None:
    target = small_disk / "model.cllm"
    container.write(target, header(), SECTIONS)
    before = target.read_bytes()
    with pytest.raises(StorageFull, match="no space left"):
        container.write(target, header(step=8), {"weights": bytes(8 << 20)})
    assert target.read_bytes() == before
    assert [p.name for p in small_disk.iterdir()] == ["model.cllm"]

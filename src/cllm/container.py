"""The bytes of a `.cllm` file (docs/format.md): a bounded JSON header, then sections, a digest over each of them.

    0   8   magic  43 4c 4c 4d 0d 0a 1a 0a  ("CLLM", and bytes that a text-mode copy would damage, as in PNG)
    8   4   format version, little endian
    12  4   length of the header in bytes, little endian, at most 16 MiB
    16  32  SHA-256 of the header
    48      header: JSON, UTF-8
            sections, each at a multiple of 64 bytes, in the order of the header; zero bytes between, nothing after

No compression, no pickle, no torch: the tensors are safetensors blobs that `cllm.checkpoint` makes.
"""

from __future__ import annotations

import hashlib
import json
import struct
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cllm.errors import InvalidCheckpoint
from cllm.storage import atomic_writer

MAGIC = b"CLLM\r\n\x1a\n"
VERSION = 1
MAX_HEADER_BYTES = 16 << 20
_ALIGNMENT = 64
_PREAMBLE = struct.Struct("<8sII32s")


class Section(BaseModel):
    """Where a section lies in the file, in bytes from its start, and the SHA-256 of what is in it."""

    model_config = ConfigDict(frozen=True)

    name: str
    offset: int = Field(ge=0)
    length: int = Field(ge=0)
    sha256: str


class Header(BaseModel):
    """What a `.cllm` file says of itself."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["model", "checkpoint"]
    name: str
    created: float = Field(default_factory=time.time)  # seconds since the epoch
    cllm_version: str
    model: dict[str, Any]  # the fields of `ModelConfig`
    weights_sha256: str  # of the tensors' names, types, shapes and values (`checkpoint.weights_sha256`)
    tokenizer_sha256: str
    step: int = 0
    epoch: float = 0.0
    run: str | None = None  # id of the run
    corpus: str | None = None  # path of the prepared text it was trained on
    manifest_sha256: str | None = None
    settings: dict[str, Any] = {}  # the training settings
    training: dict[str, Any] = {}  # metrics: the summary of the training so far
    state: dict[str, Any] = {}  # checkpoints: what the trainer needs beside tensors to go on
    sections: tuple[Section, ...] = ()


def _invalid(path: Path, what: str) -> InvalidCheckpoint:
    return InvalidCheckpoint(f"{path}: {what}")


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT


def _encode(header: Header, sections: Mapping[str, bytes]) -> tuple[bytes, list[Section]]:
    """Header bytes and placed sections. Offsets depend on the header's length, and it on them: a fixed point."""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sections.items()}
    length = 0
    while True:
        offset = _PREAMBLE.size + length
        placed = []
        for name, data in sections.items():
            offset = _aligned(offset)
            placed.append(Section(name=name, offset=offset, length=len(data), sha256=digests[name]))
            offset += len(data)
        encoded = json.dumps(
            header.model_copy(update={"sections": tuple(placed)}).model_dump(), allow_nan=False
        ).encode()
        encoded += b" " * max(0, length - len(encoded))
        if len(encoded) == length:
            return encoded, placed
        length = len(encoded)


def write(path: Path, header: Header, sections: Mapping[str, bytes]) -> None:
    """Write a `.cllm` file as a whole: temporary name, fsync, every digest read back, rename. Raises `StorageFull`."""
    encoded, placed = _encode(header, sections)
    assert len(encoded) <= MAX_HEADER_BYTES
    with atomic_writer(path, verify=verify) as stream:
        stream.write(_PREAMBLE.pack(MAGIC, VERSION, len(encoded), hashlib.sha256(encoded).digest()))
        stream.write(encoded)
        for section in placed:
            stream.write(b"\0" * (section.offset - stream.tell()))
            stream.write(sections[section.name])


def _read_header(stream: BinaryIO, path: Path) -> Header:
    preamble = stream.read(_PREAMBLE.size)
    if not preamble.startswith(MAGIC[:4]):
        raise _invalid(path, "not a .cllm file")
    if len(preamble) < _PREAMBLE.size:
        raise _invalid(path, "truncated: it ends within its first bytes; use another checkpoint")
    magic, version, length, digest = _PREAMBLE.unpack(preamble)
    if magic != MAGIC:
        raise _invalid(path, "damaged by a copy in text mode: copy it again in binary mode")
    if version > VERSION:
        raise _invalid(path, f"written by a newer CLLM (format {version}, this one reads up to {VERSION}): update CLLM")
    if version < 1 or length > MAX_HEADER_BYTES:
        raise _invalid(path, "its header is corrupt; use another checkpoint")
    encoded = stream.read(length)
    if len(encoded) < length:
        raise _invalid(path, "truncated: it ends within its header; use another checkpoint")
    if hashlib.sha256(encoded).digest() != digest:
        raise _invalid(path, "its header does not match its digest: the file is corrupt; use another checkpoint")
    try:
        header = Header.model_validate_json(encoded)
    except (ValidationError, RecursionError) as error:
        raise _invalid(path, "its header is not one of a .cllm file; use another checkpoint") from error
    end = _PREAMBLE.size + length
    for section in header.sections:
        if section.offset < end:
            raise _invalid(path, f"section {section.name!r} overlaps what is before it: the file is corrupt")
        end = section.offset + section.length
    size = path.stat().st_size
    if size < end:
        raise _invalid(path, f"truncated: {size} of {end} bytes are there; use another checkpoint")
    if size > end:
        raise _invalid(path, f"{size - end} bytes follow its last section: the file is corrupt; use another checkpoint")
    return header


def _open(path: Path) -> BinaryIO:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise _invalid(path, "there is no such file") from None
    except IsADirectoryError:
        raise _invalid(path, "this is a directory, not a .cllm file") from None
    except PermissionError:
        raise _invalid(path, "it may not be read: check its permissions") from None


def read_header(path: Path) -> Header:
    """The header of a file whose lengths are right; sections are not read. Raises `InvalidCheckpoint`."""
    with _open(Path(path)) as stream:
        return _read_header(stream, Path(path))


def read(path: Path, names: Iterable[str] | None = None) -> tuple[Header, dict[str, bytes]]:
    """The header and the sections in `names` (all if None), their digests verified. Raises `InvalidCheckpoint`."""
    path = Path(path)
    wanted = None if names is None else set(names)
    with _open(path) as stream:
        header = _read_header(stream, path)
        found = {}
        end = stream.tell()
        for section in header.sections:
            stream.seek(end)
            if any(stream.read(section.offset - end)):
                raise _invalid(
                    path, "there are bytes between its sections: the file is corrupt; use another checkpoint"
                )
            end = section.offset + section.length
            if wanted is not None and section.name not in wanted:
                continue
            data = stream.read(section.length)
            if hashlib.sha256(data).hexdigest() != section.sha256:
                raise _invalid(
                    path,
                    f"section {section.name!r} does not match its digest: the file is corrupt; use another checkpoint",
                )
            found[section.name] = data
    if wanted is not None and (missing := wanted - found.keys()):
        raise _invalid(path, f"it has no {', '.join(sorted(missing))}: it is a {header.kind}, not what is needed here")
    return header, found


def verify(path: Path) -> None:
    """Read everything once; raises `InvalidCheckpoint` if any byte that matters is wrong."""
    read(path)

"""Files that are either whole or not there.

A file is written under a unique temporary name in its own directory, flushed to the disk, optionally verified,
renamed over the target, and the directory is flushed too (the sequence of SQLite's and LevelDB's atomic commits).
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from cllm.errors import StorageFull

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def fsync_directory(directory: Path) -> None:
    """Make the renames in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def full_disk_is_an_error_of_ours(target: Path) -> Iterator[None]:
    """Turn "no space left" into `StorageFull`, which says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(
                f"no space left to write {target}: free some space there and run the command again; "
                "nothing that was there before is lost"
            ) from error
        raise


@contextmanager
def atomic_writer(target: Path, verify: Callable[[Path], None] | None = None) -> Iterator[BinaryIO]:
    """Write `target` as a whole or not at all.

    `verify` gets the temporary file after it is on the disk and raises if it is not right; the target is then
    untouched. Raises `StorageFull` when the disk is full.
    """
    target = Path(target)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    with full_disk_is_an_error_of_ours(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            if verify is not None:
                verify(temporary)
            os.replace(temporary, target)
            fsync_directory(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(target: Path, data: bytes) -> None:
    """Write `data` to `target` as a whole or not at all."""
    with atomic_writer(target) as stream:
        stream.write(data)


def write_json(target: Path, value: Any) -> None:
    """Write `value` as indented JSON to `target` as a whole or not at all."""
    write_bytes(target, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def numbered(target: Path) -> Path:
    """The first of `name.1.ext`, `name.2.ext`, ... beside `target` that does not exist."""
    number = 1
    while True:
        candidate = target.with_name(f"{target.stem}.{number}{target.suffix}")
        if not os.path.lexists(candidate):
            return candidate
        number += 1


def keep_what_is_there(target: Path) -> Path | None:
    """Move a file at `target` that exists nowhere else to a numbered name; return that name.

    A file with a second hard link (our published checkpoints have one in their run) stays and may be replaced.
    """
    if not os.path.lexists(target):
        return None
    if not target.is_symlink() and target.is_file() and target.stat().st_nlink > 1:
        return None
    aside = numbered(target)
    os.rename(target, aside)
    return aside


def publish(source: Path, target: Path) -> Path | None:
    """Make `source` also visible as `target`, by a hard link or, where there are none, a copy.

    Returns where a file that was at `target` and existed nowhere else was moved to, or None.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = keep_what_is_there(target)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    with full_disk_is_an_error_of_ours(target):
        try:
            os.link(source, temporary)
        except OSError as error:
            if error.errno in _FULL:
                raise
            with atomic_writer(target) as stream, open(source, "rb") as original:
                while block := original.read(1 << 20):
                    stream.write(block)
        else:
            os.replace(temporary, target)
            temporary.unlink(missing_ok=True)  # rename() of two links to one file does nothing and keeps both
            fsync_directory(target.parent)
    return aside

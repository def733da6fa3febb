"""The prepared text file (`repo_code.txt`): one marker line before each file, then its exact bytes, then a newline.

    //==== FILE "src/sieve.c" c 1234 ====
    int main() {
    ...

The marker has the path as a JSON string, the language and the number of bytes of the text. The number makes the
boundaries exact whatever the text holds, other marker lines included. When somebody has edited the file by hand and
the numbers no longer fit, the boundaries are taken from the marker lines instead. A file whose first line is no marker
is one document.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

MARKER = re.compile(rb'//==== FILE ("(?:[^"\\]|\\.)*") (\S+) (\d{1,15}) ====\r?\n?')
_LONGEST_MARKER = 1 << 16
UNKNOWN_LANGUAGE = "plain-text"


@dataclass(frozen=True)
class Document:
    """One file of a corpus; `text` is valid UTF-8 in all that was written by `prepare`."""

    path: str
    text: bytes
    language: str


def marker_line(path: str, language: str, size: int) -> bytes:
    """The line that goes before a text of `size` bytes. Raises `UnicodeEncodeError` for a path with lone surrogates."""
    return f"//==== FILE {json.dumps(path, ensure_ascii=False)} {language} {size} ====\n".encode()


class Writable(Protocol):
    """What texts are written to."""

    def write(self, data: bytes, /) -> int: ...


def write_document(stream: Writable, document: Document) -> int:
    """Append `document`; returns how many bytes after the start of its marker line its text begins."""
    marker = marker_line(document.path, document.language, len(document.text))
    stream.write(marker)
    stream.write(document.text)
    stream.write(b"\n")
    return len(marker)


def _marker(line: bytes) -> tuple[str, str, int] | None:
    found = MARKER.fullmatch(line)
    if found is None:
        return None
    try:
        return json.loads(found[1]), found[2].decode(), int(found[3])
    except ValueError:
        return None


def is_prepared(first_bytes: bytes) -> bool:
    """Whether a file that begins with `first_bytes` was written by `write_document`."""
    return _marker(first_bytes.split(b"\n", 1)[0]) is not None


def read_documents(stream: BinaryIO, name: str) -> Iterator[tuple[Document, int]]:
    """The documents of a seekable `stream` with the byte offset of each one's text; one is in memory at a time.

    `name` is the path of the document when there is no marker line.
    """
    size_of_file = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    marker = _marker(stream.readline(_LONGEST_MARKER))
    if marker is None:
        stream.seek(0)
        yield Document(name, stream.read(), UNKNOWN_LANGUAGE), 0
        return
    while marker is not None:
        path, language, size = marker
        offset = stream.tell()
        text = stream.read(size) if offset + size < size_of_file else b""
        fits = len(text) == size and stream.read(1) == b"\n"
        line = stream.readline(_LONGEST_MARKER)
        marker = _marker(line)
        if not fits or (line and marker is None):
            stream.seek(offset)
            text, marker = _until_marker(stream)
        yield Document(path, text, language), offset


def _until_marker(stream: BinaryIO) -> tuple[bytes, tuple[str, str, int] | None]:
    lines: list[bytes] = []
    marker = None
    while line := stream.readline():
        marker = _marker(line)
        if marker is not None:
            break
        lines.append(line)
    return b"".join(lines).removesuffix(b"\n"), marker

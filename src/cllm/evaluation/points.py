"""Where in held-out files a model is asked to go on: places drawn by a seed, the same for every model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cllm.corpus.textfile import Document

POOL_BYTES = 4 << 20  # of files that places are drawn from
PROMPT_CHARACTERS_PER_TOKEN = 16  # more text than this before a place cannot reach the model's context


@dataclass(frozen=True)
class Point:
    """A place in a document: `offset` is in characters of `text`."""

    document: Document
    text: str
    offset: int

    @property
    def before(self) -> str:
        return self.text[: self.offset]

    @property
    def after(self) -> str:
        return self.text[self.offset :]

    def prompt(self, context: int) -> str:
        """The end of `before`, from the beginning of a line, that is certain to fill a context of `context` tokens."""
        begin = self.offset - context * PROMPT_CHARACTERS_PER_TOKEN
        return self.before if begin <= 0 else self.text[self.text.find("\n", begin, self.offset) + 1 : self.offset]


def has_content(line: str) -> bool:
    """Whether a line says enough to be worth predicting: eight visible characters, three of them letters."""
    solid = "".join(line.split())
    return len(solid) >= 8 and sum(map(str.isalpha, solid)) >= 3


def line_starts(text: str) -> Iterator[int]:
    """Offsets of the lines with content, the first line of the file left out."""
    offset = text.find("\n") + 1
    while 0 < offset < len(text):
        end = text.find("\n", offset)
        if has_content(text[offset : end if end >= 0 else len(text)]):
            yield offset
        offset = end + 1


def draw(
    documents: Sequence[Document], offsets: Callable[[Document, str], Iterator[int]], count: int, seed: int
) -> Iterator[Point]:
    """Up to `count` of all the places that `offsets` names, in the order of a keyed hash of document and place."""

    def key(*parts: object) -> bytes:
        return hashlib.sha256(repr((seed, *parts)).encode()).digest()

    digests = {id(d): hashlib.sha256(d.text).hexdigest() for d in documents}
    pool, size = [], 0
    for document in sorted(documents, key=lambda d: key(digests[id(d)])):
        if size < POOL_BYTES:
            pool.append(document)
            size += len(document.text)
    texts = [document.text.decode() for document in pool]
    places = [(i, offset) for i, text in enumerate(texts) for offset in offsets(pool[i], text)]
    places.sort(key=lambda place: key(digests[id(pool[place[0]])], place[1]))
    return (Point(pool[i], texts[i], offset) for i, offset in places[:count])

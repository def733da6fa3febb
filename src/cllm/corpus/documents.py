"""Reading a prepared corpus back, document by document, each checked against the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from cllm.corpus.manifest import Manifest, manifest_path
from cllm.corpus.textfile import Document, read_documents
from cllm.errors import InvalidInput


def load(corpus: Path, split: str | None) -> Iterator[Document]:
    """The documents of one split, or of all of them (None), in the corpus's order; one is in memory at a time.

    A split needs the manifest; without one, `None` gives the documents that the text file's own marker lines show.
    Raises `InvalidInput` when a file is missing, the corpus was changed after its manifest was made, or is not UTF-8.
    """
    corpus = Path(corpus)
    try:
        stream = open(corpus, "rb")  # noqa: SIM115 closed below, by the generator
    except OSError as error:
        raise InvalidInput(f"{corpus} cannot be read ({error.strerror}): make it with 'cllm prepare'") from None
    with stream:
        if split is None and not manifest_path(corpus).exists():
            for document, _ in read_documents(stream, corpus.name):
                try:
                    document.text.decode()
                except UnicodeDecodeError:
                    raise InvalidInput(
                        f"{corpus}: {document.path} is not UTF-8 text: run 'cllm prepare' on it"
                    ) from None
                yield document
            return
        for entry in Manifest.load(manifest_path(corpus)).included(split):
            stream.seek(entry.offset or 0)
            text = stream.read(entry.size)
            if hashlib.sha256(text).hexdigest() != entry.sha256:
                raise InvalidInput(f"{corpus} was changed after it was prepared: run 'cllm prepare' on it again")
            yield Document(entry.path, text, entry.language)


def stored_manifest(corpus: Path) -> Manifest | None:
    """The manifest beside `corpus` when it is one of exactly this file, else None."""
    path = manifest_path(corpus)
    if not path.is_file():
        return None
    try:
        manifest = Manifest.load(path)
    except InvalidInput:
        return None
    return manifest if manifest.corpus_sha256 == digest_of(corpus) else None


def digest_of(path: Path) -> str:
    """SHA-256 of a file. Raises `OSError`."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

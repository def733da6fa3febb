"""The files to evaluate on: every byte of them as it is on the disk, nothing redacted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from cllm.corpus import filters
from cllm.corpus.scan import Found, read_regular, scan
from cllm.corpus.textfile import UNKNOWN_LANGUAGE, Document, is_prepared, read_documents
from cllm.errors import InvalidInput

# A directory holds much that nobody means to evaluate on; only these faults are worth a word.
_WORTH_SAYING = {filters.UNREADABLE, filters.NOT_UTF8}


@dataclass
class Files:
    """What was found. `skipped` is path -> reason, of the files that a person would expect to be there."""

    documents: list[Document] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def read_files(paths: Sequence[Path]) -> Files:
    """The texts of `paths`: files, prepared files (each document of them) and directories (what training would take).

    What cannot be used is in `skipped`. Raises `InvalidInput` if a path does not exist, or nothing is left.
    """
    found = Files()
    for path in paths:
        if not path.exists():
            raise InvalidInput(f"{path} does not exist: check the spelling")
        if path.is_dir():
            for entry in scan(path):
                _add_found(found, path, entry)
        else:
            _add_named(found, path)
    if not found.documents:
        why = "; ".join(f"{name}: {reason}" for name, reason in list(found.skipped.items())[:3])
        raise InvalidInput(f"no file to evaluate on{f' ({why})' if why else ''}: give files of source text, in UTF-8")
    return found


def _add_named(found: Files, path: Path) -> None:
    """A file that a person named is used whatever its kind, if it is text."""
    try:
        data = read_regular(str(path.resolve()), filters.EXPLICIT_LIMIT)
    except OSError:
        found.skipped[str(path)] = filters.UNREADABLE
        return
    if len(data) > filters.EXPLICIT_LIMIT:
        found.skipped[str(path)] = filters.TOO_LARGE
        return
    for document in _documents(path, data):
        reason = filters.not_text(document.text)
        if reason is None:
            found.documents.append(document)
        else:
            found.skipped[document.path] = reason


def _documents(path: Path, data: bytes) -> Iterator[Document]:
    if is_prepared(data):
        for document, _ in read_documents(BytesIO(data), path.name):
            yield document
    else:
        language = filters.language_of_named_file(path.name) or filters.language_of_shebang(data)
        yield Document(str(path), data, language or UNKNOWN_LANGUAGE)


def _add_found(found: Files, root: Path, entry: Found) -> None:
    """A file in a directory is used if training would take it."""
    reason, data = entry.reason, b""
    if reason is None:
        try:
            data = read_regular(entry.absolute, filters.limit_of(entry.path))
        except OSError:
            reason = filters.UNREADABLE
    language = filters.judge_name(entry.path)[0] or (filters.language_of_shebang(data) if data else None)
    if reason is None:
        reason = filters.not_text(data) or (filters.judge_text(data) if language else filters.UNKNOWN_TYPE)
    path = str(root / entry.path)
    if reason is None and language is not None:
        found.documents.append(Document(path, data, language))
    elif reason in _WORTH_SAYING:
        found.skipped[path] = str(reason)

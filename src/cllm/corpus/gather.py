"""From paths to texts: what is to be read, and the parallel pass that reads and judges it."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cllm.corpus import dedup, filters, parallel, redact, textfile
from cllm.corpus.documents import stored_manifest
from cllm.corpus.manifest import FileEntry, Manifest, RedactedSecret
from cllm.corpus.scan import Found, printable, read_regular, scan
from cllm.corpus.stdlib import INSTALLED, is_default_corpus, standard_library_root
from cllm.errors import InvalidInput

_BATCH_FILES, _BATCH_BYTES = 64, 2 << 20
_FIRST_LINE = 1 << 16
_SPDX = re.compile(rb"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+() -]{1,100}?)[ \t]*(?:\*/|-->|[\"'#]|\r?\n|$)")
_WHERE_SPDX_IS = 4096


@dataclass(frozen=True)
class Source:
    """A file to read, or (`text` is set) a document of a prepared file."""

    path: str
    """As it will be in the manifest."""
    absolute: str = ""
    size: int = 0
    reason: str | None = None
    """Known without reading why it is left out."""
    language: str = ""
    named: bool = False
    """A person named this very file."""
    text: bytes | None = None
    entry: FileEntry | None = None
    """Of the manifest that lay beside the prepared file."""


@dataclass(frozen=True)
class Examined:
    """A source with its redacted text, or with the reason why it is left out."""

    source: Source
    reason: str | None
    text: bytes = b""
    language: str = ""
    sha256: str = ""
    spdx: str | None = None
    secrets: tuple[redact.Secret, ...] = ()
    signature: npt.NDArray[np.uint32] | None = None


@dataclass
class Sources:
    """All that the given paths lead to. Files are opened later."""

    roots: list[Path]
    files: list[Source]
    prepared: list[tuple[Path, str, Manifest | None]]
    """Prepared text files, with the prefix of their documents' paths and the manifest beside them."""
    without: frozenset[str] = frozenset()
    """Files to leave out, as they would be in the manifest."""

    @property
    def bytes(self) -> int:
        """Of all files that are to be read."""
        return sum(s.size for s in self.files if s.reason is None) + sum(p.stat().st_size for p, _, _ in self.prepared)

    @property
    def left_out_before(self) -> list[FileEntry]:
        """What was left out when the prepared files were made."""
        entries = [
            (prefix, e) for _, prefix, m in self.prepared if m is not None for e in m.files if e.reason is not None
        ]
        return [e.model_copy(update={"path": prefix + e.path}) for prefix, e in entries]

    @property
    def secrets_before(self) -> list[RedactedSecret]:
        """What was redacted when the prepared files were made."""
        found = [(prefix, s) for _, prefix, m in self.prepared if m is not None for s in m.secrets]
        return [s.model_copy(update={"path": prefix + s.path}) for prefix, s in found]

    def __iter__(self) -> Iterator[Source]:
        for source in self._all():
            gone = source.path in self.without and source.reason is None
            yield replace(source, reason=filters.FORGOTTEN, named=False) if gone else source

    def _all(self) -> Iterator[Source]:
        yield from self.files
        for path, prefix, manifest in self.prepared:
            yield from _documents_of(path, prefix, manifest)


def gather(
    paths: Sequence[Path], stdlib: bool, scanned: Callable[[int], None], only: Collection[str] | None = None
) -> Sources:
    """Look at every path; `scanned` gets the number of files found so far. Raises `InvalidInput`.

    Of the directories in `paths`, the files that are not in `only` (posix, relative to the directory) are left out.
    """
    result = Sources([], [], [])
    chosen_paths = None if only is None else frozenset(only)
    seen: set[str] = set()
    several = len(paths) + stdlib > 1
    labels: set[str] = set()
    for given in paths:
        root = _existing(given)
        label = _label(given, root, labels)
        if root in result.roots:
            continue
        result.roots.append(root)
        if root.is_dir():
            _add(result, _chosen(scan(root), chosen_paths), f"{label}/" if several else "", seen)
        elif textfile.is_prepared(_read_named(root, _FIRST_LINE)[:_FIRST_LINE]):
            result.prepared.append((root, f"{label}/" if several else "", stored_manifest(root)))
        else:
            seen.add(str(root))
            result.files.append(_named(given, root, label))
        scanned(len(result.files))
    if stdlib:
        root = standard_library_root()
        result.roots.append(root)
        found = scan(root, use_git=False, not_into=INSTALLED)
        chosen = [f if f.reason or is_default_corpus(f.path) else replace(f, reason=filters.NOT_CHOSEN) for f in found]
        ours = [f for f in chosen if f.path.endswith(".py") and f.reason not in (filters.VENDORED, filters.CACHE)]
        _add(result, ours, f"{unique(root.name, labels)}/" if several else "", seen)
        scanned(len(result.files))
    return result


def _chosen(found: Iterable[Found], paths: frozenset[str] | None) -> Iterable[Found]:
    """`found`, where those not in `paths` have that as the reason to be left out, if they had none."""
    if paths is None:
        return found
    return [f if f.reason or f.path in paths else replace(f, reason=filters.NOT_CHOSEN) for f in found]


def _existing(given: Path) -> Path:
    try:
        return Path(given).resolve(strict=True)
    except FileNotFoundError:
        raise InvalidInput(f"{given} does not exist: check the spelling") from None
    except (OSError, RuntimeError) as error:
        raise InvalidInput(f"{given} cannot be read ({getattr(error, 'strerror', None) or error})") from None


def _label(given: Path, root: Path, labels: set[str]) -> str:
    """What distinguishes this root's files: the path as it was given where that is harmless, else its last part."""
    inside = not given.is_absolute() and ".." not in given.parts and given != Path()
    return unique(printable(given.as_posix() if inside else root.name or "root"), labels)


def unique(name: str, taken: set[str]) -> str:
    """`name`, or `name~2`, `name~3`, ... : the first that is not in `taken`, which then has it."""
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}~{number}", number + 1
    taken.add(candidate)
    return candidate


def _add(result: Sources, found: Iterable[Found], prefix: str, seen: set[str]) -> None:
    for f in found:
        if f.absolute in seen:
            continue
        seen.add(f.absolute)
        reason = f.reason
        if reason == filters.TOO_LARGE and f.path.endswith(".txt") and _looks_prepared(f.absolute):
            reason = filters.OWN_OUTPUT
        result.files.append(Source(prefix + f.path, f.absolute, f.size, reason))


def _looks_prepared(path: str) -> bool:
    try:
        return textfile.is_prepared(read_regular(path, _FIRST_LINE))
    except OSError:
        return False


def _read_named(path: Path, limit: int) -> bytes:
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise InvalidInput(f"{path} is not a regular file: give a file or a directory")
        return read_regular(str(path), limit)
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read ({error.strerror}): give yourself permission, or leave it away"
        ) from None


def _named(given: Path, root: Path, label: str) -> Source:
    """A plain file that a person named: judged at once, with one clear line when it cannot be used."""
    size = os.lstat(root).st_size
    if size > filters.EXPLICIT_LIMIT:
        raise InvalidInput(
            f"{given} is too large ({size >> 20} MiB; {filters.EXPLICIT_LIMIT >> 20} MiB at most): split it"
        )
    data = _read_named(root, filters.EXPLICIT_LIMIT)
    problem = filters.not_text(data)
    if problem is not None:
        raise InvalidInput(f"{given} is {problem}: give files of source text, in UTF-8")
    language = filters.language_of_named_file(root.name) or filters.language_of_shebang(data)
    if language is None:
        raise InvalidInput(
            f"{given} is of an unknown file type: give it an extension that says what it is, such as .txt"
        )
    return Source(label, str(root), size, language=language, named=True)


def _documents_of(path: Path, prefix: str, manifest: Manifest | None) -> Iterator[Source]:
    entries = {} if manifest is None else {e.path: e for e in manifest.included()}
    with open(path, "rb") as stream:
        for document, _ in textfile.read_documents(stream, path.name):
            entry = entries.get(document.path)
            name = printable(prefix + document.path)
            yield Source(name, size=len(document.text), language=document.language, text=document.text, entry=entry)


def examine_all(sources: Iterable[Source], size: int = 0) -> Iterator[Examined]:
    """Read, judge and redact side by side, in the order of `sources`, which have about `size` bytes together.

    Only a few batches are in memory at a time.
    """
    with parallel.executor(size) as pool:
        for examined in parallel.in_order(pool, _examine_batch, _batches(sources)):
            yield from examined


def _batches(sources: Iterable[Source]) -> Iterator[list[Source]]:
    batch: list[Source] = []
    size = 0
    for source in sources:
        batch.append(source)
        size += source.size if source.reason is None else 0
        if len(batch) >= _BATCH_FILES or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _examine_batch(batch: list[Source]) -> list[Examined]:
    examined = [_examine(source) for source in batch]
    included = [n for n, e in enumerate(examined) if e.reason is None]
    rows = dedup.signatures([examined[n].text for n in included])
    for n, row in zip(included, rows, strict=True):
        examined[n] = replace(examined[n], signature=row)
    return examined


def _examine(source: Source) -> Examined:
    if source.reason is not None:
        return Examined(source, source.reason)
    data, language = source.text, source.language
    if data is None:
        limit = filters.EXPLICIT_LIMIT if source.named else filters.limit_of(source.path)
        try:
            data = read_regular(source.absolute, limit)
        except OSError:
            return Examined(source, filters.UNREADABLE)
        if len(data) > limit:
            return Examined(source, filters.TOO_LARGE)
        if not source.named:
            name_language, _ = filters.judge_name(source.path)
            language = name_language or filters.language_of_shebang(data) or ""
    reason = filters.not_text(data)
    if reason is None and not language:
        reason = filters.UNKNOWN_TYPE
    if reason is None and source.text is None and not source.named:
        is_ours = data.startswith(b"//==== FILE ") and textfile.is_prepared(data[:_FIRST_LINE])
        reason = filters.OWN_OUTPUT if is_ours else filters.judge_text(data)
    if reason is not None:
        return Examined(source, reason)
    text, secrets = redact.redact(data.decode())
    if secrets:
        data = text.encode()
    spdx = _SPDX.search(data, 0, _WHERE_SPDX_IS)
    return Examined(
        source,
        None,
        data,
        language,
        hashlib.sha256(data).hexdigest(),
        spdx[1].decode() if spdx else None,
        tuple(secrets),
    )

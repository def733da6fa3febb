"""From paths to a corpus: scan, filter, redact, deduplicate, split, and write the text file and its manifest.

Two passes. The first reads every file once, in parallel, and puts the texts that may stay into a temporary file beside
the output; in memory remain only digests and signatures. The second copies what is kept, in order, with marker lines.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from cllm import storage
from cllm.corpus import dedup, filters, split, textfile
from cllm.corpus.documents import digest_of, load
from cllm.corpus.gather import Examined, Source, Sources, examine_all, gather, unique
from cllm.corpus.manifest import FileEntry, Manifest, RedactedSecret, Split, manifest_path
from cllm.corpus.redact import PLACEHOLDER, Secret
from cllm.corpus.textfile import Document
from cllm.errors import EmptyCorpus, InvalidInput

__all__ = ["Document", "load", "prepare"]

_SMALLEST_CORPUS = 64
_REPORT_EVERY = 64


@dataclass
class _Kept:
    """A text in the temporary file, and what is decided about it."""

    path: str
    language: str
    size: int
    sha256: str
    spdx: str | None
    begin: int
    secrets: tuple[Secret, ...]
    redactions: int
    kept_split: Split | None
    """What the manifest of a prepared file says."""
    cluster: int = 0
    split: Split = "train"


def prepare(
    paths: Sequence[Path],
    out: Path,
    *,
    seed: int = 0,
    only: Collection[str] | None = None,
    without: Collection[str] = (),
    progress: Callable[[str, int, int], None] | None = None,
    stdlib: bool = False,
    note: Callable[[str], None] | None = None,
) -> Manifest:
    """Write the corpus made of `paths` to `out` and its manifest beside it; both are whole or not there.

    `paths` are directories, files, and prepared text files, whose splits are kept when their manifest is beside them;
    `stdlib` adds Python's standard library. `only` names the files of the directories that may stay, relative to them;
    what is left out anyway is not taken for being named. `without` names files, as the manifest does, to leave out.
    `progress` gets (stage, done, total); `note` gets a line about a file that was at `out` and had to be moved aside.
    Raises `InvalidInput` for a path that cannot be used, `EmptyCorpus` when nothing is left, `StorageFull`.
    """
    report = progress or (lambda stage, done, total: None)
    out = Path(out)
    if not paths and not stdlib:
        raise InvalidInput("no path given: name a directory or a file to train on")
    if out.is_dir():
        raise InvalidInput(f"{out} is a directory: give the name of a file to write")
    report("scanning", 0, 0)
    sources = gather([Path(p) for p in paths], stdlib, lambda n: report("scanning", n, n), only)
    sources.without = frozenset(without)
    with _Pass(out) as reading:
        reading.read(sources, report)
        _check_left_out(without, [*sources.left_out_before, *reading.left_out])
        reading.drop_near_duplicates(report)
        kept = reading.kept
        _check_not_empty(kept, reading.left_out, sources, paths)
        clustered = _assign_splits(kept, reading.cluster_hashes, seed)
        hashing = _Hashing()
        with _output(out, hashing, note) as stream:
            hashing.stream = stream
            entries = _write(hashing, reading, cut=not clustered, report=report)
        taken = {e.path for e in entries}
        left_out = {e.path: e for e in (*sources.left_out_before, *reading.left_out) if e.path not in taken}
        manifest = Manifest(
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            seed=seed,
            roots=[str(r) for r in sources.roots],
            corpus_sha256=hashing.digest.hexdigest(),
            holdout="tails" if any(e.path.endswith("#tail") for e in entries) else "clusters",
            files=entries + [left_out[path] for path in sorted(left_out)],
            secrets=_secrets(sources, kept),
        )
    _save_manifest(manifest, manifest_path(out), note)
    return manifest


def _check_left_out(without: Collection[str], left_out: Sequence[FileEntry]) -> None:
    """Raises `InvalidInput` if a file that should have been left out was not there."""
    if missing := sorted(set(without) - {entry.path for entry in left_out}):
        raise InvalidInput(f"--without {missing[0]}: there is no such file; name it as the manifest does")


class _Pass:
    """The first pass: the texts that may stay lie in an unnamed temporary file in the output's directory."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._file: BinaryIO | None = None
        self._end = 0
        self._rows: list[npt.NDArray[np.uint32]] = []
        self.kept: list[_Kept] = []
        self.left_out: list[FileEntry] = []
        self.cluster_hashes: dict[int, list[str]] = {}

    def __enter__(self) -> _Pass:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # what a full disk kept from being flushed is not wanted any more
                self._file.close()

    def read(self, sources: Sources, report: Callable[[str, int, int], None]) -> None:
        """Examine every source; drop exact duplicates at once."""
        first: dict[str, _Kept] = {}
        total = len(sources.files)
        for done, examined in enumerate(examine_all(sources, sources.bytes), 1):
            self._take(examined, first)
            if done % _REPORT_EVERY == 0 or done == total:
                report("reading", done, max(done, total))

    def _take(self, examined: Examined, first: dict[str, _Kept]) -> None:
        source = examined.source
        if examined.reason is not None:
            if source.named:
                raise InvalidInput(f"{source.path} is {examined.reason}: give files of source text, in UTF-8")
            self._leave_out(source, examined.reason, examined.language)
            return
        earlier = first.get(examined.sha256)
        if earlier is not None:
            earlier.kept_split = earlier.kept_split or (source.entry.split if source.entry is not None else None)
            self._leave_out(source, filters.DUPLICATE, examined.language, earlier.path)
            return
        assert examined.signature is not None
        text = _Kept(
            source.path,
            examined.language,
            len(examined.text),
            examined.sha256,
            examined.spdx,
            self._end,
            examined.secrets,
            len(examined.secrets) if source.entry is None else source.entry.redactions,
            None if source.entry is None else source.entry.split,
        )
        self._append(examined.text)
        self._rows.append(examined.signature)
        self.kept.append(text)
        first[examined.sha256] = text

    def _leave_out(self, source: Source, reason: str, language: str, duplicate_of: str | None = None) -> None:
        self.left_out.append(
            FileEntry(path=source.path, size=source.size, language=language, reason=reason, duplicate_of=duplicate_of)
        )

    def _append(self, text: bytes) -> None:
        with storage.full_disk_is_an_error_of_ours(self._out):
            if self._file is None:
                self._file = _temporary_file(self._out)
            self._file.write(text)
        self._end += len(text)

    def text_of(self, kept: _Kept) -> bytes:
        """A kept text, read back from the temporary file."""
        assert self._file is not None
        with storage.full_disk_is_an_error_of_ours(self._out):
            self._file.seek(kept.begin)
            return self._file.read(kept.size)

    def drop_near_duplicates(self, report: Callable[[str, int, int], None]) -> None:
        """Give each text its cluster, and keep only the first of near duplicates.

        Texts of one prepared corpus were deduplicated when that was made, and are not dropped again.
        """
        report("deduplicating", 0, len(self.kept))
        if not self.kept:
            return
        pairs = dedup.similar_pairs(np.stack(self._rows))
        self._rows.clear()
        for text, cluster in zip(self.kept, dedup.clusters(len(self.kept), pairs), strict=True):
            text.cluster = cluster
            self.cluster_hashes.setdefault(cluster, []).append(text.sha256)
        both_kept = {n for n, text in enumerate(self.kept) if text.kept_split is not None}
        dropped = dedup.near_duplicates([p for p in pairs if not {p[0], p[1]} <= both_kept])
        for j, i in dropped.items():
            text, original = self.kept[j], self.kept[i]
            original.kept_split = original.kept_split or text.kept_split
            self.left_out.append(
                FileEntry(
                    path=text.path, size=text.size, sha256=text.sha256, language=text.language, spdx=text.spdx,
                    cluster=text.cluster,
                    reason=filters.NEAR_DUPLICATE, duplicate_of=original.path, redactions=text.redactions,
                )
            )  # fmt: skip
        self.kept = [text for n, text in enumerate(self.kept) if n not in dropped]
        report("deduplicating", len(self.kept), len(self.kept))


def _temporary_file(out: Path) -> BinaryIO:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=out.parent, prefix=f".{out.name}.", suffix=".tmp")
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise InvalidInput(f"{out} cannot be written ({error.strerror}): choose another place with --out") from None


def _check_not_empty(
    kept: Sequence[_Kept], left_out: Sequence[FileEntry], sources: Sources, paths: Sequence[Path]
) -> None:
    size = sum(text.size for text in kept)
    if size >= _SMALLEST_CORPUS:
        return
    where = ", ".join(str(p) for p in paths)
    if kept:
        raise EmptyCorpus(
            f"{where}: only {size} bytes of text are left, at least {_SMALLEST_CORPUS} are needed: give more"
        )
    reasons: dict[str, int] = {}
    for entry in left_out:
        reasons[entry.reason or ""] = reasons.get(entry.reason or "", 0) + 1
    if not reasons:
        raise EmptyCorpus(f"{where}: there is no file in it: give a directory with source code")
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items(), key=lambda r: -r[1]))
    ours = next((e.path for e in left_out if e.reason == filters.OWN_OUTPUT and e.path.endswith(".txt")), None)
    advice = f"to train on the prepared {ours} name that file itself" if ours else "give files of source text, in UTF-8"
    if filters.NOT_CHOSEN in reasons:
        advice = "choose some files of source text"
    raise EmptyCorpus(f"{where}: nothing in it can be used ({listed}): {advice}")


def _assign_splits(kept: Sequence[_Kept], hashes: dict[int, list[str]], seed: int) -> bool:
    """Set every text's split by its cluster; False when there are too few clusters, and all are "train"."""
    positions = {cluster: split.position(members, seed) for cluster, members in hashes.items()}
    if any(text.kept_split is not None for text in kept):
        _keep_splits(kept, positions)
        return True
    sizes: dict[int, int] = {}
    for text in kept:
        sizes[text.cluster] = sizes.get(text.cluster, 0) + text.size
    chosen = split.split_clusters(sizes, positions)
    if chosen is not None:
        for text in kept:
            text.split = chosen[text.cluster]
    return chosen is not None


def _keep_splits(kept: Sequence[_Kept], positions: dict[int, float]) -> None:
    """Texts with a split keep it; what is similar to a held-out one is held out with it; the rest goes by position."""
    held_out: dict[int, Split] = {}
    for text in kept:
        if text.kept_split is not None:
            held_out[text.cluster] = max(
                held_out.get(text.cluster, "train"), text.kept_split, key=split.STRICTNESS.index
            )
    for text in kept:
        text.split = text.kept_split or held_out.get(text.cluster) or split.by_position(positions[text.cluster])


def _secrets(sources: Sources, kept: Sequence[_Kept]) -> list[RedactedSecret]:
    """Where secrets were in the texts that are kept, now and when prepared files among them were made."""
    found = [RedactedSecret(path=text.path, line=s.line, type=s.type) for text in kept for s in text.secrets]
    paths = {text.path for text in kept}
    return [secret for secret in sources.secrets_before if secret.path in paths] + found


class _Hashing:
    """A stream that also computes the digest of what is written."""

    def __init__(self) -> None:
        self.stream: BinaryIO | None = None
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        assert self.stream is not None
        self.digest.update(data)
        return self.stream.write(data)


def _write(stream: _Hashing, reading: _Pass, cut: bool, report: Callable[[str, int, int], None]) -> list[FileEntry]:
    """The second pass: copy the texts, each cut in two where tails are held out."""
    kept = reading.kept
    numbers = {cluster: n for n, cluster in enumerate(sorted({text.cluster for text in kept}))}
    must_be_cut = max(kept, key=lambda text: text.size) if cut else None
    taken = {text.path for text in kept}
    entries: list[FileEntry] = []
    offset = 0
    for done, text in enumerate(kept, 1):
        data = reading.text_of(text)
        at = split.cut_tail(data, force=text is must_be_cut) if cut else None
        parts: list[tuple[str, bytes, Split, int]] = [(text.path, data, text.split, text.redactions)]
        if at is not None:
            in_head = min(text.redactions, data.count(PLACEHOLDER.encode(), 0, at))
            parts = [
                (text.path, data[:at], "train", in_head),
                (unique(f"{text.path}#tail", taken), data[at:], "validation", text.redactions - in_head),
            ]
        for path, part, part_split, part_redactions in parts:
            begin = textfile.write_document(stream, Document(path, part, text.language))
            entries.append(
                FileEntry(
                    path=path, size=len(part), sha256=hashlib.sha256(part).hexdigest(), language=text.language,
                    spdx=text.spdx,
                    split=part_split, cluster=numbers[text.cluster], redactions=part_redactions, offset=offset + begin,
                )
            )  # fmt: skip
            offset += begin + len(part) + 1
        if done % _REPORT_EVERY == 0 or done == len(kept):
            report("writing", done, len(kept))
    return entries


@contextlib.contextmanager
def _output(out: Path, hashing: _Hashing, note: Callable[[str], None] | None) -> Iterator[BinaryIO]:
    """Write `out` atomically; a different file that is there is moved aside once the new one is safely on the disk."""

    def keep_the_old_one(_: Path) -> None:
        if os.path.lexists(out) and not (out.is_file() and digest_of(out) == hashing.digest.hexdigest()):
            aside = storage.keep_what_is_there(out)
            if aside is not None:
                if os.path.lexists(manifest_path(out)) and not os.path.lexists(manifest_path(aside)):
                    os.rename(manifest_path(out), manifest_path(aside))
                if note is not None:
                    note(f"{out} was there already, and is now {aside}")

    with storage.atomic_writer(out, verify=keep_the_old_one) as stream:
        yield stream


def _save_manifest(manifest: Manifest, path: Path, note: Callable[[str], None] | None) -> None:
    """Save it; one that is there and says something else is moved aside."""
    if os.path.lexists(path):
        try:
            same = Manifest.load(path).sha256 == manifest.sha256
        except InvalidInput:
            same = False
        aside = None if same else storage.keep_what_is_there(path)
        if aside is not None and note is not None:
            note(f"{path} was there already, and is now {aside}")
    manifest.save(path)

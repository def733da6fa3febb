"""The two corpora of the benchmarks, each fixed by one digest over its files: Python's standard library, and glibc.

python -m benchmarks.corpora            # find or unpack both, check them, and say how large they are
"""

from __future__ import annotations

import argparse
import hashlib
import lzma
import os
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from cllm.corpus.scan import read_regular, scan
from cllm.corpus.stdlib import INSTALLED, is_default_corpus, standard_library_root

CACHE = Path("artefacts/corpora")
ARCHIVES = Path("/usr/src/glibc")  # where Debian's package glibc-source puts its tar file
MOST_BYTES = 10_000_000  # of one file

# About 6 MB to train on and 0.36 MB of test files, after `cllm prepare`.
GLIBC_DIRECTORIES = ("elf", "libio", "malloc", "posix", "resolv", "stdio-common", "string")
_C_FILE = re.compile(r"[^/]+/(" + "|".join(GLIBC_DIRECTORIES) + r")/.*\.[ch]")

# `list_sha256` of what the figures in the documentation were made with.
KNOWN = {
    "stdlib": "8fd5c9b7e37f824b3b6d02c306bfb68b8562d3afe8bca91933af7fccc7b08e54",
    "glibc": "00e8f3af078f3de69d43fd5d9b2ccd8c7d939c3a35f5ee6c988f452e696ed5d7",
}
NOTES = {"stdlib": "Python 3.11.7", "glibc": "glibc 2.36"}


class CorpusMissing(Exception):
    """A corpus is not on this machine; the text says what to install."""


@dataclass(frozen=True)
class Corpus:
    """A corpus as it was found."""

    name: str
    arguments: tuple[str, ...]
    """What `cllm train` and `cllm prepare` are given."""
    files: int
    bytes: int
    sha256: str

    @property
    def is_known(self) -> bool:
        """Whether it is the one that the figures in the documentation were made with."""
        return self.sha256 == KNOWN[self.name]

    @property
    def remark(self) -> str:
        """One line when it is another than the documentation's, else nothing."""
        if self.is_known:
            return ""
        return (
            f"{self.name}: other files than those of the documentation ({NOTES[self.name]}, {KNOWN[self.name][:12]}): "
            f"found {self.sha256[:12]}, {self.files} files, {self.bytes:,} bytes; figures are not comparable"
        )

    def as_json(self) -> dict[str, object]:
        """What results say of it."""
        return {
            "name": self.name, "files": self.files, "bytes": self.bytes, "sha256": self.sha256,
            "expected_sha256": KNOWN[self.name],
        }  # fmt: skip


def list_sha256(contents: Iterable[tuple[str, bytes]]) -> str:
    """A digest of (path, content) pairs in the order of the paths: of the lines "sha256 of content, two blanks, path".

    It is what `sha256sum FILES | sha256sum` gives for files sorted by the bytes of their paths.
    """
    digest = hashlib.sha256()
    for path, content in sorted(contents, key=lambda pair: os.fsencode(pair[0])):
        digest.update(f"{hashlib.sha256(content).hexdigest()}  {path}\n".encode())
    return digest.hexdigest()


def _found(name: str, arguments: tuple[str, ...], paths: Iterable[tuple[str, str]]) -> Corpus:
    """The corpus of the files at (path in the list, path on the disk)."""
    contents = [(path, read_regular(absolute, MOST_BYTES)) for path, absolute in paths]
    return Corpus(name, arguments, len(contents), sum(len(c) for _, c in contents), list_sha256(contents))


def standard_library() -> Corpus:
    """The sources that `cllm train --stdlib` reads."""
    root = standard_library_root()
    files = [f for f in scan(root, use_git=False, not_into=INSTALLED) if f.reason is None and is_default_corpus(f.path)]
    return _found("stdlib", ("--stdlib",), [(f.path, f.absolute) for f in files])


def glibc(cache: Path = CACHE, archives: Path = ARCHIVES) -> Corpus:
    """C sources and headers of some directories of glibc, unpacked into `cache` once. Raises `CorpusMissing`."""
    target = cache / "glibc"
    if not target.is_dir():
        unpack(newest_archive(archives), target)
    paths = [(p.relative_to(target).as_posix(), str(p)) for p in target.rglob("*") if p.is_file()]
    return _found("glibc", (str(target.resolve()),), paths)


def newest_archive(archives: Path) -> Path:
    """The tar file of Debian's glibc-source. Raises `CorpusMissing`."""
    found = sorted(archives.glob("glibc-*.tar.xz"), key=lambda p: [int(n) for n in re.findall(r"\d+", p.name)])
    if not found:
        raise CorpusMissing(
            f"glibc: there is no glibc-*.tar.xz in {archives}: install it with 'apt-get install glibc-source', "
            "or leave this corpus out with --corpora stdlib"
        )
    return found[-1]


def unpack(archive: Path, target: Path, wanted: re.Pattern[str] = _C_FILE) -> None:
    """The members of `archive` that `wanted` matches, without their first directory, as the new directory `target`.

    Whole or not at all. Raises `CorpusMissing` for a file that is no archive, or has a member that leads out of it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpacking-") as name:
        fresh = Path(name) / "fresh"
        fresh.mkdir()
        try:
            with tarfile.open(archive) as tar:
                for member in tar:
                    # Every member is checked, also those that are not wanted: a hostile archive is not half used.
                    tarfile.data_filter(member, str(fresh))
                    if member.isfile() and wanted.fullmatch(member.name):
                        plain = member.replace(name=member.name.partition("/")[2], deep=False)
                        tar.extract(plain, fresh, filter="data")
        except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
            raise CorpusMissing(f"{archive} cannot be unpacked: {error}") from error
        os.replace(fresh, target)


CORPORA = {"stdlib": standard_library, "glibc": glibc}


def corpus(name: str, cache: Path = CACHE) -> Corpus:
    """One of `CORPORA`; what is remarkable about it goes to standard error. Raises `CorpusMissing`."""
    found = glibc(cache) if name == "glibc" else standard_library()
    if found.remark:
        print(found.remark, file=sys.stderr)
    return found


def corpora(names: Collection[str], cache: Path = CACHE) -> list[Corpus]:
    """Those of `names`, or the end of the program with what to install or to choose."""
    for name in names:
        if name not in CORPORA:
            sys.exit(f"there is no corpus {name!r}: choose from {', '.join(CORPORA)}")
    try:
        return [corpus(name, cache) for name in names]
    except CorpusMissing as error:
        sys.exit(str(error))


def main() -> None:
    """Command line."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.corpora", description=about)
    parser.add_argument("--corpora", default=",".join(CORPORA), help=f"default: {','.join(CORPORA)}")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"where archives are unpacked; default: {CACHE}")
    parser.add_argument("--fresh", action="store_true", help="unpack anew what was unpacked before")
    arguments = parser.parse_args()
    if arguments.fresh:
        shutil.rmtree(arguments.cache / "glibc", ignore_errors=True)
    for found in corpora(arguments.corpora.split(","), arguments.cache):
        verdict = "as in the documentation" if found.is_known else "not as in the documentation"
        print(f"{found.name}: {found.files} files, {found.bytes:,} bytes, sha256 {found.sha256}: {verdict}")


if __name__ == "__main__":
    main()

"""Finding the files under a directory: through git where it is a repository, else by a walk that honours .gitignore.

Nothing is followed out of the root, and nothing but regular files is ever opened.
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from cllm.corpus import filters
from cllm.errors import InvalidInput

_REPOSITORY_INTERNALS = frozenset({".git", ".hg", ".svn", ".bzr", "CVS", ".jj"})
_GIT_TIMEOUT_S = 120
_IGNORE_FILE_LIMIT = 1 << 20


@dataclass(frozen=True)
class Found:
    """What a scan came upon: `path` is posix, relative to the root, printable; `reason` says why it is left out."""

    path: str
    absolute: str
    size: int = 0
    reason: str | None = None


def scan(root: Path, use_git: bool = True, not_into: Collection[str] = ()) -> list[Found]:
    """Everything under directory `root`, sorted by path. Raises `InvalidInput` when it cannot be listed.

    A walk (of what is no repository) does not enter the directories `not_into`, relative to the root.
    """
    base = os.path.realpath(root)
    try:
        os.scandir(base).close()
    except PermissionError:
        raise InvalidInput(f"{root} cannot be read: give yourself permission (chmod u+rx), or choose another") from None
    names = _git_files(base) if use_git else None
    unreadable: list[str] = []
    if not names:  # no repository, no git, or a directory that the repository around it ignores
        names = list(_walk(base, unreadable, not_into))
    run_directories = tuple(sorted({n[: -len("run.sqlite")] for n in names if n.endswith("/run.sqlite")}))
    inside: dict[str, bool] = {}
    found = [_look(base, name, run_directories, inside) for name in names]
    found += [Found(printable(n) + "/", os.path.join(base, n), reason=filters.UNREADABLE) for n in unreadable]
    return sorted((f for f in found if f is not None), key=lambda f: f.path)


def printable(name: str) -> str:
    """`name` with the bytes that are not UTF-8, and control characters, as %XX."""
    if name.isprintable():
        return name
    return "".join(
        c if c.isprintable() else "".join(f"%{b:02X}" for b in c.encode("utf-8", "surrogateescape")) for c in name
    )


def read_regular(path: str, limit: int) -> bytes:
    """At most `limit` + 1 bytes of a regular file. Raises `OSError`; opens no FIFO, device or link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb", buffering=0) as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, filters.NOT_A_FILE, path)
        parts = []
        left = limit + 1
        while left > 0 and (part := stream.read(min(left, max(status.st_size, 1 << 16) + 1))):
            parts.append(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _look(base: str, name: str, run_directories: tuple[str, ...], inside: dict[str, bool]) -> Found | None:
    """Judge `name` without opening it; None when it has vanished."""
    absolute = os.path.join(base, name)
    path = printable(name)
    parent = absolute.rpartition("/")[0]
    if parent not in inside:
        inside[parent] = os.path.commonpath((base, os.path.realpath(parent))) == base
    if not inside[parent]:
        return Found(path, absolute, reason=filters.OUTSIDE)
    try:
        status = os.lstat(absolute)
    except FileNotFoundError:
        return None  # deleted, but still in git's index
    except OSError:
        return Found(path, absolute, reason=filters.UNREADABLE)
    if stat.S_ISLNK(status.st_mode):
        return Found(path, absolute, reason=filters.SYMLINK)
    if not stat.S_ISREG(status.st_mode):
        return Found(path, absolute, reason=filters.NOT_A_FILE)
    reason = filters.OWN_OUTPUT if run_directories and name.startswith(run_directories) else None
    if reason is None:
        _, reason = filters.judge_name(path)
    if reason is None and status.st_size == 0:
        reason = filters.EMPTY
    if reason is None and status.st_size > filters.limit_of(path):
        reason = filters.TOO_LARGE
    return Found(path, absolute, status.st_size, reason)


def _git_files(base: str) -> list[str] | None:
    """Tracked files, and untracked ones that are not ignored, relative to `base`; None when git cannot tell."""
    # A repository may be hostile: its configuration must not get to name a program that git would run.
    command = ["git", "-C", base, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]
    command += ["ls-files", "-co", "--exclude-standard", "-z", "--deduplicate"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, check=False, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_GIT_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    names: list[str] = []
    for raw in done.stdout.split(b"\0"):
        name = os.fsdecode(raw).rstrip("/")
        if not name or name.startswith("../"):
            continue
        absolute = os.path.join(base, name)
        if stat.S_ISDIR(_mode(absolute)):  # a submodule, or a repository within this one
            nested = os.path.realpath(absolute)
            if os.path.commonpath((base, nested)) == base:
                inner = _git_files(nested) if os.path.lexists(os.path.join(nested, ".git")) else None
                names += [f"{name}/{n}" for n in (inner if inner is not None else _walk(nested, []))]
        else:
            names.append(name)
    return names


def _mode(path: str) -> int:
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0


def _walk(base: str, unreadable: list[str], not_into: Collection[str] = ()) -> Iterator[str]:
    """Every non-directory under `base`, relative to it, that no .gitignore names; adds to `unreadable`."""
    pending: list[tuple[str, tuple[tuple[str, GitIgnoreSpec], ...]]] = [("", ())]
    while pending:
        directory, specs = pending.pop()
        try:
            entries = list(os.scandir(os.path.join(base, directory)))
        except OSError:
            unreadable.append(directory.rstrip("/"))
            continue
        own = _ignore_file(entries)
        if own is not None:
            specs = (*specs, (directory, own))
        for entry in entries:
            name = directory + entry.name
            is_directory = entry.is_dir(follow_symlinks=False)
            if is_directory and (entry.name in _REPOSITORY_INTERNALS or name in not_into):
                continue
            if _ignored(name + "/" * is_directory, specs):
                continue
            if is_directory:
                pending.append((name + "/", specs))
            else:
                yield name


def _ignore_file(entries: list[os.DirEntry[str]]) -> GitIgnoreSpec | None:
    for entry in entries:
        if entry.name == ".gitignore":
            try:
                text = read_regular(entry.path, _IGNORE_FILE_LIMIT).decode("utf-8", "replace")
                return GitIgnoreSpec.from_lines(text.splitlines())
            except (OSError, ValueError):
                return None
    return None


def _ignored(name: str, specs: tuple[tuple[str, GitIgnoreSpec], ...]) -> bool:
    """Whether the innermost .gitignore that has a word on `name` ignores it."""
    for directory, spec in reversed(specs):
        verdict = spec.check_file(name[len(directory) :]).include
        if verdict is not None:
            return verdict
    return False

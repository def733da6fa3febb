"""What a scan finds, and what it never touches."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from cllm.corpus import filters
from cllm.corpus.scan import printable, read_regular, scan
from cllm.errors import InvalidInput


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def git(root: Path, *args: str) -> None:
    config = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", "-C", root, *config, *args], check=True, capture_output=True)


def found(root: Path) -> dict[str, str | None]:
    return {f.path: f.reason for f in scan(root)}


IGNORING = {
    ".gitignore": "build/\n*.log\nextra.py\n",
    "a.py": "x = 1\n",
    "build/out.py": "x = 2\n",
    "keep.py": "x = 3\n",
    "sub/.gitignore": "/only_here.py\n!extra.py\n",
    "sub/only_here.py": "x = 4\n",
    "sub/deep/only_here.py": "x = 5\n",
    "sub/extra.py": "x = 6\n",
}
NOT_IGNORED = {"a.py", "keep.py", "sub/deep/only_here.py", "sub/extra.py"}


def test_directories_that_are_not_entered(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "x = 1\n", "packages/b.py": "x = 2\n", "sub/packages/c.py": "x = 3\n"})
    assert {f.path for f in scan(tmp_path, not_into={"packages"})} == {"a.py", "sub/packages/c.py"}
    assert len(found(tmp_path)) == 3


@pytest.mark.parametrize("repository", [False, True])
def test_ignore_files_are_honoured_with_and_without_git(tmp_path: Path, repository: bool) -> None:
    write(tmp_path, IGNORING)
    if repository:
        git(tmp_path, "init")
        git(tmp_path, "add", "a.py")  # the others are untracked and must be found too
    assert {name for name, reason in found(tmp_path).items() if reason is None} == NOT_IGNORED


def test_a_directory_that_the_repository_around_it_ignores_is_scanned_when_named(tmp_path: Path) -> None:
    write(tmp_path, IGNORING)
    git(tmp_path, "init")
    assert found(tmp_path / "build") == {"out.py": None}


def test_repositories_within_a_repository(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "x = 1\n", "inner/b.py": "x = 2\n", "inner/.gitignore": "c.py\n", "inner/c.py": "x\n"})
    git(tmp_path, "init")
    git(tmp_path / "inner", "init")
    assert {name for name, reason in found(tmp_path).items() if reason is None} == {"a.py", "inner/b.py"}


def test_a_hostile_repository_gets_to_run_nothing(tmp_path: Path) -> None:
    root = write(tmp_path / "r", {"a.py": "x = 1\n"})
    git(root, "init")
    witness = tmp_path / "witness"
    script = tmp_path / "evil.sh"
    script.write_text(f"#!/bin/sh\ntouch {witness}\n")
    script.chmod(0o755)
    with open(root / ".git" / "config", "a") as config:
        config.write(f"[core]\n\tfsmonitor = {script}\n\thooksPath = {tmp_path}\n")
    assert found(root)["a.py"] is None
    assert not witness.exists()
    subprocess.run(["git", "-C", root, "status"], capture_output=True)
    assert witness.exists(), "the trap does not work, so this test proves nothing"


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", {"secret.py": "x = 1\n"})
    root = write(tmp_path / "root", {"a.py": "x = 2\n"})
    (root / "link.py").symlink_to(outside / "secret.py")
    (root / "directory").symlink_to(outside)
    (root / "loop").symlink_to(root)
    result = found(root)
    assert result == {
        "a.py": None, "link.py": filters.SYMLINK, "directory": filters.SYMLINK, "loop": filters.SYMLINK,
    }  # fmt: skip


def test_a_tracked_directory_that_became_a_link_outwards(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", {"b.py": "x = 1\n"})
    root = write(tmp_path / "root", {"a.py": "x = 2\n", "lib/b.py": "x = 3\n"})
    git(root, "init")
    git(root, "add", ".")
    (root / "lib" / "b.py").unlink()
    (root / "lib").rmdir()
    (root / "lib").symlink_to(outside)
    assert found(root)["lib/b.py"] == filters.OUTSIDE


def test_pipes_and_sockets_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "a.py").write_text("x = 1\n")
    assert found(tmp_path) == {"a.py": None, "pipe.py": filters.NOT_A_FILE}
    with pytest.raises(OSError, match=filters.NOT_A_FILE):
        read_regular(str(tmp_path / "pipe.py"), 100)
    (tmp_path / "link.py").symlink_to(tmp_path / "a.py")
    with pytest.raises(OSError):
        read_regular(str(tmp_path / "link.py"), 100)


def test_no_more_than_the_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"x" * 300_000)
    assert read_regular(str(tmp_path / "a.py"), 300_000) == b"x" * 300_000
    assert len(read_regular(str(tmp_path / "a.py"), 1000)) == 1001


def test_names_that_are_not_utf8_or_not_printable(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.py")).write_text("x = 1\n")
    (tmp_path / "a\nb.py").write_text("x = 2\n")
    assert found(tmp_path) == {"caf%E9.py": None, "a%0Ab.py": None}
    assert printable("plain é.py") == "plain é.py"


def test_the_runs_of_a_workspace_are_ours(tmp_path: Path) -> None:
    run = {"config.json": "{}", "run.sqlite": "x", "log.txt": "text\n", "report/notes.md": "text\n"}
    write(tmp_path, {f"runs/1/{name}": text for name, text in run.items()} | {"runs/mine.py": "x = 1\n"})
    write(tmp_path, {"models/mine.py": "x = 2\n", "models/m.cllm": "model"})
    result = found(tmp_path)
    assert {name for name, reason in result.items() if reason is None} == {"runs/mine.py", "models/mine.py"}
    assert result["models/m.cllm"] == result["runs/1/log.txt"] == result["runs/1/report/notes.md"] == filters.OWN_OUTPUT


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_what_cannot_be_read_is_said() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own directories are closed to other users
        root = write(Path(name), {"a.py": "x = 1\n"})
        root.chmod(0o755)
        (root / "closed").mkdir(mode=0)
        os.seteuid(65534)
        try:
            assert found(root) == {"a.py": None, "closed/": filters.UNREADABLE}
            with pytest.raises(InvalidInput, match="permission"):
                scan(root / "closed")
        finally:
            os.seteuid(0)

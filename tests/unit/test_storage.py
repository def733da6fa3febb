"""Files that are whole or not there, and no file of a person's that is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cllm.storage import atomic_writer, keep_what_is_there, publish, write_bytes


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "a"
    write_bytes(target, b"old")
    with pytest.raises(RuntimeError), atomic_writer(target) as stream:
        stream.write(b"new")
        raise RuntimeError
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_file_that_fails_its_verification_is_not_put_in_place(tmp_path: Path) -> None:
    def refuse(path: Path) -> None:
        assert path.read_bytes() == b"new"
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), atomic_writer(tmp_path / "a", verify=refuse) as stream:
        stream.write(b"new")
    assert os.listdir(tmp_path) == []


def test_publishing_replaces_what_a_run_still_has(tmp_path: Path) -> None:
    for name in ("run1", "run2"):
        write_bytes(tmp_path / name / "model", name.encode())
    target = tmp_path / "models" / "model"
    assert publish(tmp_path / "run1" / "model", target) is None
    assert publish(tmp_path / "run1" / "model", target) is None
    assert publish(tmp_path / "run2" / "model", target) is None
    assert target.read_bytes() == b"run2"
    assert (tmp_path / "run1" / "model").read_bytes() == b"run1"
    assert os.listdir(tmp_path / "models") == ["model"]


def test_publishing_moves_aside_what_exists_nowhere_else(tmp_path: Path) -> None:
    write_bytes(tmp_path / "run" / "model.cllm", b"ours")
    target = tmp_path / "models" / "model.cllm"
    write_bytes(target, b"a person's")
    aside = publish(tmp_path / "run" / "model.cllm", target)
    assert aside == tmp_path / "models" / "model.1.cllm"
    assert aside.read_bytes() == b"a person's"
    assert target.read_bytes() == b"ours"


def test_numbers_are_not_used_again(tmp_path: Path) -> None:
    for text in (b"1", b"2", b"3"):
        write_bytes(tmp_path / "a.txt", text)
        keep_what_is_there(tmp_path / "a.txt")
    assert sorted(os.listdir(tmp_path)) == ["a.1.txt", "a.2.txt", "a.3.txt"]
    assert (tmp_path / "a.1.txt").read_bytes() == b"1"

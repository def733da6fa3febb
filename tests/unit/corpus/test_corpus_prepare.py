"""From paths to a corpus and back."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from cllm.corpus import filters
from cllm.corpus.gather import Source, examine_all
from cllm.corpus.manifest import FileEntry, Manifest, manifest_path
from cllm.corpus.prepare import load, prepare
from cllm.corpus.stdlib import is_default_corpus, standard_library_root
from cllm.errors import EmptyCorpus, InvalidInput

SECRET = "AKIA" + "2E0A8F3B244C9986"


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def code(seed: int, lines: int = 30) -> str:
    rng = random.Random(seed)
    return "".join(f"value_{word(rng)} = call_{word(rng)}({word(rng)})\n" for _ in range(lines))


def word(rng: random.Random) -> str:
    return "".join(rng.choices("abcdefghijklmnop", k=6))


def corpus_of(root: Path, files: int = 40) -> Path:
    return write(root, {f"pkg{n % 4}/m{n}.py": code(n, 10 + n) for n in range(files)})


def texts(corpus: Path, split: str | None = None) -> dict[str, bytes]:
    return {document.path: document.text for document in load(corpus, split)}


def reasons(manifest: Manifest) -> dict[str, str | None]:
    return {entry.path: entry.reason for entry in manifest.files}


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    root = corpus_of(tmp_path / "root")
    write(
        root, {"no_newline.py": code(100).rstrip(), "windows.c": code(101).replace("\n", "\r\n"), "é/ü.py": code(102)}
    )
    out = tmp_path / "out" / "repo_code.txt"
    manifest = prepare([root], out)
    assert texts(out) == {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*.*") if p.is_file()}
    assert manifest == Manifest.load(manifest_path(out))
    assert manifest.corpus_sha256 == hashlib.sha256(out.read_bytes()).hexdigest()
    data = out.read_bytes()
    for entry in manifest.included():
        assert entry.offset is not None
        assert hashlib.sha256(data[entry.offset : entry.offset + entry.size]).hexdigest() == entry.sha256
    assert sum(manifest.bytes_of(s) for s in ("train", "validation", "test")) == manifest.bytes_of()
    for split in ("train", "validation", "test"):
        assert set(texts(out, split)) == {entry.path for entry in manifest.included(split)} != set()
    assert {d.language for d in load(out, None)} == {"python", "c"}
    assert sorted(os.listdir(out.parent)) == ["repo_code.manifest.json", "repo_code.txt"], "nothing temporary stays"


def test_the_same_files_give_the_same_corpus_and_another_seed_another_split(tmp_path: Path) -> None:
    root = corpus_of(tmp_path / "root")
    first = prepare([root], tmp_path / "a.txt")
    moved = tmp_path / "elsewhere"
    root.rename(moved)
    second = prepare([moved], tmp_path / "b.txt")
    assert first.sha256 == second.sha256
    other = prepare([moved], tmp_path / "c.txt", seed=1)
    assert other.corpus_sha256 == first.corpus_sha256
    assert [e.split for e in other.included()] != [e.split for e in first.included()]


def test_duplicates_name_the_file_that_is_kept(tmp_path: Path) -> None:
    base = code(1, 200)
    root = corpus_of(tmp_path / "root")
    write(root, {"a.py": base, "b.py": base, "c.py": base.replace("\n", "\n\n"), "d.py": base + "last = 1\n"})
    manifest = prepare([root], tmp_path / "o.txt")
    entries = {e.path: e for e in manifest.files}
    assert entries["a.py"].split is not None
    assert (entries["b.py"].reason, entries["b.py"].duplicate_of) == (filters.DUPLICATE, "a.py")
    for name in ("c.py", "d.py"):
        assert (entries[name].reason, entries[name].duplicate_of) == (filters.NEAR_DUPLICATE, "a.py")
    assert manifest.left_out() == {filters.NEAR_DUPLICATE: 2, filters.DUPLICATE: 1}


def test_similar_files_are_never_on_both_sides_of_the_split(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {}
    for family in range(30):
        shared = code(1000 + family, 65)
        files |= {f"f{family}_{n}.py": shared + code(family * 10 + n, 25) for n in range(3)}
    manifest = prepare([write(tmp_path / "root", files)], tmp_path / "o.txt")
    assert len(manifest.included()) == 90
    splits: dict[str, set[str | None]] = {}
    for entry in manifest.included():
        splits.setdefault(entry.path.split("_")[0], set()).add(entry.split)
    assert all(len(found) == 1 for found in splits.values())
    assert {s for found in splits.values() for s in found} == {"train", "validation", "test"}


def test_secrets_are_replaced_and_listed_but_not_kept(tmp_path: Path) -> None:
    root = corpus_of(tmp_path / "root")
    write(root, {"pkg0/aws.py": code(7, 5) + f'key = "{SECRET}"\n'})
    out = tmp_path / "o.txt"
    manifest = prepare([root], out)
    assert [(s.path, s.line, s.type) for s in manifest.secrets] == [("pkg0/aws.py", 6, "AWS Access Key")]
    assert sum(e.redactions for e in manifest.included()) == 1
    assert SECRET.encode() not in out.read_bytes() + manifest_path(out).read_bytes()


def test_licence_tags(tmp_path: Path) -> None:
    root = corpus_of(tmp_path / "root")
    write(root, {"a.c": "/* SPDX-License-Identifier: GPL-2.0 OR MIT */\n" + code(900)})
    entries = {e.path: e for e in prepare([root], tmp_path / "o.txt").included()}
    assert entries["a.c"].spdx == "GPL-2.0 OR MIT"
    assert entries["pkg0/m0.py"].spdx is None


@pytest.mark.parametrize("files", [1, 5])
def test_few_files_hold_out_their_tails(tmp_path: Path, files: int) -> None:
    root = write(tmp_path / "root", {f"m{n}.py": code(n, 60) for n in range(files)})
    out = tmp_path / "o.txt"
    manifest = prepare([root], out)
    assert manifest.holdout == "tails"
    train, held_out = texts(out, "train"), texts(out, "validation")
    assert {p + "#tail" for p in train} == set(held_out)
    for path, head in train.items():
        assert head + held_out[path + "#tail"] == (root / path).read_bytes()
        assert head.endswith(b"\n")
    assert 0.05 < manifest.bytes_of("validation") / manifest.bytes_of() < 0.15
    assert texts(out, "test") == {}
    assert manifest.languages() == {"python": files}


def test_one_small_file_has_two_parts(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(code(1, 3))
    out = tmp_path / "o.txt"
    prepare([tmp_path / "a.py"], out)
    assert texts(out, "train")["a.py"] + texts(out, "validation")["a.py#tail"] == (tmp_path / "a.py").read_bytes()


def test_a_prepared_file_keeps_its_splits(tmp_path: Path) -> None:
    root = corpus_of(tmp_path / "root")
    write(root, {"x.json": "{}", "pkg0/aws.py": f'key = "{SECRET}"\n' + code(7)})
    first = prepare([root], tmp_path / "a" / "repo_code.txt", seed=5)
    second = prepare([tmp_path / "a" / "repo_code.txt"], tmp_path / "b.txt")
    assert {e.path: e.split for e in second.included()} == {e.path: e.split for e in first.included()}
    assert second.corpus_sha256 == first.corpus_sha256
    assert second.left_out() == first.left_out() == {filters.DATA: 1}
    assert second.secrets == first.secrets


def test_a_tail_that_resembles_its_head_stays_held_out(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("".join(code(n % 3, 4) for n in range(60)))
    first = prepare([tmp_path / "a.py"], tmp_path / "a.txt")
    second = prepare([tmp_path / "a.txt"], tmp_path / "b.txt")
    assert [(e.path, e.split) for e in second.files] == [("a.py", "train"), ("a.py#tail", "validation")]
    assert second.corpus_sha256 == first.corpus_sha256


def test_what_resembles_a_held_out_file_is_held_out_with_it(tmp_path: Path) -> None:
    """Also under another seed, and whether a new file is a copy, a near duplicate or only similar."""
    first = prepare([corpus_of(tmp_path / "root", 80)], tmp_path / "a.txt", seed=5)
    held_out = {e.path: e.split for e in first.included() if e.split != "train"}
    assert set(held_out.values()) == {"validation", "test"}
    more = tmp_path / "more"
    expected = {}
    for n, (path, split) in enumerate(held_out.items()):
        text = (tmp_path / "root" / path).read_text()
        lines = text.count("\n")
        if n % 2:  # nothing but a near duplicate, which is then the one that is kept
            write(more, {f"near{n}.py": text + "x = 1\n"})
            expected |= {f"near{n}.py": split}
            continue
        write(
            more,
            {f"copy{n}.py": text, f"near{n}.py": text + "x = 1\n", f"similar{n}.py": text + code(999 + n, lines // 2)},
        )
        expected |= {f"copy{n}.py": split, f"similar{n}.py": split}
    second = prepare([more, tmp_path / "a.txt"], tmp_path / "b.txt")
    splits = {e.path.rpartition("/")[2]: e.split for e in second.included()}
    assert {name: splits.get(name) for name in expected} == expected
    for entry in first.included("train"):
        assert splits[entry.path.rpartition("/")[2]] == "train"


def test_a_prepared_file_without_its_manifest_is_split_anew(tmp_path: Path) -> None:
    out = tmp_path / "a.txt"
    first = prepare([corpus_of(tmp_path / "root")], out)
    manifest_path(out).unlink()
    assert len(texts(out)) == len(first.included())
    with pytest.raises(InvalidInput, match="prepare"):
        list(load(out, "train"))
    second = prepare([out], tmp_path / "b.txt")
    assert {e.path for e in second.included()} == {e.path for e in first.included()}


def test_a_corpus_that_was_changed_is_noticed(tmp_path: Path) -> None:
    out = tmp_path / "a.txt"
    prepare([corpus_of(tmp_path / "root")], out)
    data = bytearray(out.read_bytes())
    data[len(data) // 2] ^= 1
    out.write_bytes(data)
    with pytest.raises(InvalidInput, match="changed after it was prepared"):
        list(load(out, None))


def test_what_was_there_is_kept(tmp_path: Path) -> None:
    root = corpus_of(tmp_path / "root")
    out = tmp_path / "repo_code.txt"
    out.write_text("mine\n")
    notes: list[str] = []
    prepare([root], out, note=notes.append)
    assert (tmp_path / "repo_code.1.txt").read_text() == "mine\n"
    assert len(notes) == 1 and "repo_code.1.txt" in notes[0]
    before = out.read_bytes()
    prepare([root], out, note=notes.append)
    assert len(notes) == 1, "the same content again replaces nothing"
    write(root, {"new.py": code(77)})
    prepare([root], out, note=notes.append)
    assert (tmp_path / "repo_code.2.txt").read_bytes() == before
    assert texts(tmp_path / "repo_code.2.txt", "train"), "its manifest went with it"
    assert len(notes) == 2


def test_our_own_outputs_are_not_training_data(tmp_path: Path) -> None:
    root = corpus_of(tmp_path / "root")
    first = prepare([root], root / "training_data" / "repo_code.txt")
    second = prepare([root], root / "training_data" / "repo_code.txt")
    assert second.corpus_sha256 == first.corpus_sha256
    assert reasons(second)["training_data/repo_code.txt"] == filters.OWN_OUTPUT
    big = corpus_of(tmp_path / "big", 200)
    prepare([big], big / "big.txt")
    assert (big / "big.txt").stat().st_size > filters.PROSE_LIMIT
    assert reasons(prepare([big], big / "big.txt"))["big.txt"] == filters.OWN_OUTPUT


def test_several_roots_and_files_with_the_same_names(tmp_path: Path) -> None:
    for n, name in enumerate(("one", "two")):
        write(tmp_path / name / "src", {"a.py": code(n), f"b{n}.py": code(n + 10)})
    manifest = prepare(
        [tmp_path / "one" / "src", tmp_path / "two" / "src", tmp_path / "one/src/a.py"], tmp_path / "o.txt"
    )
    heads = {e.path for e in manifest.included("train")}
    assert heads == {"src/a.py", "src/b0.py", "src~2/a.py", "src~2/b1.py"}
    assert len({e.path for e in manifest.files}) == len(manifest.files)


@pytest.mark.parametrize(
    ("files", "path", "message"),
    [
        ({}, "", "no file"),
        ({"a.json": "{}", "b.bin": b"\0", "c.png": b"x"}, "", "1 data"),
        ({"a.py": ""}, "", "1 empty"),
        ({"a.py": "x=1\n"}, "", "bytes of text"),
        ({"a.py": b"x\0y"}, "a.py", "a.py is binary"),
        ({"a.py": ""}, "a.py", "a.py is empty"),
        ({"a.py": b"\xff\xfe"}, "a.py", "not UTF-8"),
        ({"a.qqq": "text\n" * 50}, "a.qqq", "unknown file type"),
        ({}, "missing", "does not exist"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, files: dict[str, str | bytes], path: str, message: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    write(root, files)
    with pytest.raises(InvalidInput, match=message) as caught:
        prepare([root / path], tmp_path / "out" / "o.txt")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").glob("*"))


def test_more_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no path"):
        prepare([], tmp_path / "o.txt")
    os.mkfifo(tmp_path / "pipe.py")
    with pytest.raises(InvalidInput, match="regular file"):
        prepare([tmp_path / "pipe.py"], tmp_path / "o.txt")
    with pytest.raises(InvalidInput, match="is a directory"):
        prepare([corpus_of(tmp_path / "root")], tmp_path)
    with pytest.raises(InvalidInput, match="cannot be written"):
        prepare([tmp_path / "root"], tmp_path / "root" / "pkg0" / "m0.py" / "o.txt")
    prepare([tmp_path / "root"], tmp_path / "training" / "o.txt")
    with pytest.raises(EmptyCorpus, match="name that file itself"):
        prepare([tmp_path / "training"], tmp_path / "p.txt")


def test_only_what_is_chosen_of_a_directory(tmp_path: Path) -> None:
    root = corpus_of(tmp_path / "root")
    write(root, {"table.png": b"\0\1", "pkg0/empty.py": ""})
    (tmp_path / "named.py").write_text(code(77))
    only = ["pkg0/m0.py", "pkg1/m1.py", "table.png", "vanished.py"]
    manifest = prepare([root], tmp_path / "a.txt", only=only)
    assert [e.path for e in manifest.included() if "#" not in e.path] == ["pkg0/m0.py", "pkg1/m1.py"]
    assert manifest.left_out() == {filters.NOT_CHOSEN: 38, filters.BINARY: 1, filters.EMPTY: 1}
    assert reasons(manifest)["table.png"] == filters.BINARY
    several = prepare([root, tmp_path / "named.py"], tmp_path / "b.txt", only=only)
    assert [e.path for e in several.included() if "#" not in e.path] == [
        "root/pkg0/m0.py",
        "root/pkg1/m1.py",
        "named.py",
    ]
    with pytest.raises(EmptyCorpus, match="40 not chosen"):
        prepare([root], tmp_path / "c.txt", only=[])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_unreadable_files(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = corpus_of(Path(name))
        for path in (root, *root.rglob("*")):
            path.chmod(0o755)
        (root / "closed.py").write_text(code(1))
        (root / "closed.py").chmod(0)
        (root / "out").mkdir()
        (root / "out").chmod(0o777)
        os.seteuid(65534)
        try:
            assert reasons(prepare([root], root / "out" / "o.txt"))["closed.py"] == filters.UNREADABLE
            with pytest.raises(InvalidInput, match="cannot be read"):
                prepare([root / "closed.py"], root / "out" / "p.txt")
            with pytest.raises(InvalidInput, match="cannot be written"):
                prepare([root], root / "p.txt")
        finally:
            os.seteuid(0)


def test_a_file_that_grew_since_the_scan_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n" * filters.CODE_LIMIT)
    examined = list(examine_all([Source("a.py", str(tmp_path / "a.py"), size=6)]))
    assert [e.reason for e in examined] == [filters.TOO_LARGE]


def test_progress_and_a_main_program_without_a_guard(tmp_path: Path) -> None:
    """A script that calls `prepare` at its top level works: no process is started that would import it again."""
    root = corpus_of(tmp_path / "root")
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\nfrom cllm.corpus.prepare import prepare\nseen = []\n"
        f"prepare([Path({str(root)!r})], Path({str(tmp_path / 'o.txt')!r}), progress=lambda *a: seen.append(a))\n"
        "import json; print(json.dumps(seen))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True)
    seen = json.loads(done.stdout)
    assert list(dict.fromkeys(stage for stage, _, _ in seen)) == ["scanning", "reading", "deduplicating", "writing"]
    assert ["reading", 40, 40] in seen and ["writing", 40, 40] in seen
    assert done.stderr == ""


def test_the_standard_library_without_tests_and_tables(tmp_path: Path) -> None:
    chosen = ["argparse.py", "json/decoder.py", "asyncio/base_events.py", "unittest/mock.py", "_pydecimal.py"]
    tests = ["test/test_os.py", "lib2to3/tests/a.py", "unittest/test/a.py", "ctypes/test/a.py"]
    tables = ["encodings/cp037.py", "pydoc_data/topics.py", "token.py", "_sysconfigdata__linux.py", "html/entities.py"]
    not_chosen = [*tests, *tables, "site-packages/x.py", "idlelib/run.py", "LICENSE.txt"]
    assert all(map(is_default_corpus, chosen))
    assert not any(map(is_default_corpus, not_chosen))
    assert (standard_library_root() / "argparse.py").is_file()


def test_manifest_round_trip_and_what_is_not_one(tmp_path: Path) -> None:
    entry = FileEntry(path='a "b"\n.py', size=3, sha256="0" * 64, language="python", split="train", offset=7)
    left_out = FileEntry(path="é", size=1, reason=filters.DATA)
    fields = {"seed": 0, "corpus_sha256": "1" * 64, "holdout": "clusters", "files": [entry, left_out]}
    first = Manifest(created="2026-01-01", roots=["/a"], **fields)
    first.save(tmp_path / "m.json")
    assert Manifest.load(tmp_path / "m.json") == first
    assert Manifest(created="2027-01-01", roots=["/b"], **fields).sha256 == first.sha256
    assert Manifest(created="2026-01-01", roots=["/a"], **fields | {"seed": 1}).sha256 != first.sha256
    (tmp_path / "m.json").write_text('{"version": 1}')
    with pytest.raises(InvalidInput, match="not a manifest"):
        Manifest.load(tmp_path / "m.json")
    (tmp_path / "m.json").write_text(first.model_dump_json().replace('"version":1', '"version":99'))
    with pytest.raises(InvalidInput, match="newer version"):
        Manifest.load(tmp_path / "m.json")

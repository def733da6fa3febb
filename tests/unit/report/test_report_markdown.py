"""The document: escaping, fences, tables, and that no figure is lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cllm.report.codegen import judged
from cllm.report.figures import IssueNote, ModelFile
from cllm.report.gather import gather
from cllm.report.history import read_history
from cllm.report.markdown import document, escape, fenced, grid
from cllm.report.sections import table
from cllm.report.write import DOCUMENT, is_unchanged, sealed, write_report
from tests.synthetic_run import SyntheticRun


@given(st.text())
def test_a_fence_holds_any_text(text: str) -> None:
    first, *body, last = fenced(text, "c").split("\n")
    fence = first.removesuffix("c")
    assert last == fence
    assert set(fence) == {"`"}
    assert not any(line.strip().startswith(fence) for line in body)


@given(st.text())
def test_a_cell_stays_one_cell(text: str) -> None:
    cell = escape(text)
    assert "\n" not in cell
    assert not re.search(r"(?<!\\)(\\\\)*[|`<\[]", cell)


def test_text_of_files_cannot_become_markup() -> None:
    row = grid(table(["a", "b"], [["x|y`z`", "<script>![p](u)"]])).split("\n")[2]
    assert row == r"| x\|y\`z\` | \<script\>\!\[p\](u) |"


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ({}, "# My training results: done"),
        ({"until": 100, "state": "stopped"}, "# My training results: stopped"),
        ({"until": 100, "state": "failed"}, "Reason: rank 1 died"),
        ({"until": 0, "state": "interrupted"}, "no steps yet"),
        ({"until": 1, "state": "running", "spheres": 1}, "still running"),
    ],
)
def test_documents_of_all_states(tmp_path: Path, made: dict[str, object], expected: str) -> None:
    run = SyntheticRun(tmp_path / "20260101-000000-abcd", **made)  # type: ignore[arg-type]
    directory = run.write()
    reason = "rank 1 died" if run.state == "failed" else ""
    report = gather(directory.id, run.state or "interrupted", read_history(directory), {"spheres": run.spheres}, reason)
    text = document(report, "l.png", "s.png")
    assert expected in text
    assert "None" not in text.replace("None.", "")
    assert "nan" not in text.split()


def test_completions_with_backticks_and_the_issues_are_shown(tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path / "run").write()
    report = gather(run.id, "done", read_history(run), {})
    completion = judged("python", "def ", "f():\n    '''```\n````'''\n", lambda *_: (False, "it | broke"))
    report = report.model_copy(
        update={
            "language": "python",
            "model": ModelFile(path="models/m.cllm", kind="final", bytes=1),
            "completions": (completion,),
            "issues": (IssueNote(time=0.0, kind="warning", text="a|b\nc"),),
        }
    )
    text = document(report, "l.png", "s.png")
    assert "`````python\ndef f():" in text
    assert r"| Syntax | ❌ no | it \| broke |" in text
    assert r"| warning | a\|b c |" in text


def test_a_document_that_was_edited_is_kept(tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path / "20260101-000000-abcd", epochs=1).write()
    history = read_history(run)
    report = gather(run.id, "done", history, {})
    target = tmp_path / "out" / DOCUMENT
    assert write_report(report, history, target.parent) == ([target], [])
    assert is_unchanged(target)
    assert write_report(report, history, target.parent) == ([target], [])  # ours: replaced
    target.write_text(target.read_text().replace("Yours to write.", "It went well."))
    assert not is_unchanged(target)
    _, kept = write_report(report, history, target.parent)
    assert [path.name for path in kept] == ["MY_TRAINING_RESULTS.1.md"]
    assert "It went well." in kept[0].read_text()
    assert is_unchanged(target)
    pictures = re.findall(r"!\[[^]]*\]\(([^)]*)\)", target.read_text())
    assert len(pictures) == 2
    for picture in pictures:
        assert (target.parent / picture).read_bytes().startswith(b"\x89PNG")


def test_notes_after_the_end_count_as_an_edit(tmp_path: Path) -> None:
    target = tmp_path / DOCUMENT
    target.write_text(sealed("# x\n"))
    assert is_unchanged(target)
    target.write_text(target.read_text() + "my notes\n")
    assert not is_unchanged(target)

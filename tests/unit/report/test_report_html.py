"""The page: nothing of a run becomes markup, nothing is loaded from elsewhere, and no figure is lost."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from cllm.report.codegen import judged
from cllm.report.figures import IssueNote, ModelFile, Report
from cllm.report.gather import gather
from cllm.report.history import read_history
from cllm.report.html import POLICY, page
from cllm.report.indicators import success_indicators, warning_signs
from cllm.report.sections import Code, Paragraph, Section, Table, report_sections
from tests.synthetic_run import SyntheticRun

EVIL = """</code></td></style><script>alert('1')</script><img src="https://x.example/" onerror='x'>&amp;\x1b[31m"""
VOID = {"meta", "img"}


class Page(HTMLParser):
    """Tags, attributes and texts; fails where elements are not closed in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def report_of(path: Path, **made: object) -> Report:
    run = SyntheticRun(path, **made)  # type: ignore[arg-type]
    history = read_history(run.write())
    report = gather(path.name, run.state or "interrupted", history, {"spheres": run.spheres})
    judgements = {"success": success_indicators(report, history), "warning_signs": warning_signs(report, history)}
    return report.model_copy(update=judgements)


def texts_of(section: Section) -> list[str]:
    found = [section.title]
    for block in section.blocks:
        match block:
            case Section():
                found += texts_of(block)
            case Paragraph():
                found += [span.text for span in block.spans]
            case Table():
                found += [*block.header, *(cell for row in block.rows for cell in row if isinstance(cell, str))]
            case Code():
                found += [block.prompt, block.text]
    return found


@pytest.mark.parametrize(
    "made",
    [
        {},
        {"until": 0, "state": "interrupted"},
        {"until": 1, "state": "running", "spheres": 1},
        {"until": 100, "state": "failed", "idle": (3,)},
    ],
)
def test_nothing_that_the_document_says_is_lost(tmp_path: Path, made: dict[str, object]) -> None:
    report = report_of(tmp_path / "20260101-000000-abcd", **made)
    shown = "".join(Page(page(report, b"loss", b"spheres")).texts)
    for text in texts_of(report_sections(report)):
        assert text in shown
    assert "Observations and notes" in shown


def test_text_of_a_run_cannot_become_markup(tmp_path: Path) -> None:
    clean = report_of(tmp_path / "run", epochs=1)
    completion = judged("python", "def ", "f()\n", lambda *_: (False, "why"))
    update = {
        "language": "python",
        "model": ModelFile(path="m.cllm", kind="final", bytes=1),
        "completions": (completion,),
        "issues": (IssueNote(time=0.0, kind="warning", text="text"),),
        "settings": {"name": "name"},
    }
    clean = clean.model_copy(update=update)
    evil = clean.model_copy(
        update={
            "run": EVIL,
            "reason": EVIL,
            "state": "failed",
            "model": ModelFile(path=EVIL, kind=EVIL, bytes=1, detail=EVIL),
            "completions": (completion.model_copy(update={"prompt": EVIL, "text": EVIL}),),
            "issues": (IssueNote(time=0.0, kind=EVIL, text=EVIL),),
            "settings": {EVIL: EVIL},
        }
    )
    good, bad = Page(page(clean, b"", b"")), Page(page(evil, b"", b""))
    assert bad.tags == good.tags
    assert "script" not in bad.tags
    assert set(bad.attributes) == set(good.attributes)
    assert EVIL.replace("\x1b", "\ufffd") in bad.texts


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    text = page(report_of(tmp_path / "run", epochs=1), b"\x89PNG one", b"\x89PNG two")
    made = Page(text)
    sources = [value for name, value in made.attributes if name in ("src", "href", "srcset", "style")]
    pictures = [base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in sources]
    assert pictures == [b"\x89PNG one", b"\x89PNG two"]
    assert ("content", POLICY) in made.attributes
    assert not re.search(r"https?:|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text and "@media print" in text

"""`MY_TRAINING_RESULTS.md`: a report as Markdown for people. Pure; whatever comes from files is escaped."""

from __future__ import annotations

import re

from cllm.report.figures import Report
from cllm.report.sections import Code, Paragraph, Picture, Section, Span, Table, report_sections

NOTES = """## Observations and notes

Yours to write. The next `cllm report` keeps a file that you changed, under another name."""
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~#&!])")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def escape(value: object) -> str:
    """Text that Markdown shows as it is, on one line and within one table cell."""
    return _as_it_is(" ".join(str(value).split()))


def _as_it_is(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", CONTROL.sub("\ufffd", text))


def fenced(text: str, language: str = "") -> str:
    """A code block; its fence is longer than any row of backticks in `text`."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    body = re.sub(r"\r\n?", "\n", text)
    body = re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "\ufffd", body)
    return f"{fence}{language if language.isalnum() else ''}\n{body}{'' if body.endswith(chr(10)) else chr(10)}{fence}"


def grid(table: Table) -> str:
    """A table; cells are escaped."""
    lines = [
        "| " + " | ".join(table.header) + " |",
        "| " + " | ".join("---:" if a == "r" else ":---" for a in table.align) + " |",
        *("| " + " | ".join(escape(cell) for cell in row) + " |" for row in table.rows),
    ]
    return "\n".join(lines)


def document(report: Report, loss_picture: str, spheres_picture: str) -> str:
    """The whole document; the pictures are given by their paths relative to it."""
    paths = {"loss": loss_picture, "spheres": spheres_picture}
    return f"{_section(report_sections(report), 1, paths)}\n\n{NOTES}\n"


def _section(section: Section, level: int, pictures: dict[str, str]) -> str:
    parts = [f"{'#' * level} {escape(section.title)}"]
    for block in section.blocks:
        match block:
            case Section():
                parts.append(_section(block, level + 1, pictures))
            case Paragraph():
                parts.append("".join(map(_span, block.spans)))
            case Table():
                parts.append(grid(block))
            case Code():
                parts.append(fenced(block.prompt + block.text, block.language))
            case Picture():
                parts.append(f"![{block.shows}]({pictures[block.name]})")
    return "\n\n".join(parts)


def _span(span: Span) -> str:
    text = _as_it_is(re.sub(r"\s+", " ", span.text))
    return {"plain": text, "strong": f"**{text}**", "code": f"`{span.text}`"}[span.style]

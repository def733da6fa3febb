"""A report as one self-contained page: style and pictures are within it, nothing is loaded and no script runs."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable

from cllm.report.figures import Report
from cllm.report.markdown import CONTROL
from cllm.report.sections import Code, Mark, Paragraph, Picture, Section, Span, Table, duration, number, report_sections

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
NOTES = Section(
    "Observations and notes",
    (
        Paragraph(
            (
                Span("Yours to write, in "),
                Span("MY_TRAINING_RESULTS.md", "code"),
                Span(": the next "),
                Span("cllm report", "code"),
                Span(" makes this page anew, but keeps a document that you changed."),
            )
        ),
    ),
)
STYLE = """
:root { color-scheme: light dark; --bg: #f5f6f8; --panel: #fff; --line: #e1e5eb; --ink: #1c212b; --ink-2: #596273;
  --accent: #2457b8; --good: #1f7346; --good-bg: #e5f4eb; --bad: #b3261e; --bad-bg: #fce9e7; --code: #f3f5f9; }
@media (prefers-color-scheme: dark) { :root { --bg: #12151b; --panel: #1a1e26; --line: #2c323d; --ink: #e4e8ef;
  --ink-2: #9ba5b5; --accent: #8ab0ff; --good: #7fd3a1; --good-bg: #16301f; --bad: #ff9d94; --bad-bg: #3a1a18;
  --code: #12161d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink); font: 15px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Noto Sans", "Liberation Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 28px; line-height: 1.2; letter-spacing: -0.015em; margin: 0 0 12px; }
h2 { font-size: 19px; letter-spacing: -0.01em; margin: 44px 0 14px; }
h3 { font: 600 14px/1.4 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; margin: 0 0 12px;
  overflow-wrap: anywhere; }
p { margin: 0 0 12px; color: var(--ink-2); max-width: 80ch; overflow-wrap: anywhere; }
p strong { color: var(--ink); }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 13px; }
p code { background: var(--code); border: 1px solid var(--line); border-radius: 5px; padding: 1px 5px; }
.tiles { display: grid; gap: 16px; grid-template-columns: repeat(4, 1fr); margin: 24px 0 0; padding: 0; }
.tiles div, .card { background: var(--panel); border: 1px solid var(--line); border-radius: 12px; }
.tiles div { padding: 14px 18px; }
.tiles dt { color: var(--ink-2); font-size: 13px; }
.tiles dd { margin: 2px 0 0; font-size: 22px; font-weight: 650; letter-spacing: -0.015em;
  font-variant-numeric: tabular-nums; }
.tiles dd small { font-size: 13px; font-weight: 400; letter-spacing: 0; color: var(--ink-2); }
.cards { columns: 2; column-gap: 16px; }
.cards > p, .wide { column-span: all; }
.tests { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); column-gap: 16px; }
.tests > p { grid-column: 1 / -1; }
.tests td:nth-child(2) { white-space: nowrap; }
.card { padding: 16px 18px; margin-bottom: 16px; break-inside: avoid; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 12px 6px 0; text-align: left; vertical-align: baseline; border-top: 1px solid var(--line); }
td { overflow-wrap: anywhere; }
th:last-child, td:last-child { padding-right: 0; }
thead tr > *, tbody:first-child tr:first-child > * { border-top: 0; }
thead th { padding-top: 0; font-size: 13px; font-weight: 600; color: var(--ink-2); }
.pairs th { width: 42%; }
.pairs td.r { text-wrap: balance; }
.pairs thead th { font-size: 15px; color: var(--ink); }
tbody th { font-weight: 400; color: var(--ink-2); }
.r { text-align: right; }
.numbers { white-space: nowrap; }
.numbers th, .numbers td { padding-right: 24px; }
.mark { white-space: nowrap; font-size: 13px; font-weight: 600; border-radius: 999px; padding: 1px 9px; }
.good { color: var(--good); background: var(--good-bg); }
.bad { color: var(--bad); background: var(--bad-bg); }
pre { margin: 0 0 12px; padding: 12px 14px; background: var(--code); border: 1px solid var(--line);
  border-radius: 8px; white-space: pre-wrap; overflow-wrap: anywhere; tab-size: 4; line-height: 1.5; }
.prompt { color: var(--accent); font-weight: 700; }
.pictures { display: grid; grid-template-columns: 1.8fr 1fr; gap: 16px; margin-top: 44px; }
figure { margin: 0; background: #fff; border: 1px solid var(--line); border-radius: 12px; padding: 10px;
  display: flex; align-items: center; min-width: 0; }
img { display: block; width: 100%; height: auto; }
footer { margin-top: 48px; padding-top: 16px; border-top: 1px solid var(--line); color: var(--ink-2);
  font-size: 13px; }
@media (max-width: 820px) { .cards { columns: 1; } .tests, .pictures { grid-template-columns: minmax(0, 1fr); }
  .tiles { grid-template-columns: repeat(2, 1fr); } }
@media screen and (prefers-color-scheme: dark) { figure { filter: brightness(0.88); } }
@media print { :root { --bg: #fff; --panel: #fff; --line: #d5d9e0; --ink: #000; --ink-2: #444; --accent: #1d4695;
    --good: #145a34; --good-bg: #fff; --bad: #96180f; --bad-bg: #fff; --code: #fff; }
  body { font-size: 11px; } main { max-width: none; padding: 0; } code, pre { font-size: 10px; }
  .tiles dd { font-size: 16px; } h2 { break-after: avoid; margin-top: 24px; }
  figure, .tiles div, tr { break-inside: avoid; } .wide { break-inside: auto; }
  .mark { padding: 0; } }
"""


def page(report: Report, loss_picture: bytes, spheres_picture: bytes) -> str:
    """The whole page; the pictures are PNG files. All text of the report is escaped."""
    whole = report_sections(report)
    pictures = {"loss": loss_picture, "spheres": spheres_picture}
    head = [b for b in whole.blocks if isinstance(b, Paragraph)]
    sections = [b for b in whole.blocks if isinstance(b, Section)]
    shown = [_picture(b, pictures[b.name]) for b in whole.blocks if isinstance(b, Picture)]
    first, *rest = (_section(section) for section in [*sections, NOTES])
    body = "\n".join(
        [
            f"<header>\n<h1>{text(whole.title)}</h1>",
            *map(_paragraph, head),
            _tiles(report),
            "</header>",
            first,
            f'<div class="pictures">\n{"".join(shown)}</div>',
            *rest,
        ]
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{text(whole.title)} · {text(report.run)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{body}
<footer>Written by cllm report.</footer>
</main>
</body>
</html>
"""


def text(value: object) -> str:
    """Text that a page shows as it is, also within an attribute."""
    return html.escape(CONTROL.sub("\ufffd", re.sub(r"\r\n?", "\n", str(value))))


def _tiles(report: Report) -> str:
    """The four figures that one looks for first."""
    held_out = number(report.losses.best_held_out_bits_per_byte, ".3f")
    tiles = [
        ("Held out, best", held_out, "bits/byte"),
        ("Loss reduction", number(report.losses.reduction_percent, ".1f"), "%"),
        ("Throughput", number(report.throughput.tokens_per_s), "tokens/s"),
        ("Total time", duration(report.times.total_s), ""),
    ]
    each = (
        f"<div><dt>{name}</dt><dd>{value}{f' <small>{unit}</small>' if unit else ''}</dd></div>"
        for name, value, unit in tiles
    )
    return f'<dl class="tiles">{"".join(each)}</dl>'


def _section(section: Section) -> str:
    """A section of the page: its tables and its own sections are cards."""
    blocks = "\n".join(_block(block) for block in section.blocks)
    kind = "tests" if any(isinstance(block, Section) for block in section.blocks) else "cards"
    return f'<section>\n<h2>{text(section.title)}</h2>\n<div class="{kind}">\n{blocks}\n</div>\n</section>'


def _block(block: Paragraph | Table | Code | Picture | Section) -> str:
    match block:
        case Paragraph():
            return _paragraph(block)
        case Table():
            wide = " wide" if len(block.header) > 2 else ""
            return f'<div class="card{wide}">{_table(block)}</div>'
        case Section():
            inner = "\n".join(_inner(b) for b in block.blocks)
            return f'<article class="card">\n<h3>{text(block.title)}</h3>\n{inner}\n</article>'
    return _inner(block)


def _inner(block: Paragraph | Table | Code | Picture | Section) -> str:
    match block:
        case Code():
            return f'<pre><code><span class="prompt">{text(block.prompt)}</span>{text(block.text)}</code></pre>'
        case Table():
            return _table(block)
    return _block(block)


def _paragraph(paragraph: Paragraph) -> str:
    tags = {"plain": "{}", "strong": "<strong>{}</strong>", "code": "<code>{}</code>"}
    return f"<p>{''.join(tags[span.style].format(text(span.text)) for span in paragraph.spans)}</p>"


def _table(table: Table) -> str:
    aligned = [' class="r"' if a == "r" else "" for a in table.align]
    head = ""
    if any(table.header):
        cells = (
            f'<th scope="col"{a}>{text(name)}</th>' if name else "<td></td>"
            for name, a in zip(table.header, aligned, strict=True)
        )
        head = f"<thead><tr>{''.join(cells)}</tr></thead>"
    rows = "\n".join(f"<tr>{_row(row, aligned)}</tr>" for row in table.rows)
    kind = "pairs" if len(table.header) == 2 else "numbers" if table.align.count("r") > 2 else ""
    return f'<div class="scroll"><table class="{kind}">{head}<tbody>\n{rows}\n</tbody></table></div>'


def _row(row: tuple[str | Mark, ...], aligned: Iterable[str]) -> str:
    first, *rest = (
        (_mark(cell) if isinstance(cell, Mark) else text(cell), a) for cell, a in zip(row, aligned, strict=True)
    )
    return f'<th scope="row"{first[1]}>{first[0]}</th>' + "".join(f"<td{a}>{cell}</td>" for cell, a in rest)


def _mark(mark: Mark) -> str:
    if mark.good is None:
        return text(mark.word)
    return f'<span class="mark {"good" if mark.good else "bad"}">{text(mark.word)}</span>'


def _picture(picture: Picture, png: bytes) -> str:
    data = base64.b64encode(png).decode()
    return f'<figure><img alt="{text(picture.shows)}" src="data:image/png;base64,{data}"></figure>\n'

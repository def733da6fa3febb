"""Where statements end in Python and C text that may stop anywhere.

Just enough of each language's lexical rules to know what is a string, a comment, a bracket or a directive. The
judging itself is tree-sitter's (`cllm.evaluation.syntax`); this only finds where a text may fairly be cut, and
what a text that was cut there still has open.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

Language = Literal["python", "c"]

_PYTHON = re.compile(
    r'(?P<string>"""(?:\\.|[^\\])*?(?:"""|\Z)|\'\'\'(?:\\.|[^\\])*?(?:\'\'\'|\Z)|"(?:\\.|[^"\\\n])*"?|\'(?:\\.|[^\'\\\n])*\'?)'
    r"|(?P<comment>#[^\n]*)|(?P<joined>\\\r?\n)|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<line>\n)|(?P<other>[^\s\"'#\\()\[\]{}]+|\\)",
    re.DOTALL,
)
_C = re.compile(
    r"(?P<comment>//(?:\\\n|[^\n])*|/\*.*?\*/)|(?P<unended>/\*.*\Z)"
    r"|(?P<directive>^[ \t]*\#[ \t]*(?P<name>\w*)(?:\\\n|/\*.*?\*/|[^\n])*)"
    r'|(?P<string>"(?:\\.|[^"\\\n])*"?|\'(?:\\.|[^\'\\\n])*\'?)'
    r"|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<line>\n)|(?P<word>\w+)|(?P<other>[=!<>]=|\S)",
    re.DOTALL | re.MULTILINE,
)


@dataclass
class Scan:
    """What was found in a text.

    Attributes:
        ends: offsets in characters, just after a line end, where no statement is in the middle.
        closers: what the text needs after the last of `ends` for everything open there to be closed.
        misindented: offsets of lines whose indentation Python's grammar forbids (tree-sitter's accepts any).
    """

    ends: list[int] = field(default_factory=list)
    closers: str = ""
    misindented: list[int] = field(default_factory=list)


def scan(language: Language, text: str) -> Scan:
    """Scan `text` from its beginning."""
    return _scan_python(text) if language == "python" else _scan_c(text)


def _scan_python(text: str) -> Scan:
    found = Scan()
    depth = 0
    indents = [0]
    header = False  # the line before opens a block
    begin = 0  # of the logical line
    first, last = "", ""  # tokens of the logical line
    where = 0  # its first token
    for token in _PYTHON.finditer(text):
        kind = token.lastgroup
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth = max(0, depth - 1)
        if kind == "line" and depth == 0:
            if last:
                indent = len(text[begin:where].expandtabs(8))
                if header and indent > indents[-1]:
                    indents.append(indent)
                else:
                    while indent < indents[-1]:
                        indents.pop()
                    if header or indent != indents[-1]:
                        found.misindented.append(begin)
                header = last.endswith(":")
            if not (first.startswith("@") or (header and first == "match")):
                found.ends.append(token.end())
            begin = token.end()
            last = ""
        elif kind not in {"comment", "joined", "line"}:
            if not last:
                first, where = token[0], token.start()
            last = token[0] if kind != "string" else '"'
    return found


_CLOSERS = {"block": "}", "struct": "};", "enum": "};", "do": "} while (0);", "#": "\n#endif\n", "(": ")", "[": "]"}


def _closers(stack: list[str]) -> str:
    """What closes everything on `stack`, whose entries are ( [ # block list struct enum do, the outermost first."""
    parts = []
    for outer, kind in zip(["", *stack], stack, strict=False):
        parts.append(("}" if outer in {"list", "("} else "};") if kind == "list" else _CLOSERS[kind])
    return "".join(reversed(parts))


def _kind_of_brace(stack: list[str], words: list[str], last: str) -> str:
    """What a `{` opens, by the words since the last statement and the token before it."""
    if last == "do":
        return "do"
    if last != "(" and ("=" in words or "return" in words or (stack and stack[-1] in {"list", "(", "["})):
        return "list"
    if last != ")":
        for word in ("enum", "struct", "union"):
            if word in words:
                return "enum" if word == "enum" else "struct"
    return "block"


def _pop(stack: list[str], kinds: set[str]) -> str:
    """Remove the innermost entry of one of these kinds and say which it was."""
    for place in range(len(stack) - 1, -1, -1):
        if stack[place] in kinds:
            return stack.pop(place)
    return ""


def _scan_c(text: str) -> Scan:
    found = Scan()
    stack: list[str] = []
    words: list[str] = []  # of the statement so far
    last = ";"  # token; ";" also stands for anything that a statement may follow
    for token in _C.finditer(text):
        kind, value = token.lastgroup, token[0]
        if kind == "line":
            brackets = [k for k in stack if k != "#"]
            inside = brackets[-1] if brackets else ""
            label = last == ":" and words[:1] in (["case"], ["default"])
            if inside not in {"(", "["} and (
                last in {";", "{"} or label or (last == "," and inside in {"list", "enum"})
            ):
                found.ends.append(token.end())
                found.closers = _closers(stack)
        elif kind == "directive":
            if token["name"] in {"if", "ifdef", "ifndef"}:
                stack.append("#")
            elif token["name"] == "endif":
                _pop(stack, {"#"})
        elif kind == "open":
            stack.append(_kind_of_brace(stack, words, last) if value == "{" else value)
            if value == "{":
                words = []
            last = value
        elif kind == "close" and value == "}":
            closed = _pop(stack, {"block", "list", "struct", "enum", "do"})
            words = []
            last = ";" if closed in {"block", ""} else "}"
        elif kind == "close":
            _pop(stack, {"(" if value == ")" else "["})
            last = value
        elif kind == "unended":
            last = value
        elif kind != "comment":
            if value == ";":
                words = []
            elif not (stack and stack[-1] in {"(", "["}):
                words.append(value)
            last = value
    return found

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
# What a C compiler never sees; `extern "C" {` and its end in two of them is no tree.
_CPLUSPLUS = re.compile(
    r"^[ \t]*#[ \t]*if(?:def\b|[ \t]+defined\b)[ \t(]*__cplusplus\b.*?^[ \t]*#[ \t]*endif\b", re.DOTALL | re.MULTILINE
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


def compiled(language: Language, text: str) -> str:
    """`text` with the parts of C headers that are for C++ alone made blank; every offset and line stays."""
    if language == "python":
        return text
    return _CPLUSPLUS.sub(lambda part: re.sub(r"[^\n]", " ", part[0]), text)


def scan(language: Language, text: str) -> Scan:
    """Scan `text` from its beginning."""
    return _scan_python(text) if language == "python" else _scan_c(text)


# They only begin statements: a line within brackets that begins with one shows that the brackets were left open.
_STATEMENTS = (
    "assert break class continue def del elif except finally global import nonlocal pass raise return try while"
)
_BEGIN_A_STATEMENT = frozenset(_STATEMENTS.split())


def _scan_python(text: str) -> Scan:
    found = Scan()
    depth = 0
    indents = [0]
    header = False  # the line before opens a block
    begin = 0  # of the logical line
    first, last = "", ""  # its tokens; last is empty while there are none
    where = 0  # its first token
    line = 0  # begin of the physical line, until its first token is seen; then -1

    def end_line(position: int) -> None:
        nonlocal begin, header, last
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
            found.ends.append(position)
        begin, last = position, ""

    for token in _PYTHON.finditer(text):
        kind = token.lastgroup
        if kind == "line":
            line = token.end()
            if depth == 0:
                end_line(line)
        elif kind not in {"comment", "joined"}:
            if depth and line >= 0 and token[0] in _BEGIN_A_STATEMENT:
                depth = 0
                end_line(line)
            line = -1
            if kind == "open":
                depth += 1
            elif kind == "close":
                depth = max(0, depth - 1)
            if not last:
                first, where = token[0], token.start()
            last = '"' if kind == "string" else token[0]
    return found


_BRACES = {"block", "list", "struct", "enum", "do"}
_PARENTHESES = {"(", "for(", "["}
_CLOSERS = {"block": "}", "struct": "} _;", "enum": "} _;", "do": "} while (0);", "#": "\n#endif\n"}
_CLOSERS |= {"(": ")", "for(": ")", "[": "]"}


def _closers(stack: list[str]) -> str:
    """What closes everything on `stack`, outermost first: braces by what they hold, parentheses, # for `#if`."""
    parts = []
    for outer, kind in zip(["", *stack], stack, strict=False):
        parts.append(("}" if outer in {"list", *_PARENTHESES} else "};") if kind == "list" else _CLOSERS[kind])
    return "".join(reversed(parts))


def _kind_of_brace(stack: list[str], words: list[str], last: str) -> str:
    """What a `{` opens, by the words since the last statement and the token before it."""
    if last == "do":
        return "do"
    if last != "(" and ("=" in words or "return" in words or (stack and stack[-1] in {"list", *_PARENTHESES})):
        return "list"
    if last != ")":
        for word in ("enum", "struct", "union"):
            if word in words:
                return "enum" if word == "enum" else "struct"
    return "block"


def _pop(stack: list[str], kinds: set[str]) -> str:
    """Remove the innermost entry of one of these kinds and say which it was; what was left open in it goes with it."""
    for place in range(len(stack) - 1, -1, -1):
        if stack[place] in kinds:
            kind = stack[place]
            stack[place:] = [k for k in stack[place + 1 :] if k == "#" or kind == "#"]
            return kind
    return ""


def _scan_c(text: str) -> Scan:
    found = Scan()
    stack: list[str] = []
    words: list[str] = []  # of the statement so far
    last = ";"  # token; ";" also stands for anything that a statement may follow
    for token in _C.finditer(text):
        kind, value = token.lastgroup, token[0]
        if kind == "line":
            inside = next((k for k in reversed(stack) if k != "#"), "")
            label = last == ":" and words[:1] in (["case"], ["default"])
            item = last == "," and inside in {"list", "enum"}
            if inside not in _PARENTHESES and (last in {";", "{"} or label or item):
                found.ends.append(token.end())
                found.closers = _closers(stack)
        elif kind == "directive":
            if token["name"] in {"if", "ifdef", "ifndef"}:
                stack.append("#")
            elif token["name"] == "endif":
                _pop(stack, {"#"})
        elif kind == "open":
            if value == "{":
                stack.append(_kind_of_brace(stack, words, last))
                words = []
            else:
                stack.append("for(" if last == "for" and value == "(" else value)
            last = value
        elif kind == "close":
            if value == "}":
                words = []
                last = ";" if _pop(stack, _BRACES) in {"block", ""} else value
            else:
                _pop(stack, {"["} if value == "]" else {"(", "for("})
                last = value
        elif kind == "unended":
            last = value
        elif kind != "comment":
            if value == ";":
                words = []
                while stack and stack[-1] in {"(", "["}:  # left open: no statement ends within them
                    stack.pop()
            elif not (stack and stack[-1] in _PARENTHESES):
                words.append(value)
            last = value
    return found

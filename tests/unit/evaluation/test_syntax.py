"""What is valid and what is not, in C and Python, wherever the text stops."""

from __future__ import annotations

import itertools

import pytest

from cllm.corpus.textfile import Document
from cllm.evaluation.scan import scan
from cllm.evaluation.syntax import language_of, validity, verdict
from cllm.inference.completer import Completer
from tests.memorised import TEXT, memorised

PYTHON = "import os\n\n\ndef walk(top):\n    try:\n"
PYTHON_VALID = [
    "        return os.scandir(top)\n",
    "        return os.scandir(top)",
    "        x = f(a,\n              b)\n        for y in [",
    '        """Text; ( { [."""\n        pass\n',
    "        pass\n    finally:\n        pass\n\n\n@decorated\nclass A:\n    x: int = 1\n",
    "        if top:\n            return {\n                1: 2,\n            }\n        x = '''\nopen",
    "        x = 1 + \\\n            2\n",
    "\n        # a comment\n        y = 1\n",
    "        s = f(\n            a if b else c,\n            *d,\n        )\n",
]
PYTHON_INVALID = [
    ("    return 1\n", "line 1: wrong indentation"),
    ("        x = 1\n          y = 2\n", "line 2: wrong indentation"),
    ("        return return\n", "line 1: "),
    ("        x = (1,\n        return x\n    y = 2\n", "line 1: "),
    ("        x = 1)\n", "line 1: "),
    ("        pass\n    else x\n", "line 2: "),
    ("        x = 'open\n        y = 1\n", "line 1: "),
    ("        class\n", "line 1: "),
    ("        x = f(\n", "no whole statement"),
    ("        @decorated\n", "no whole statement"),
    ("", "no whole statement"),
    ("\n\n", "no whole statement"),
    ('        """never ends\n\n', "no whole statement"),
]
C = "#ifndef A_H\n#define A_H\n#include <stdio.h>\nstruct a { int x; };\n\nint main(void)\n{\n"
C_VALID = [
    "    return 0;\n",
    "    return 0;\n}\n",
    "    for (int i = 0; i < 3; i++) {\n        puts(\"{\");\n",
    "    do {\n        x(1);\n",
    "    int y[] = {\n        1,\n        2,\n",
    "    struct a b = { .x = 1,\n        .y = {\n 1,\n",
    "    switch (x) {\n    case 1:\n    default:\n",
    "#if X\n    f(\n        1\n    );\n",
    "    return 0;\n}\n\ntypedef struct {\n    int y;\n",
    "    return 0;\n}\n\nenum colour {\n    RED,\n    BLUE,\n",
    "    if (x == 1) {\n        y();\n    }\n    else {\n        z();\n    }\n    /* never ends\n",
    "    return 0;\n}\n#endif\n",
    "    return 0;\n}\n\nstruct a *make(void)\n{\n    return (struct a) {\n  1,\n",
    " return 0; }",
]  # fmt: skip
C_INVALID = [
    ("    return 0\n    x = 1;\n", "line 1: "),
    ("    f(1;\n    g(2);\n", "line 1: "),
    ("    x = ;\n", "line 1: "),
    ("    a b c;\n", "line 1: "),
    ("    f(1);\n}\n}\n", "line 3: "),
    ("    if (x {\n        y();\n    }\n", "line 1: "),
    ("    else {\n        z();\n    }\n", "line 1: "),
    ("    x = f(1,\n", "no whole statement"),
    ("    if (x)\n", "no whole statement"),
    ("", "no whole statement"),
]


@pytest.mark.parametrize("completion", PYTHON_VALID)
def test_valid_python(completion: str) -> None:
    assert verdict("python", PYTHON, completion) == (True, "parses")


@pytest.mark.parametrize(("completion", "why"), PYTHON_INVALID)
def test_invalid_python(completion: str, why: str) -> None:
    found = verdict("python", PYTHON, completion)
    assert not found.valid
    assert found.why.startswith(why)


@pytest.mark.parametrize("completion", C_VALID)
def test_valid_c(completion: str) -> None:
    assert verdict("c", C, completion) == (True, "parses")


@pytest.mark.parametrize(("completion", "why"), C_INVALID)
def test_invalid_c(completion: str, why: str) -> None:
    found = verdict("c", C, completion)
    assert not found.valid
    assert found.why.startswith(why)


def test_prompts_that_end_in_a_line() -> None:
    assert verdict("c", "int main() {", "\n    return 0;\n}\nint f(").valid
    assert verdict("c", "void cllm_", "init(void)\n{\n    int x;\n").valid
    assert not verdict("c", "void cllm_", "init(void\n{\n    int x;\n}\n").valid
    assert verdict("python", "def ", "f(x):\n    return x\n").valid
    assert verdict("python", "import ", "os").valid
    assert not verdict("python", "class ", "class A:\n").valid


def test_errors_of_the_prompt_are_not_the_completion_s() -> None:
    assert verdict("python", "x = = 1\n", "y = 2\n").valid
    assert not verdict("python", "x = = 1\n", "y = = 2\n").valid


def test_headers_that_c_plus_plus_may_include_are_c() -> None:
    head = '#ifdef __cplusplus\nextern "C" {\n#endif\n'
    assert verdict("c", head, "int f(void);\n").valid
    assert verdict("c", "#include <stdio.h>\n", head + "int f(void);\n").valid
    assert not verdict("c", head, "int f(void;\n\nint g(void);\n").valid


def test_a_python_file_may_be_cut_after_each_statement() -> None:
    ends = scan("python", TEXT).ends
    lines = [TEXT[:end].count("\n") for end in ends]
    assert lines == list(range(1, TEXT.count("\n") + 1))
    for begin, end in itertools.pairwise(ends):
        assert not TEXT[begin:end].strip() or verdict("python", TEXT[:begin], TEXT[begin:end]).valid


def test_languages() -> None:
    judged = {name: language_of(name) for name in ("a/b.py", "x.c", "x.h", "x.pyi", "x.cc", "Makefile")}
    assert judged == {"a/b.py": "python", "x.c": "c", "x.h": "c", "x.pyi": "python", "x.cc": None, "Makefile": None}


def test_completions_known_by_heart_are_valid_and_others_are_counted() -> None:
    completer = Completer(memorised())
    text = Document("a.py", TEXT.encode(), "python")
    found = validity(completer, [text, Document("b.md", b"# Title of the text\n", "markdown")], 8)
    assert found is not None
    assert (found.points, found.share, found.true_share) == (8, 1.0, 1.0)
    assert validity(completer, [Document("b.md", b"# Title\n\nSome more of the text\n", "markdown")], 8) is None
    other = "".join(f"value_{n} = compute({n}, other)\n" for n in range(20))
    strange = validity(completer, [Document("b.py", other.encode(), "python")], 10)
    assert strange is not None
    assert strange.share < strange.true_share == 1.0

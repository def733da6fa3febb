"""The rules of the house that no other tool holds: sizes, docstrings, late imports, and a README that is true."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import cllm
from cllm.cli.main import COMMANDS

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "src" / "cllm"
MODULES = sorted(PACKAGE.rglob("*.py"))
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
MOST_LINES = 400


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


@pytest.mark.parametrize("path", [*MODULES, *sorted((REPOSITORY / "tests").rglob("*.py"))], ids=name_of)
def test_a_file_has_one_purpose_and_says_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES, "what is this file really made of?"
    assert ast.get_docstring(ast.parse(text)), "a module begins with a docstring"


@pytest.mark.parametrize("path", sorted((PACKAGE / "model").glob("*.py")), ids=name_of)
def test_the_model_knows_no_ranks(path: Path) -> None:
    assert "distributed" not in path.read_text(encoding="utf-8")  # import-linter sees external packages only whole


def test_the_public_names_are_sorted_and_there() -> None:
    assert cllm.__all__ == sorted(cllm.__all__)
    assert all(hasattr(cllm, name) for name in cllm.__all__)


@pytest.fixture(scope="session")
def helps() -> dict[str, str]:
    """The help of every command, asked for as a person does, without loading torch; the processes run side by side."""

    def ask(name: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-X", "importtime", "-m", "cllm", name, "--help"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = dict(zip(COMMANDS, pool.map(ask, COMMANDS), strict=True))
    for name, answer in answers.items():
        assert answer.returncode == 0, answer.stderr[-1000:]
        assert not re.search(r"\| +torch$", answer.stderr, re.MULTILINE), f"'cllm {name} --help' waits for torch"
    return {name: answer.stdout for name, answer in answers.items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, helps: dict[str, str]) -> None:
    assert helps[name].startswith(f"Usage: cllm {name} ") or helps[name].startswith(f"Usage: python -m cllm {name} ")
    assert "--help" in helps[name]


def shell_lines(page: Path) -> list[str]:
    """The lines of a page's code blocks, and its code spans, that call `cllm`."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^(?: {4}|```\w*\n)(.*?)(?:$|```)", text, re.MULTILINE)
    spans = re.findall(r"`([^`\n]+)`", text)
    lines = {line.split("#")[0].strip() for block in [*blocks, *spans] for line in block.splitlines()}
    return sorted(line for line in lines if line.startswith("cllm "))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_in_the_documentation_exist(page: Path, helps: dict[str, str]) -> None:
    for line in shell_lines(page):
        words = line.split()
        command = words[1]
        if command.startswith("-"):
            continue
        assert command in COMMANDS, line
        for option in re.findall(r"(?<=\s)--[a-z][a-z-]*", line):
            assert re.search(rf"{option}\b", helps[command]), f"{line}: {command} has no {option}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), f"{name_of(page)}: {target}"


def test_each_measured_figure_in_the_readme_names_its_command() -> None:
    _, _, section = (REPOSITORY / "README.md").read_text(encoding="utf-8").partition("## Measured")
    section = section.partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert rows
    for row in rows:
        assert re.search(r"`(make|cllm|python -m benchmarks\.)\b[^`]*`", row), f"no command: {row}"


def test_make_targets_in_the_documentation_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"(?:^ {4}|`)make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert target in targets, f"{name_of(page)}: make {target}"

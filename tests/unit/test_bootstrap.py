"""The set-up that every `make` target begins with."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BOOTSTRAP = REPOSITORY / "tools" / "bootstrap.py"


def run_as(version: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run the set-up in a Python that says it is of another version."""
    program = (
        f"import runpy, sys; sys.version_info = {version}; sys.version = '3.9.2 (main)'; sys.argv[1:] = ['stamp'];"
        f"runpy.run_path({str(BOOTSTRAP)!r}, run_name='__main__')"
    )
    return subprocess.run([sys.executable, "-c", program], cwd=directory, capture_output=True, text=True, timeout=60)


def test_an_old_python_gets_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    done = run_as("(3, 9, 2, 'final', 0)", tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "make: CLLM needs Python 3.11 or newer, and python3 is 3.9.2: install one, then make PYTHON=python3.12"
    )
    assert not list(tmp_path.iterdir())


def test_what_is_installed_is_not_installed_again(tmp_path: Path) -> None:
    (tmp_path / "stamp").touch()
    assert run_as("(3, 11, 0, 'final', 0)", tmp_path).returncode == 0
    assert not (tmp_path / ".venv").exists()


def test_everything_that_is_required_has_a_pinned_version() -> None:
    with open(REPOSITORY / "pyproject.toml", "rb") as stream:
        project = tomllib.load(stream)["project"]
    required = [*project["dependencies"], *project["optional-dependencies"]["dev"], "setuptools"]
    pins = re.findall(
        r"^([\w.-]+)==[\w.]+$", (REPOSITORY / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    pinned = {name.lower().replace("_", "-") for name in pins}
    assert {re.split(r"[<>=]", name)[0].lower() for name in required} <= pinned

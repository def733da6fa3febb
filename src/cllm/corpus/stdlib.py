"""The corpus that every machine has: the source of Python's own standard library."""

from __future__ import annotations

import re
import sysconfig
from pathlib import Path

from cllm.errors import InvalidInput

INSTALLED = frozenset({"site-packages", "dist-packages"})  # beside the library: packages, often of many thousand files
_TOP_LEVEL_LEFT_OUT = INSTALLED | frozenset({
    "test", "idlelib", "lib2to3", "turtledemo", "ensurepip", "distutils",
    "pydoc_data", "encodings", "lib-dynload", "__phello__", "__pycache__",
})  # fmt: skip
_TESTS_AND_TABLES = re.compile(
    r"(?:^|/)(?:test|tests|idle_test)/|^_sysconfigdata|^config-|^(?:_opcode_metadata|opcode|keyword|token|stringprep)\.py$|^html/entities\.py$"
)


def standard_library_root() -> Path:
    """Where the standard library's sources lie. Raises `InvalidInput` on an installation without sources."""
    root = Path(sysconfig.get_path("stdlib"))
    if not (root / "argparse.py").is_file():
        raise InvalidInput(f"this Python has no standard library sources in {root}: give a directory of code instead")
    return root


def is_default_corpus(path: str) -> bool:
    """Whether posix `path` belongs to the default corpus: modules, no tests, tables or applications."""
    top = path.partition("/")[0]
    return path.endswith(".py") and top not in _TOP_LEVEL_LEFT_OUT and not _TESTS_AND_TABLES.search(path)

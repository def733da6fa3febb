"""`python -m cllm.studio.scanning DIRECTORY`: the files of a directory as one line of JSON, or an error as such.

A process of its own: a scan of many thousand files neither stalls the server nor stays in its memory.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from cllm.corpus import filters, textfile
from cllm.corpus.scan import Found, read_regular, scan
from cllm.errors import CllmError

_FIRST_BYTES = 1 << 16


def listing(root: Path) -> dict[str, Any]:
    """`{root, files: [[path, bytes, language, why it is left out or null, whether it is prepared data]], seconds}`."""
    begun = time.monotonic()
    files = [_row(found) for found in scan(root)]
    return {"root": str(root), "files": files, "seconds": round(time.monotonic() - begun, 3)}


def _row(found: Found) -> tuple[str, int, str, str | None, bool]:
    prepared = found.size > 0 and found.path.endswith(".txt") and _is_prepared(found.absolute)
    language = "prepared" if prepared else filters.judge_name(found.path)[0] or ""
    return found.path, found.size, language, None if prepared else found.reason, prepared


def _is_prepared(path: str) -> bool:
    try:
        return textfile.is_prepared(read_regular(path, _FIRST_BYTES)[:_FIRST_BYTES])
    except OSError:
        return False


def main() -> None:
    """Entry point."""
    try:
        result = listing(Path(sys.argv[1]))
    except CllmError as error:
        result = {"error": str(error)}
    sys.stdout.buffer.write(json.dumps(result, ensure_ascii=True, separators=(",", ":")).encode())


if __name__ == "__main__":
    main()

"""PPMd of each file alone after the training text, which is read once; started by `cllm.evaluation.compressors`.

The state of an encoder cannot be copied, but a process can: after the training text it forks once for each file, and
each child goes on from the same state. A process of its own, since one with threads should not fork.

On standard input: a line of JSON with `training` and `files` (lengths in bytes), then the training text and the files
one after the other. On standard output: a JSON list of the compressed sizes.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from cllm import ppmd


def _size_in_child(encoder: Any, data: bytes) -> int:
    """Bytes that `encoder` gives for `data` up to its end, without changing this process's encoder."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            size = len(encoder.encode(data)) + len(encoder.flush())
            os.write(writer, str(size).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    return int(answer)


def main() -> None:
    """Entry point."""
    stream = sys.stdin.buffer
    job = json.loads(stream.readline())
    encoder = ppmd.encoder(job["training"] + max(job["files"], default=0))
    encoder.encode(stream.read(job["training"]))
    ending = _size_in_child(encoder, b"")
    json.dump([_size_in_child(encoder, stream.read(length)) - ending for length in job["files"]], sys.stdout)


if __name__ == "__main__":
    main()

"""Which model a command means."""

from __future__ import annotations

from pathlib import Path

from cllm.errors import InvalidInput
from cllm.workspace import Workspace

LATEST = "latest"


def find_model(name: str | None) -> Path:
    """The file a person names: a path, the name of a model in models/, or None or "latest" for the newest one there.

    Raises `InvalidInput` if there is none. Whether it can be read is for `cllm.checkpoint` to say.
    """
    models = Workspace(Path.cwd()).models
    if name in (None, LATEST):
        found = [path for path in models.glob("*.cllm") if path.is_file()]
        if not found:
            raise InvalidInput(
                "no model in models/: train one with 'cllm train PATH', or give the path of a .cllm file"
            )
        return max(found, key=lambda path: path.stat().st_mtime_ns)
    assert name is not None
    for path in (Path(name), models / f"{name}.cllm"):
        if path.is_file():
            return path
    if Path(name).is_dir():
        raise InvalidInput(f"{name} is a directory: give the path of a .cllm file in it")
    raise InvalidInput(f"no model {name!r}: give the path of a .cllm file, or 'latest' for the newest in models/")

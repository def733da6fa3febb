"""The directories that the studio may read training data from."""

from __future__ import annotations

import os
from pathlib import Path

from cllm.errors import InvalidInput


class Roots:
    """Allowed directories. A path is judged by where it really leads, links resolved."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = list(dict.fromkeys(Path(os.path.realpath(p)) for p in paths))

    def resolve(self, text: str) -> Path:
        """The real path of what a person typed, relative to the first root. Raises `InvalidInput` outside the roots."""
        if "\0" in text:
            raise InvalidInput("a path cannot hold a zero byte")
        try:
            real = Path(os.path.realpath(self.paths[0] / Path(text).expanduser()))
            real.exists()  # fails for what is longer than the system allows, where it would later fail too
        except (OSError, RuntimeError) as error:  # RuntimeError: ~ of a user who is not there
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise InvalidInput(f"{text[:80]} cannot be a path ({reason}): check the spelling") from error
        if not any(os.path.commonpath((real, root)) == str(root) for root in self.paths):
            allowed = ", ".join(map(str, self.paths))
            raise InvalidInput(f"{text} is outside {allowed}: start the studio with --root to allow another directory")
        return real

    def children(self, text: str) -> list[str]:
        """The directories in one, for completing what a person types; hidden ones left out, sorted, at most 200."""
        directory = self.resolve(text)
        try:
            with os.scandir(directory) as entries:
                names = sorted(e.path for e in entries if e.is_dir(follow_symlinks=False) and e.name[0] != ".")
        except OSError:
            return []
        return names[:200]

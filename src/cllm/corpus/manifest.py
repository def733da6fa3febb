"""What a corpus is made of: every file that was found, what became of it, and why.

The manifest lies beside the corpus (`repo_code.txt` has `repo_code.manifest.json`) and has its digest, so that one of
them without the other is noticed. It never holds a secret: only where one was.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cllm import storage
from cllm.errors import InvalidInput

VERSION = 1
Split = Literal["train", "validation", "test"]


class FileEntry(BaseModel):
    """One file (or the tail of one, `path#tail`): in a split, or left out with a reason."""

    model_config = ConfigDict(frozen=True)

    path: str
    """Posix path relative to its root; unique in the manifest."""
    size: int
    """Bytes of the text in the corpus, after redaction; of the file on disk when it is left out."""
    sha256: str = ""
    """Of the text after redaction; empty when the file was left out before it was read."""
    language: str = ""
    spdx: str | None = None
    """Licence expression of an SPDX-License-Identifier line."""
    split: Split | None = None
    cluster: int | None = None
    """Files of one cluster are similar and therefore always in one split."""
    reason: str | None = None
    """Why it was left out; `split` is then None."""
    duplicate_of: str | None = None
    """The path that was kept instead, for the reasons "duplicate" and "near duplicate"."""
    redactions: int = 0
    offset: int | None = None
    """Byte offset of the text in the corpus."""


class RedactedSecret(BaseModel):
    """Where a secret was replaced, and of what kind it was; never the secret itself."""

    model_config = ConfigDict(frozen=True)

    path: str
    line: int
    """From 1, in the original file."""
    type: str


class Manifest(BaseModel):
    """All of a corpus's files. `roots` are the absolute paths that were scanned."""

    version: int = VERSION
    created: str
    """UTC, ISO 8601."""
    seed: int
    roots: list[str]
    corpus_sha256: str
    """Of the whole `repo_code.txt`."""
    holdout: Literal["clusters", "tails"]
    """Whether whole clusters were held out, or, in a corpus of few files, the last part of each file."""
    files: list[FileEntry]
    secrets: list[RedactedSecret] = []

    def included(self, split: str | None = None) -> list[FileEntry]:
        """The entries that are in the corpus, or in one split of it, in the corpus's order."""
        return [f for f in self.files if f.split is not None and split in (None, f.split)]

    def left_out(self) -> dict[str, int]:
        """Reason -> number of files, the most frequent first."""
        return dict(Counter(f.reason for f in self.files if f.reason is not None).most_common())

    def languages(self) -> dict[str, int]:
        """Language -> number of files in the corpus, the most frequent first."""
        return dict(Counter(f.language for f in self.included() if not f.path.endswith("#tail")).most_common())

    def bytes_of(self, split: str | None = None) -> int:
        """Bytes of text in the corpus, or in one split of it."""
        return sum(f.size for f in self.included(split))

    @cached_property
    def sha256(self) -> str:
        """Digest of what the manifest says; where and when it was made do not count."""
        content = self.model_dump(mode="json", exclude={"created", "roots"})
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def save(self, path: Path) -> None:
        """Write as JSON, one file a line, as a whole or not at all. Raises `StorageFull`."""
        head = self.model_dump(mode="json", exclude={"files", "secrets"})
        lines = [f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}," for name, value in head.items()]
        for name, values in (("secrets", self.secrets), ("files", self.files)):
            rows = [json.dumps(v.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False) for v in values]
            lines.append(f'"{name}": [\n' + ",\n".join(rows) + ("\n]," if name == "secrets" else "\n]"))
        storage.write_bytes(path, ("{\n" + "\n".join(lines) + "\n}\n").encode())

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read what `save` wrote. Raises `InvalidInput` when it is not there or not a manifest of this version."""
        try:
            manifest = cls.model_validate_json(Path(path).read_bytes())
        except FileNotFoundError:
            raise InvalidInput(
                f"{path} is missing: make the corpus and its manifest anew with 'cllm prepare'"
            ) from None
        except (OSError, ValidationError) as error:
            problem = error.strerror if isinstance(error, OSError) else "it is not a manifest of ours"
            raise InvalidInput(f"{path} cannot be read ({problem}): make it anew with 'cllm prepare'") from None
        if manifest.version > VERSION:
            raise InvalidInput(
                f"{path} was written by a newer version of cllm: update cllm, or run 'cllm prepare' anew"
            )
        return manifest


def manifest_path(corpus: Path) -> Path:
    """Where the manifest of `corpus` lies: `repo_code.txt` -> `repo_code.manifest.json`."""
    return Path(corpus).with_suffix(".manifest.json")

"""Puts a report on the disk: the document, with its pictures in a directory beside it.

In the run's own directory lie beside it the same as one self-contained page, and every figure as JSON.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from urllib.parse import quote

from cllm import storage
from cllm.errors import InvalidInput
from cllm.report.figures import Report
from cllm.report.history import History
from cllm.report.html import page
from cllm.report.markdown import document
from cllm.report.pictures import loss_picture, spheres_picture

DOCUMENT = "MY_TRAINING_RESULTS.md"
PAGE = "MY_TRAINING_RESULTS.html"
FIGURES = "report.json"
PICTURES = "MY_TRAINING_RESULTS_files"
_SEAL = re.compile(r"\n<!-- written by cllm report; text unchanged while its SHA-256 is ([0-9a-f]{64}) -->\n\Z")


def write_report(report: Report, history: History, own: Path, *others: Path) -> tuple[list[Path], list[Path]]:
    """Write the document into the run's `own` report directory and into `others`; page and figures only into `own`.

    Returns the documents, and where those went that were edited.

    Raises `InvalidInput` if pictures would go through a symlink, and `StorageFull`.
    """
    pictures = {
        f"{report.run}-loss.png": loss_picture(report, history),
        f"{report.run}-spheres.png": spheres_picture(report),
    }
    loss, spheres = (quote(f"{PICTURES}/{name}") for name in pictures)
    text = sealed(document(report, loss, spheres))
    written, kept = [], []
    for directory in (own, *others):
        folder = directory / PICTURES
        if folder.is_symlink():
            raise InvalidInput(f"{folder} is a symlink: remove it, or choose another directory with --out")
        for name, data in pictures.items():
            storage.write_bytes(folder / name, data)
        target = directory / DOCUMENT
        if not is_unchanged(target) and (aside := storage.keep_what_is_there(target)) is not None:
            kept.append(aside)
        storage.write_bytes(target, text.encode())
        written.append(target)
    storage.write_bytes(own / PAGE, page(report, *pictures.values()).encode())
    storage.write_bytes(own / FIGURES, report.model_dump_json().encode())
    return written, kept


def sealed(text: str) -> str:
    """The document with a digest of itself, as a comment that is not shown."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text}\n<!-- written by cllm report; text unchanged while its SHA-256 is {digest} -->\n"


def is_unchanged(target: Path) -> bool:
    """Whether `target` is a document of ours that nobody has edited since."""
    if target.is_symlink() or not target.is_file():
        return False
    text = target.read_bytes().decode(errors="replace")
    seal = _SEAL.search(text)
    return seal is not None and hashlib.sha256(text[: seal.start()].encode()).hexdigest() == seal[1]

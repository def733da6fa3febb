"""What there is in a workspace: runs in a line each, `.cllm` files by their headers; and which one is meant."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cllm import container, events
from cllm.container import Header
from cllm.errors import InvalidCheckpoint, InvalidInput, RunNotFound
from cllm.model.config import ModelConfig
from cllm.prompts import main_language
from cllm.runstate import state_of
from cllm.runstore import RunStore
from cllm.workspace import DEFAULT_MODEL_NAME, RunDirectory, Workspace, check_name

LATEST = "latest"
Data = dict[str, Any]

_LABEL = re.compile(r"(best|epoch|save|periodic|final)_")


def run_summary(run: RunDirectory) -> Data:
    """What there is to say of a run; None where it is not known. `bits_per_byte` is the best held-out one."""
    plan, step, validation, stage, stopping = _last_facts(run)
    try:
        config = json.loads(run.config.read_text())
        name, started = config["settings"].get("name", DEFAULT_MODEL_NAME), config["started"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        name, started = "", run.path.stat().st_mtime
    return {
        "run": run.id,
        "name": name,
        "state": state_of(run),
        "resumable": run.resumable,
        "stage": stage.get("stage"),
        "stopping": stopping,
        "started": started,
        "elapsed_s": step.get("elapsed_s"),
        "size": plan.get("size"),
        "parameters": plan.get("parameters"),
        "bits_per_byte": validation.get("best_bits_per_byte"),
        "step": step.get("step", 0),
        "steps": step.get("steps", plan.get("steps")),
        "epoch": step.get("epoch", 0.0),
        "epochs": plan.get("epochs"),
        "loss": step.get("loss"),
    }


def _last_facts(run: RunDirectory) -> tuple[Data, Data, Data, Data, bool]:
    """The newest plan, step, validation and stage; and whether it was asked to stop."""
    try:
        with RunStore(run.store, readonly=True) as store:
            plan, step, validation, stage = (
                event.data if (event := store.last(kind)) else {}
                for kind in (events.PLAN, events.STEP, events.VALIDATION, events.STAGE)
            )
            return plan, step, validation, stage, store.asked_to_stop()
    except sqlite3.OperationalError:  # no store yet, or killed before its tables were made
        return {}, {}, {}, {}, False


def last_data(run: RunDirectory, kind: str) -> Data:
    """The data of the newest event of `kind`; empty if there is none, or no store yet."""
    if not run.store.is_file():
        return {}
    try:
        with RunStore(run.store, readonly=True) as store:
            event = store.last(kind)
    except sqlite3.OperationalError:  # killed before its tables were made
        return {}
    return event.data if event else {}


@dataclass(frozen=True)
class Entry:
    """One `.cllm` file, as its header describes it; with a `problem`, only id, path, name, bytes and created count."""

    id: str  # path relative to the workspace
    path: str
    name: str
    kind: str  # "model" | "checkpoint"
    label: str  # "final" | "best" | "epoch" | "save" | "periodic"
    bytes: int
    created: float  # seconds since the epoch
    run: str | None = None
    step: int = 0
    epoch: float = 0.0
    parameters: int | None = None
    context: int | None = None
    vocabulary: int | None = None
    bits_per_byte: float | None = None  # held out, at that step
    weights_sha256: str = ""
    problem: str | None = None

    def as_json(self) -> Data:
        """All fields."""
        return asdict(self)


def entries(workspace: Workspace) -> list[Entry]:
    """All models and checkpoints that a person sees in `models/` and `checkpoints/`, and those that only their run
    still holds; newest first, each file once."""
    paths = [*workspace.models.glob("*.cllm"), *workspace.checkpoints.glob("*.cllm")]
    paths += [path for run in workspace.all_runs() for path in sorted(run.checkpoints.glob("*.cllm"))]
    seen: set[tuple[int, int]] = set()
    found = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:  # pruned, or a dangling link
            continue
        if (status.st_dev, status.st_ino) not in seen and path.is_file():
            seen.add((status.st_dev, status.st_ino))
            found.append(_entry(workspace.root, path, status.st_mtime_ns, status.st_size))
    return sorted(found, key=lambda e: e.created, reverse=True)


@lru_cache(maxsize=4096)
def _entry(root: Path, path: Path, mtime_ns: int, size: int) -> Entry:
    """Headers are read once for each version of a file."""
    shown = path.relative_to(root).as_posix()
    try:
        header = container.read_header(path)
        config = ModelConfig(**header.model)
    except (InvalidCheckpoint, ValidationError, TypeError) as error:
        problem = str(error) if isinstance(error, InvalidCheckpoint) else "its model configuration is not valid"
        return Entry(shown, str(path), path.stem, "model", "final", size, mtime_ns / 1e9, problem=problem)
    return Entry(
        id=shown,
        path=str(path),
        name=header.name,
        kind=header.kind,
        label=_label(path, header),
        bytes=size,
        created=header.created,
        run=header.run,
        step=header.step,
        epoch=header.epoch,
        parameters=config.parameters,
        context=config.context,
        vocabulary=config.vocabulary,
        bits_per_byte=header.training.get("bits_per_byte"),
        weights_sha256=header.weights_sha256,
    )


def _label(path: Path, header: Header) -> str:
    """What kind of save made the file; files in a run are named by it, published ones by the guide's scheme."""
    if match := _LABEL.match(path.name.removeprefix("checkpoint_")):
        return match[1]
    if path.stem.endswith("_best"):
        return "best"
    return "final" if header.kind == "model" else "save"


def language_of(workspace: Workspace, run_id: str | None) -> str | None:
    """What a run was trained on most; None if it is not known, or the run is gone."""
    try:
        run = RunDirectory(workspace.runs / check_name(run_id or ""))  # the name comes from a file's header
    except InvalidInput:
        return None
    if not run.config.is_file():
        return None
    language = _language(run)
    if language is None:
        _language.cache_clear()  # it may only not be known yet
    return language


@lru_cache(maxsize=4096)
def _language(run: RunDirectory) -> str | None:
    return main_language(last_data(run, events.CORPUS).get("languages", {}))


def find_model(workspace: Workspace, name: str | None) -> Path:
    """The file a person names: a path, the name of a model in models/, or None or "latest" for the newest one there.

    Raises `InvalidInput` if there is none. Whether it can be read is for `cllm.checkpoint` to say.
    """
    models = workspace.models
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


def newest_checkpoint(run: RunDirectory, tell: Callable[[str], None]) -> Path:
    """The whole checkpoint with the most steps, found by validating files. Raises `RunNotFound` if there is none.

    `tell` gets a line for each damaged file that is passed over.
    """
    candidates = []
    for path in run.checkpoints.glob("*.cllm"):
        try:
            header = container.read_header(path)
        except InvalidCheckpoint as error:
            tell(f"passed over: {error}")
            continue
        if header.kind == "checkpoint":
            candidates.append((header.step, header.created, path))
    for _, _, path in sorted(candidates, reverse=True):
        try:
            container.verify(path)
        except InvalidCheckpoint as error:
            tell(f"passed over: {error}")
            continue
        return path
    raise RunNotFound(f"run {run.id} has no whole checkpoint to go on from: start again with 'cllm train'")

"""What a run was asked to do: `config.json`, written once by whoever starts the run, read by all its processes."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cllm import __version__
from cllm.errors import RunNotFound
from cllm.settings import TrainSettings, validated
from cllm.storage import write_json
from cllm.training.plan import Plan
from cllm.workspace import RunDirectory, Workspace

POLL_S = 0.02
# What those who prepare and those who plan say to each other: bytes of the training files, size of the vocabulary, and
# 1 when all is ready.
TRAIN_BYTES, VOCABULARY, PREPARED = "train_bytes", "vocabulary", "prepared"


@dataclass(frozen=True)
class RunConfig:
    """The request: what to train on, with which settings, where to publish, and since when its time runs."""

    settings: TrainSettings
    paths: tuple[Path, ...]
    stdlib: bool
    workspace: Workspace
    started: float  # seconds since the epoch
    only: tuple[str, ...] | None = None  # chosen files of the directories in `paths`, relative to them; None = all
    without: tuple[str, ...] = ()  # files that are left out, named as the manifest does

    def save(self, run: RunDirectory) -> None:
        """Write `config.json`. Only what a person set is recorded as set, so that defaults can still be adapted."""
        data = {
            "cllm_version": __version__,
            "started": self.started,
            "workspace": str(self.workspace.root),
            "paths": [str(p) for p in self.paths],
            "stdlib": self.stdlib,
            "settings": self.settings.model_dump(mode="json", exclude_unset=True),
        }
        if self.only is not None:
            data["only"] = list(self.only)
        if self.without:
            data["without"] = list(self.without)
        write_json(run.config, data)

    @staticmethod
    def load(run: RunDirectory) -> RunConfig:
        """Read `config.json`. Raises `RunNotFound` if it is not one."""
        try:
            data: dict[str, Any] = json.loads(run.config.read_text())
            return RunConfig(
                validated(TrainSettings, data["settings"]),
                tuple(Path(p) for p in data["paths"]),
                data["stdlib"],
                Workspace(Path(data["workspace"])),
                data["started"],
                None if data.get("only") is None else tuple(str(path) for path in data["only"]),
                tuple(str(path) for path in data.get("without", ())),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunNotFound(f"{run.config} is damaged or missing: the run cannot be continued") from error


def plan_path(run: RunDirectory) -> Path:
    """Where the plan of a run lies."""
    return run.path / "plan.json"


def foreseen_path(run: RunDirectory) -> Path:
    """Where the plan lies that a run will probably have, until it has one."""
    return run.data / "foreseen.json"


def say(run: RunDirectory, name: str, number: int) -> None:
    """Have other processes that prepare the run know a number."""
    write_json(run.data / f"{name}.json", number)


def heard(run: RunDirectory, name: str) -> int:
    """The number that another process says, as soon as it does. Who cannot say it ends, and the supervisor this one."""
    while True:
        with contextlib.suppress(OSError, ValueError):
            return int(json.loads((run.data / f"{name}.json").read_text()))
        time.sleep(POLL_S)


def forget_preparation(run: RunDirectory) -> None:
    """Take away what processes of an earlier session of `run` said to each other before there was a plan."""
    for path in (foreseen_path(run), *(run.data / f"{name}.json" for name in (TRAIN_BYTES, VOCABULARY, PREPARED))):
        path.unlink(missing_ok=True)


def save_foreseen(run: RunDirectory, plan: Plan) -> None:
    """Write the plan that the run will probably have."""
    write_json(foreseen_path(run), plan.model_dump(mode="json"))


def load_foreseen(run: RunDirectory) -> Plan | None:
    """The plan that the run will probably have; None while that is not known."""
    return _plan_at(foreseen_path(run))


def save_plan(run: RunDirectory, plan: Plan) -> None:
    """Write the plan."""
    write_json(plan_path(run), plan.model_dump(mode="json"))


def load_plan(run: RunDirectory) -> Plan | None:
    """The plan of the run, None if it never came to one."""
    return _plan_at(plan_path(run))


def _plan_at(path: Path) -> Plan | None:
    try:
        return Plan.model_validate_json(path.read_text())
    except (OSError, ValueError):
        return None

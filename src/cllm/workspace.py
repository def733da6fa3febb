"""Where things lie: the workspace (the working directory) and the runs in it.

training_data/repo_code.txt        prepared data, and its manifest beside it
checkpoints/                       the newest run's checkpoints (links into the run)
models/                            final models (links into their runs)
runs/<id>/                         one training: everything of it
    config.json                    settings, resolved
    run.sqlite                     events and commands (`cllm.runstore`)
    log.txt                        output of the processes
    process.json                   supervisor's pid and start time, while it runs
    exit.json                      how it ended; none of it and no live process means "interrupted"
    data/                          repo_code.txt, manifest.json, tokenizer.json, tokens.npy
    checkpoints/                   the .cllm files themselves
    report/                        MY_TRAINING_RESULTS.md with its pictures, the same as one .html, report.json
    notes.txt                      what a person wrote about it
runs/.trash/<id>/                  runs that were deleted, until they are restored or some days have passed
runs/.studio.json                  address and token of the studio, readable by its owner only
"""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from cllm.errors import InvalidInput, RunNotFound

DEFAULT_MODEL_NAME = "trained_model_kissing_spheres"
DEFAULT_CORPUS = "training_data/repo_code.txt"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class RunDirectory:
    """The paths of one run."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def store(self) -> Path:
        return self.path / "run.sqlite"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def process(self) -> Path:
        return self.path / "process.json"

    @property
    def exit(self) -> Path:
        return self.path / "exit.json"

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def corpus(self) -> Path:
        return self.data / "repo_code.txt"

    @property
    def tokenizer(self) -> Path:
        return self.data / "tokenizer.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def resumable(self) -> bool:
        """Whether something was saved that a training can go on from: the best and the final model cannot."""
        return any(not path.name.startswith(("best_", "final_")) for path in self.checkpoints.glob("*.cllm"))

    @property
    def report(self) -> Path:
        return self.path / "report"

    @property
    def notes(self) -> Path:
        return self.path / "notes.txt"


def check_name(name: str) -> str:
    """A run or model name that is safe as a file name; raises `InvalidInput`."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} cannot be a name: use letters, digits, '.', '_' and '-', beginning with a letter or digit"
        )
    return name


@dataclass(frozen=True)
class Workspace:
    """The working directory of a person; nothing is ever written outside it."""

    root: Path

    @staticmethod
    def here() -> Workspace:
        """The current directory."""
        return Workspace(Path.cwd())

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def trash(self) -> Path:
        return self.runs / ".trash"

    @property
    def studio(self) -> Path:
        return self.runs / ".studio.json"

    def new_run(self) -> RunDirectory:
        """Make the directory of a new run; its id sorts by time and is never reused."""
        while True:
            run_id = time.strftime("%Y%m%d-%H%M%S") + "-" + secrets.token_hex(2)
            path = self.runs / run_id
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            return RunDirectory(path)

    def all_runs(self) -> list[RunDirectory]:
        """Every run, oldest first."""
        if not self.runs.is_dir():
            return []
        return [RunDirectory(p) for p in sorted(self.runs.iterdir()) if (p / "config.json").is_file()]

    def run(self, name: str | None = None) -> RunDirectory:
        """The run with id `name` (a unique beginning will do, or a path to it), or the newest one.

        Raises `RunNotFound`.
        """
        runs = self.all_runs()
        if name is None:
            if not runs:
                raise RunNotFound(f"no run in {self.runs}: train one first with 'cllm train PATH'")
            return runs[-1]
        as_path = Path(name)
        if (as_path / "config.json").is_file():
            return RunDirectory(as_path.resolve())
        found = [r for r in runs if r.id == name] or [r for r in runs if r.id.startswith(name)]
        if len(found) == 1:
            return found[0]
        if not found:
            raise RunNotFound(f"no run {name!r} in {self.runs}: 'ls {self.runs}' shows what there is")
        raise RunNotFound(f"{name!r} is the beginning of {len(found)} runs: give more of the id")

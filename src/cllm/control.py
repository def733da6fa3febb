"""What a person can do with runs: start, stop, save, continue. The command line and the studio both act through this.

Nothing here loads torch.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cllm import container
from cllm.catalogue import newest_checkpoint
from cllm.container import Header
from cllm.errors import InvalidInput, InvalidSettings, RunNotFound
from cllm.model.config import parse_size
from cllm.runstate import state_of, supervisor
from cllm.runstore import RunStore
from cllm.settings import TrainSettings, validated
from cllm.training.plan import extended, with_ranks
from cllm.training.runconfig import RunConfig, load_plan, save_plan
from cllm.workspace import DEFAULT_CORPUS, RunDirectory, Workspace, check_name

LEAST_MINUTES = 20 / 60
TRASH_DAYS = 7


def check_request(settings: TrainSettings) -> None:
    """What the bounds of the single settings cannot say. Raises `InvalidInput`."""
    check_name(settings.name)
    if settings.size != "auto":
        parse_size(settings.size)
    if settings.minutes is not None and settings.minutes < LEAST_MINUTES:
        raise InvalidInput(f"minutes = {settings.minutes}: preparing alone takes some seconds, so give at least 0.4")


def create_run(
    workspace: Workspace,
    paths: tuple[Path, ...],
    stdlib: bool,
    settings: TrainSettings,
    started: float,
    only: tuple[str, ...] | None = None,
    without: tuple[str, ...] = (),
) -> RunDirectory:
    """Make the directory and the request of a run whose time counts from `started` (seconds since the epoch).

    `only` are the chosen files of the directories in `paths`, relative to them; None means all.
    `without` are files to leave out, named as the manifest does. Raises `InvalidInput`.
    """
    check_request(settings)
    if not paths and not stdlib:
        default = workspace.root / DEFAULT_CORPUS
        if not default.is_file():
            raise InvalidInput(
                f"nothing to train on: name directories or files ('cllm train PATH...'), or make {DEFAULT_CORPUS} "
                "with 'cllm prepare DIR'"
            )
        paths = (default,)
    for path in paths:
        if not path.exists():
            raise InvalidInput(f"{path}: there is no such file or directory")
    run = workspace.new_run()
    run.data.mkdir()
    run.checkpoints.mkdir()
    RunConfig(settings, tuple(p.resolve() for p in paths), stdlib, workspace, started, only, without).save(run)
    return run


def continue_run(
    run: RunDirectory, tell: Callable[[str], None], threads: int | None, epochs: int | None, minutes: float | None
) -> tuple[Path, Header]:
    """Find the newest whole checkpoint and bring the plan up to what is asked for now (totals, not additions).

    `tell` gets a line for each damaged checkpoint. Raises `InvalidSettings`, `RunNotFound`.
    """
    if state_of(run) == "running":
        raise RunNotFound(f"run {run.id} is running already: 'cllm stop {run.id}' stops it")
    path = newest_checkpoint(run, tell)
    header = container.read_header(path)
    _adapt(run, header.step, float(header.state["wall_s"]), threads, epochs, minutes)
    return path, header


def _adapt(
    run: RunDirectory, step: int, wall_s: float, threads: int | None, epochs: int | None, minutes: float | None
) -> None:
    config, plan = RunConfig.load(run), load_plan(run)
    if plan is None:
        raise RunNotFound(f"run {run.id} has no plan: start again with 'cllm train'")
    wanted = {"threads": threads, "epochs": epochs, "minutes": minutes}
    asked: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    settings = validated(TrainSettings, {**config.settings.model_dump(exclude_unset=True), **asked})
    if threads is not None:
        plan = with_ranks(plan, threads)
    plan = extended(plan, epochs, settings.minutes, wall_s, time.time())
    ended = plan.steps is not None and step >= plan.steps and plan.deadline is None
    if ended and any(run.checkpoints.glob("final_step_*.cllm")):
        raise InvalidSettings(
            f"run {run.id} has done its {plan.epochs:g} epochs: give a larger number in all to go on, "
            f"as in --epochs {round((plan.epochs or 0) * 2)}"
        )
    RunConfig(
        settings, config.paths, config.stdlib, config.workspace, config.started, config.only, config.without
    ).save(run)
    save_plan(run, plan)


def signal_run(run: RunDirectory, number: signal.Signals) -> None:
    """Send a signal to a run's supervisor. Raises `RunNotFound` if it is not running."""
    process = supervisor(run)
    if process is None:
        raise RunNotFound(f"run {run.id} is not running: 'cllm runs' shows what there is")
    process.send_signal(number)


def stop(run: RunDirectory, save: bool = True) -> None:
    """Ask for an end after the current step; before the first step there is nothing to save. Raises `RunNotFound`."""
    if save or not is_stepping(run):
        signal_run(run, signal.SIGINT)
    elif supervisor(run) is None:
        raise RunNotFound(f"run {run.id} is not running: 'cllm runs' shows what there is")
    else:
        with RunStore(run.store) as store:
            store.send("discard")


def save(run: RunDirectory) -> None:
    """Ask for a checkpoint after the current step. Raises `RunNotFound`."""
    signal_run(run, signal.SIGUSR1)


def is_stepping(run: RunDirectory) -> bool:
    """Whether the ranks of this session have begun."""
    if not run.store.is_file():
        return False
    with RunStore(run.store) as store:
        return store.is_stepping()


def delete(workspace: Workspace, run: RunDirectory) -> None:
    """Move a run to the trash; what it published in models/ and checkpoints/ stays. Raises `InvalidInput`."""
    if state_of(run) == "running":
        raise InvalidInput(f"run {run.id} is running: stop it first")
    workspace.trash.mkdir(parents=True, exist_ok=True)
    target = workspace.trash / run.id
    os.rename(run.path, target)
    os.utime(target)  # its days in the trash count from now


def restore(workspace: Workspace, run_id: str) -> RunDirectory:
    """Take a run out of the trash again. Raises `RunNotFound`."""
    source, target = workspace.trash / check_name(run_id), workspace.runs / run_id
    if not (source / "config.json").is_file() or target.exists():
        raise RunNotFound(f"run {run_id} is not in the trash any more")
    os.rename(source, target)
    return RunDirectory(target)


def empty_trash(workspace: Workspace, now: float) -> None:
    """Remove runs that were deleted more than `TRASH_DAYS` before `now` (seconds since the epoch)."""
    if not workspace.trash.is_dir():
        return
    for path in workspace.trash.iterdir():
        if path.stat().st_mtime < now - TRASH_DAYS * 86_400:
            shutil.rmtree(path, ignore_errors=True)

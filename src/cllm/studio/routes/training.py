"""Starting, stopping, saving and continuing trainings."""

from __future__ import annotations

import asyncio
import time
from pathlib import PurePosixPath
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel

from cllm import control
from cllm.errors import InvalidInput
from cllm.runstate import state_of
from cllm.settings import TrainSettings, validated
from cllm.studio.state import Studio, TheStudio

router = APIRouter(prefix="/api")


class TrainRequest(BaseModel):
    """Data and settings of a new run: `files` are relative to `root`, None means all of them."""

    root: str | None = None
    files: list[str] | None = None
    prepared: list[str] = []  # prepared data among the files, also relative to `root`
    stdlib: bool = False
    settings: dict[str, Any] = {}


@router.post("/train")
async def train(request: TrainRequest, studio: TheStudio) -> dict[str, str]:
    """Start a training."""
    started = time.time()
    settings: TrainSettings = validated(TrainSettings, request.settings)
    async with studio.starting:
        return {"run": await asyncio.to_thread(_start, studio, request, settings, started)}


def _start(studio: Studio, request: TrainRequest, settings: TrainSettings, started: float) -> str:
    _refuse_a_second(studio)
    paths = []
    only: tuple[str, ...] | None = None
    if request.root is not None:
        root = studio.roots.resolve(request.root)
        prepared = [_inside(name) for name in request.prepared]
        paths = [studio.roots.resolve(str(root / name)) for name in prepared]
        if request.files is None:
            paths.append(root)
        else:
            only = tuple(_inside(name) for name in request.files)
            if only:
                paths.append(root)
        if not paths:
            raise InvalidInput("no file is selected: tick at least one")
    elif not request.stdlib:
        raise InvalidInput("nothing to train on: scan a directory and tick files")
    run = control.create_run(studio.workspace, tuple(paths), request.stdlib, settings, started, only or None)
    studio.launch(run, None)
    return run.id


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise InvalidInput(f"{name} is not a path inside the scanned directory")
    return name


def _refuse_a_second(studio: Studio) -> None:
    for run in reversed(studio.workspace.all_runs()):
        if state_of(run) == "running":
            raise HTTPException(409, f"run {run.id} is training: stop it first, or wait for its end")


class StopRequest(BaseModel):
    """How to stop."""

    save: bool = True


@router.post("/runs/{run_id}/stop")
def stop(run_id: str, request: StopRequest, studio: TheStudio) -> dict[str, str]:
    """Stop after the current step, with a checkpoint or without."""
    control.stop(studio.run(run_id), request.save)
    return {}


@router.post("/runs/{run_id}/save")
def save(run_id: str, studio: TheStudio) -> dict[str, str]:
    """Write a checkpoint after the current step."""
    control.save(studio.run(run_id))
    return {}


class ResumeRequest(BaseModel):
    """New totals, where they change."""

    threads: int | None = None
    epochs: int | None = None
    minutes: float | None = None


@router.post("/runs/{run_id}/resume")
async def resume(run_id: str, request: ResumeRequest, studio: TheStudio) -> dict[str, Any]:
    """Continue from the newest whole checkpoint."""
    run = studio.run(run_id)
    passed_over: list[str] = []

    def start() -> int:
        _refuse_a_second(studio)
        path, header = control.continue_run(run, passed_over.append, request.threads, request.epochs, request.minutes)
        studio.launch(run, path)
        return header.step

    async with studio.starting:
        return {"step": await asyncio.to_thread(start), "warnings": passed_over}

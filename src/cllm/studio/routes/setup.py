"""What the page needs to be built: facts, settings, colours, directories; and scanning them."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response
from pydantic import BaseModel

from cllm import __version__, control, machine, prompts
from cllm.errors import InvalidInput
from cllm.report import palette
from cllm.settings import SamplingSettings, TrainSettings, problems
from cllm.studio.state import TheStudio
from cllm.training.plan import (
    LONG_CONTEXT,
    LONG_PAYS_FROM,
    MANY_TIMED_FROM,
    SHORT_CONTEXT,
    choose_microbatches,
    deal_threads,
    wanted_batch,
    wanted_context,
)

LOOK_EVERY_S = 0.3

router = APIRouter(prefix="/api")


@router.get("/meta")
def meta(studio: TheStudio) -> dict[str, Any]:
    """Facts that do not change while the server runs."""
    return {
        "version": __version__,
        "workspace": str(studio.workspace.root),
        "roots": [str(path) for path in studio.roots.paths],
        "cores": machine.usable_cores(),
        "memory_bytes": machine.memory().total,
        "train": TrainSettings.model_json_schema(),
        "sampling": SamplingSettings.model_json_schema(),
        "levels": [asdict(level) for level in palette.LEVELS],
        "red": palette.RED,
        "red_from": palette.RED_FROM,
        "prompts": {language: list(prompts.prompts_for(language)) for language in ("c", "python", "")},
        "guide_prompts": list(prompts.GUIDE_PROMPTS),
    }


@router.get("/directories")
def directories(studio: TheStudio, under: str = "") -> dict[str, list[str]]:
    """The directories in one."""
    return {"directories": studio.roots.children(under)}


class ScanRequest(BaseModel):
    """Which directory to look through."""

    directory: str


@router.post("/scan")
async def scan(asked: ScanRequest, request: Request, studio: TheStudio) -> Response:
    """The files of a directory, each with the reason why it would be left out. Ends when the page no longer waits."""
    directory = studio.roots.resolve(asked.directory)
    if not directory.is_dir():
        raise InvalidInput(f"there is no directory {asked.directory}: check the spelling, or scan another one")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "cllm.studio.scanning", str(directory), stdout=asyncio.subprocess.PIPE
    )
    reading = asyncio.create_task(process.communicate())
    while not (await asyncio.wait({reading}, timeout=LOOK_EVERY_S))[0]:
        if await request.is_disconnected():
            process.kill()
    out, _ = await reading
    if process.returncode:
        raise HTTPException(500, "the scan failed: the terminal of the studio shows why")
    failed = out.startswith(b'{"error"')
    return Response(out, 422 if failed else 200, media_type="application/json")


class SettingsRequest(BaseModel):
    """Training settings: only those that were set."""

    settings: dict[str, Any]


@router.post("/settings/check")
def check(request: SettingsRequest) -> dict[str, dict[str, str]]:
    """What is wrong with the settings, by name, and what the open ones will become, as far as that is known."""
    fields = problems(TrainSettings, request.settings)
    usable = {name: value for name, value in request.settings.items() if name not in fields}
    settings = TrainSettings(**usable)
    for name in ("name", "size", "minutes"):  # each alone, so that the problem is shown beside its own field
        if name in usable:
            try:
                control.check_request(TrainSettings(**{name: usable[name]}))
            except InvalidInput as error:
                fields[name] = str(error)
    return {"fields": fields, "notes": _notes(settings, fields)}


def _notes(settings: TrainSettings, fields: dict[str, str]) -> dict[str, str]:
    notes: dict[str, str] = {}
    timed = settings.minutes is not None
    cores = machine.usable_cores()
    times = (0.0, LONG_PAYS_FROM, MANY_TIMED_FROM)
    batches = sorted({wanted_batch(settings, wanted_context(settings, tokens), cores, tokens) for tokens in times})
    if timed and "context" not in settings.model_fields_set:
        notes["context"] = f"{SHORT_CONTEXT} or {LONG_CONTEXT} tokens, by the time; set it for another"
    if timed and "batch_size" not in settings.model_fields_set:
        notes["batch_size"] = f"{' or '.join(map(str, batches))} windows, by the time; set it for another"
    elif batches[0] != settings.batch_size:
        notes["batch_size"] = f"{batches[0]} windows, so that all cores have some; set it for another"
    if timed and "epochs" not in settings.model_fields_set:
        notes["epochs"] = "as many as the time allows; set it to end sooner"
    try:
        ranks, threads = deal_threads(settings, choose_microbatches(settings, batches[0], cores), cores, [])
    except InvalidInput as error:
        fields["microbatches"] = str(error)
    else:
        workers = f"{ranks} worker{'s' * (ranks > 1)}" + (f" of {threads} threads" if threads > 1 else "")
        carry = "carry" if ranks > 1 else "carries"
        many = f", more than the {cores} core{'s' * (cores > 1)} here" if ranks * threads > cores else ""
        notes["threads"] = f"{workers} {carry} {settings.spheres} spheres{many}"
    return notes

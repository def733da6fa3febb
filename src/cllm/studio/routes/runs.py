"""The runs and the models of the workspace: lists, details, notes, deleting."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from cllm import control, storage
from cllm.catalogue import entries, language_of, run_summary
from cllm.studio.curve import csv_lines
from cllm.studio.state import TheStudio
from cllm.studio.view import shown_state
from cllm.training.runconfig import RunConfig
from cllm.workspace import RunDirectory

MOST_NOTES = 100_000  # characters
LOG_TAIL_BYTES = 16_384

router = APIRouter(prefix="/api")


def _row(run: RunDirectory) -> dict[str, Any]:
    summary = run_summary(run)
    summary["state"] = shown_state(summary["state"], summary.pop("stage"), summary.pop("stopping"))
    return {"id": summary.pop("run"), **summary, "notes": _notes(run)}


def _notes(run: RunDirectory) -> str:
    try:
        return run.notes.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@router.get("/runs")
def runs(studio: TheStudio) -> dict[str, list[dict[str, Any]]]:
    """Every run, newest first."""
    return {"runs": [_row(run) for run in reversed(studio.workspace.all_runs())]}


@router.get("/runs/{run_id}")
def details(run_id: str, studio: TheStudio) -> dict[str, Any]:
    """One run with its settings, its data, its notes and the end of its log."""
    run = studio.run(run_id)
    config = RunConfig.load(run)
    return {
        **_row(run),
        "settings": config.settings.model_dump(mode="json"),
        "set": sorted(config.settings.model_fields_set),
        "paths": [str(path) for path in config.paths],
        "stdlib": config.stdlib,
        "only": config.only,
        "log_tail": _log_tail(run),
    }


def _log_tail(run: RunDirectory) -> str:
    try:
        with open(run.log, "rb") as log:
            log.seek(max(0, run.log.stat().st_size - LOG_TAIL_BYTES))
            return log.read(LOG_TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ""


@router.get("/runs/{run_id}/view")
async def view(run_id: str, studio: TheStudio) -> dict[str, Any]:
    """What the live page shows, of any run."""
    return await studio.hub.view_of(studio.run(run_id))


@router.get("/runs/{run_id}/curve.csv")
def curve(run_id: str, studio: TheStudio) -> StreamingResponse:
    """Every step and validation as CSV."""
    run = studio.run(run_id)
    headers = {"content-disposition": f'attachment; filename="{run.id}-curve.csv"'}
    return StreamingResponse(csv_lines(run), media_type="text/csv", headers=headers)


class Notes(BaseModel):
    """What a person writes about a run."""

    text: str = Field(max_length=MOST_NOTES)


@router.put("/runs/{run_id}/notes")
def write_notes(run_id: str, notes: Notes, studio: TheStudio) -> dict[str, str]:
    """Keep notes; an empty text removes them."""
    run = studio.run(run_id)
    if notes.text.strip():
        storage.write_bytes(run.notes, notes.text.encode())
    else:
        run.notes.unlink(missing_ok=True)
    return {}


@router.delete("/runs/{run_id}")
def delete(run_id: str, studio: TheStudio) -> dict[str, str]:
    """Move a run to the trash."""
    control.delete(studio.workspace, studio.run(run_id))
    return {}


@router.post("/runs/{run_id}/restore")
def restore(run_id: str, studio: TheStudio) -> dict[str, str]:
    """Take it out again."""
    control.restore(studio.workspace, run_id)
    return {}


@router.get("/models")
def models(studio: TheStudio) -> dict[str, list[dict[str, Any]]]:
    """Every `.cllm` file, newest first."""
    found = entries(studio.workspace)
    return {"models": [{**one.as_json(), "language": language_of(studio.workspace, one.run)} for one in found]}

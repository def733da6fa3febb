"""Reports of runs: made by `cllm report` in a process of its own, read and handed out from the run's directory."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, Response

from cllm.runstate import state_of
from cllm.studio.state import TheStudio
from cllm.workspace import RunDirectory

DOCUMENT = "MY_TRAINING_RESULTS"

router = APIRouter(prefix="/api/runs/{run_id}")


@router.get("/report")
def report(run_id: str, studio: TheStudio) -> dict[str, Any]:
    """The figures, as they were when the report was made; None before that. `stale`: the run has gone on since."""
    return _read(studio.run(run_id))


@router.post("/report")
async def make(run_id: str, studio: TheStudio) -> dict[str, Any]:
    """Make the report anew. Of a run that has ended, the model completes the test prompts too."""
    run = studio.run(run_id)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "cllm", "report", str(run.path), "--out", str(run.report)),
        cwd=studio.workspace.root,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines() or ["it ended without a word"]
        raise HTTPException(500, f"the report could not be made: {lines[-1].removeprefix('cllm: ')}")
    return _read(run)


def _read(run: RunDirectory) -> dict[str, Any]:
    path = run.report / "report.json"
    try:
        figures = json.loads(path.read_text())
        made = path.stat().st_mtime
    except (OSError, ValueError):
        return {"report": None, "made": None, "stale": False}
    changed = max((p.stat().st_mtime for p in (run.exit, run.process) if p.exists()), default=0.0)
    return {"report": figures, "made": made, "stale": state_of(run) == "running" or changed > made}


def _file(run: RunDirectory, suffix: str) -> Path:
    path = run.report / f"{DOCUMENT}{suffix}"
    if not path.is_file():
        raise HTTPException(404, "there is no report of this run yet: make one")
    return path


@router.get("/report.md")
def markdown(run_id: str, studio: TheStudio) -> FileResponse:
    """The document alone."""
    path = _file(studio.run(run_id), ".md")
    return FileResponse(path, media_type="text/markdown", filename=path.name)


@router.get("/report.html")
def html(run_id: str, studio: TheStudio) -> FileResponse:
    """One self-contained file."""
    path = _file(studio.run(run_id), ".html")
    return FileResponse(path, media_type="text/html", filename=path.name)


@router.get("/report.zip")
def archive(run_id: str, studio: TheStudio) -> Response:
    """The document with the pictures it shows."""
    run = studio.run(run_id)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as pack:
        document = _file(run, ".md")
        pack.write(document, document.name)
        for picture in sorted((run.report / f"{DOCUMENT}_files").glob("*.png")):
            pack.write(picture, f"{DOCUMENT}_files/{picture.name}")
    headers = {"content-disposition": f'attachment; filename="{DOCUMENT}-{run.id}.zip"'}
    return Response(buffer.getvalue(), media_type="application/zip", headers=headers)

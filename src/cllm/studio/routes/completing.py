"""Completions: streamed as lines of JSON, made by a worker process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from cllm import events
from cllm.catalogue import entries, last_data
from cllm.errors import InvalidInput, RunNotFound
from cllm.prompts import main_language
from cllm.settings import SamplingSettings, validated
from cllm.studio.state import Studio, TheStudio

MOST_PROMPT = 1_000_000  # characters

router = APIRouter(prefix="/api")


class CompletionRequest(BaseModel):
    """A prompt for a model of the list; `settings` are those that were set."""

    model: str
    prompt: str = Field(max_length=MOST_PROMPT)
    settings: dict[str, Any] = {}


@router.post("/complete")
async def complete(request: CompletionRequest, studio: TheStudio) -> StreamingResponse:
    """Complete it; closing the connection ends the generation."""
    settings: SamplingSettings = validated(SamplingSettings, request.settings)
    entry = next((e for e in entries(studio.workspace) if e.id == request.model), None)
    if entry is None:
        raise InvalidInput(f"there is no model {request.model} any more: choose another one")
    language = _language(studio, entry.run)
    sent = settings.model_dump(exclude_unset=True)

    async def lines() -> AsyncIterator[bytes]:
        async with aclosing(studio.completions.complete(Path(entry.path), request.prompt, sent, language)) as parts:
            async for part in parts:
                yield json.dumps(part).encode() + b"\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


def _language(studio: Studio, run_id: str | None) -> str | None:
    """What the model was trained on most, if that is a language whose syntax can be judged."""
    if run_id is None:
        return None
    try:
        corpus = last_data(studio.run(run_id), events.CORPUS)
    except (RunNotFound, InvalidInput):
        return None
    language = main_language(corpus.get("languages", {}))
    return language if language in ("c", "python") else None

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

from cllm.catalogue import entries, language_of
from cllm.errors import InvalidInput
from cllm.settings import SamplingSettings, validated
from cllm.studio.state import TheStudio

MOST_PROMPT = 1_000_000  # characters
JUDGED = ("c", "python")  # languages whose syntax can be judged

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
    language = language_of(studio.workspace, entry.run)
    judged = language if language in JUDGED else None
    sent = settings.model_dump(exclude_unset=True)

    async def lines() -> AsyncIterator[bytes]:
        async with aclosing(studio.completions.complete(Path(entry.path), request.prompt, sent, judged)) as parts:
            async for part in parts:
                yield json.dumps(part).encode() + b"\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")

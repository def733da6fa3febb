"""The websocket of the live page."""

from __future__ import annotations

import asyncio
import contextlib

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from cllm.studio.state import TheStudio

TRY_AGAIN_LATER = 1013

router = APIRouter(prefix="/api")


@router.websocket("/live")
async def live(socket: WebSocket, studio: TheStudio, run: str = "") -> None:
    """Sends what happens until the page leaves; what a page sends is ignored."""
    await socket.accept()
    leaving = asyncio.create_task(_until_left(socket))
    serving = asyncio.create_task(studio.hub.serve(socket.send_text, run or None))
    tasks = {leaving, serving}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if leaving.cancelled():  # it is still there, but fell behind
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await socket.close(TRY_AGAIN_LATER)


async def _until_left(socket: WebSocket) -> None:
    with contextlib.suppress(WebSocketDisconnect, KeyError, RuntimeError):  # KeyError: a binary frame
        while True:
            await socket.receive_text()

"""The websocket of the live page."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from cllm.studio.state import TheStudio

router = APIRouter(prefix="/api")


@router.websocket("/live")
async def live(socket: WebSocket, studio: TheStudio, run: str = "") -> None:
    """Sends what happens until the page leaves; what a page sends is ignored."""
    await socket.accept()
    closed = asyncio.Event()

    async def listen() -> None:
        try:
            while True:
                await socket.receive_text()
        except (WebSocketDisconnect, KeyError, RuntimeError):
            closed.set()

    listening = asyncio.create_task(listen())
    try:
        await studio.hub.serve(socket.send_text, closed, run or None)
    except (WebSocketDisconnect, RuntimeError):
        pass
    finally:
        listening.cancel()
        if not closed.is_set():
            await socket.close(1013)  # try again later: it fell behind

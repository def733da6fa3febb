"""What the routes share: the workspace, the roots, the live hub, the completion worker, and the trainings started."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from cllm import control
from cllm.studio.completion import CompletionService
from cllm.studio.live import Hub
from cllm.studio.roots import Roots
from cllm.supervisor import launch
from cllm.workspace import RunDirectory, Workspace, check_name

REAP_EVERY_S = 1.0


class Studio:
    """One server's state. A restarted server needs none of it: the runs are on the disk."""

    def __init__(self, workspace: Workspace, roots: Roots) -> None:
        self.workspace, self.roots = workspace, roots
        self.hub = Hub(workspace)
        self.completions = CompletionService()
        self.starting = asyncio.Lock()
        self._trainings: list[subprocess.Popen[bytes]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Background work, as long as the server serves. Trainings are not part of it: they go on without us."""
        control.empty_trash(self.workspace, time.time())
        tasks = [asyncio.create_task(self.hub.run()), asyncio.create_task(self._reap())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.completions.close()

    def run(self, run_id: str) -> RunDirectory:
        """The run with exactly this id. Raises `RunNotFound` or `InvalidInput`."""
        return self.workspace.run(check_name(run_id))

    def launch(self, run: RunDirectory, checkpoint: Path | None) -> None:
        """Start the training in a session of its own."""
        process, _ = launch(run, checkpoint, attached=False)
        self._trainings.append(process)

    async def _reap(self) -> None:
        """Collect trainings that have ended, so that they do not stay as zombies."""
        while True:
            self._trainings = [process for process in self._trainings if process.poll() is None]
            await asyncio.sleep(REAP_EVERY_S)


def studio_of(connection: HTTPConnection) -> Studio:
    """The state of the server that a request or websocket has reached."""
    return cast(Studio, connection.app.state.studio)


TheStudio = Annotated[Studio, Depends(studio_of)]

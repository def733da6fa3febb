"""What browsers are told as it happens: each followed run is read once for all of them, and only while one looks on.

A page gets a snapshot and then numbered changes (docs/studio.md has the frames). Everything comes from the runs' files,
so nothing is missing after the server, the browser or the connection was gone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from cllm import events
from cllm.errors import CllmError
from cllm.runstate import read_exit, state_of, supervisor
from cllm.runstore import RunStore
from cllm.studio.curve import Curve, in_batches
from cllm.studio.view import View, shown_state
from cllm.workspace import DEFAULT_MODEL_NAME, RunDirectory, Workspace

POLL_S = 0.2
STATE_EVERY_S = 0.5
LOOK_EVERY_S = 1.0
STEPS_EVERY_S = 0.5
MOST_WAITING = 64  # frames; a page that is further behind is let go, and comes back for a snapshot
SEND_TIMEOUT_S = 10.0
_RECENT_SPHERES = 60  # of their events, for the rates
_LASTING = (
    events.STAGE,
    events.CORPUS,
    events.PLAN,
    events.STEP,
    events.VALIDATION,
    events.SAMPLE,
    events.CHECKPOINT,
    events.WARNING,
    events.ERROR,
    events.ROLLBACK,
    events.RESULT,
)

Message = dict[str, Any]
log = logging.getLogger(__name__)


class FollowedRun:
    """One run, kept up with its store. Make it, then `load` it once (slow for long runs), then `poll` it."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.clients: set[Client] = set()
        self.view, self.curve = View(), Curve()
        self._store: RunStore | None = None
        self._seq = 0
        self._state_at = self._steps_at = float("-inf")

    def load(self) -> None:
        """Read what there is. Raises nothing: a run that is just being made has no store yet."""
        try:
            self._open()
        except (OSError, sqlite3.Error) as error:  # being made, or damaged: polling goes on trying
            log.debug("%s: %s", self.run.id, error)
        self._look_at_state(time.monotonic())
        self.view.due(time.monotonic())
        self.curve.news()

    def _open(self) -> None:
        """Open the store and read it, but of figures that only count while they are new only the newest."""
        if not self.run.store.is_file():
            return
        store = RunStore(self.run.store, readonly=True)
        try:
            end = store.end
            recent = [*store.newest(events.SPHERES, _RECENT_SPHERES), *store.newest(events.USAGE, 1)]
            for event in (*in_batches(store, _LASTING), *recent):
                if event.seq <= end:
                    self.view.take(event)
                    self.curve.take(event)
        except sqlite3.Error:
            store.close()
            raise
        self._store, self._seq = store, end

    def poll(self, now: float) -> Message | None:
        """What is new, as a message for all clients; None if nothing is."""
        try:
            self._read(now)
        except (OSError, sqlite3.Error) as error:  # being made, or being taken away: the next look will tell
            log.debug("%s: %s", self.run.id, error)
        message: Message = {"type": "delta"}
        if view := self.view.due(now):
            message["view"] = view
        if now - self._steps_at >= STEPS_EVERY_S:
            self._steps_at = now
            news = self.curve.news()
            if news is None:
                return self.snapshot()
            message.update(news)
        return message if len(message) > 1 else None

    def _read(self, now: float) -> None:
        ended = self.view.data["result"] is not None and self.view.is_running
        if ended or now - self._state_at >= STATE_EVERY_S:
            self._look_at_state(now)
        if self._store is None:
            self._open()
            return
        for event in self._store.events(after=self._seq):
            self._seq = event.seq
            self.view.take(event)
            self.curve.take(event)
            if event.kind == events.STAGE:
                self._look_at_state(now)

    def _look_at_state(self, now: float) -> None:
        self._state_at = now
        try:
            config = json.loads(self.run.config.read_text())
            name, started = config["settings"].get("name", DEFAULT_MODEL_NAME), config.get("started")
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self.view.set_run(None)  # deleted
            return
        state = state_of(self.run)
        running = state == "running"
        stopping = running and self._store is not None and self._store.asked_to_stop()
        ending = {} if running else read_exit(self.run) or {}
        self.view.set_run(
            {
                "id": self.run.id,
                "name": name,
                "state": shown_state(state, (self.view.data["stage"] or {}).get("stage"), stopping),
                "reason": ending.get("reason"),
                "exit_code": ending.get("exit_code"),
                "started": started,
                "running": running,
                "resumable": self.run.resumable,
            }
        )

    def snapshot(self) -> Message:
        """All that was told so far."""
        return {"type": "snapshot", "view": self.view.data, "curve": self.curve.snapshot()}

    def close(self) -> None:
        """Let the store go."""
        if self._store is not None:
            self._store.close()


class Client:
    """One page: what it asked for, and the frames that wait for it."""

    def __init__(self, run: str | None) -> None:
        self.wanted = run
        self.followed: FollowedRun | None = None
        self.waiting: asyncio.Queue[str] = asyncio.Queue(MOST_WAITING)
        self.is_behind = False

    def put(self, body: str) -> None:
        """Add a frame; a page that does not take them is marked."""
        try:
            self.waiting.put_nowait(body)
        except asyncio.QueueFull:
            self.is_behind = True


class Hub:
    """All pages of one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._clients: set[Client] = set()
        self._followed: dict[str, FollowedRun] = {}
        self._target: str | None = None  # the run that pages follow which named none
        self._attaching = asyncio.Lock()
        self._awake = asyncio.Event()
        self._seen: dict[str, object] = {}

    async def run(self) -> None:
        """Look at the runs for ever, five times a second; without a page there is nothing to do."""
        looked = float("-inf")
        while True:
            await self._awake.wait()
            now = time.monotonic()
            try:
                if now - looked >= LOOK_EVERY_S:
                    looked = now
                    await self._look_around()
                for followed in list(self._followed.values()):
                    if followed.clients and (message := followed.poll(now)):
                        _send(followed.clients, message)
            except OSError as error:  # a directory that is just being taken away
                log.warning("the runs cannot be read: %s", error)
            await asyncio.sleep(POLL_S)
            if not self._clients:
                self._awake.clear()

    async def serve(self, send: Callable[[str], Awaitable[None]], run: str | None) -> None:
        """Send a page what happens, until it falls behind; cancel it when the page has gone."""
        client = Client(run)
        if not self._clients:
            self._target, self._seen = self._look()
        self._clients.add(client)
        self._awake.set()
        try:
            await self._attach(client)
            number = 0
            while not client.is_behind:
                body = await client.waiting.get()
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await send(f'{{"n":{number},{body}')
                number += 1
        except TimeoutError:
            pass
        finally:
            self._clients.discard(client)
            self._detach(client)

    async def view_of(self, run: RunDirectory) -> Message:
        """The snapshot of any run: `view` and `curve`."""
        followed = FollowedRun(run)
        try:
            await asyncio.to_thread(followed.load)
            return {"view": followed.view.data, "curve": followed.curve.snapshot()}
        finally:
            followed.close()

    async def _attach(self, client: Client) -> None:
        """Let a page follow what it wants, beginning with a snapshot."""
        async with self._attaching:
            wanted = client.wanted or self._target
            if client.followed is not None and client.followed.run.id == wanted:
                return
            self._detach(client)
            followed = self._followed.get(wanted or "")
            if followed is None:
                followed = FollowedRun(self._directory(wanted))
                await asyncio.to_thread(followed.load)
                self._followed[wanted or ""] = followed
            if client in self._clients:
                client.followed = followed
                followed.clients.add(client)
                _send({client}, followed.snapshot())
            self._forget_unwatched()

    def _directory(self, run: str | None) -> RunDirectory:
        """Where a run of this name is or would be; a name that could lead elsewhere means none at all."""
        try:
            return self._workspace.run(run) if run else RunDirectory(self._workspace.runs / ".none")
        except CllmError:
            return RunDirectory(self._workspace.runs / ".none")

    def _detach(self, client: Client) -> None:
        if client.followed is not None:
            client.followed.clients.discard(client)
            client.followed = None
            self._forget_unwatched()

    def _forget_unwatched(self) -> None:
        for key, followed in list(self._followed.items()):
            if not followed.clients:
                followed.close()
                del self._followed[key]

    async def _look_around(self) -> None:
        """Runs and models that came or went, and whether another run is to be followed."""
        self._target, signatures = self._look()
        if changed := [what for what, signature in signatures.items() if signature != self._seen.get(what)]:
            _send({client for client in self._clients if client.followed}, {"type": "changed", "what": changed})
        self._seen = signatures
        for client in [c for c in self._clients if c.wanted is None]:
            await self._attach(client)

    def _look(self) -> tuple[str | None, dict[str, object]]:
        """The run to follow (the one that runs, else the newest), and something that differs when the list of runs,
        or that of models, does."""
        runs = self._workspace.all_runs()
        alive = [run.id for run in runs if run.process.exists() and supervisor(run) is not None]
        places = [self._workspace.models, self._workspace.checkpoints, *(run.checkpoints for run in runs)]
        signatures: dict[str, object] = {
            "runs": (alive, [(r.id, *map(_modified, (r.config, r.exit, r.process, r.notes))) for r in runs]),
            "models": [_modified(place) for place in places],
        }
        followed = alive or [run.id for run in runs]
        return (followed[-1] if followed else None), signatures


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _send(clients: set[Client], message: Message) -> None:
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":"))[1:]
    for client in list(clients):
        client.put(body)

"""The hub: who is told what, of runs whose stores are real files."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cllm import events
from cllm.runstore import RunStore
from cllm.studio import live
from cllm.studio.live import Hub
from cllm.workspace import RunDirectory, Workspace
from tests.synthetic_run import SyntheticRun

WAIT_S = 10


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def make_run(workspace: Workspace, name: str, **more: Any) -> RunDirectory:
    return SyntheticRun(workspace.runs / name, epochs=1, **more).write()


class Page:
    """What a browser would have received."""

    def __init__(self, hub: Hub, run: str | None = None) -> None:
        self.frames: list[dict[str, Any]] = []
        self.takes = True
        self.serving = asyncio.create_task(hub.serve(self._take, run))

    async def _take(self, text: str) -> None:
        while not self.takes:
            await asyncio.sleep(0.01)
        self.frames.append(json.loads(text))

    async def until(self, fits: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """The first frame that fits, from those that came or come."""
        async with asyncio.timeout(WAIT_S):
            while not (found := [frame for frame in self.frames if fits(frame)]):
                await asyncio.sleep(0.02)
        return found[0]


def in_hub(workspace: Workspace, story: Callable[[Hub], Awaitable[None]]) -> None:
    async def run() -> None:
        hub = Hub(workspace)
        polling = asyncio.create_task(hub.run())
        try:
            await story(hub)
        finally:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)

    asyncio.run(run())


def is_snapshot_of(run: str) -> Callable[[dict[str, Any]], bool]:
    return lambda frame: frame["type"] == "snapshot" and (frame["view"]["run"] or {}).get("id") == run


def test_a_page_that_names_no_run_goes_over_to_the_newest(workspace: Workspace) -> None:
    make_run(workspace, "20260101-a")

    async def story(hub: Hub) -> None:
        following, staying = Page(hub), Page(hub, "20260101-a")
        await following.until(is_snapshot_of("20260101-a"))
        make_run(workspace, "20260102-b")
        await following.until(is_snapshot_of("20260102-b"))
        await staying.until(lambda frame: frame["type"] == "changed" and "runs" in frame["what"])
        assert not any(is_snapshot_of("20260102-b")(frame) for frame in staying.frames)
        assert [frame["n"] for frame in following.frames] == list(range(len(following.frames)))

    in_hub(workspace, story)


def test_undone_steps_bring_a_new_snapshot(workspace: Workspace) -> None:
    run = make_run(workspace, "20260101-a", until=20)

    async def story(hub: Hub) -> None:
        page = Page(hub)
        await page.until(is_snapshot_of("20260101-a"))
        with RunStore(run.store) as store:
            store.append(events.ROLLBACK, {"step": 20, "to_step": 10, "reason": "the loss is not finite"})
        again = await page.until(lambda frame: frame["type"] == "snapshot" and frame["n"] > 0)
        assert page.frames[0]["type"] == "snapshot"
        assert again["curve"]["steps"]["step"] == list(range(1, 11))
        assert again["view"]["messages"][0]["kind"] == "rollback"

    in_hub(workspace, story)


def test_a_run_that_is_deleted_while_it_is_looked_at(workspace: Workspace) -> None:
    run = make_run(workspace, "20260101-a")

    async def story(hub: Hub) -> None:
        page = Page(hub)
        await page.until(is_snapshot_of("20260101-a"))
        shutil.rmtree(run.path)
        await page.until(lambda frame: frame["n"] > 0 and frame.get("view", {"run": 1})["run"] is None)

    in_hub(workspace, story)


@pytest.mark.parametrize("name", ["../secret", "/etc", "nothing", "\x00"])
def test_a_name_that_is_no_run_shows_none(workspace: Workspace, name: str) -> None:
    outside = SyntheticRun(workspace.root.parent / "secret", epochs=1).write()

    async def story(hub: Hub) -> None:
        page = Page(hub, name)
        frame = await page.until(lambda frame: frame["type"] == "snapshot")
        assert frame["view"]["run"] is None and frame["curve"]["steps"]["step"] == []

    workspace.runs.mkdir()
    in_hub(workspace, story)
    shutil.rmtree(outside.path)


def test_a_page_that_takes_nothing_is_let_go_and_the_others_are_not(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "SEND_TIMEOUT_S", 0.5)
    make_run(workspace, "20260101-a")

    async def story(hub: Hub) -> None:
        stuck, other = Page(hub), Page(hub)
        stuck.takes = False
        async with asyncio.timeout(WAIT_S):
            await stuck.serving
        await other.until(is_snapshot_of("20260101-a"))
        assert not other.serving.done()

    in_hub(workspace, story)


def test_nothing_stays_open_when_nobody_looks(workspace: Workspace) -> None:
    make_run(workspace, "20260101-a")

    async def story(hub: Hub) -> None:
        page = Page(hub)
        await page.until(is_snapshot_of("20260101-a"))
        page.serving.cancel()
        await asyncio.gather(page.serving, return_exceptions=True)
        assert hub._followed == {} and hub._clients == set()

    in_hub(workspace, story)

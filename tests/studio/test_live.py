"""A running training, seen through the studio: nothing is missing after a reload or a crash, and all see the same."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from playwright.sync_api import Page, expect
from websockets.sync.client import ClientConnection, connect

from tests.conftest import copy_stdlib
from tests.studio.conftest import OpenPage, RunningStudio, launch_studio

SETTINGS = {
    "epochs": 10_000, "size": "nano", "context": 64, "batch_size": 12, "vocabulary": 512, "threads": 1,
    "compile": "off", "precision": "fp32", "patience": 0,
}  # fmt: skip
SAME_WITHIN_MS = 15_000


def wait_for(what: Callable[[], Any], seconds: float = 60) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come about in time")


class LongTraining:
    """A training that goes on for longer than the tests, and the studio of its workspace."""

    def __init__(self, studio: RunningStudio) -> None:
        self.studio = studio
        self.run = studio.post("/api/train", {"root": "code", "settings": SETTINGS})["run"]
        self.process = wait_for(self._process)
        wait_for(lambda: self.step() > 20)

    def _process(self) -> psutil.Process | None:
        path = self.studio.workspace / "runs" / self.run / "process.json"
        return psutil.Process(json.loads(path.read_text())["pid"]) if path.exists() else None

    def step(self) -> int:
        return int(self.studio.get(f"/api/runs/{self.run}")["step"])

    def restart_studio(self) -> None:
        self.studio.kill()
        self.studio = launch_studio(self.studio.workspace)

    def kill(self) -> None:
        if self.process.is_running():
            os.killpg(self.process.pid, signal.SIGKILL)
        self.studio.kill()


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LongTraining]:
    workspace = tmp_path_factory.mktemp("live")
    copy_stdlib(workspace / "code", 1_500_000)  # so that a pass over it takes longer than any test
    training = LongTraining(launch_studio(workspace))
    yield training
    training.kill()


def listen(studio: RunningStudio, run: str = "") -> ClientConnection:
    return connect(
        f"ws://127.0.0.1:{studio.port}/api/live?run={run}",
        origin=studio.origin,  # type: ignore[arg-type]
        additional_headers={"Cookie": studio.cookie},
    )


def received(socket: ClientConnection, seconds: float) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        try:
            found.append(json.loads(socket.recv(timeout=left)))
        except TimeoutError:
            break
    return found


def test_a_snapshot_and_its_deltas_hold_each_step_once(training: LongTraining) -> None:
    with listen(training.studio) as socket:
        frames = received(socket, 6)
    assert [frame["n"] for frame in frames] == list(range(len(frames)))
    first, *rest = frames
    assert (first["type"], first["view"]["run"]["id"]) == ("snapshot", training.run)
    steps = list(first["curve"]["steps"]["step"])
    for frame in rest:
        assert frame["type"] == "delta"
        steps += frame.get("steps", {}).get("step", [])
    assert steps == list(range(1, steps[-1] + 1))
    spheres = sum("spheres" in frame["view"] for frame in rest if "view" in frame)
    assert 15 <= spheres <= 31  # five a second
    assert sum("step" in frame.get("view", {}) for frame in rest) <= 7  # one a second
    assert sum("steps" in frame for frame in rest) <= 13  # two a second


def test_several_pages_follow_the_same_run(training: LongTraining) -> None:
    with listen(training.studio) as one, listen(training.studio, training.run) as other:
        both = [received(socket, 0.5)[0]["view"]["run"] for socket in (one, other)]
    assert both[0] == both[1]


def test_the_page_shows_the_training_after_a_reload_and_in_another_browser(
    training: LongTraining, open_page: OpenPage
) -> None:
    pages = [open_page(training.studio), open_page(training.studio, width=900)]
    for page in pages:
        expect(page.get_by_role("button", name="STOP TRAINING")).to_be_visible()
        expect(page.get_by_text("12/12 active")).to_be_visible()
    pages[0].reload()
    expect(pages[0].get_by_role("button", name="STOP TRAINING")).to_be_visible()
    expect(pages[0].get_by_text("12/12 active")).to_be_visible()
    expect(pages[0].get_by_label("Epochs", exact=True)).to_have_value("10000")  # what the run really uses
    expect(pages[0].get_by_label("Epochs", exact=True)).to_be_disabled()


def mutations(page: Page, seconds: float) -> list[str]:
    """What was added to or removed from the page in that time."""
    return page.evaluate(
        """async (ms) => {
          const found = [];
          const name = (node) => `${node.nodeName} ${node.className ?? ""} ${node.textContent.slice(0, 40)}`;
          const observer = new MutationObserver((records) => {
            for (const { target, addedNodes, removedNodes } of records) {
              for (const node of [...addedNodes, ...removedNodes]) found.push(`${name(node)} in ${name(target)}`);
            }
          });
          observer.observe(document.body, { childList: true, subtree: true });
          await new Promise((done) => setTimeout(done, ms));
          observer.disconnect();
          return found;
        }""",
        seconds * 1000,
    )


def test_no_node_is_replaced_while_the_figures_change(training: LongTraining, open_page: OpenPage) -> None:
    page = open_page(training.studio)
    expect(page.get_by_text("12/12 active")).to_be_visible()
    page.wait_for_timeout(2000)
    before = training.step()
    assert mutations(page, 6) == []
    assert training.step() > before


def test_a_killed_server_is_found_again_and_nothing_is_missing(training: LongTraining, open_page: OpenPage) -> None:
    page = open_page(training.studio, quiet=False)
    expect(page.get_by_text("12/12 active")).to_be_visible()
    training.studio.kill()
    expect(page.get_by_text("Connecting again…")).to_be_visible()
    time.sleep(3)
    assert training.process.is_running()
    training.restart_studio()
    expect(page.get_by_text("Connecting again…")).to_be_hidden(timeout=SAME_WITHIN_MS)
    expect(page.get_by_text("12/12 active")).to_be_visible(timeout=SAME_WITHIN_MS)
    steps = training.studio.get(f"/api/runs/{training.run}/view")["curve"]["steps"]["step"]
    assert steps == list(range(1, steps[-1] + 1))


def test_a_second_training_is_refused(training: LongTraining) -> None:
    status, answer = training.studio.call("POST", "/api/train", {"root": "code"})
    assert status == 409 and training.run in answer["error"]


def test_a_running_run_cannot_be_deleted(training: LongTraining) -> None:
    status, answer = training.studio.call("DELETE", f"/api/runs/{training.run}")
    assert status == 422 and "stop it first" in answer["error"]


def test_save_stop_resume_and_stop_without_saving(training: LongTraining, open_page: OpenPage) -> None:
    page = open_page(training.studio)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved: checkpoint_")).to_be_visible(timeout=SAME_WITHIN_MS)
    page.get_by_role("button", name="STOP TRAINING").click()
    page.get_by_role("button", name="Go on training").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.get_by_role("button", name="STOP TRAINING").click()
    page.get_by_role("button", name="Stop and save").click()
    expect(page.get_by_role("button", name="START TRAINING")).to_be_visible(timeout=SAME_WITHIN_MS)
    stopped = training.step()
    assert any(m["kind"] == "checkpoint" and m["step"] == stopped for m in training.studio.get("/api/models")["models"])

    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="STOP TRAINING")).to_be_visible(timeout=SAME_WITHIN_MS)
    wait_for(lambda: training.step() > stopped + 5)
    page.get_by_role("button", name="STOP TRAINING").click()
    page.get_by_role("button", name="Stop without saving").click()
    expect(page.get_by_role("button", name="START TRAINING")).to_be_visible(timeout=SAME_WITHIN_MS)
    newest = max(m["step"] for m in training.studio.get("/api/models")["models"])
    assert newest < training.step()  # nothing was written on the way out

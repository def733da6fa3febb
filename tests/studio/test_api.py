"""What the pages ask the server for, over real sockets."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from playwright.sync_api import expect

from cllm.runstate import read_exit
from cllm.workspace import RunDirectory
from tests.conftest import TinyRun
from tests.studio.conftest import OpenPage, RunningStudio


@pytest.fixture
def finished(start_studio, tiny_run: TinyRun, workspace: Path) -> RunningStudio:
    """The studio of a workspace with one finished run."""
    shutil.copytree(tiny_run.workspace, workspace, symlinks=True, dirs_exist_ok=True)
    return start_studio()


def only_run(studio: RunningStudio) -> dict[str, Any]:
    (run,) = studio.get("/api/runs")["runs"]
    return run


def test_meta_declares_settings_once(studio: RunningStudio) -> None:
    meta = studio.get("/api/meta")
    assert meta["roots"] == [str(studio.workspace)]
    rate = meta["train"]["properties"]["learning_rate"]
    assert (rate["default"], rate["advanced"], bool(rate["description"])) == (0.001, False, True)
    assert "int main() {" in meta["guide_prompts"]


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({}, []),
        ({"epochs": 0, "learning_rate": "much"}, ["epochs", "learning_rate"]),
        ({"minutes": 0.1}, ["minutes"]),
        ({"name": "../x"}, ["name"]),
        ({"size": "huge"}, ["size"]),
        ({"no_such": 1}, ["no_such"]),
    ],
)
def test_settings_are_checked_by_name(studio: RunningStudio, settings: dict[str, Any], wrong: list[str]) -> None:
    answer = studio.post("/api/settings/check", {"settings": settings})
    assert sorted(answer["fields"]) == wrong
    assert "12 spheres" in answer["notes"]["threads"]


def test_more_workers_than_cores_are_pointed_out(studio: RunningStudio) -> None:
    notes = studio.post("/api/settings/check", {"settings": {"threads": 1024}})["notes"]
    assert "more than the" in notes["threads"]
    assert "more than the" not in studio.post("/api/settings/check", {"settings": {}})["notes"]["threads"]


@pytest.mark.parametrize("path", ["a" * 5000, "x/" * 3000, "~nobody-of-this-name/x", "a\0b", "nowhere/"])
def test_a_directory_that_cannot_be_is_refused_in_a_line(studio: RunningStudio, path: str) -> None:
    status, answer = studio.call("POST", "/api/scan", {"directory": path})
    assert status == 422 and "\n" not in answer["error"] and len(answer["error"]) < 300


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "scan a directory"),
        ({"root": ".", "files": []}, "tick at least one"),
        ({"root": ".", "files": ["../a.py"]}, "not a path inside"),
        ({"root": "/etc"}, "--root"),
        ({"root": "a" * 5000}, "cannot be a path"),
        ({"root": "~nobody-of-this-name/x"}, "cannot be a path"),
        ({"root": ".", "settings": {"epochs": -1}}, "epochs = -1"),
        ({"root": ".", "settings": {"sped": 1}}, "sped"),
    ],
)
def test_a_request_that_cannot_be_trained_is_refused_in_a_line(
    studio: RunningStudio, body: dict[str, Any], says: str
) -> None:
    status, answer = studio.call("POST", "/api/train", body)
    assert status == 422 and says in answer["error"] and "\n" not in answer["error"]
    assert studio.get("/api/runs")["runs"] == []


def test_notes_stay_with_the_run(finished: RunningStudio) -> None:
    run = only_run(finished)["id"]
    text = "first try\n<b>ü</b> \u2028"
    assert finished.call("PUT", f"/api/runs/{run}/notes", {"text": text}) == (200, {})
    assert only_run(finished)["notes"] == text
    finished.call("PUT", f"/api/runs/{run}/notes", {"text": " "})
    assert only_run(finished)["notes"] == ""
    assert finished.call("PUT", f"/api/runs/{run}/notes", {"text": "x" * 100_001})[0] == 422


def test_a_deleted_run_can_be_taken_back_and_its_models_stay(finished: RunningStudio) -> None:
    run = only_run(finished)["id"]
    before = {model["weights_sha256"] for model in finished.get("/api/models")["models"] if model["kind"] == "model"}
    assert finished.call("DELETE", f"/api/runs/{run}") == (200, {})
    assert finished.get("/api/runs")["runs"] == []
    assert finished.call("GET", f"/api/runs/{run}")[0] == 404
    after = {model["weights_sha256"] for model in finished.get("/api/models")["models"] if model["kind"] == "model"}
    assert after and after <= before  # published files are links of their own
    finished.post(f"/api/runs/{run}/restore")
    assert only_run(finished)["id"] == run
    assert finished.call("POST", f"/api/runs/{run}/restore")[0] == 404


def test_what_is_asked_of_a_run_that_is_over_is_refused(finished: RunningStudio) -> None:
    run = only_run(finished)["id"]
    for what in ("stop", "save"):
        status, answer = finished.call("POST", f"/api/runs/{run}/{what}", {})
        assert status == 404 and "not running" in answer["error"]
    status, answer = finished.call("POST", f"/api/runs/{run}/resume", {})
    assert status == 422 and "larger number" in answer["error"]
    for path in ("/api/runs/nothing", "/api/runs/nothing/view", "/api/runs/nothing/curve.csv"):
        assert finished.call("GET", path)[0] == 404


@pytest.mark.parametrize("after", [0.0, 0.1, 0.3, 0.6])
def test_a_training_can_be_stopped_from_its_first_moment(
    studio: RunningStudio, workspace: Path, tiny_corpus: Path, after: float
) -> None:
    request = {"root": str(shutil.copytree(tiny_corpus, workspace / "code")), "settings": {"size": "1x64"}}
    run = studio.post("/api/train", request)["run"]
    time.sleep(after)  # whether or not its process is up and listens by now
    studio.post(f"/api/runs/{run}/stop", {"save": after < 0.2})
    ended = RunDirectory(workspace / "runs" / run)
    until = time.monotonic() + 60
    while not ended.exit.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert read_exit(ended) == {"state": "stopped", "reason": ANY, "exit_code": 130}


def completion(studio: RunningStudio, model: str, prompt: str, **settings: Any) -> list[dict[str, Any]]:
    body = json.dumps({"model": model, "prompt": prompt, "settings": settings}).encode()
    headers = {"Cookie": studio.cookie, "Origin": studio.origin, "Content-Type": "application/json"}
    status, _, content = studio.raw("POST", "/api/complete", headers, body)
    assert status == 200, content
    return [json.loads(line) for line in content.splitlines()]


@pytest.mark.parametrize("prompt", ["def ", "", "\x00\x7f?", "é🙂\r\n", "x = 1\n" * 5000])
def test_any_prompt_is_completed(finished: RunningStudio, prompt: str) -> None:
    model = finished.get("/api/models")["models"][0]["id"]
    *pieces, last = completion(finished, model, prompt, max_tokens=12, temperature=0)
    done = last["done"]
    assert "".join(piece["text"] for piece in pieces) == done["text"]
    assert done["tokens"] <= 12 and done["finish_reason"]
    again = completion(finished, model, prompt, max_tokens=12, temperature=0)[-1]["done"]
    assert again["text"] == done["text"]


def test_a_completion_that_cannot_be_is_one_line(finished: RunningStudio) -> None:
    model = finished.get("/api/models")["models"][0]["id"]
    for body in (
        {"model": "../../etc/passwd", "prompt": "x"},
        {"model": model, "prompt": "x", "settings": {"top_p": 7}},
        {"model": model, "prompt": "x" * 1_000_001},
    ):
        status, answer = finished.call("POST", "/api/complete", body)
        assert status == 422 and "\n" not in answer["error"]


class Forwarder:
    """What `ssh -L` does: every connection to its port goes on to the studio's, byte for byte."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                end.close()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def forwarded(finished: RunningStudio) -> Iterator[RunningStudio]:
    forwarder = Forwarder(finished.port)
    yield RunningStudio(
        finished.process, f"http://localhost:{forwarder.port}/?token={finished.token}", finished.workspace
    )
    forwarder.close()


def test_it_works_through_a_forwarded_port(forwarded: RunningStudio, open_page: OpenPage) -> None:
    (forwarded.workspace / "code").mkdir()
    (forwarded.workspace / "code" / "a.py").write_text("x = 1\n")
    page = open_page(forwarded)
    expect(page.get_by_role("region", name="Status")).to_contain_text("done")  # it came by websocket
    page.get_by_label("Directory").fill("code/")
    page.get_by_role("button", name="Scan Dir").click()  # and this by POST
    expect(page.get_by_text("0 of 1 file,")).to_be_visible()

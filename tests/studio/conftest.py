"""A real studio: the command as a process, reached as a browser or a script would."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright

from tests.conftest import REPOSITORY, command_line, environment


@dataclass
class RunningStudio:
    """A `cllm studio` process and how to talk to it."""

    process: subprocess.Popen[str]
    url: str  # with the token
    workspace: Path

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.url).query)["token"][0]

    @property
    def origin(self) -> str:
        return self.url.partition("/?")[0]

    @property
    def cookie(self) -> str:
        """As a browser has it after it has opened the address."""
        status, headers, _ = self.raw("GET", f"/?token={self.token}", {})
        assert status == 303
        return headers["set-cookie"].partition(";")[0]

    def raw(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """One request with exactly these headers, beside Host unless it is among them."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        content = answer.read()
        connection.close()
        return answer.status, found, content

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """A request as the page makes it; returns status and decoded JSON."""
        headers = {"Cookie": self.cookie}
        data = None
        if method != "GET":
            headers |= {"Origin": self.origin, "Content-Type": "application/json"}
            data = json.dumps({} if body is None else body).encode()
        status, _, content = self.raw(method, path, headers, data)
        return status, json.loads(content)

    def get(self, path: str) -> Any:
        status, answer = self.call("GET", path)
        assert status == 200, answer
        return answer

    def post(self, path: str, body: Any = None) -> Any:
        status, answer = self.call("POST", path, body)
        assert status == 200, answer
        return answer

    def kill(self) -> None:
        """As a crash would; trainings are in sessions of their own and go on."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


def launch_studio(workspace: Path, *options: str) -> RunningStudio:
    """Start it; the caller ends it with `kill`."""
    process = subprocess.Popen(
        command_line("studio", "--no-browser", *options), cwd=workspace, env=environment(), text=True, encoding="utf-8",
        start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:"), process.communicate()
    return RunningStudio(process, url, workspace)


@pytest.fixture
def start_studio(workspace: Path) -> Iterator[Callable[..., RunningStudio]]:
    """`start_studio(*options)` in `workspace`, or in another directory; all are ended after the test."""
    started: list[RunningStudio] = []

    def start(*options: str, cwd: Path | None = None) -> RunningStudio:
        started.append(launch_studio(cwd or workspace, *options))
        return started[-1]

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def studio(start_studio: Callable[..., RunningStudio]) -> RunningStudio:
    """One in an empty workspace."""
    return start_studio()


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROMIUM_ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
PICTURES = REPOSITORY / "artefacts" / "studio"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A real browser. Playwright's own download is not used; its event loop must not outlive the module, because other
    tests run loops of their own."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: .ci/run installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


class OpenPage(Protocol):
    """`open_page(studio, "/runs", width=900)`: a page of a browser of its own (no cookie, no storage)."""

    def __call__(
        self, studio: RunningStudio, path: str = "/", *, width: int = 1440, height: int = 900,
        scheme: Literal["light", "dark"] = "light", quiet: bool = True, context: BrowserContext | None = None,
    ) -> Page: ...  # fmt: skip


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[OpenPage]:
    """Opens pages, and fails the test if one logs anything (a violation of the policy is logged too), throws, or asks
    another host for something. `quiet=False` allows what the loss of the server makes the browser log."""
    faults: list[str] = []
    contexts: list[BrowserContext] = []

    def open_(
        studio: RunningStudio, path: str = "/", *, width: int = 1440, height: int = 900,
        scheme: Literal["light", "dark"] = "light", quiet: bool = True, context: BrowserContext | None = None,
    ) -> Page:  # fmt: skip
        if context is None:
            size = ViewportSize(width=width, height=height)
            context = chromium.new_context(viewport=size, color_scheme=scheme, accept_downloads=True)
            context.set_default_timeout(30_000)
            contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(f"{path}: {error}"))
        page.on("console", lambda m: faults.append(f"{path}: {m.type}: {m.text} {m.location}") if quiet else None)
        page.on(
            "request",
            lambda r: None if r.url.startswith((studio.origin, "blob:", "data:")) else faults.append(f"asks {r.url}"),
        )
        page.goto(studio.url)
        if path != "/":
            page.goto(studio.origin + path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def picture() -> Callable[[Page, str], None]:
    """`picture(page, name)`: a screenshot of the whole page among the artefacts, for people to look at."""
    PICTURES.mkdir(parents=True, exist_ok=True)

    def take(page: Page, name: str) -> None:
        page.evaluate("() => scrollTo(0, 0)")  # the bar at the top stays with the window
        page.screenshot(path=PICTURES / f"{name}.png", full_page=True)

    return take

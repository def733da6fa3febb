"""What the studio costs: the training's tokens/s with its page open and closed, the server's CPU and memory, the page.

One training runs throughout; a real browser with the training page in it is opened and closed in turn. What steps take
is read from the run's store, so that validations and checkpoints do not count.

    python -m benchmarks.studio [PATH...]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.measure import process, spread, table, write_results
from cllm import events
from cllm.runstore import RunStore
from cllm.workspace import Workspace

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
WARM_STEPS = 40
SETTLE_S = 3.0
PAINTS = 7


def steps_after(store: RunStore, seq: int) -> list[float]:
    """Seconds of each step after event `seq`."""
    return [event.data["step_s"] for event in store.events(after=seq, kinds=(events.STEP,))]


@contextmanager
def opened(browser: Browser, url: str) -> Iterator[Page]:
    """The training page in a window of its own."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(url)
    page.get_by_text("12/12 active").wait_for()
    try:
        yield page
    finally:
        context.close()


def first_paints(browser: Browser, url: str) -> list[float]:
    """Milliseconds to the first contentful paint, each in a fresh browser context, after the token was taken."""
    found = []
    for _ in range(PAINTS):
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.goto(url)
        page.goto(url.partition("?")[0])
        page.wait_for_timeout(1000)
        entries = page.evaluate("() => performance.getEntriesByName('first-contentful-paint').map((e) => e.startTime)")
        found += entries
        context.close()
    return found


def heap_megabytes(page: Page) -> float:
    """What the page's scripts hold after a collection, in 10^6 bytes."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.enable")
    session.send("HeapProfiler.collectGarbage")
    used = float(session.send("Runtime.getHeapUsage")["usedSize"]) / 1e6
    session.detach()
    return used


def measure(arguments: argparse.Namespace, directory: Path, browser: Browser) -> dict[str, Any]:
    """All figures: rates in tokens/s, CPU in percent of one core, memory in 10^6 bytes, paints in ms."""
    corpus = [str(path.resolve()) for path in arguments.paths] or ["--stdlib"]
    training = [
        sys.executable,
        "-m",
        "cllm",
        "train",
        *corpus,
        "--epochs=10000",
        "--patience=0",
        f"--size={arguments.size}",
    ]
    serving = [sys.executable, "-m", "cllm", "studio", "--no-browser"]
    with (
        tempfile.TemporaryFile("w+") as log,
        process(serving, directory, log) as server,
        process([*training, "--detach"], directory, log) as starter,
    ):
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        starter.wait()
        run = Workspace(directory).run()
        try:
            return _measure(arguments, url, run.store, psutil.Process(server.pid), browser)
        finally:
            subprocess.run([sys.executable, "-m", "cllm", "stop", run.id], cwd=directory, check=False)


def _measure(
    arguments: argparse.Namespace, url: str, path: Path, server: psutil.Process, browser: Browser
) -> dict[str, Any]:
    found: dict[str, list[float]] = {name: [] for name in ("closed", "open", "server_cpu_percent", "server_megabytes")}
    while not path.exists():
        time.sleep(0.2)
    with RunStore(path, readonly=True) as store:
        while len(steps_after(store, 0)) < WARM_STEPS:
            time.sleep(0.5)
        plan = store.last(events.PLAN)
        assert plan is not None
        tokens = plan.data["tokens_per_step"]

        def rates() -> tuple[float, float]:
            """The training's tokens/s, and the server's share of a core in percent."""
            time.sleep(SETTLE_S)
            seq = store.end
            before, began = sum(server.cpu_times()[:2]), time.monotonic()
            time.sleep(arguments.seconds)
            cpu = 100 * (sum(server.cpu_times()[:2]) - before) / (time.monotonic() - began)
            return float(tokens / statistics.median(steps_after(store, seq))), cpu

        for number in range(arguments.rounds):
            found["closed"].append(rates()[0])
            with opened(browser, url):
                speed, cpu = rates()
                found["open"].append(speed)
                found["server_cpu_percent"].append(cpu)
                found["server_megabytes"].append(server.memory_info().rss / 1e6)
            said = ", ".join(f"{name} {found[name][-1]:,.1f}" for name in ("closed", "open", "server_cpu_percent"))
            print(f"round {number + 1} of {arguments.rounds}: {said}", file=sys.stderr)
        found["first_paint_ms"] = first_paints(browser, url)
        if arguments.heap_minutes:
            with opened(browser, url) as page:
                found["heap_megabytes"] = []
                for minute in range(arguments.heap_minutes + 1):
                    found["heap_megabytes"].append(heap_megabytes(page))
                    print(f"minute {minute}: heap {found['heap_megabytes'][-1]:.2f} MB", file=sys.stderr)
                    if minute < arguments.heap_minutes:
                        page.wait_for_timeout(60_000)
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studio", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, help="code to train on; default: Python's standard library")
    parser.add_argument("--size", default="small", help="model size, as in cllm train; default: small")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--seconds", type=float, default=20, help="of each measurement; default: 20")
    parser.add_argument("--heap-minutes", type=int, default=0, help="watch the page's heap for so long; default: 0")
    parser.add_argument("--out", type=Path, default=Path("artefacts"), help="directory of the results")
    arguments = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    if chromium is None:
        sys.exit("benchmarks.studio: it needs Chromium, for example Debian's package chromium")
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER_OPTIONS)
        found = measure(arguments, Path(directory), browser)
        browser.close()
    ratios = [after / before for before, after in zip(found["closed"], found["open"], strict=True)]
    rows = [
        ["training, page closed", *_three(found["closed"], ",.0f"), "tokens/s"],
        ["training, page open", *_three(found["open"], ",.0f"), "tokens/s"],
        ["open : closed, by rounds", *_three(ratios, ".3f"), ""],
        ["server, page open", *_three(found["server_cpu_percent"], ".2f"), "% of a core"],
        ["server's memory", *_three(found["server_megabytes"], ".1f"), "MB"],
        ["first contentful paint", *_three(found["first_paint_ms"], ".0f"), "ms"],
    ]
    if "heap_megabytes" in found:
        heap = found["heap_megabytes"]
        rows.append(
            [
                f"page's heap over {arguments.heap_minutes} minutes",
                *_three(heap, ".2f"),
                f"MB; first {heap[0]:.2f}, last {heap[-1]:.2f}",
            ]
        )
    text = table(["", "median", "lowest", "highest", ""], rows)
    write_results(
        arguments.out,
        "studio",
        " ".join(["python -m benchmarks.studio", *sys.argv[1:]]),
        {**found, "ratios": ratios},
        text,
    )


def _three(values: list[float], form: str) -> list[str]:
    return [format(value, form) for value in spread(values).values()]


if __name__ == "__main__":
    main()

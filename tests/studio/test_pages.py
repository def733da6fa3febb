"""Every page in both themes and at two widths: accessible, within its width, and to be looked at; by keyboard alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.conftest import TinyRun, copy_stdlib
from tests.studio.conftest import OpenPage, RunningStudio, launch_studio

PAGES = {
    "training": "/training",
    "llm": "/llm",
    "runs": "/runs",
    "run": "/runs/{run}",
    "benchmarks": "/benchmarks/{run}",
}
Scheme = Literal["light", "dark"]


@pytest.fixture(scope="module")
def finished(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    """The studio of a workspace with one finished run and its report."""
    workspace = tmp_path_factory.mktemp("finished") / "workspace"
    shutil.copytree(tiny_run.workspace, workspace, symlinks=True)
    studio = launch_studio(workspace)
    (run,) = studio.get("/api/runs")["runs"]
    studio.post(f"/api/runs/{run['id']}/report")
    yield studio
    studio.kill()


def run_of(studio: RunningStudio) -> str:
    return str(studio.get("/api/runs")["runs"][0]["id"])


def faults_of(page: Page) -> list[str]:
    """What axe-core finds against WCAG 2.1 AA and its best practices."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"]]


def is_within_its_width(page: Page) -> bool:
    return page.evaluate("() => document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def cut_off(page: Page) -> list[str]:
    """Labels that run into their neighbours, and tables of which one has to scroll to see the last column."""
    wide = "[...document.querySelectorAll('label, .scroll')].filter((one) => one.scrollWidth > one.clientWidth + 1"
    return list(page.evaluate(f"() => {wide} && one.clientWidth > 1).map((one) => one.textContent.slice(0, 60))"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 900])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_and_fits(
    finished: RunningStudio, open_page: OpenPage, picture, name: str, width: int, scheme: Scheme
) -> None:
    page = open_page(finished, PAGES[name].format(run=run_of(finished)), width=width, scheme=scheme)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(300)
    picture(page, f"{name}-{width}-{scheme}")
    assert faults_of(page) == []
    assert is_within_its_width(page)
    assert cut_off(page) == []


@pytest.mark.parametrize("path", ["/training", "/llm", "/runs", "/benchmarks"])
def test_an_empty_workspace_says_what_to_do(studio: RunningStudio, open_page: OpenPage, picture, path: str) -> None:
    page = open_page(studio, path)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(300)
    picture(page, f"empty-{path[1:]}")
    assert faults_of(page) == []
    for name in ("CSV", "PNG", "Reset zoom"):  # of a curve that is not there
        expect(page.get_by_text(name, exact=True)).to_be_hidden()


def test_a_page_that_is_not_there_says_so(studio: RunningStudio, open_page: OpenPage) -> None:
    page = open_page(studio)
    page.evaluate("() => { history.pushState(null, '', '/runs/a/b'); dispatchEvent(new PopStateEvent('popstate')); }")
    expect(page.get_by_text("There is no such page")).to_be_visible()


def tab_to(page: Page, target: object, most: int = 80) -> None:
    """Press Tab until the element has the focus."""
    for _ in range(most):
        if target.evaluate("(node) => node === document.activeElement"):  # type: ignore[attr-defined]
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{target} cannot be reached by the Tab key")


def test_a_training_by_keyboard_alone(studio: RunningStudio, open_page: OpenPage) -> None:
    copy_stdlib(studio.workspace / "training_data" / "code", 1_000_000)  # not over before it is stopped
    page = open_page(studio)
    expect(page.get_by_label("Directory")).to_have_value("training_data/")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the page")).to_be_focused()
    tab_to(page, page.get_by_label("Directory"))
    page.keyboard.press("Enter")
    tree = page.get_by_role("tree", name="Files")
    expect(tree).to_be_visible()
    tab_to(page, tree)
    first = page.get_by_role("treeitem").first
    expect(first).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    expect(first).to_have_attribute("aria-checked", "mixed")
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    expect(first).to_have_attribute("aria-checked", "true")
    page.keyboard.press("ArrowLeft")
    expect(first).to_have_attribute("aria-expanded", "false")
    tab_to(page, page.get_by_role("button", name="START TRAINING"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="STOP TRAINING")).to_be_visible()
    tab_to(page, page.get_by_role("button", name="STOP TRAINING"))
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.keyboard.press("Enter")
    tab_to(page, dialog.get_by_role("button", name="Stop").first)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="START TRAINING")).to_be_visible(timeout=60_000)


def make_many(directory: Path, number: int) -> None:
    for i in range(number):
        if i % 100 == 0:
            (directory / f"d{i // 100:03}").mkdir(parents=True)
        (directory / f"d{i // 100:03}" / f"m{i:05}.py").write_text(f"value = {i}\n")


def test_twenty_thousand_files_do_not_stutter(studio: RunningStudio, open_page: OpenPage) -> None:
    make_many(studio.workspace / "training_data", 20_000)
    page = open_page(studio)
    page.get_by_role("button", name="Scan Dir").click()
    expect(page.get_by_text("0 of 20,000 files")).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Select All").click()
    expect(page.get_by_text("20,000 of 20,000 files")).to_be_visible()
    assert page.locator("[role=treeitem]").count() < 60  # only what is in view exists
    page.get_by_label("Filter by name").fill("m1999")
    expect(page.get_by_role("treeitem").filter(has_text="m19990.py")).to_be_visible()
    page.get_by_role("button", name="None").click()
    expect(page.get_by_text("19,990 of 20,000 files")).to_be_visible()

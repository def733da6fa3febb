"""The runs page in a real browser: notes, comparing, cloning, deleting."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import TinyRun
from tests.studio.conftest import OpenPage, RunningStudio, launch_studio

SECOND = "20200101-000000-abcd"


@pytest.fixture
def two_runs(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    """A workspace with a real run, and a copy of it as another one."""
    workspace = tmp_path_factory.mktemp("runs") / "workspace"
    shutil.copytree(tiny_run.workspace, workspace, symlinks=True)
    (run,) = (path for path in (workspace / "runs").iterdir() if (path / "config.json").is_file())
    shutil.copytree(run, workspace / "runs" / SECOND)
    studio = launch_studio(workspace)
    yield studio
    studio.kill()


def run_ids(page: Page) -> list[str]:
    links = page.get_by_role("link", name=re.compile(r"^\d{8}-\d{6}-\w{4}$"))
    expect(links.first).to_be_visible()
    return links.all_inner_texts()


def test_two_runs_in_one_chart(two_runs: RunningStudio, open_page: OpenPage, picture) -> None:
    page = open_page(two_runs, "/runs")
    runs = run_ids(page)
    assert len(runs) == 2
    for run in runs:
        page.get_by_role("row").filter(has_text=run).get_by_role("checkbox").check()
    page.get_by_role("button", name=re.compile("^Compare")).click()
    expect(page).to_have_url(re.compile(r"/compare\?runs="))
    for run in runs:
        expect(page.get_by_text(run).first).to_be_visible()
    expect(page.locator("canvas").first).to_be_visible()
    picture(page, "compare")


def test_notes_are_kept(two_runs: RunningStudio, open_page: OpenPage) -> None:
    page = open_page(two_runs, f"/runs/{SECOND}")
    page.get_by_label("Notes").fill("the second try <b>")
    page.get_by_role("link", name="Runs", exact=True).first.click()
    expect(page.get_by_role("row").filter(has_text=SECOND)).to_contain_text("the second try <b>")
    page.goto(f"{two_runs.origin}/runs/{SECOND}")
    expect(page.get_by_label("Notes")).to_have_value("the second try <b>")


def test_deleting_asks_and_can_be_undone(two_runs: RunningStudio, open_page: OpenPage) -> None:
    page = open_page(two_runs, f"/runs/{SECOND}")
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert len(two_runs.get("/api/runs")["runs"]) == 2
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text(f"{SECOND} is in the trash")).to_be_visible()
    assert len(run_ids(page)) == 1
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("link", name=SECOND)).to_be_visible()


def test_cloning_fills_the_form(two_runs: RunningStudio, open_page: OpenPage) -> None:
    page = open_page(
        two_runs, f"/runs/{SECOND}", quiet=False
    )  # its data lies outside this workspace: refused, and said
    page.route("**/api/directories*", lambda route: (page.wait_for_timeout(1000), route.continue_())[1])
    page.get_by_role("button", name="Clone settings").click()
    expect(page).to_have_url(re.compile("/training$"))
    for name, value in {"Epochs": "2", "Context": "64", "Size": "nano", "Batch size": "12"}.items():
        expect(page.get_by_label(name, exact=True)).to_have_value(value)
    expect(page.get_by_role("alert").filter(has_text="--root")).to_be_visible()
    page.wait_for_timeout(2500)
    expect(page.get_by_label("Directory")).not_to_have_value("training_data/")  # what is usual comes too late

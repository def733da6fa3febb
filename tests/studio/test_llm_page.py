"""The LLM page in a real browser with a real model."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import TinyRun
from tests.studio.conftest import OpenPage, RunningStudio, launch_studio


@pytest.fixture(scope="module")
def studio_with_model(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    workspace = tmp_path_factory.mktemp("llm") / "workspace"
    shutil.copytree(tiny_run.workspace, workspace, symlinks=True)
    studio = launch_studio(workspace)
    yield studio
    studio.kill()


@pytest.fixture
def page(studio_with_model: RunningStudio, open_page: OpenPage) -> Page:
    page = open_page(studio_with_model, "/llm")
    expect(page.get_by_role("radio").first).to_be_visible()
    return page


def completed(page: Page) -> str:
    """Press Complete, and wait for the whole text."""
    page.get_by_role("button", name="Complete", exact=True).click()
    expect(page.get_by_text(re.compile(r"^\d+ tokens · "))).to_be_visible()
    return page.locator("pre.completion").inner_text()


def test_a_seed_repeats_a_completion(page: Page) -> None:
    page.get_by_label("Prompt", exact=True).fill("import os\n")
    page.get_by_label("Max tokens").fill("30")
    page.get_by_label("Seed").fill("5")
    first = completed(page)
    assert first.startswith("import os\n")
    page.get_by_label("Seed").fill("6")
    assert completed(page) != first
    page.get_by_label("Seed").fill("5")
    assert completed(page) == first


def test_stop_keeps_what_was_written(page: Page) -> None:
    page.get_by_label("Max tokens").fill("100000")
    written, stopped = page.locator("pre.completion"), page.get_by_text("stopped; what was written so far stays")
    for seed in range(20):  # a small model may end its text before it is stopped
        page.get_by_label("Seed").fill(str(seed))
        page.get_by_label("Prompt", exact=True).fill(f"x{seed} = ")
        page.keyboard.press("Control+Enter")
        expect(written).to_contain_text(re.compile(rf"^x{seed} = [\s\S]{{20}}"))
        page.keyboard.press("Escape")
        expect(stopped.or_(page.get_by_text(re.compile(rf"the model ended it · seed {seed}\b")))).to_be_visible()
        if stopped.is_visible():
            break
    expect(stopped).to_be_visible()
    expect(page.get_by_role("button", name="Complete", exact=True)).to_be_enabled()
    assert len(written.inner_text()) > 20
    page.get_by_label("Max tokens").fill("5")
    completed(page)  # the worker is free again


def test_a_wrong_setting_is_said_at_its_field_and_nothing_is_sent(page: Page) -> None:
    page.get_by_label("Top p").fill("7")
    expect(page.get_by_label("Top p")).to_have_attribute("aria-invalid", "true")
    page.get_by_role("button", name="Complete", exact=True).click()
    expect(page.get_by_label("Top p")).to_be_focused()
    expect(page.get_by_text("Choose a prompt and press Complete.")).to_be_visible()


def test_a_stop_string_ends_the_text_before_it(page: Page) -> None:
    page.get_by_label("Prompt", exact=True).fill("def f(")
    page.get_by_label("Temperature").fill("0")
    whole = completed(page).removeprefix("def f(")
    stop = whole[10:14]
    page.get_by_label("Stop", exact=True).fill(stop.replace("\\", "\\\\").replace("\n", "\\n"))
    assert completed(page) == "def f(" + whole[: whole.index(stop)]


def test_prompts_of_before_come_back_with_their_settings(page: Page) -> None:
    page.get_by_label("Prompt", exact=True).fill("first = 1\n")
    page.get_by_label("Temperature").fill("0.3")
    page.get_by_label("Max tokens").fill("5")
    completed(page)
    page.reload()
    expect(page.get_by_label("Temperature")).to_have_value("0.7")
    page.get_by_text("Prompts of before").click()
    page.get_by_role("button", name="first = 1").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("first = 1\n")
    expect(page.get_by_label("Temperature")).to_have_value("0.3")


def test_generated_text_is_never_markup(page: Page) -> None:
    prompt = "<img src=x onerror=alert(1)><script>alert(2)</script> = '"
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_label("Max tokens").fill("5")
    assert completed(page).startswith(prompt)
    assert page.locator("pre.completion img, pre.completion script").count() == 0


def test_a_damaged_model_is_listed_with_its_reason(studio_with_model: RunningStudio, page: Page) -> None:
    path = studio_with_model.workspace / "models" / "damaged.cllm"
    path.write_bytes(Path(__file__).read_bytes())
    broken = page.get_by_role("radio", name=re.compile("damaged"))
    expect(broken).to_be_disabled()  # it came by itself
    path.unlink()
    expect(broken).to_have_count(0)

"""The ten steps of the guide, as they are written there, in a real browser with a real training."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import RunCllm
from tests.studio.conftest import OpenPage

SMALL = {"Size": "nano", "Context": "64", "Vocabulary": "512", "Patience": "0", "Name": "guided"}
EPOCHS = 20
TRAINING_MS = 400_000  # seconds on a machine of its own; a busy one of two slow cores needs minutes


def set_parameters(page: Page, epochs: int, more: dict[str, str]) -> None:
    page.get_by_label("Epochs", exact=True).fill(str(epochs))
    page.get_by_label("Batch size").fill("12")
    fold = page.get_by_text("Advanced")
    fold.click()
    for name, value in more.items():
        page.get_by_label(name, exact=True).fill(value)
    page.get_by_label("Compile").select_option("off")
    page.get_by_label("Precision").select_option("fp32")
    fold.click()


@pytest.mark.timeout(400)
def test_the_ten_steps(
    start_studio, open_page: OpenPage, picture, run_cllm: RunCllm, workspace: Path, tiny_corpus
) -> None:
    run_cllm("prepare", tiny_corpus)  # writes training_data/repo_code.txt, as the guide's tool does
    # 1. Start the application. 2. Navigate to the training tab.
    studio = start_studio()
    page = open_page(studio)
    page.get_by_role("link", name="Training", exact=True).click()
    expect(page).to_have_title("Training · CLLM")
    expect(page.get_by_role("region", name="Status")).to_contain_text("ready")
    picture(page, "1-ready")

    # 3. Load training data: scan, and tick the checkbox of repo_code.txt.
    expect(page.get_by_label("Directory")).to_have_value("training_data/")
    page.get_by_role("button", name="Scan Dir").click()
    row = page.get_by_role("treeitem").filter(has_text="repo_code.txt")
    expect(row).to_have_attribute("aria-checked", "false")
    row.click()
    expect(row).to_have_attribute("aria-checked", "true")
    expect(page.get_by_text("1 of 1 file")).to_be_visible()

    # 4. The guide's parameters are the defaults.
    for name, value in {"Learning rate": "0.001", "Epochs": "10", "Batch size": "32", "Threads": "0"}.items():
        expect(page.get_by_label(name, exact=True)).to_have_value(value)
    expect(page.get_by_text(re.compile(r"\d+ workers? (carry|carries) 12 spheres"))).to_be_visible()
    minutes = page.get_by_label("Minutes", exact=True)
    minutes.fill("20")  # then the time decides, until a value is typed
    for name in ("Epochs", "Batch size", "Context"):
        field = page.get_by_label(name, exact=True)
        expect(field).to_have_value("")
        expect(field).to_have_attribute("placeholder", "by time")
    minutes.fill("")
    page.get_by_label("Epochs", exact=True).fill("0")
    expect(page.get_by_text("Must be at least 1")).to_be_visible()
    set_parameters(page, EPOCHS, SMALL)
    expect(page.get_by_text("Must be at least 1")).to_be_hidden()
    picture(page, "2-set")

    # 5. START TRAINING becomes STOP TRAINING.
    page.get_by_role("button", name="START TRAINING").click()
    expect(page.get_by_role("button", name="STOP TRAINING")).to_be_visible()

    # 6. Monitor: the spheres, the table, the curve, the bar; the tab's title too.
    expect(page.get_by_text("12/12 active")).to_be_visible(timeout=TRAINING_MS)
    expect(page).to_have_title(re.compile(r"^\d+ % · Training · CLLM$"))
    table = page.get_by_role("table", name="Figures of each sphere")
    expect(table.get_by_role("row")).to_have_count(1 + 12 + 1)
    expect(table.get_by_role("row").nth(1)).to_contain_text("Active")
    expect(page.get_by_role("progressbar", name="Whole run")).to_be_visible()
    expect(page.get_by_role("heading", name="Samples")).to_be_visible()
    picture(page, "3-training")

    # 8. Save at any time. (7 is what to expect: the loss, below.)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text(re.compile(r"^Saved: checkpoint_\S+\.cllm$"))).to_be_visible()
    expect(page.get_by_role("region", name="Status")).to_contain_text("done", timeout=TRAINING_MS)
    expect(page.get_by_role("button", name="START TRAINING")).to_be_enabled()
    picture(page, "4-done")
    (run,) = studio.get("/api/runs")["runs"]
    assert (workspace / "models" / "guided.cllm").is_file()
    assert run["epochs"] == EPOCHS and run["state"] == "done"
    settings = studio.get(f"/api/runs/{run['id']}")["settings"]
    assert (settings["batch_size"], settings["context"], settings["size"]) == (12, 64, "nano")

    # 7. The loss really has fallen.
    curve = studio.get(f"/api/runs/{run['id']}/view")["curve"]
    assert curve["steps"]["loss"][-1] < 0.7 * curve["steps"]["loss"][0]
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    rows = list(csv.DictReader(download.value.path().read_text().splitlines()))
    assert int(rows[-1]["step"]) == run["step"]
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG").click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")

    # 9. Test code generation in the LLM tab; the new model is there without a restart.
    page.get_by_role("link", name="LLM", exact=True).click()
    expect(page.get_by_role("radio", name=re.compile("^guided"), checked=True)).to_have_count(1)
    for prompt in ("int main() {", "void cllm_"):
        page.get_by_role("button", name=prompt, exact=True).click()
        page.get_by_label("Max tokens").fill("40")
        page.get_by_role("button", name="Complete", exact=True).click()
        expect(page.get_by_text(re.compile(r"\d+ tokens · \d+ tokens/s"))).to_be_visible()
        expect(page.get_by_label("Completion", exact=True).locator("pre")).to_contain_text(prompt)
    picture(page, "5-completion")

    # 10. Collect benchmarks, and export them.
    page.get_by_role("link", name="Benchmarks", exact=True).click()
    page.get_by_role("button", name="Make report").first.click()
    expect(page.get_by_role("heading", name=re.compile("Success indicators", re.I))).to_be_visible(timeout=TRAINING_MS)
    picture(page, "6-benchmarks")
    with page.expect_download() as download:
        page.get_by_role("link", name="Markdown with pictures").click()
    names = zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes())).namelist()
    assert "MY_TRAINING_RESULTS.md" in names and len(names) > 1
    with page.expect_download() as download:
        page.get_by_role("link", name="One HTML file").click()
    document = download.value.path().read_text()
    assert "data:image/png;base64," in document
    assert not re.search(r"<script|<link|\b(?:src|href)=[\"']?(?:https?:)?//", document)

    # And the run stays to be seen.
    page.get_by_role("link", name="Runs", exact=True).click()
    page.get_by_role("link", name=run["id"]).click()
    expect(page.get_by_role("heading", name="Curves")).to_be_visible()
    picture(page, "7-run")

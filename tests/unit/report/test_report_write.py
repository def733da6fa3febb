"""What lies where after a report."""

from __future__ import annotations

from pathlib import Path

from cllm.report.figures import Report
from cllm.report.gather import gather
from cllm.report.history import read_history
from cllm.report.write import DOCUMENT, FIGURES, PAGE, write_report
from tests.synthetic_run import SyntheticRun


def test_page_and_figures_stay_with_the_run(tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path / "run", epochs=1).write()
    history = read_history(run)
    report = gather(run.id, "done", history, {})
    other = tmp_path / "other"
    assert write_report(report, history, run.report, other) == ([run.report / DOCUMENT, other / DOCUMENT], [])
    assert Report.model_validate_json((run.report / FIGURES).read_text()) == report
    text = (run.report / PAGE).read_text()
    assert text.count("data:image/png;base64,iVBOR") == 2
    assert {path.name for path in other.iterdir()} == {DOCUMENT, "MY_TRAINING_RESULTS_files"}

"""`cllm report`: what a run achieved."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cllm.workspace import Workspace


@click.command()
@click.argument("run", required=False)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Write MY_TRAINING_RESULTS.md there instead of into the working directory.",
)  # fmt: skip
@click.option("--speedup", is_flag=True, help="Also measure the speed-up against one thread, by two short trainings.")
@click.option("--quick", is_flag=True, help="Neither load the model nor let it complete the test prompts.")
@click.option("--json", "as_json", is_flag=True, help="Print every figure as one JSON object.")
def command(run: str | None, out: Path | None, speedup: bool, quick: bool, as_json: bool) -> None:
    """Write MY_TRAINING_RESULTS.md for RUN (the beginning of its id, or its directory; the newest if it is not given).

    Times, losses, spheres, speed, memory, success indicators, code generation tests, and pictures of the loss curve and
    the spheres. The run keeps a copy in runs/RUN/report/, there
    also as one HTML file and as report.json. A file that you have edited is never overwritten: it is
    moved to MY_TRAINING_RESULTS.1.md first.
    """
    from cllm.report import speedup as trainings
    from cllm.report.build import build, read_settings
    from cllm.report.history import read_history
    from cllm.report.write import write_report

    errors = Console(stderr=True)
    directory = Workspace(Path.cwd()).run(run)
    measure = None
    if speedup:
        settings, plan = read_settings(directory), read_history(directory).plan
        measure = partial(trainings.measure, trainings.training_command(directory.corpus.resolve(), settings, plan))
    with errors.status("reading the run") as status:
        report, history = build(directory, test_model=not quick, measure_speedup=measure, progress=status.update)
        status.update("drawing and writing")
        written, kept = write_report(report, history, directory.report, out or Path.cwd())
    for path in kept:
        errors.print(f"your edited report is now {path}", style="yellow", highlight=False)
    if as_json:
        click.echo(report.model_dump_json())
        return
    console = Console()
    table = Table("Success indicator", "", title=f"Run {report.run}: {report.state}", title_justify="left")
    table.add_column("Figure", overflow="fold")
    for verdict in report.success:
        answer = {True: "[green]yes[/]", False: "[red]no[/]", None: "–"}[verdict.passed]
        table.add_row(verdict.name, answer, escape(verdict.figure))
    console.print(table)
    click.echo(f"report: {written[-1]}")

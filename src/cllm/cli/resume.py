"""`cllm resume`."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from cllm.cli.train import start_and_follow
from cllm.errors import InvalidSettings, RunNotFound
from cllm.runstate import state_of
from cllm.workspace import RunDirectory, Workspace


def adapt(
    run: RunDirectory, step: int, wall_s: float, threads: int | None, epochs: int | None, minutes: float | None
) -> None:
    """Bring the plan of `run` up to what is asked for now. Raises `InvalidSettings`, `RunNotFound`."""
    from cllm.settings import TrainSettings, validated
    from cllm.training.plan import extended, with_ranks
    from cllm.training.runconfig import RunConfig, load_plan, save_plan

    config, plan = RunConfig.load(run), load_plan(run)
    if plan is None:
        raise RunNotFound(f"run {run.id} has no plan: start again with 'cllm train'")
    wanted = {"threads": threads, "epochs": epochs, "minutes": minutes}
    asked: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    settings = validated(TrainSettings, {**config.settings.model_dump(exclude_unset=True), **asked})
    if threads is not None:
        plan = with_ranks(plan, threads)
    plan = extended(plan, epochs, settings.minutes, wall_s, time.time())
    if plan.steps is not None and step >= plan.steps and plan.deadline is None:
        raise InvalidSettings(
            f"run {run.id} has done its {plan.epochs:g} epochs: give a larger number in all to go on, "
            f"as in --epochs {round((plan.epochs or 0) * 2)}"
        )
    RunConfig(settings, config.paths, config.stdlib, config.workspace, config.started).save(run)
    save_plan(run, plan)


@click.command(name="resume")
@click.argument("run", required=False)
@click.option(
    "--threads", type=int, metavar="N", help="Worker processes from now on; the result does not depend on it."
)
@click.option("--epochs", type=int, metavar="N", help="Epochs in all, those already done included.")
@click.option("--minutes", type=float, metavar="X", help="Minutes in all, those already used included.")
@click.option("--detach", is_flag=True, help="Start in the background and print the run's id.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON; the last one is the result.")
def command(
    run: str | None, threads: int | None, epochs: int | None, minutes: float | None, detach: bool, as_json: bool
) -> None:
    """Continue RUN (an id or its beginning; the newest run if left out) from its newest whole checkpoint.

    The data, their order, the learning rate and the epochs go on where they were. With the same settings the final
    weights are the same, bit for bit, as without the interruption, whatever number of threads there is now.
    """
    from cllm import container
    from cllm.training.saver import newest_checkpoint

    directory = Workspace.here().run(run)
    if state_of(directory) == "running":
        raise RunNotFound(f"run {directory.id} is running already: 'cllm stop {directory.id}' stops it")
    path = newest_checkpoint(directory, lambda text: click.echo(text, err=True))
    header = container.read_header(path)
    adapt(directory, header.step, float(header.state["wall_s"]), threads, epochs, minutes)
    click.echo(f"continuing run {directory.id} from step {header.step} (epoch {header.epoch:.2f})", err=True)
    sys.exit(start_and_follow(directory, path, as_json, detach))

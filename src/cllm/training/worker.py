"""The processes of a run: `python -m cllm.training.worker JOB RUN`, started by `cllm.supervisor`.

`prepare` makes the data, `plan` the plan. `nursery` forks the others off, where it can. `rank` trains; RANK, WORLD_SIZE
and the rendezvous file come in its environment. It may be started before there is a plan, and waits for it. `compile`
fills the cache of kernels for the ranks.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from cllm import events
from cllm.errors import CllmError, NotEnoughMemory, RunNotFound
from cllm.machine import cpp_compiler
from cllm.prompts import main_language, prompts_for
from cllm.runstore import RunStore
from cllm.training import lifeline, nursery
from cllm.training.kernels import Shape
from cllm.training.plan import Plan
from cllm.training.runconfig import (
    POLL_S,
    PREPARED,
    TRAIN_BYTES,
    VOCABULARY,
    RunConfig,
    heard,
    load_foreseen,
    load_plan,
    save_foreseen,
    save_plan,
    say,
)
from cllm.training.shards import Shards, write_shards
from cllm.workspace import RunDirectory


def prepare(run: RunDirectory, store: RunStore) -> None:
    """Corpus, tokenizer and shards of a new run; `plan` says in between how large the vocabulary shall be."""
    config = RunConfig.load(run)

    def vocabulary_for(train_bytes: int) -> int:
        say(run, TRAIN_BYTES, train_bytes)
        return heard(run, VOCABULARY)

    write_shards(run, config.paths, config.settings, config.stdlib, store, config.only, config.without, vocabulary_for)
    say(run, PREPARED, 1)


def plan(run: RunDirectory, store: RunStore) -> None:
    """The plan of a new run, beside `prepare`: foreseen as soon as the text is there, made when the data are."""
    from cllm.training.planner import choose_vocabulary, foresee, plan_event, plan_run

    config = RunConfig.load(run)
    if config.settings.minutes is not None:  # models will be timed
        import cllm.model.transformer  # noqa: F401
    train_bytes = heard(run, TRAIN_BYTES)
    vocabulary = config.settings.vocabulary or choose_vocabulary(config.settings, train_bytes, config.started)
    foreseen = foresee(config.settings, train_bytes, vocabulary, config.started)
    if foreseen is not None:
        save_foreseen(run, foreseen)
    say(run, VOCABULARY, vocabulary)  # not before: what is timed would share the processor with the tokenizer
    heard(run, PREPARED)
    store.append(events.STAGE, {"stage": "planning", "done": 0, "total": 0})
    made = plan_run(config.settings, Shards.load(run), config.started)
    store.append(events.PLAN, plan_event(made))
    save_plan(run, made)  # for which the ranks wait


def compile_ahead(run: RunDirectory, store: RunStore) -> None:
    """Fill the cache of kernels for the shape in the environment; nobody minds if that cannot be done."""
    if cpp_compiler() is None:
        os._exit(1)
    from cllm.training.compiling import fill

    try:
        fill(Shape.model_validate_json(os.environ[lifeline.SHAPE]))
    except Exception:  # whatever a compiler or its absence raises: the plain model does the same work
        traceback.print_exc()
        os._exit(1)


def await_plan(run: RunDirectory) -> Plan:
    """The plan, as soon as there is one; meanwhile what its training will need is imported."""
    begun_early = load_foreseen(run) is not None
    while (plan := load_plan(run)) is None:
        if not begun_early:
            raise RunNotFound(f"run {run.id} has no plan: start again with 'cllm train'")
        time.sleep(POLL_S)
    return plan


def train(run: RunDirectory, store: RunStore) -> None:
    """One rank, to the end of the training."""
    import torch
    import torch.distributed as dist

    from cllm import checkpoint, container
    from cllm.training.compiling import Kernels, load_compiler
    from cllm.training.loop import Loop
    from cllm.training.remember import Rememberer
    from cllm.training.sampler import Sampler
    from cllm.training.saver import Saver
    from cllm.training.trainer import Trainer
    from cllm.training.validation import Validator

    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    config, foreseen = RunConfig.load(run), load_foreseen(run)
    # Importing the compiler takes longer than importing torch: what is still being compiled may as well wait for that.
    if foreseen is not None and foreseen.compile and Kernels(Shape.of(foreseen)).ready:
        load_compiler()
    plan = await_plan(run)
    torch.set_num_threads(plan.threads_per_rank)
    torch.set_num_interop_threads(1)
    if ranks > 1:
        rendezvous = f"file://{os.environ[lifeline.RENDEZVOUS]}"
        dist.init_process_group(
            "gloo", init_method=rendezvous, rank=rank, world_size=ranks, timeout=timedelta(minutes=30)
        )
    shards = Shards.load(run)
    trainer = Trainer(plan, config.settings, shards, rank)
    source = os.environ.get(lifeline.FROM_CHECKPOINT)
    if source is not None:
        path = Path(source)
        header, sections = container.read(path)
        trainer.load(
            checkpoint.tensors_of(path, checkpoint.WEIGHTS, sections[checkpoint.WEIGHTS]),
            checkpoint.tensors_of(path, checkpoint.OPTIMIZER, sections[checkpoint.OPTIMIZER]),
            header.state,
        )
    else:
        trainer.begin(shards)
        trainer.totals.wall_s = time.time() - config.started
    validator = Validator(shards.validation, shards.tokenizer, plan.context, plan.validation_tokens, rank, plan.ranks)
    saver = Saver(
        run,
        config.workspace,
        store,
        config.settings.name,
        shards.tokenizer,
        config.settings.model_dump(mode="json"),
        shards.facts["manifest_sha256"],
    )
    sampler = None
    if rank == 0:
        prompt = config.settings.sample_prompt or prompts_for(main_language(shards.facts["languages"]))[0]
        sampler = Sampler(trainer.model, shards.tokenizer, prompt)
    rememberer = None
    if config.settings.memory == "on":
        rememberer = Rememberer(
            run, shards, store, config.settings.minutes, plan.ranks * plan.threads_per_rank, plan.validation_tokens
        )
    Loop(trainer, config.settings, validator, store, saver, sampler, rememberer).run()
    if ranks > 1:
        dist.barrier()  # no rank leaves while another still talks to it
        dist.destroy_process_group()


def run_guarded(work: Callable[[RunDirectory, RunStore], None], run: RunDirectory) -> int:
    """Do the work; what goes wrong becomes an "error" event for people, a traceback in the log, and the exit code."""
    with RunStore(run.store) as store:
        try:
            work(run, store)
            return 0
        except CllmError as error:
            known = error
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
                raise
            known = NotEnoughMemory(
                "out of memory: use a smaller --size, --batch-size or --context, fewer --threads, or close programs"
            )
        store.append(
            events.ERROR, {"text": str(known), "exit_code": known.exit_code, "rank": int(os.environ.get("RANK", "0"))}
        )
        return known.exit_code


JOBS = {"prepare": prepare, "plan": plan, "rank": train, "compile": compile_ahead}


def main() -> None:
    """Entry point."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides what a Ctrl-C means
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    job, path = sys.argv[1:]
    if job == "nursery":
        forked = nursery.serve()
        if forked is None:
            return
        job = forked
    lifeline.hang_on(with_group=job == "compile")
    sys.exit(run_guarded(JOBS[job], RunDirectory(Path(path))))


if __name__ == "__main__":
    main()

"""A whole training as one rank lives it: what is done between the steps. Rank 0 also records and saves."""

from __future__ import annotations

import math
import time
from typing import Any, Literal

from cllm import events
from cllm.checkpoint import load_weights, tensors_of
from cllm.errors import NonFiniteLoss
from cllm.runstore import RunStore
from cllm.settings import TrainSettings
from cllm.training.recorder import Recorder
from cllm.training.remember import Rememberer
from cllm.training.sampler import Sampler
from cllm.training.saver import Kind, Saver
from cllm.training.summary import summarise
from cllm.training.trainer import NonFiniteStep, Step, Trainer
from cllm.training.validation import Score, Validator

VALIDATIONS = 10  # in a run, at least, however few epochs it has
MOST_ROLLBACKS = 3
FIRST_TOKENS = 16_384  # that the validation before the first step of a run with a time limit scores
FINISH_S = 1.4  # to measure matrix products, save the final model and end all processes
SPARE, MOST_SPARE_S = 0.01, 2.0  # of the time, for a machine that is busier at the end than when it was measured

SAVE, STOP, DISCARD, END, COMPILED = 1, 2, 4, 8, 16
COMMANDS = {"save": SAVE, "stop": STOP, "discard": STOP | DISCARD}

# Shares of a run with a time limit, whose epochs may be seconds: validations, and checkpoints of epochs, are no closer
# than this, and for so long the loss must not have become better before patience ends.
VALIDATIONS_APART, CHECKPOINTS_APART, PATIENCE_SHARE = 0.02, 0.05, 0.15

STOP_WITHIN_S = 0.25  # while the memory is made, commands are looked for so often

Outcome = Literal["done", "stopped"]


class _AskedToStop(Exception):
    """While the memory was made."""


class Loop:
    """Runs a `Trainer` to its end. Every decision is taken alike on every rank."""

    def __init__(
        self,
        trainer: Trainer,
        settings: TrainSettings,
        validator: Validator,
        store: RunStore,
        saver: Saver,
        sampler: Sampler | None,
        rememberer: Rememberer | None = None,
    ) -> None:
        """`sampler` is rank 0's alone; `rememberer` is what the final model's memory is made by, None for no memory."""
        self.trainer, self.totals, self.plan = trainer, trainer.totals, trainer.plan
        self._settings, self._validator, self._store, self._saver = settings, validator, store, saver
        self._sampler, self._rememberer = sampler, rememberer
        self._leads = trainer.rank == 0
        self._recorder = Recorder(store, self.totals, self.plan.tokens_per_step)
        self._began, self._wall_before = time.time(), self.totals.wall_s
        self._validation_s = 0.0
        self._may_switch = False  # whether to change to the compiled model as soon as it is there
        self._validated_at, self._saved_at = -1, time.monotonic()
        self._mark = self._mark_at(0.0 if self.plan.deadline is not None else self._progress())
        self._epochs_done = self._mark[0]
        self._validated_progress = self._saved_progress = 0.0  # of the last validation or checkpoint of an epoch
        self._looked_at = 0.0
        self._gemm_gflops: float | None = None  # measured at the end

    def run(self) -> Outcome:
        """Train until the end, or until told to stop. Raises `NonFiniteLoss` or `StorageFull`."""
        if self.totals.step == 0:
            self._validate()
        if self.plan.steps is None or self.totals.step < self.plan.steps:
            self._compile()
        self.trainer.take_snapshot()
        self._tell(events.STAGE, stage="training", done=self.totals.step, total=self.plan.steps or 0)
        while not (self.plan.steps is not None and self.totals.step >= self.plan.steps):
            begun = time.monotonic()
            try:
                step = self.trainer.train_step(self._progress(), self._flags())
            except NonFiniteStep:
                self._go_back()
                continue
            self._record(step, time.monotonic() - begun)
            if step.flags & STOP:
                return self._stop(discard=bool(step.flags & DISCARD))
            if step.flags & END:
                break
            if self._validation_is_due(step) and self._validate_and_judge(step.progress):
                return self._finish(early=True)
            self._save_what_is_due(step)
            if step.flags & COMPILED:
                self.trainer.use_compiled()
        return self._finish(early=False)

    def _compile(self) -> None:
        """Use the compiled model from the first step on, if the plan says so and it can be had.

        What a run of so many steps gives must not depend on the clock, so it waits for the kernels. Under a time limit
        the steps begin without them if they are not ready, and `_flags` says when they are.
        """
        self._tell(events.STAGE, stage="compiling" if self.plan.compile else "warming up", done=0, total=0)
        if not self.plan.compile:
            return
        kernels = self.trainer.kernels
        ready = kernels.wait() if self.plan.deadline is None else kernels.ready
        if self.trainer.agree(bool(ready)):
            self.trainer.use_compiled()
        else:
            self._may_switch = self.plan.deadline is not None

    # ---- decisions ------------------------------------------------------------------------------------------------

    def _progress(self) -> float:
        """Share of the run that is done, by its steps or by its time, whichever is further; rank 0's clock counts."""
        by_steps = self.totals.step / self.plan.steps if self.plan.steps else 0.0
        if self.plan.deadline is None:
            return by_steps
        left = max(0.0, self.plan.deadline - self._reserve_s - time.time())
        done = self.totals.training_s
        return max(by_steps, done / (done + left) if done + left > 0 else 1.0)

    @property
    def _reserve_s(self) -> float:
        """Seconds to keep for the last validation with its sample, for the memory and for saving."""
        memory_s = self._rememberer.reserve_s(self._validation_s) if self._rememberer is not None else 0.0
        spare_s = min(SPARE * 60 * (self._settings.minutes or 0.0), MOST_SPARE_S)
        return FINISH_S + spare_s + 1.2 * self._validation_s + memory_s

    def _flags(self) -> int:
        """Rank 0: the commands that came in, and whether the next step is the last that fits into the time."""
        if not self._leads:
            return 0
        flags = 0
        for command in self._store.take_commands():
            flags |= COMMANDS.get(command, 0)
        if self._may_switch and (ready := self.trainer.kernels.ready) is not None:
            self._may_switch = False
            flags |= COMPILED if ready else 0
        deadline = self.plan.deadline
        if deadline is not None and time.time() + 2 * self._recorder.step_s > deadline - self._reserve_s:
            flags |= END
        return flags

    def _mark_at(self, progress: float) -> tuple[int, int]:
        """Changes where a validation is due: with each epoch, and with each tenth of the run."""
        return math.floor(self.trainer.epoch + 1e-9), math.floor(progress * VALIDATIONS + 1e-6)

    def _validation_is_due(self, step: Step) -> bool:
        progress = self._progress() if self.plan.deadline is None else step.progress
        mark = self._mark_at(progress)
        if mark == self._mark or not self._is_apart(progress, self._validated_progress, VALIDATIONS_APART):
            return False
        self._mark, self._validated_progress = mark, progress
        return True

    def _is_apart(self, progress: float, before: float, least: float) -> bool:
        """Whether so much of the run has gone by since `before`; always, in a run without a time limit.

        `progress` must be rank 0's: clocks differ, and ranks must not.
        """
        return self.plan.deadline is None or progress - before >= least

    # ---- validation -----------------------------------------------------------------------------------------------

    def _validate(self) -> None:
        """Score the held-out windows, and show what the model writes by now."""
        begun = time.monotonic()
        # An untrained model has about the same loss everywhere: when time is short, little of it goes into that.
        first = self.totals.step == 0 and self.plan.deadline is not None
        fewest = max(1, FIRST_TOKENS // self.plan.context)
        score = self._validator.score(self.trainer.model, fewest if first else None)
        score_s = time.monotonic() - begun
        self._validated_at = self.totals.step
        if score is not None:
            self._judge(score, score_s)
        begun = time.monotonic()
        self._sample()
        share = min(1.0, fewest / max(1, self._validator.windows)) if first else 1.0
        self._validation_s = score_s / share + time.monotonic() - begun

    def _sample(self) -> None:
        if self._sampler is None:
            return
        made = self._sampler.sample()
        self._tell(
            events.SAMPLE,
            step=self.totals.step,
            epoch=self.trainer.epoch,
            prompt=made.prompt,
            text=made.text,
            tokens=made.tokens,
        )

    def _judge(self, score: Score, seconds: float) -> None:
        """Record a validation that took `seconds`; a better score than any before keeps the model as the best one."""
        totals = self.totals
        totals.validation_loss, totals.bits_per_byte = score.loss, score.bits_per_byte
        if totals.step == 0:  # what an untrained model reaches is a figure to compare with, not a model to keep
            totals.initial_loss = score.loss
        improved = totals.step > 0 and (totals.best_loss is None or score.loss < totals.best_loss)
        if improved:
            totals.best_loss, totals.best_bits_per_byte = score.loss, score.bits_per_byte
            totals.best_step = totals.step
        self._tell(
            events.VALIDATION,
            step=totals.step,
            epoch=self.trainer.epoch,
            loss=score.loss,
            bits_per_byte=score.bits_per_byte,
            best_loss=totals.best_loss,
            best_bits_per_byte=totals.best_bits_per_byte,
            tokens=score.tokens,
            bytes=score.bytes,
            seconds=seconds,
            improved=improved,
        )
        if improved:
            self._save("best")

    def _validate_and_judge(self, progress: float) -> bool:
        """Validate at `progress`; returns whether the loss has not become better for `patience` epochs."""
        self._validate()
        self.trainer.take_snapshot()
        patience, totals = self._settings.patience, self.totals
        if not patience or totals.best_loss is None:
            return False
        since_best = totals.step - totals.best_step
        long_ago = self._is_apart(progress, progress * totals.best_step / totals.step, PATIENCE_SHARE)
        return long_ago and since_best / self.plan.steps_per_epoch >= patience

    # ---- saving and ending ----------------------------------------------------------------------------------------

    def _save(self, kind: Kind, **figures: float | None) -> None:
        """Write a checkpoint or a model; `figures` replace those of the run so far in its header."""
        if not self._leads:
            return
        remembered = None
        if kind == "final" and self._rememberer is not None:
            remembered = self._rememberer.remember(self.trainer.model, self._validation_s, self._heed_stop)
        self.totals.wall_s = self._wall_before + time.time() - self._began
        resumable = kind not in ("best", "final")
        self._saver.save(
            kind,
            self.trainer.model,
            self.trainer.optimizer if resumable else None,
            self.totals.step,
            self._shown_epoch,
            self._figures() | figures,
            self.totals.as_state(),
            remembered,
        )
        if resumable:
            self._saved_at = time.monotonic()

    def _heed_stop(self) -> None:
        """Rank 0, while the memory is made. Raises `_AskedToStop`; a save is a moment old, so no other is made."""
        if time.monotonic() - self._looked_at < STOP_WITHIN_S:
            return
        self._looked_at = time.monotonic()
        if any(COMMANDS.get(command, 0) & STOP for command in self._store.take_commands()):
            raise _AskedToStop

    def _save_what_is_due(self, step: Step) -> None:
        epochs_done = math.floor(self.trainer.epoch + 1e-9)
        if epochs_done > self._epochs_done:
            self._epochs_done = epochs_done
            apart = self._is_apart(step.progress, self._saved_progress, CHECKPOINTS_APART)
            if epochs_done % self._settings.checkpoint_every == 0 and apart:
                self._saved_progress = step.progress
                self._save("epoch")
        if step.flags & SAVE:
            self._save("save")
        if time.monotonic() - self._saved_at > self._settings.save_every_minutes * 60:
            self._save("periodic")

    def _figures(self) -> dict[str, Any]:
        return summarise(self.plan, self.totals, self.trainer.compiled, self._gemm_gflops)

    def _stop(self, discard: bool) -> Outcome:
        resume = f"cllm resume {self._saver.run_id}"
        if not discard:
            self._save("save")
        self._tell(events.STOPPED, step=self.totals.step, reason="asked to stop", saved=not discard, resume=resume)
        self._tell_summary()
        return "stopped"

    def _finish(self, early: bool) -> Outcome:
        """Validate the last weights, save them (after an early stop: the best ones) as the final model."""
        if self._validated_at != self.totals.step:
            self._validate()
        self._gemm_gflops = self.trainer.gemm_gflops()
        self._save("periodic")
        totals = self.totals
        figures: dict[str, float | None] = {}
        if early and self._leads:
            self._tell(
                events.WARNING,
                text=f"stopped early: the held-out loss has not become better for {self._settings.patience} epochs; "
                f"the final model is the best one, of step {totals.best_step}",
            )
            path, weights = self._saver.best_weights()
            load_weights(self.trainer.model, tensors_of(path, "weights", weights), path)
            figures = {"validation_loss": totals.best_loss, "bits_per_byte": totals.best_bits_per_byte}
        try:
            self._save("final", **figures)
        except _AskedToStop:
            resume = f"cllm resume {self._saver.run_id}"
            text = f"the training is done and saved, but its model and memory are not made yet: '{resume}' makes them"
            self._tell(events.WARNING, text=text)
            self._tell(events.STOPPED, step=totals.step, reason="asked to stop", saved=True, resume=resume)
            self._tell_summary()
            return "stopped"
        self._tell_summary(stopped_early=early)
        return "done"

    def _go_back(self) -> None:
        """After a step that was not finite: the last good state, and half the learning rate. Raises `NonFiniteLoss`."""
        totals = self.totals
        step, rollbacks = totals.step, totals.rollbacks + 1
        if rollbacks > MOST_ROLLBACKS:
            raise NonFiniteLoss(
                f"the loss is not a number at step {step}, also after going back {MOST_ROLLBACKS} times with half the "
                "learning rate: train again with a lower --learning-rate, or with --precision fp32"
            )
        self.trainer.go_back(rate_scale=totals.rate_scale / 2)
        totals.rollbacks = rollbacks
        self._mark = self._mark_at(0.0 if self.plan.deadline is not None else self._progress())
        self._tell(
            events.ROLLBACK,
            step=step,
            to_step=totals.step,
            reason="the loss or the gradient was not a number; the learning rate is halved",
        )

    # ---- telling --------------------------------------------------------------------------------------------------

    @property
    def _shown_epoch(self) -> float:
        return min(self.trainer.epoch, self.plan.epochs) if self.plan.epochs else self.trainer.epoch

    def _tell(self, kind: str, **data: Any) -> None:
        if self._leads:
            self._recorder.tell(kind, **data)

    def _tell_summary(self, **more: Any) -> None:
        if self._leads:
            self._recorder.tell_spheres((), force=True)
            self.totals.wall_s = self._wall_before + time.time() - self._began
            self._tell(events.SUMMARY, **self._figures(), **self._saver.published(), **more)

    def _record(self, step: Step, seconds: float) -> None:
        if not self._leads:
            return
        totals, plan = self.totals, self.plan
        totals.grad_norm = step.grad_norm
        self._recorder.add_step(step.spheres, step.tokens, seconds)
        computing = self.trainer.spheres_of(totals.step)
        self._recorder.tell_spheres(computing)
        now = time.time()
        if plan.deadline is not None:
            eta_s = max(0.0, plan.deadline - now)
        else:
            eta_s = ((plan.steps or 0) - totals.step) * self._recorder.step_s
        self._recorder.tell(
            events.STEP,
            step=totals.step,
            steps=plan.steps,
            epoch=self._shown_epoch,
            loss=step.loss,
            best_loss=totals.best_train_loss,
            grad_norm=step.grad_norm,
            learning_rate=step.learning_rate,
            tokens=totals.tokens,
            tokens_per_s=self._recorder.tokens_per_s,
            step_s=seconds,
            elapsed_s=self._wall_before + now - self._began,
            eta_s=eta_s,
            progress=self._progress(),
        )

"""What rank 0 tells the world: counters of the spheres, speed, progress; as events in the run's store."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from cllm import events
from cllm.runstore import RunStore

SPHERES_EVERY_S = 0.2
ACTIVITY_WINDOW_S = 2.0
SPEED_WINDOW_STEPS = 20


@dataclass
class SphereCount:
    """What one sphere has done since the run began."""

    microbatches: int = 0
    tokens: int = 0
    loss_sum: float = 0.0  # nats, over all its tokens


@dataclass
class Totals:
    """Counters of the whole run: kept in checkpoints, so that a resumed run counts on."""

    step: int = 0
    tokens: int = 0
    training_s: float = 0.0  # in steps, without preparing, validating and saving
    wall_s: float = 0.0  # since the run began, pauses between resumes left out
    initial_loss: float | None = None
    first_loss: float | None = None
    loss: float | None = None
    best_train_loss: float | None = None
    grad_norm: float | None = None
    best_loss: float | None = None  # held out, nats per token
    best_bits_per_byte: float | None = None
    best_step: int = 0
    validation_loss: float | None = None
    bits_per_byte: float | None = None
    rate_scale: float = 1.0  # halved when the training had to go back
    rollbacks: int = 0
    spheres: list[SphereCount] = field(default_factory=list)

    def add_step(self, spheres: Sequence[int], losses: Sequence[float], tokens: Sequence[int]) -> None:
        """Count a step: its spheres, with their summed losses (nats) and numbers of targets."""
        self.step += 1
        self.tokens += sum(tokens)
        self.loss = sum(losses) / max(1, sum(tokens))
        self.first_loss = self.loss if self.first_loss is None else self.first_loss
        self.best_train_loss = self.loss if self.best_train_loss is None else min(self.best_train_loss, self.loss)
        for sphere, loss, number in zip(spheres, losses, tokens, strict=True):
            count = self.spheres[sphere]
            count.microbatches += 1
            count.tokens += number
            count.loss_sum += loss

    def as_state(self) -> dict[str, Any]:
        """A copy as plain JSON."""
        return asdict(self)

    def take_over(self, state: dict[str, Any]) -> None:
        """Continue from what `as_state` gave."""
        for name, value in state.items():
            setattr(self, name, value)
        self.spheres = [SphereCount(**sphere) for sphere in state["spheres"]]


class Recorder:
    """Appends events; keeps nothing that the training depends on."""

    def __init__(self, store: RunStore, totals: Totals, tokens_per_step: int) -> None:
        self._store, self._totals = store, totals
        self._tokens_per_step = tokens_per_step
        self._recent: deque[list[tuple[int, int]]] = deque()  # of each step, its spheres with their tokens
        self._durations: deque[float] = deque(maxlen=SPEED_WINDOW_STEPS)
        self._spheres_told = 0.0

    @property
    def step_s(self) -> float:
        """Recent seconds a step."""
        return sum(self._durations) / len(self._durations) if self._durations else 0.0

    @property
    def tokens_per_s(self) -> float:
        """Recent tokens a second, steps only."""
        return self._tokens_per_step / self.step_s if self.step_s else 0.0

    def add_step(self, spheres: Sequence[int], tokens: Sequence[int], seconds: float) -> None:
        """Note which spheres a step worked on, with how many targets each, and how long it took."""
        self._durations.append(seconds)
        self._totals.training_s += seconds
        self._recent.append(list(zip(spheres, tokens, strict=True)))
        # Whole rotations round the ring: part of one would show some spheres busier than others, or idle.
        rotation = max(1, len(self._totals.spheres) // len(spheres))  # steps
        rotations = math.ceil(ACTIVITY_WINDOW_S / max(1e-9, rotation * self.step_s))
        while len(self._recent) > rotation * rotations:
            self._recent.popleft()

    def tell_spheres(self, computing: Sequence[int], force: bool = False) -> None:
        """The state of all spheres, at most five times a second."""
        now = time.monotonic()
        if now - self._spheres_told < SPHERES_EVERY_S and not force:
            return
        self._spheres_told = now
        recent = [0] * len(self._totals.spheres)
        for step in self._recent:
            for sphere, number in step:
                recent[sphere] += number
        even = sum(recent) / len(recent)
        self._store.append(
            events.SPHERES,
            {
                "step": self._totals.step,
                "spheres": [
                    {
                        "sphere": i,
                        "microbatches": s.microbatches,
                        "tokens": s.tokens,
                        "loss": round(s.loss_sum / s.tokens, 5) if s.tokens else None,
                        "activity": round(recent[i] / even, 3) if even else 0.0,
                        "state": "computing" if i in computing else "active" if recent[i] else "idle",
                    }
                    for i, s in enumerate(self._totals.spheres)
                ],
            },
        )

    def tell(self, kind: str, **data: Any) -> None:
        """Any other event."""
        self._store.append(kind, {k: round(v, 6) if isinstance(v, float) else v for k, v in data.items()})

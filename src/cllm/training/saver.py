"""Writing, publishing and pruning the checkpoints of a run. Only rank 0 writes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

from cllm import __version__, checkpoint, container, events
from cllm.container import Header
from cllm.model.optim import MuonAdamW
from cllm.model.transformer import Transformer
from cllm.runstore import RunStore
from cllm.storage import publish
from cllm.tokenizer import Tokenizer
from cllm.training.remember import Remembered
from cllm.workspace import RunDirectory, Workspace

Kind = Literal["epoch", "best", "save", "periodic", "final"]
KEPT: dict[Kind, int] = {"best": 1, "periodic": 1}  # newest ones kept of a kind; of the others all are


class Saver:
    """Writes `.cllm` files into the run and publishes them in `checkpoints/` and `models/` of the workspace."""

    def __init__(
        self,
        run: RunDirectory,
        workspace: Workspace,
        store: RunStore,
        name: str,
        tokenizer: Tokenizer,
        settings: dict[str, Any],
        manifest_sha256: str,
    ) -> None:
        self._run, self._workspace, self._store, self._name = run, workspace, store, name
        self._tokenizer, self._settings, self._manifest_sha256 = tokenizer, settings, manifest_sha256
        self._tokenizer_json = tokenizer.to_json()
        self._shown: dict[str, str] = {}
        self._final_sha256: str | None = None
        self._memory: dict[str, Any] | None = None  # figures

    @property
    def run_id(self) -> str:
        return self._run.id

    def published(self) -> dict[str, Any]:
        """Where the final and the best model lie, as far as they have been saved by this process."""
        return {
            "model": self._shown.get("final"),
            "best_model": self._shown.get("best"),
            "weights_sha256": self._final_sha256,
            "memory": self._memory,
        }

    def best_weights(self) -> tuple[Path, bytes]:
        """The weights section of the best model so far, and the file it is from. Raises `InvalidCheckpoint`."""
        path = sorted(self._run.checkpoints.glob("best_step_*.cllm"))[-1]
        return path, container.read(path, [checkpoint.WEIGHTS])[1][checkpoint.WEIGHTS]

    def save(
        self,
        kind: Kind,
        model: Transformer,
        optimizer: MuonAdamW | None,
        step: int,
        epoch: float,
        training: dict[str, Any],
        state: dict[str, Any],
        remembered: Remembered | None = None,
    ) -> Path:
        """Write a checkpoint (with an optimizer) or a model (without), publish it, prune. Raises `StorageFull`."""
        self._memory = self._memory if remembered is None else remembered.figures
        begun = time.monotonic()
        weights = model.state_dict()
        header = Header(
            kind="model" if optimizer is None else "checkpoint",
            name=self._name,
            cllm_version=__version__,
            model=model.config.model_dump(),
            weights_sha256=checkpoint.weights_sha256(weights),
            tokenizer_sha256=self._tokenizer.sha256,
            step=step,
            epoch=round(epoch, 6),
            run=self._run.id,
            corpus=str(self._run.corpus.resolve()),
            manifest_sha256=self._manifest_sha256,
            settings=self._settings,
            training=training if remembered is None else training | {"memory": remembered.figures},
            state=state if optimizer is not None else {},
        )
        label = f"epoch_{round(epoch)}" if kind == "epoch" else f"{kind}_step_{step:08d}"
        path = self._run.checkpoints / f"{label}.cllm"
        checkpoint.write(
            path, header, weights, self._tokenizer_json, None if optimizer is None else optimizer.state(),
            None if remembered is None else remembered.section,
        )  # fmt: skip
        shown = self._publish(kind, path, step, epoch)
        self._shown[kind] = str(shown)
        if kind == "final":
            self._final_sha256 = header.weights_sha256
        self._prune(kind, path)
        self._store.append(
            events.CHECKPOINT,
            {
                "kind": kind,
                "path": str(shown),
                "step": step,
                "epoch": round(epoch, 4),
                "bytes": path.stat().st_size,
                "seconds": round(time.monotonic() - begun, 3),
                "weights_sha256": header.weights_sha256,
            },
        )
        return shown

    def _publish(self, kind: Kind, path: Path, step: int, epoch: float) -> Path:
        target = {
            "epoch": self._workspace.checkpoints / f"checkpoint_epoch_{round(epoch)}.cllm",
            "best": self._workspace.checkpoints / "checkpoint_best.cllm",
            "save": self._workspace.checkpoints / f"checkpoint_step_{step}.cllm",
            "final": self._workspace.models / f"{self._name}.cllm",
        }.get(kind)
        if target is None:
            return path
        aside = publish(path, target)
        if aside is not None:
            self._store.append(events.WARNING, {"text": f"{target} was there and in no run: it is now {aside}"})
        return target

    def _prune(self, kind: Kind, newest: Path) -> None:
        """Remove older files of a kind of which only the newest counts, now that the new one is verified."""
        if kind in KEPT:
            old = sorted(p for p in self._run.checkpoints.glob(f"{kind}_step_*.cllm") if p != newest)
            for path in old[: max(0, len(old) + 1 - KEPT[kind])]:
                path.unlink(missing_ok=True)

"""A report of a run, from its files: figures, judgement, and what its model completes."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cllm import machine
from cllm.container import read_header
from cllm.corpus.manifest import Manifest, manifest_path
from cllm.errors import InvalidCheckpoint, InvalidInput
from cllm.prompts import main_language
from cllm.report import codegen
from cllm.report.figures import Completion, ModelFile, Report, Speedup
from cllm.report.gather import gather
from cllm.report.history import History, read_history
from cllm.report.indicators import success_indicators, warning_signs
from cllm.runstate import read_exit, state_of
from cllm.settings import SamplingSettings, TrainSettings
from cllm.workspace import RunDirectory

BEST_FIRST = ("final", "best", "save", "epoch", "periodic")


def build(
    run: RunDirectory,
    *,
    test_model: bool = True,
    measure_speedup: Callable[[], Speedup] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Report, History]:
    """The report of `run` and the history it rests on.

    `test_model` loads the model and lets it complete the test prompts; a running training is not slowed down by that,
    its model is left alone. `progress` hears what is being done.
    """
    progress("reading the run")
    history = read_history(run)
    state = state_of(run)
    reason = str((read_exit(run) or {}).get("reason") or "") if state != "running" else ""
    report = gather(run.id, state, history, read_settings(run), reason)
    updates: dict[str, Any] = {
        "machine": machine_facts(),
        "model": find_model(run, history),
        "language": main_language(language_sizes(run, history)),
    }
    if test_model and state != "running" and updates["model"] is not None:
        progress("loading the model and completing the test prompts")
        updates["model"], updates["completions"] = try_model(run, updates["model"], updates["language"])
    if measure_speedup is not None:
        progress("measuring the speed-up: two short trainings")
        updates["throughput"] = report.throughput.model_copy(update={"speedup": measure_speedup()})
    report = report.model_copy(update=updates)
    judged = {"success": success_indicators(report, history), "warning_signs": warning_signs(report, history)}
    return report.model_copy(update=judged), history


def read_settings(run: RunDirectory) -> dict[str, Any]:
    """The settings of the run, with the defaults of those that nobody set; empty if it cannot be read."""
    try:
        settings = TrainSettings(**json.loads(run.config.read_text())["settings"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return settings.model_dump()


def machine_facts() -> dict[str, Any]:
    """Cores, CPU, memory and torch of this machine."""
    processor = machine.processor()
    return {
        "processor": processor.model,
        "cores": processor.usable_cores,
        "features": list(processor.features),
        "memory_bytes": machine.memory().total,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def language_sizes(run: RunDirectory, history: History) -> dict[str, int]:
    """Bytes of each language in the run's corpus, or files where its manifest cannot be read."""
    try:
        manifest = Manifest.load(manifest_path(run.corpus))
    except (InvalidInput, OSError):
        return dict(history.corpus.get("languages", {}))
    sizes: dict[str, int] = {}
    for entry in manifest.included("train"):
        sizes[entry.language] = sizes.get(entry.language, 0) + entry.size
    return sizes


def find_model(run: RunDirectory, history: History) -> ModelFile | None:
    """The run's final model, else its best or newest checkpoint that is still there."""
    for checkpoint in sorted(reversed(history.checkpoints), key=lambda c: BEST_FIRST.index(c["kind"])):
        path = located(run, checkpoint["path"])
        digest = checkpoint["weights_sha256"]
        if not path.is_file() or _weights(path) not in (digest, None):  # another run has since published there
            path = next((own for own in run.checkpoints.glob("*.cllm") if _weights(own) == digest), path)
            if _weights(path) != digest:
                continue
        return ModelFile(path=_shown(run, path), kind=checkpoint["kind"], bytes=path.stat().st_size)
    return None


def _weights(path: Path) -> str | None:
    """The digest of a file's weights as its header has it; None if the header cannot be read."""
    try:
        return read_header(path).weights_sha256
    except InvalidCheckpoint:
        return None


def located(run: RunDirectory, path: str) -> Path:
    """The file that an event names: as it is, or relative to the run or to its workspace."""
    workspace = run.path.resolve().parent.parent
    candidates = [run.path.resolve() / path, workspace / path]
    return next((c for c in candidates if c.is_file()), candidates[0])


def _shown(run: RunDirectory, path: Path) -> str:
    workspace = run.path.resolve().parent.parent
    return path.relative_to(workspace).as_posix() if path.is_relative_to(workspace) else str(path)


def try_model(run: RunDirectory, model: ModelFile, language: str | None) -> tuple[ModelFile, tuple[Completion, ...]]:
    """Load the model as a person would, and let it complete the test prompts of `language`."""
    import torch

    from cllm.checkpoint import load_model
    from cllm.inference.completer import Completer

    try:
        loaded = load_model(located(run, model.path))
    except InvalidCheckpoint as error:
        return model.model_copy(update={"loads": False, "detail": f"it does not load: {error}"}), ()
    completer = Completer(loaded)
    greedy = SamplingSettings(temperature=0, max_tokens=codegen.MAX_TOKENS)

    def complete(prompts: Sequence[str]) -> list[str]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # a token at a time gives more threads nothing to do but wait for each other
        try:
            return [completion.text for completion in completer.complete_many(prompts, greedy)]
        finally:
            torch.set_num_threads(threads)

    good = {"loads": True, "detail": "loads, every digest verified", "weights_sha256": loaded.header.weights_sha256}
    return model.model_copy(update=good), codegen.run_tests(language, complete, _syntax)


def _syntax(language: str, prompt: str, completion: str) -> tuple[bool | None, str]:
    from cllm.evaluation.syntax import verdict

    if language not in ("c", "python"):
        return None, f"no grammar for {language}"
    found = verdict("c" if language == "c" else "python", prompt, completion)
    return found.valid, found.why

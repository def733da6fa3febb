"""`cllm train` as a process: what it prints, what it leaves, and what it refuses in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cllm import container
from cllm.training.loop import CHECKPOINTS_APART, VALIDATIONS_APART
from cllm.training.runconfig import VOCABULARY, foreseen_path
from cllm.workspace import Workspace
from tests.conftest import TinyRun
from tests.training import SMALL, events_of, result_of


def test_events_and_files_of_a_run(tiny_run: TinyRun) -> None:
    kinds = [event["event"] for event in tiny_run.events]
    assert kinds[-1] == "result"
    assert {"stage", "corpus", "plan", "step", "spheres", "validation", "checkpoint", "usage", "summary"} <= set(kinds)
    assert [e["seq"] for e in tiny_run.events] == sorted({e["seq"] for e in tiny_run.events})

    steps = [e for e in tiny_run.events if e["event"] == "step"]
    assert [s["step"] for s in steps] == list(range(1, tiny_run.result["steps"] + 1))
    assert steps[-1]["loss"] < 0.8 * steps[0]["loss"]
    assert steps[-1]["epoch"] == 2
    assert all(s["grad_norm"] > 0 and s["tokens_per_s"] > 0 for s in steps)
    assert steps[-1]["learning_rate"] < 0.1 * max(s["learning_rate"] for s in steps)

    spheres = [e for e in tiny_run.events if e["event"] == "spheres"][-1]["spheres"]
    assert len(spheres) == 12
    assert all(s["microbatches"] > 0 and s["state"] == "active" for s in spheres)
    assert sum(s["tokens"] for s in spheres) == steps[-1]["tokens"]
    assert tiny_run.result["spheres_active"] == 12
    assert tiny_run.result["gemm_gflops"] > 1
    assert 0 < tiny_run.result["mfu"] < 1

    validations = [e for e in tiny_run.events if e["event"] == "validation"]
    assert validations[-1]["loss"] < validations[0]["loss"]
    assert tiny_run.result["best_loss"] == min(v["loss"] for v in validations)


def test_the_guide_finds_its_files(tiny_run: TinyRun) -> None:
    """`ls models/...` and `ls checkpoints/` of the guide."""
    model = tiny_run.workspace / "models" / "trained_model_kissing_spheres.cllm"
    header = container.read_header(model)
    assert header.kind == "model"
    assert header.weights_sha256 == tiny_run.result["weights_sha256"]
    assert header.training["bits_per_byte"] == pytest.approx(tiny_run.result["bits_per_byte"], abs=1e-6)
    names = {p.name for p in (tiny_run.workspace / "checkpoints").iterdir()}
    assert {"checkpoint_epoch_2.cllm", "checkpoint_best.cllm"} <= names
    assert container.read_header(tiny_run.workspace / "checkpoints" / "checkpoint_epoch_2.cllm").kind == "checkpoint"


def test_a_second_run_destroys_nothing_of_the_first(run_cllm, workspace: Path, tiny_corpus: Path) -> None:
    for seed in (1, 2):
        result_of(run_cllm("train", tiny_corpus, *SMALL, "--epochs=2", f"--seed={seed}", "--json"))
    runs = sorted((workspace / "runs").iterdir())
    finals = [next(run.glob("checkpoints/final_*.cllm")) for run in runs]
    digests = [container.read(path)[0].weights_sha256 for path in finals]
    assert digests[0] != digests[1]
    published = workspace / "models" / "trained_model_kissing_spheres.cllm"
    assert any(published.samefile(final) for final in finals)
    assert all((run / "checkpoints" / "epoch_2.cllm").is_file() for run in runs)


def test_a_file_of_two_kilobytes_trains(run_cllm, workspace: Path) -> None:
    (workspace / "one.py").write_text("".join(f"def f{i}(x):\n    return x + {i}\n\n" for i in range(60)))
    result = result_of(run_cllm("train", "one.py", "--epochs=3", "--json"))
    assert result["spheres_active"] == 12
    assert result["final_loss"] < result["first_loss"]


def test_training_on_prepared_data_recovers_its_files(run_cllm, workspace: Path, tiny_corpus: Path) -> None:
    assert run_cllm("prepare", tiny_corpus).returncode == 0
    direct = events_of(run_cllm("train", tiny_corpus, *SMALL, "--epochs=1", "--json"))
    prepared = events_of(run_cllm("train", *SMALL, "--epochs=1", "--json"))  # training_data/repo_code.txt
    facts = [next(e for e in events if e["event"] == "corpus") for events in (direct, prepared)]
    for name in ("files", "train_bytes", "validation_bytes", "test_bytes", "tokens"):
        assert facts[0][name] == facts[1][name]
    assert direct[-1]["weights_sha256"] == prepared[-1]["weights_sha256"]


def test_early_stopping_ends_with_the_best_model(run_cllm, workspace: Path) -> None:
    """Random letters cannot be learned: the held-out loss soon gets worse."""
    import random

    letters = random.Random(0)
    for i in range(30):
        text = "".join(letters.choices("abcdefghijklmnopqrstuvwxyz\n", k=400))
        (workspace / f"{i}.py").write_text(text + "\n")
    result = result_of(run_cllm("train", workspace, *SMALL, "--epochs=200", "--patience=2", "--json"))
    assert result["stopped_early"]
    assert result["epochs"] < 200
    best = container.read_header(workspace / "checkpoints" / "checkpoint_best.cllm")
    assert best.weights_sha256 == result["weights_sha256"]
    assert best.step == result["best_step"] < result["steps"]
    final = container.read_header(Path(result["model"]))
    assert final.training["bits_per_byte"] == best.training["bits_per_byte"]  # of its own weights, not the last ones


def test_the_output_for_people(run_cllm, tiny_corpus: Path) -> None:
    done = run_cllm("train", tiny_corpus, *SMALL, "--epochs=1")
    assert done.returncode == 0
    for word in ("held-out bits per byte", "spheres active", "12/12", "models/trained_model_kissing_spheres.cllm"):
        assert word in done.stdout
    assert "tokens/s" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "nothing to train on"),
        (("nowhere",), 2, "there is no such file"),
        (("empty",), 2, "empty"),
        (("code", "--learning-rate=0"), 2, "learning-rate"),
        (("code", "--learning-rate=nan"), 2, "learning-rate"),
        (("code", "--epochs=0"), 2, "epochs"),
        (("code", "--size=gigantic"), 2, "size"),
        (("code", "--name=../../etc"), 2, "cannot be a name"),
        (("code", "--batch-size=60000"), 2, "--batch-size"),
        (("code", "--minutes=0.01"), 2, "minutes"),
        (("picture.png",), 2, "picture.png"),
        (("code", "--size=200x8192"), 6, "memory"),
        (("code", "--microbatches=5"), 2, "microbatches"),
    ],
)
def test_bad_input_is_one_line(
    run_cllm, workspace: Path, tiny_corpus: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    (workspace / "empty").mkdir()
    (workspace / "code").symlink_to(tiny_corpus)
    (workspace / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    done = run_cllm("train", *arguments, "--json")
    assert done.returncode == code, done.stderr
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("cllm: ")
    assert said in lines[-1]
    assert "Traceback" not in done.stderr
    for line in done.stdout.splitlines():
        json.loads(line)


def test_a_small_corpus_ends_before_its_time_and_is_not_validated_all_the_time(run_cllm, workspace: Path) -> None:
    for i in range(40):
        lines = "".join(f"value_{i}_{j} = compute_{j}(left_{i}, {i * j})\n" for j in range(6))
        (workspace / "code").mkdir(exist_ok=True)
        (workspace / "code" / f"m{i}.py").write_text(f'"""Module {i}."""\n\n{lines}')
    done = run_cllm("train", "code", *SMALL, "--minutes=1", "--patience=0", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    plan = next(e for e in events if e["event"] == "plan")
    passes = plan["epochs"]
    assert any(f"{passes:g} passes" in note for note in plan["notes"])
    assert events[-1]["seconds"] < 55 and events[-1]["epochs"] <= passes
    assert sum(e["event"] == "validation" for e in events) <= 1 / VALIDATIONS_APART + 2
    assert sum(e["event"] == "checkpoint" and e["kind"] == "epoch" for e in events) <= 1 / CHECKPOINTS_APART + 1


def test_a_time_limit_is_kept(run_cllm, workspace: Path, tiny_corpus: Path) -> None:
    result = result_of(run_cllm("train", tiny_corpus, *SMALL, "--minutes=1", "--epochs=10000", "--json"))
    run = Workspace(workspace).run()
    # Models are timed before the tokenizer is learned, which would take the processor from them.
    assert foreseen_path(run).stat().st_mtime <= (run.data / f"{VOCABULARY}.json").stat().st_mtime
    assert (run.data / f"{VOCABULARY}.json").stat().st_mtime < run.tokenizer.stat().st_mtime
    assert result["seconds"] <= 61.8
    assert result["stopped_early"] or result["seconds"] >= 54

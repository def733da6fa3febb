"""The memory as a person meets it: trained, evaluated, left out, and made to forget."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from cllm import container
from cllm.checkpoint import MEMORY
from cllm.memory.index import MemoryIndex
from cllm.memory.store import load_memory
from tests.conftest import TINY_TRAINING, RunCllm, TinyRun, command_line


def test_a_training_makes_a_memory_of_the_training_files_alone(tiny_run: TinyRun) -> None:
    memory = load_memory(tiny_run.model)
    assert memory is not None
    manifest = json.loads((tiny_run.run / "data" / "repo_code.manifest.json").read_text())
    assert [s.path for s in memory.sources] == [f["path"] for f in manifest["files"] if f.get("split") == "train"]
    figures = tiny_run.result["memory"]
    assert figures["cached_bits_per_byte"] < figures["network_bits_per_byte"]
    assert figures["files"] == len(memory.sources)
    stages = [event["stage"] for event in tiny_run.events if event["event"] == "stage"]
    assert "remembering" in stages
    checkpoints = [path for path in (tiny_run.run / "checkpoints").glob("*.cllm") if "final" not in path.name]
    assert checkpoints
    assert all(s.name != MEMORY for path in checkpoints for s in container.read_header(path).sections)


def test_evaluate_shows_network_memory_and_the_file_so_far(tiny_run: TinyRun, run_cllm: RunCllm) -> None:
    done = run_cllm("evaluate", "latest", "--completions", "0", cwd=tiny_run.workspace)
    assert done.returncode == 0, done.stderr
    for words in ("this network", "with its memory ", "with its memory and the file so far", "each file alone"):
        assert words in done.stdout
    done = run_cllm("evaluate", "latest", "--completions=0", "--no-baselines", "--json", cwd=tiny_run.workspace)
    found = json.loads(done.stdout)
    memory = found["memory"]
    assert memory["network"] == pytest.approx(found["bits_per_byte"])
    assert memory["cached"] < memory["static"] < memory["network"]
    groups = [memory[name] for name in ("similar", "novel") if memory[name] is not None]
    assert sum(group["files"] for group in groups) == found["files"]
    assert sum(group["cached"] * group["bytes"] for group in groups) == pytest.approx(memory["cached"] * found["bytes"])


def test_without_a_memory_all_is_as_it_was(tiny_corpus: Path, tiny_run: TinyRun, run_cllm: RunCllm) -> None:
    done = run_cllm("train", tiny_corpus, *TINY_TRAINING, "--epochs=1", "--memory=off", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["memory"] is None
    assert load_memory(Path(result["model"])) is None
    found = json.loads(run_cllm("evaluate", "latest", "--completions=0", "--no-baselines", "--json").stdout)
    assert found["memory"] is None
    refused = run_cllm("forget", "latest", "abc.py")
    assert refused.returncode == 2
    assert "no memory" in refused.stderr


def test_what_is_forgotten_is_as_if_it_had_never_been_there(
    tiny_run: TinyRun, run_cllm: RunCllm, workspace: Path
) -> None:
    listed = run_cllm("forget", tiny_run.model, "--list").stdout.split()
    gone = [listed[1], str(tiny_run.corpus / listed[4])]
    done = run_cllm("forget", tiny_run.model, *gone, "--out", "less.cllm", "--json")
    assert done.returncode == 0, done.stderr
    receipt = json.loads(done.stdout)
    for file in receipt["files"]:
        assert file["before"] < file["after"]
        assert file["before"] < file["network"]
    before, after = load_memory(tiny_run.model), load_memory(workspace / "less.cllm")
    assert before is not None
    assert after is not None
    kept = [d for d, source in enumerate(before.sources) if source.path not in (listed[1], listed[4])]
    assert [s.path for s in after.sources] == [before.sources[d].path for d in kept]
    anew = MemoryIndex.build([before.index.document(d) for d in kept], before.index.end_of_text)
    for name, array in anew.arrays().items():
        assert (after.index.arrays()[name] == array).all()
    again = shlex.split(receipt["train_again"])
    assert again[:2] == ["cllm", "train"]
    assert [again[i + 1] for i, word in enumerate(again) if word == "--without"][:2] == [listed[1], listed[4]]


def test_nothing_is_overwritten_and_unknown_files_are_said(
    tiny_run: TinyRun, run_cllm: RunCllm, workspace: Path
) -> None:
    (workspace / "there.cllm").write_text("mine")
    name = run_cllm("forget", tiny_run.model, "--list").stdout.split()[0]
    done = run_cllm("forget", tiny_run.model, name, "--out", "there.cllm")
    assert done.returncode == 2
    assert "is there already" in done.stderr
    assert (workspace / "there.cllm").read_text() == "mine"
    done = run_cllm("forget", tiny_run.model, "nowhere.py")
    assert done.returncode == 2
    assert "no such file" in done.stderr


def test_the_printed_command_trains_without_the_files(tiny_run: TinyRun, run_cllm: RunCllm, workspace: Path) -> None:
    names = run_cllm("forget", tiny_run.model, "--list").stdout.split()
    done = run_cllm("forget", tiny_run.model, names[0], "--out", workspace / "less.cllm", "--json")
    receipt = json.loads(done.stdout)
    less = load_memory(workspace / "less.cllm")
    assert less is not None
    assert names[0] not in {s.path for s in less.sources}
    trained = run_cllm(*shlex.split(receipt["train_again"])[1:], "--epochs=1", "--json")
    assert trained.returncode == 0, trained.stderr
    model = Path(json.loads(trained.stdout.splitlines()[-1])["model"])
    anew = load_memory(model)
    assert anew is not None
    assert {s.path for s in anew.sources} == {s.path for s in less.sources}


def test_generate_says_where_a_completion_is_from(tiny_run: TinyRun, run_cllm: RunCllm) -> None:
    arguments = ("generate", "latest", "-p", "import ", "--temperature", "0", "--max-tokens", "60", "--provenance")
    done = run_cllm(*arguments, cwd=tiny_run.workspace)
    assert done.returncode == 0, done.stderr
    found = json.loads(run_cllm(*arguments, "--json", cwd=tiny_run.workspace).stdout)
    assert found["text"] == done.stdout
    assert "".join(part["text"] for part in found["provenance"]) == found["text"]
    assert len(done.stderr.splitlines()) == len(found["provenance"])
    alone = json.loads(run_cllm(*arguments[:-1], "--memory=off", "--json", cwd=tiny_run.workspace).stdout)
    assert "provenance" not in alone
    assert alone["settings"]["memory"] == "off"


def test_evaluate_completes_lines_with_and_without_the_memory(tiny_run: TinyRun, run_cllm: RunCllm) -> None:
    arguments = ("evaluate", "latest", "--completions", "6", "--no-baselines")
    found = json.loads(run_cllm(*arguments, "--json", cwd=tiny_run.workspace).stdout)
    assert found["next_line"]["points"] == found["next_line_with_memory"]["points"]
    assert found["next_line"] != found["next_line_with_memory"]
    assert "next line, with memory: " in run_cllm(*arguments, cwd=tiny_run.workspace).stdout


def test_the_listing_begins_a_line_where_it_follows_the_text(tiny_run: TinyRun) -> None:
    arguments = ("generate", "latest", "-p", "import ", "--temperature", "0", "--max-tokens", "3", "--provenance")
    apart = subprocess.run(command_line(*arguments), cwd=tiny_run.workspace, capture_output=True, text=True, check=True)
    assert not apart.stdout.endswith("\n")
    assert apart.stderr.startswith("characters 0 to ")
    together = subprocess.run(
        command_line(*arguments), cwd=tiny_run.workspace, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=True,
    )  # fmt: skip
    assert together.stdout == f"{apart.stdout}\n{apart.stderr}"

"""The completing process as a caller sees it: real lines to a real process, with a model whose text is known."""

from __future__ import annotations

import json
import os
import queue
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from cllm import checkpoint
from cllm.completing import judged
from tests.memorised import LOOP, TEXT, looping, memorised, write_model

GREEDY = {"temperature": 0}


class Process:
    """The process, with what it says by the request it is about."""

    def __init__(self) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "cllm.completing"], text=True, encoding="utf-8", start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.lines.put(json.loads(line))  # would fail at a stray print

    def send(self, **message: Any) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(json.dumps(message) + "\n")
        self.popen.stdin.flush()

    def ask(self, id: str, path: Path, prompt: str, language: str | None = None, **settings: Any) -> None:
        self.send(op="complete", id=id, path=str(path), prompt=prompt, settings=settings, language=language)

    def until_answer(self, id: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Everything that is said before the last reply to a request, and that reply."""
        before = []
        while True:
            reply = self.lines.get(timeout=60)
            if reply["id"] == id and "text" not in reply:
                return before, reply
            before.append(reply)

    def close(self) -> None:
        self.popen.kill()
        self.popen.wait()
        self._reader.join()
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.popen.stdin.close()
        self.popen.stdout.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[Process]:
    process = Process()
    yield process
    assert process.popen.poll() is None, "an error has ended it"
    process.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(memorised(), tmp_path_factory.mktemp("models") / "memorised.cllm")


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(looping(), tmp_path_factory.mktemp("models") / "looping.cllm")


def test_pieces_add_up_to_the_text(shared: Process, model: Path) -> None:
    shared.ask("a", model, "import os\n", "python", **GREEDY)
    pieces, answer = shared.until_answer("a")
    done = answer["done"]
    assert "".join(piece["text"] for piece in pieces) == done["text"] == TEXT.removeprefix("import os\n")
    assert "naïve → slow" in done["text"]
    assert (done["finish_reason"], done["syntax"]) == ("end", {"valid": True, "why": "parses"})
    assert done["tokens"] > 50 and done["tokens_per_s"] > 0 and done["prefill_s"] > 0 and done["seed"] >= 0


def test_a_model_stays_loaded_until_its_file_changes(shared: Process, tmp_path: Path) -> None:
    path = write_model(memorised(), tmp_path / "mine.cllm")
    texts, loads = [], []
    for turn in range(3):
        if turn == 2:
            write_model(looping(), path)
        shared.ask(f"b{turn}", path, "", max_tokens=5, **GREEDY)
        done = shared.until_answer(f"b{turn}")[1]["done"]
        texts.append(done["text"])
        loads.append(done["load_s"])
    assert TEXT.startswith(texts[0]) and texts[1] == texts[0]
    assert LOOP.startswith(texts[2])
    assert loads[1] < loads[0] / 4 and loads[1] < loads[2] / 4


def test_what_cannot_be_done_is_one_line(shared: Process, model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.cllm").write_text("not a model")
    shared.ask("c1", tmp_path / "none.cllm", "x")
    shared.ask("c2", tmp_path / "text.cllm", "x")
    shared.ask("c3", tmp_path, "x")
    shared.ask("c4", Path(f"/{'x' * 300}.cllm"), "x")
    shared.ask("c5", Path("a\0b.cllm"), "x")
    shared.ask("c6", model, "x", temperature=-1)
    shared.ask("c7", model, "x", warmth=1)
    shared.ask("c8", model, "\ud800")
    expected = [
        "No such file",
        "text.cllm",
        "directory",
        "too long",
        "null byte",
        "temperature = -1",
        "warmth",
        "UTF-8",
    ]
    for number, part in enumerate(expected, start=1):
        error = shared.until_answer(f"c{number}")[1]["error"]
        assert part in error and "\n" not in error
    shared.ask("c9", model, "import ", max_tokens=1, **GREEDY)
    assert shared.until_answer("c9")[1]["done"]["text"] == "os"


def test_prompts_wait_and_can_be_cancelled(shared: Process, endless: Path) -> None:
    shared.ask("d1", endless, "while ", max_tokens=1_000_000, dry_multiplier=0)
    shared.ask("d2", endless, "while ", max_tokens=1_000_000, dry_multiplier=0)
    shared.ask("d3", endless, "while ", max_tokens=3)
    first = shared.lines.get(timeout=60)
    assert first["id"] == "d1"
    shared.send(op="cancel", id="unknown")
    shared.send(op="cancel", id="d2")
    begin = time.monotonic()
    shared.send(op="cancel", id="d1")
    replies, _ = shared.until_answer("d3")
    assert time.monotonic() - begin < 5  # a million tokens take minutes
    assert "d2" not in {reply["id"] for reply in replies}
    assert all("text" in reply for reply in replies)


def test_pieces_come_while_the_text_is_made_but_not_one_for_each_token(shared: Process, endless: Path) -> None:
    shared.ask("e", endless, "while ", max_tokens=2000, dry_multiplier=0, **GREEDY)
    pieces, answer = shared.until_answer("e")
    begin_to_end_s = 2000 / answer["done"]["tokens_per_s"]
    assert 3 < len(pieces) < 31 * (begin_to_end_s + 1) + 2 < 2000


def test_a_long_prompt_has_its_end_completed(shared: Process, model: Path) -> None:
    prompt = "# é\n" * 50_000 + TEXT[:200]
    assert len(prompt.encode()) > 200_000
    shared.ask("f", model, prompt, "python", max_tokens=4, **GREEDY)
    assert TEXT.startswith(TEXT[:200] + shared.until_answer("f")[1]["done"]["text"])


def test_it_ends_when_its_input_does_also_in_the_middle(endless: Path) -> None:
    process = Process()
    try:
        process.ask("g", endless, "while ", max_tokens=1_000_000, dry_multiplier=0)
        process.lines.get(timeout=60)
        assert process.popen.stdin is not None
        process.popen.stdin.close()
        assert process.popen.wait(timeout=10) == 0
    finally:
        process.close()


def test_a_model_without_room_is_an_error_and_the_process_goes_on(model: Path, tmp_path: Path) -> None:
    loaded = memorised()
    large = tmp_path / "large.cllm"
    checkpoint.write(large, loaded.header, {"x": torch.zeros(1 << 24)}, loaded.tokenizer.to_json())
    process = Process()
    try:
        process.ask("i1", model, "import ", max_tokens=1, **GREEDY)
        process.until_answer("i1")
        room = psutil.Process(process.popen.pid).memory_info().vms + large.stat().st_size // 2
        resource.prlimit(process.popen.pid, resource.RLIMIT_AS, (room, room))
        process.ask("i2", large, "import ")
        assert "large.cllm needs more memory than is free" in process.until_answer("i2")[1]["error"]
        process.ask("i3", model, "import ", max_tokens=1, **GREEDY)
        assert process.until_answer("i3")[1]["done"]["text"] == "os"
    finally:
        process.close()


def test_what_nobody_expects_ends_it_with_a_traceback() -> None:
    process = Process()
    try:
        process.send(op="complete", id="j", path="x", prompt="x", settings=None, language=None)
        assert process.popen.wait(timeout=60) == 1  # not aborted
    finally:
        process.close()


def test_it_steps_back_behind_a_training(shared: Process, model: Path) -> None:
    shared.ask("h", model, "", max_tokens=1)
    shared.until_answer("h")
    assert os.getpriority(os.PRIO_PROCESS, shared.popen.pid) > os.getpriority(os.PRIO_PROCESS, 0)
    if (autogroup := Path(f"/proc/{shared.popen.pid}/autogroup")).exists():
        assert autogroup.read_text().split()[-1] != "0"


@pytest.mark.parametrize(
    ("language", "prompt", "text", "valid", "why"),
    [
        ("python", "def f():\n", "    return 1\n", True, "parses"),
        ("python", "def f():\n", "    return )\nx\n", False, "line 1"),
        ("python", "x = 1\n", "  \n", None, "no whole statement"),
        ("c", "int f(void) {\n", "  return 1;\n}\n", True, "parses"),
        ("c", "int f(void) {\n", "  retu", None, "no whole statement"),
        ("rust", "fn f() {", "}\n", None, "only C and Python"),
        (None, "x", "y", None, "only C and Python"),
    ],
)
def test_verdicts(language: str | None, prompt: str, text: str, valid: bool | None, why: str) -> None:
    verdict = judged(language, prompt, text)
    assert verdict["valid"] is valid and why in verdict["why"]

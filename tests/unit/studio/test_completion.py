"""The studio's side of completions, with the real process behind it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import psutil
import pytest

from cllm.studio import completion
from cllm.studio.completion import CompletionService
from tests.memorised import TEXT, looping, memorised, write_model

GREEDY = {"temperature": 0}
ENDLESS = {"max_tokens": 1_000_000, "dry_multiplier": 0}

Scenario = Callable[[CompletionService], Coroutine[Any, Any, None]]


def run(scenario: Scenario, idle_s: float = 300) -> None:
    """The scenario in an event loop of its own; afterwards no process of it may be left."""
    before = set(psutil.Process().children())  # such as multiprocessing's, of another test

    async def all_of_it() -> None:
        service = CompletionService(idle_s)
        try:
            await scenario(service)
        finally:
            await service.close()
        assert not set(psutil.Process().children()) - before

    asyncio.run(asyncio.wait_for(all_of_it(), 120))


async def whole(
    service: CompletionService, path: Path, prompt: str, settings: dict[str, Any], language: str | None = None
) -> tuple[list[str], dict[str, Any]]:
    """The pieces and the last reply."""
    replies = [reply async for reply in service.complete(path, prompt, settings, language)]
    return [reply["text"] for reply in replies[:-1]], replies[-1]


async def eventually(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(memorised(), tmp_path_factory.mktemp("models") / "memorised.cllm")


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(looping(), tmp_path_factory.mktemp("models") / "looping.cllm")


def test_one_process_answers_everyone_in_turn(model: Path, tmp_path: Path) -> None:
    async def scenario(service: CompletionService) -> None:
        assert service.pid is None  # only when it is needed
        prompts = ["", "import os\n", TEXT[:60]]
        answers = await asyncio.gather(*(whole(service, model, prompt, GREEDY, "python") for prompt in prompts))
        for prompt, (pieces, last) in zip(prompts, answers, strict=True):
            assert prompt + "".join(pieces) == prompt + last["done"]["text"] == TEXT
            assert last["done"]["syntax"] == {"valid": True, "why": "parses"}
        pid = service.pid
        assert (await whole(service, tmp_path / "none.cllm", "", {}))[1].keys() == {"error"}
        assert "temperature = 'hot'" in (await whole(service, model, "", {"temperature": "hot"}))[1]["error"]
        long = "x = 'ö'\n" * 40_000
        pieces, last = await whole(service, model, long, {"max_tokens": 4})
        assert "".join(pieces) == last["done"]["text"] and last["done"]["syntax"]["valid"] is None
        assert service.pid == pid

    run(scenario)


def test_who_goes_away_is_no_longer_worked_for(model: Path, endless: Path) -> None:
    async def reads_one(service: CompletionService) -> None:
        async with aclosing(service.complete(endless, "while ", ENDLESS, None)) as replies:
            async for _ in replies:
                break

    async def is_interrupted(service: CompletionService) -> None:
        begun = asyncio.Event()

        async def read_all() -> None:
            async for _ in service.complete(endless, "while ", ENDLESS, None):
                begun.set()

        task = asyncio.create_task(read_all())
        await begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def is_interrupted_at_once(service: CompletionService) -> None:
        task = asyncio.create_task(whole(service, endless, "while ", ENDLESS))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def scenario(service: CompletionService) -> None:
        ways: list[Callable[[CompletionService], Awaitable[None]]]
        ways = [is_interrupted_at_once, reads_one, is_interrupted]
        for leave in ways:
            await leave(service)
        begin = time.monotonic()
        assert (await whole(service, model, "import ", {**GREEDY, "max_tokens": 1}))[1]["done"]["text"] == "os"
        assert time.monotonic() - begin < 10  # not after a million tokens

    run(scenario)


def test_a_killed_process_is_one_clear_error_and_the_next_request_works(model: Path, endless: Path) -> None:
    async def scenario(service: CompletionService) -> None:
        replies = service.complete(endless, "while ", ENDLESS, None)
        await anext(replies)
        first_pid = service.pid
        assert first_pid is not None
        os.kill(first_pid, signal.SIGKILL)
        error = [reply async for reply in replies][-1]["error"]
        assert "SIGKILL" in error and "\n" not in error
        assert service.pid is None
        assert (await whole(service, model, "import ", {**GREEDY, "max_tokens": 1}))[1]["done"]["text"] == "os"
        assert service.pid not in (None, first_pid)

    run(scenario)


def test_it_ends_when_it_was_not_needed_for_a_while_but_not_before(model: Path, endless: Path) -> None:
    idle_s = 1.0
    short = {"max_tokens": 1}

    async def scenario(service: CompletionService) -> None:
        await whole(service, model, "", short)
        pid = service.pid
        assert pid is not None
        await asyncio.sleep(0.7 * idle_s)
        first = asyncio.create_task(whole(service, model, "", short))
        await asyncio.sleep(0)
        begin = time.monotonic()
        async with aclosing(service.complete(endless, "while ", ENDLESS, None)) as replies:  # waits for the first
            async for _ in replies:
                if time.monotonic() - begin > 1.5 * idle_s:
                    break
        assert (await first)[1].keys() == {"done"}
        await asyncio.sleep(0.7 * idle_s)
        await whole(service, model, "", short)
        await asyncio.sleep(0.7 * idle_s)
        assert service.pid == pid
        await eventually(lambda: service.pid is None)
        await eventually(lambda: not psutil.pid_exists(pid))
        assert (await whole(service, model, "", short))[1].keys() == {"done"}

    run(scenario, idle_s)


def test_closing_ends_what_is_under_way_and_starts_nothing_new(endless: Path) -> None:
    async def scenario(service: CompletionService) -> None:
        replies = service.complete(endless, "while ", ENDLESS, None)
        await anext(replies)
        await service.close()
        rest = [reply async for reply in replies]
        assert "ending" in rest[-1]["error"]
        assert "ending" in (await whole(service, endless, "", {}))[1]["error"]

    run(scenario)


def test_a_text_too_long_for_a_line_is_an_error(endless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "_LONGEST_LINE", 1 << 12)

    async def scenario(service: CompletionService) -> None:
        assert (
            "set fewer tokens"
            in (await whole(service, endless, "", {"max_tokens": 3000, "dry_multiplier": 0}))[1]["error"]
        )
        assert (await whole(service, endless, "", {"max_tokens": 3}))[1].keys() == {"done"}

    run(scenario)


def test_the_server_stays_small() -> None:
    program = "import sys, cllm.studio.completion as c; print(*{'torch', 'numpy', 'tokenizers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

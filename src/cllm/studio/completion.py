"""Completions for the studio, by a process of its own (`cllm.completing`): the server itself never loads torch."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

_LONGEST_LINE = 1 << 26  # bytes; the last line holds the whole text
_IDLE_S = 300.0


class CompletionService:
    """Starts the process when it is needed, again if it died, and ends it when it was not needed for `idle_s`."""

    def __init__(self, idle_s: float = _IDLE_S) -> None:
        self._idle_s = idle_s
        self._worker: _Worker | None = None
        self._starting = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None
        self._requests = 0
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process, if there is one."""
        return None if self._worker is None or self._worker.ended else self._worker.pid

    async def complete(
        self, path: Path, prompt: str, settings: dict[str, Any], language: str | None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yields `{"text": piece}`..., and at last `{"done": {...}}` or `{"error": one line}`.

        Closing the iterator (`contextlib.aclosing`) before its end cancels the completion. `settings` are those of
        `SamplingSettings`, not yet validated; of languages only "c" and "python" give a verdict in `done.syntax`.
        """
        self._requests += 1
        request = str(self._requests)
        try:
            worker = await self._running()
        except OSError as error:
            yield {"error": f"the process that completes cannot be started ({error.strerror}): try again later"}
            return
        replies = worker.open(request)
        try:
            worker.send(op="complete", id=request, path=str(path), prompt=prompt, settings=settings, language=language)
            while True:
                reply = await replies.get()
                yield reply
                if "text" not in reply:
                    return
        finally:
            worker.close(request)
            self._wait_idly()

    async def close(self) -> None:
        """End the process, and with it what it is completing."""
        self._closed = True
        if self._idle is not None:
            self._idle.cancel()
        async with self._starting:
            if self._worker is not None:
                self._worker.end("the studio is ending")
                await self._worker.gone

    async def _running(self) -> _Worker:
        """The process, started if there is none. Raises `OSError`."""
        async with self._starting:
            if self._closed:
                raise OSError(0, "the studio is ending")
            if self._idle is not None:
                self._idle.cancel()
            if self._worker is None or self._worker.ended:
                self._worker = await _Worker.start()
            return self._worker

    def _wait_idly(self) -> None:
        """End the process some time from now, if nothing comes until then."""
        if self._idle is not None:
            self._idle.cancel()
        if not self._closed:
            self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._end_if_idle)

    def _end_if_idle(self) -> None:
        if self._worker is not None and not self._worker.busy:
            self._worker.end("it was not needed any more")


class _Worker:
    """One process, and who waits for its replies."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.ended = False
        self._process = process
        self._replies: dict[str, asyncio.Queue[dict[str, Any]]] = {}
        self.gone = asyncio.create_task(self._distribute())

    @classmethod
    async def start(cls) -> _Worker:
        """Raises `OSError`."""
        return cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "cllm.completing"),  # -P: a json.py of the user's must not be imported
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LONGEST_LINE,
                start_new_session=True,  # Ctrl-C in the terminal is for the studio, which then ends it
            )
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def busy(self) -> bool:
        return bool(self._replies)

    def open(self, request: str) -> asyncio.Queue[dict[str, Any]]:
        """Where the replies to a request will be."""
        self._replies[request] = asyncio.Queue()
        return self._replies[request]

    def close(self, request: str) -> None:
        """Forget a request; what is not yet answered is cancelled."""
        if self._replies.pop(request, None) is not None:
            self.send(op="cancel", id=request)

    def send(self, **message: Any) -> None:
        """Never waits; a process that is gone is seen by `_distribute`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    def end(self, reason: str) -> None:
        """End the process now: it holds nothing that is worth keeping."""
        self._fail(reason)
        if self._process.returncode is None:
            self._process.kill()

    async def _distribute(self) -> None:
        """Hand out replies until the process ends."""
        assert self._process.stdout is not None
        try:
            async for line in self._process.stdout:
                self._hand_out(json.loads(line))
        except ValueError:  # a line is too long
            self.end(f"the text is longer than {_LONGEST_LINE >> 20} MiB: set fewer tokens")
        self.ended = True
        self._fail(_last_words(await self._process.wait()))

    def _hand_out(self, reply: dict[str, Any]) -> None:
        request = reply.pop("id")
        if (replies := self._replies.get(request)) is not None:
            replies.put_nowait(reply)
            if "text" not in reply:
                del self._replies[request]

    def _fail(self, reason: str) -> None:
        self.ended = True
        for replies in self._replies.values():
            replies.put_nowait({"error": reason})
        self._replies.clear()


def _last_words(returncode: int) -> str:
    how = f"was ended by {signal.Signals(-returncode).name}" if returncode < 0 else f"failed with status {returncode}"
    return f"the process that completes {how}: try again; if memory is short, choose a smaller model"

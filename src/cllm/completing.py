"""`python -m cllm.completing`: completions for another process, which then need not load torch.

JSON lines on standard input:

    {"id", "op": "complete", "path": of a .cllm file, "prompt", "settings": of sampling, "language": name or null}
    {"id", "op": "cancel"}

and on standard output, with the id of what they answer:

    {"id", "text"}                      pieces of the completion, at most 30 a second
    {"id", "done": {text, tokens, tokens_per_s, prefill_s, finish_reason, seed, load_s, syntax: {valid, why},
                                 provenance: as `cllm.memory.provenance.parts`, null without a memory}}
    {"id", "error"}                     one line that says what to do

Prompts are completed one after the other. A cancelled one gets no answer any more. The last model stays loaded, until
its file changes. The process ends when standard input does.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

import torch

from cllm.checkpoint import load_model
from cllm.errors import CllmError, InvalidCheckpoint
from cllm.evaluation import syntax
from cllm.evaluation.scan import Language
from cllm.inference.completer import Completer, Generation
from cllm.memory.store import load_memory
from cllm.settings import SamplingSettings, validated

_NICENESS = 5  # about a third of a processor where a training wants all of them
_PIECE_S = 1 / 30  # between pieces: sooner is not seen, and each costs the reader time
_GRAMMARS: dict[str | None, Language] = {"python": "python", "c": "c"}


class _Request:
    """A prompt to complete; `cancel` may be called from any thread at any time."""

    def __init__(self, message: dict[str, Any]) -> None:
        self.id: str = message["id"]
        self.path = Path(message["path"])
        self.prompt: str = message["prompt"]
        self.settings: dict[str, Any] = message["settings"]
        self.language: str | None = message["language"]
        self.cancelled = False
        self._generation: Generation | None = None

    def cancel(self) -> None:
        self.cancelled = True
        if self._generation is not None:
            self._generation.cancel()

    def is_made_by(self, generation: Generation) -> None:
        """What to stop on `cancel`."""
        self._generation = generation
        if self.cancelled:
            generation.cancel()


class _FileState(NamedTuple):
    """What tells whether a model's file is still the one that was loaded."""

    path: Path
    mtime_ns: int
    size: int


@dataclass(frozen=True)
class _Kept:
    state: _FileState
    completer: Completer


class Service:
    """Completes what is in `requests`, in that order."""

    def __init__(self, requests: queue.SimpleQueue[_Request], reply: Callable[[dict[str, Any]], None]) -> None:
        self._requests, self._reply = requests, reply
        self._kept: _Kept | None = None

    def run(self) -> NoReturn:
        while True:
            self._answer(self._requests.get())

    def _answer(self, request: _Request) -> None:
        try:
            done = self._complete(request)
            answer = {"id": request.id, "done": done}
        except CllmError as error:
            answer = {"id": request.id, "error": str(error)}
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
                raise
            self._kept = None
            problem = f"{request.path.name} needs more memory than is free: close programs, or choose a smaller model"
            answer = {"id": request.id, "error": problem}
        if not request.cancelled:
            self._reply(answer)

    def _complete(self, request: _Request) -> dict[str, Any] | None:
        """The completion, its pieces already sent; None if it was cancelled."""
        settings = validated(SamplingSettings, request.settings)
        begin = time.perf_counter()
        completer = self._completer(request.path) if not request.cancelled else None
        load_s = time.perf_counter() - begin
        if completer is None or request.cancelled:
            return None
        generation = completer.stream(request.prompt, settings)
        request.is_made_by(generation)
        self._send_pieces(request, generation)
        if request.cancelled:
            return None
        completion = generation.completion
        return {
            "text": completion.text,
            "tokens": completion.tokens,
            "tokens_per_s": round(completion.tokens_per_s, 1),
            "prefill_s": round(completion.prefill_s, 4),
            "finish_reason": completion.finish_reason,
            "seed": completion.seed,
            "load_s": round(load_s, 3),
            "provenance": None if completer.memory is None else completer.provenance(completion),
            "syntax": judged(request.language, request.prompt, completion.text),
        }

    def _send_pieces(self, request: _Request, generation: Generation) -> None:
        held: list[str] = []
        sent_at = -_PIECE_S
        for piece in generation:
            held.append(piece)
            now = time.perf_counter()
            if now - sent_at >= _PIECE_S and not request.cancelled:
                self._reply({"id": request.id, "text": "".join(held)})
                held, sent_at = [], now
        if held and not request.cancelled:
            self._reply({"id": request.id, "text": "".join(held)})

    def _completer(self, path: Path) -> Completer:
        """The model in a file, from memory if the file has not changed since. Raises `InvalidCheckpoint`."""
        try:
            stat = path.stat()
            state = _FileState(path, stat.st_mtime_ns, stat.st_size)
            if self._kept is None or self._kept.state != state:
                self._kept = None  # first: there may be no room for two
                self._kept = _Kept(state, Completer(load_model(path), load_memory(path)))
        except (OSError, ValueError) as error:
            raise InvalidCheckpoint(f"{path}: it cannot be read ({error}); choose another model") from error
        return self._kept.completer


def judged(language: str | None, prompt: str, text: str) -> dict[str, Any]:
    """`{valid, why}`: whether a completion parses; `valid` is None where that cannot be said."""
    grammar = _GRAMMARS.get(language)
    if grammar is None:
        return {"valid": None, "why": "only C and Python are judged"}
    verdict = syntax.verdict(grammar, prompt, text)
    return {"valid": None if verdict == syntax.UNFINISHED else verdict.valid, "why": verdict.why}


class Reader:
    """Takes requests, and their cancellations, while another thread completes."""

    def __init__(self, requests: queue.SimpleQueue[_Request]) -> None:
        self._requests = requests
        # Weak: a request that was answered is forgotten, and with it the memory of what its model has seen.
        self._open: weakref.WeakValueDictionary[str, _Request] = weakref.WeakValueDictionary()

    def run(self, stream: BinaryIO) -> NoReturn:
        """Read until the stream ends, and the process with it: whatever is being made then is for nobody."""
        for line in stream:
            self._take(json.loads(line))
        os._exit(0)

    def _take(self, message: dict[str, Any]) -> None:
        if message["op"] == "cancel":
            if (request := self._open.get(message["id"])) is not None:
                request.cancel()
        else:
            request = self._open[message["id"]] = _Request(message)
            self._requests.put(request)


def _step_back() -> None:
    """Leave the processors to a training where it wants them."""
    os.nice(_NICENESS)
    if os.getsid(0) == os.getpid():  # where Linux shares time between sessions first, niceness counts only inside one
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(_NICENESS))


def main() -> None:
    """Entry point."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the replies

    def reply(message: dict[str, Any]) -> None:
        replies.write(json.dumps(message).encode() + b"\n")
        replies.flush()

    _step_back()
    torch.set_num_threads(1)  # one token at a time is too little work to share
    requests: queue.SimpleQueue[_Request] = queue.SimpleQueue()
    threading.Thread(target=Reader(requests).run, args=(sys.stdin.buffer,), daemon=True, name="requests").start()
    status = 0
    try:
        Service(requests, reply).run()
    except BrokenPipeError:  # nobody listens any more
        pass
    except BaseException:
        traceback.print_exc()
        status = 1
    os._exit(status)  # the other thread is inside standard input, where Python's own end would abort


if __name__ == "__main__":
    main()

"""torch.compile of a training's forward and backward pass: one layer without attention, which serves all, and the loss.

That takes half the time of compiling the whole model, and runs as fast (docs/speed.md). `kernels` has the cache.
"""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path

import torch

from cllm.model.transformer import PLAIN, Parts, Transformer
from cllm.training import lifeline
from cllm.training.kernels import TORCH_VARIABLE, KernelCache, Shape, cache_directory, kernel_directory

POLL_S = 0.05


def load_compiler() -> None:
    """Import what torch.compile needs, which takes seconds."""
    import torch._dynamo
    import torch._inductor.compile_fx  # noqa: F401


def keep_headers_private() -> None:
    """Have torch precompile its headers beside the kernels, not below a name in /tmp that anybody can take first."""
    from torch._inductor import codecache

    if kernels := os.environ.get(TORCH_VARIABLE):
        headers = Path(kernels).parent / "headers"
        headers.mkdir(mode=0o700, exist_ok=True)
        codecache._HEADER_DIR, codecache._HEADER_LOCK_DIR = str(headers), str(headers / "locks")


def compiled_parts() -> Parts:
    """What makes a model run compiled code, of any weights of one shape."""
    compiled = functools.partial(torch.compile, dynamic=False)
    return Parts(compiled(PLAIN.project), compiled(PLAIN.finish), compiled(PLAIN.loss))


def fill(shape: Shape) -> None:
    """Compile all of `shape`, by a forward and backward pass of one layer; torch's cache keeps it."""
    torch.set_num_threads(shape.threads)
    load_compiler()
    keep_headers_private()
    model = Transformer(shape.model, torch.bfloat16 if shape.precision == "bf16" else torch.float32)
    model.initialise(0)
    ids = torch.zeros(shape.windows, shape.model.context, dtype=torch.int64)
    starts = torch.zeros_like(ids, dtype=torch.bool)
    model(ids, ids, starts, compiled_parts(), shape.dropout).backward()


class Kernels:
    """What a rank knows of the kernels of its shape: whether the supervisor's process has made them."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        told = os.environ.get(lifeline.COMPILED)
        self._outcome = None if told is None else Path(told)

    @property
    def ready(self) -> bool | None:
        """Whether they can be loaded; None while they are being made."""
        if self._outcome is None:
            return True
        try:
            return self._outcome.read_text() == "yes"
        except FileNotFoundError:
            return None

    def wait(self) -> bool:
        """`ready`, as soon as that is known."""
        while (known := self.ready) is None:
            time.sleep(POLL_S)
        return known

    def load(self) -> Parts:
        """The compiled parts; torch looks for their kernels in the cache when they are first called."""
        if self._outcome is not None:
            directory = kernel_directory(KernelCache(cache_directory()), self._shape, self._outcome)
            os.environ[TORCH_VARIABLE] = str(directory)
        load_compiler()
        keep_headers_private()
        return compiled_parts()

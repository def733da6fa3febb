"""The cache of what torch.compile made, and the process that fills it before the ranks need it. Without torch.

The kernels of a shape lie in a directory of their own in the user's cache, which nobody else may enter: whoever can
write there can have code run. All ranks and all later runs load them from there. `compiling` makes and uses them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from cllm.machine import processor_model
from cllm.model import config
from cllm.model.config import ModelConfig
from cllm.storage import write_bytes
from cllm.training.lifeline import Worker
from cllm.training.plan import Plan

MOST_BYTES = 512 << 20  # that the kernels of all shapes may take; one takes about 3 MB
IN_USE_S = 86_400.0  # since a shape was last used, in which it is not removed
CACHE_VARIABLE = "CLLM_CACHE"  # names another place for the cache
TORCH_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"  # where torch keeps all that it compiles


class Shape(BaseModel):
    """All that the compiled code depends on, but for the machine and the libraries; not the number of layers."""

    model_config = ConfigDict(frozen=True)

    model: ModelConfig  # of one layer
    windows: int  # of a microbatch
    precision: str
    threads: int  # of a rank
    dropout: float = 0.0

    @staticmethod
    def of(plan: Plan) -> Shape:
        """What the ranks of `plan` compile."""
        return Shape(
            model=plan.model.model_copy(update={"layers": 1, "reach": ()}),
            windows=plan.windows_per_microbatch,
            precision=plan.precision,
            threads=plan.threads_per_rank,
            dropout=plan.dropout,
        )

    @property
    def key(self) -> str:
        """Names the directory: of the layer, the machine, and the versions of what makes the code."""
        sources = [Path(__file__).with_name("compiling.py"), Path(config.__file__).with_name("transformer.py")]
        facts = (
            self.model.model_copy(update={"vocabulary": 2}).model_dump_json(),
            f"{self.windows} {self.precision} {self.threads} {self.dropout}",
            f"{processor_model()} {sys.version} {version('torch')}",
            # torch finds again only what was compiled from the same place: for another copy of CLLM all is to be made.
            *(f"{source.resolve()} {hashlib.sha256(source.read_bytes()).hexdigest()}" for source in sources),
        )
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:24]


def cache_directory() -> Path:
    """Where compiled kernels are kept: `$CLLM_CACHE`, or below the user's cache directory."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named) / "compiled"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "cllm" / "compiled"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cllm" / "compiled"


def _is_private(directory: Path) -> bool:
    """Whether `directory` is a real one of this user's, which nobody else may enter or write to."""
    status = os.lstat(directory)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077


class KernelCache:
    """The compiled kernels of all shapes in `root`. Where that cannot be a private directory, nothing is cached."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def directory(self, shape: Shape) -> Path | None:
        """The directory of `shape`, made if it is not there; None where there can be none that is private."""
        path = self._root / shape.key
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
            return path if _is_private(self._root) and _is_private(path) else None
        except (OSError, RuntimeError):  # no home, a full disk, a file in the way
            return None

    def is_complete(self, shape: Shape) -> bool:
        """Whether everything of `shape` has been compiled."""
        path = self._root / shape.key
        try:
            return _is_private(self._root) and _is_private(path) and (path / _mark(shape)).is_file()
        except OSError:
            return False

    def complete(self, shape: Shape) -> None:
        """Note that everything of `shape` has been compiled."""
        if (path := self.directory(shape)) is not None:
            with contextlib.suppress(OSError):  # a full disk: it will be compiled again
                (path / _mark(shape)).touch()

    def used(self, shape: Shape) -> None:
        """Note that `shape` is used now, and make room: the shapes that were not used for longest go."""
        path = self.directory(shape)
        if path is not None:
            with contextlib.suppress(OSError):  # another run may be making room at the same time
                os.utime(path)
                self._make_room()

    def _make_room(self) -> None:
        sizes = {p: _size(p) for p in self._root.iterdir() if p.is_dir() and not p.is_symlink()}
        total = sum(sizes.values())
        for old in sorted(sizes, key=lambda p: p.stat().st_mtime):
            if total <= MOST_BYTES or old.stat().st_mtime > time.time() - IN_USE_S:
                break
            shutil.rmtree(old, ignore_errors=True)
            total -= sizes[old]


def _mark(shape: Shape) -> str:
    return f"complete-{shape.model.vocabulary}"


def _size(directory: Path) -> int:
    return sum(p.lstat().st_size for p in directory.rglob("*"))


class Precompiler:
    """At most one process that compiles a shape, and the file by which the ranks learn how that ended.

    The file says "yes" once everything is in the cache, "no" when it cannot be compiled here.
    """

    def __init__(self, cache: KernelCache, outcome: Path, start: Callable[[Shape, Path], Worker]) -> None:
        """`start` starts the process that compiles a shape into a directory; its `kill` ends those it has started."""
        self._cache, self._outcome, self._start = cache, outcome, start
        self._shape: Shape | None = None
        self.process: Worker | None = None

    def want(self, shape: Shape | None) -> None:
        """Have `shape` compiled if it is not; what is being compiled for another one is given up. None: nothing."""
        if shape == self._shape:
            return
        self.kill()
        self._outcome.unlink(missing_ok=True)
        self._shape = shape
        if shape is None:
            return
        self._cache.used(shape)
        if self._cache.is_complete(shape):
            self._tell("yes")
        else:
            self.process = self._start(shape, kernel_directory(self._cache, shape, self._outcome))

    def poll(self) -> None:
        """Tell the ranks if the process has ended."""
        if self.process is None or (code := self.process.poll()) is None:
            return
        self.process = None
        assert self._shape is not None
        if code == 0:
            self._cache.complete(self._shape)
        self._tell("yes" if code == 0 else "no")

    def kill(self) -> None:
        """End the process, if there is one, with those that it has started."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _tell(self, word: str) -> None:
        write_bytes(self._outcome, word.encode())


def kernel_directory(cache: KernelCache, shape: Shape, outcome: Path) -> Path:
    """Where the kernels of `shape` lie: in the cache, or where that is not private, beside the run's `outcome`."""
    return cache.directory(shape) or outcome.with_name("kernels")

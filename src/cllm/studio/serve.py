"""Serving the studio: one for each workspace, at an address that stays the same when it is started again.

Token and port are kept in `runs/.studio.json` (readable by its owner only), so that an open page finds a restarted
server by itself and is let in.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import uvicorn

from cllm.errors import InvalidInput
from cllm.storage import atomic_writer
from cllm.studio.access import is_loopback
from cllm.studio.app import create_app
from cllm.studio.roots import Roots
from cllm.workspace import Workspace

DEFAULT_PORT = 8020
_PORTS_TRIED = 50


@dataclass(frozen=True)
class Address:
    """Where a studio is, or was last, and the token that it asks for."""

    host: str
    port: int
    token: str
    pid: int = 0
    started: float = 0.0  # of the process, in seconds since the epoch; guards against a pid that is used again

    @property
    def url(self) -> str:
        """The address to open, with the token."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "") else self.host  # noqa: S104 - it is only shown
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/?token={self.token}"

    @property
    def is_served(self) -> bool:
        """Whether the process that wrote it still runs."""
        try:
            return self.pid > 0 and abs(psutil.Process(self.pid).create_time() - self.started) < 1
        except psutil.Error:
            return False


def last_address(workspace: Workspace) -> Address | None:
    """The address of the workspace's studio; None if there never was one."""
    try:
        return Address(**json.loads(workspace.studio.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def keep_address(workspace: Workspace, address: Address) -> None:
    """Write it where only its owner can read it."""
    workspace.runs.mkdir(parents=True, exist_ok=True)
    with atomic_writer(workspace.studio) as stream:
        os.fchmod(stream.fileno(), 0o600)
        stream.write(json.dumps(asdict(address)).encode())


def listen(host: str, port: int | None, preferred: int = DEFAULT_PORT) -> socket.socket:
    """A listening socket: at `port`, or if None at the first free one from `preferred` on. Raises `InvalidInput`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    problem: OSError | None = None
    for candidate in [port] if port is not None else range(preferred, preferred + _PORTS_TRIED):
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            listener.listen(128)
        except (OSError, OverflowError) as error:
            listener.close()
            if isinstance(error, OverflowError):
                raise InvalidInput(f"port = {candidate}: ports go from 1 to 65535") from error
            problem = error
            continue
        return listener
    raise InvalidInput(f"cannot listen at {host}, port {port or preferred}: {problem and problem.strerror}")


def open_studio(
    workspace: Workspace, roots: list[Path], host: str, port: int | None, hosts: tuple[str, ...]
) -> tuple[Address, uvicorn.Server, socket.socket]:
    """A server that is ready to run, and its address, which is then on record. Raises `InvalidInput`."""
    last = last_address(workspace)
    listener = listen(host, port, last.port if last else DEFAULT_PORT)
    own = psutil.Process()
    token = last.token if last else secrets.token_urlsafe(24)
    address = Address(host, listener.getsockname()[1], token, own.pid, own.create_time())
    keep_address(workspace, address)
    names = frozenset(name.lower() for name in (*hosts, *(() if is_loopback(host) else (host,))))
    app = create_app(workspace, Roots([workspace.root, *roots]), token, names)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="websockets-sansio",
        ws_max_size=1 << 16,
        ws_per_message_deflate=False,  # costs more than it saves on loopback
        timeout_graceful_shutdown=1,  # an open page's websocket would else keep a stopped server
    )
    return address, uvicorn.Server(config), listener

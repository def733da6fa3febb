"""The append-only store of one run: its events, and the commands sent to it.

SQLite in WAL mode: any number of readers beside the one writer, nothing lost by `kill -9`, and a power cut costs at
most the last events. Events are numbered from 1 without gaps, so that a reader can ask for "all since n".
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cllm.storage import full_disk_is_an_error_of_ours

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_by_kind ON events (kind, seq);
CREATE TABLE IF NOT EXISTS commands (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, name TEXT NOT NULL, taken REAL);
"""


@dataclass(frozen=True)
class Event:
    """One thing that happened. `time` is seconds since the epoch; `data` is plain JSON. Kinds: `cllm.events`."""

    seq: int
    time: float
    kind: str
    data: dict[str, Any]

    def as_json(self) -> str:
        """One line: the event's kind and time beside its data."""
        return json.dumps(
            {"event": self.kind, "seq": self.seq, "time": round(self.time, 3), **self.data}, ensure_ascii=False
        )


class RunStore:
    """Events and commands of one run. Each process opens its own; `path` is made if it is not there."""

    def __init__(self, path: Path, readonly: bool = False) -> None:
        if readonly:
            self._db = sqlite3.connect(
                f"{Path(path).resolve().as_uri()}?mode=ro",
                uri=True,
                timeout=30,
                isolation_level=None,
                check_same_thread=False,
            )
        else:
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
        self._path = Path(path)

    def append(self, kind: str, data: dict[str, Any]) -> int:
        """Add an event; returns its number. Raises `StorageFull`."""
        text = json.dumps(data, ensure_ascii=False, allow_nan=False)
        with full_disk_is_an_error_of_ours(self._path):
            try:
                cursor = self._db.execute(
                    "INSERT INTO events (time, kind, data) VALUES (?, ?, ?)", (time.time(), kind, text)
                )
            except sqlite3.OperationalError as error:
                if "full" in str(error):
                    raise OSError(28, str(error)) from error
                raise
        return int(cursor.lastrowid or 0)

    def events(self, after: int = 0, kinds: tuple[str, ...] = (), limit: int = -1) -> Iterator[Event]:
        """Events with a number above `after`, oldest first, of `kinds` only if any are named; at most `limit`."""
        where = f" AND kind IN ({','.join('?' * len(kinds))})" if kinds else ""
        query = f"SELECT seq, time, kind, data FROM events WHERE seq > ?{where} ORDER BY seq LIMIT ?"  # noqa: S608 - only ever adds question marks
        for seq, when, kind, data in self._db.execute(query, (after, *kinds, limit)).fetchall():
            yield Event(seq, when, kind, json.loads(data))

    def newest(self, kind: str, count: int) -> list[Event]:
        """The last `count` events of `kind`, oldest first."""
        rows = self._db.execute(
            "SELECT seq, time, kind, data FROM events WHERE kind = ? ORDER BY seq DESC LIMIT ?", (kind, count)
        ).fetchall()
        return [Event(seq, when, kind, json.loads(data)) for seq, when, kind, data in reversed(rows)]

    def last(self, kind: str) -> Event | None:
        """The newest event of `kind`."""
        return next(iter(self.newest(kind, 1)), None)

    @property
    def end(self) -> int:
        """The number of the newest event; 0 if there is none."""
        return int(self._db.execute("SELECT COALESCE(MAX(seq), 0) FROM events").fetchone()[0])

    def send(self, command: str) -> int:
        """Ask the training to do `command` after its current step: "save", "stop" or "discard"."""
        return int(
            self._db.execute("INSERT INTO commands (time, name) VALUES (?, ?)", (time.time(), command)).lastrowid or 0
        )

    def asked_to_stop(self) -> bool:
        """Whether this session of the run has been asked to end, with or without saving."""
        query = "SELECT EXISTS (SELECT 1 FROM commands WHERE name IN ('stop', 'discard') AND time >= ?)"
        return bool(self._db.execute(query, (self._session()[1],)).fetchone()[0])

    def is_stepping(self) -> bool:
        """Whether this session of the run has done a step: the supervisor counts in the same way."""
        step = self.last("step")
        return step is not None and step.seq > self._session()[0]

    def _session(self) -> tuple[int, float]:
        """Number and time of the event with which the newest session began; zeros before the first."""
        row = self._db.execute(
            """SELECT seq, time FROM events WHERE kind = 'stage' AND data LIKE '{"stage": "starting"%'
            ORDER BY seq DESC LIMIT 1"""
        ).fetchone()
        return row or (0, 0.0)

    def take_commands(self) -> list[str]:
        """The commands not yet taken, oldest first; they are then taken."""
        rows = self._db.execute("SELECT seq, name FROM commands WHERE taken IS NULL ORDER BY seq").fetchall()
        if rows:
            self._db.execute(
                "UPDATE commands SET taken = ? WHERE taken IS NULL AND seq <= ?", (time.time(), rows[-1][0])
            )
        return [name for _, name in rows]

    def close(self) -> None:
        """Close the database; what was appended is on its way to the disk."""
        self._db.close()

    def __enter__(self) -> RunStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

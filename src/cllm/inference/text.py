"""From the bytes of tokens to text that can be shown: whole characters only, and never a part of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Text as it is made. What was handed out is never taken back.

    Bytes are decoded as UTF-8; what is not valid becomes U+FFFD. The text ends before the stop string that is complete
    first (of two that are complete at the same character, the longer), however its bytes are cut into tokens.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = tuple(stops)
        self._held = ""  # may be the beginning of a stop string
        self.stopped = False

    def feed(self, data: bytes) -> str:
        """Add bytes; returns the text that is now certain. After `stopped` nothing may be added."""
        assert not self.stopped
        return self._advance(self._decoder.decode(data))

    def finish(self) -> str:
        """The rest of the text, when no more bytes come; an incomplete character becomes U+FFFD."""
        if self.stopped:
            return ""
        certain = self._advance(self._decoder.decode(b"", final=True))
        rest, self._held = self._held, ""
        return certain + rest

    def _advance(self, new: str) -> str:
        text = self._held + new
        places = [(start + len(stop), start) for stop in self._stops if (start := text.find(stop)) >= 0]
        if places:
            self.stopped, self._held = True, ""
            return text[: min(places)[1]]
        held = max((_overlap(text, stop) for stop in self._stops), default=0)
        certain, self._held = text[: len(text) - held], text[len(text) - held :]
        return certain


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a beginning of `stop`, but not all of it."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)

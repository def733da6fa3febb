"""Token healing: completing a prompt that ends inside a token.

A prompt `impo` is encoded as tokens which the model never saw before `rt`, for in training `import` was one token. So
the end of the prompt is backed up, and the first tokens are drawn from those whose bytes agree with what was removed
(an idea of Lundberg's for `guidance`). The distribution is the model's own, renormalised over the tokens that agree.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence


class TokenIndex:
    """The tokens of a vocabulary in the order of their bytes; tokens without bytes (the specials) are not in it."""

    def __init__(self, token_bytes: Sequence[bytes]) -> None:
        pairs = sorted((data, token) for token, data in enumerate(token_bytes) if data)
        self._bytes = [data for data, _ in pairs]
        self._ids = [token for _, token in pairs]
        self._longest = max(map(len, self._bytes), default=0)

    def beginning_with(self, prefix: bytes) -> list[int]:
        """Ids of the tokens that begin with `prefix` (or are it), in the order of their bytes."""
        return self._ids[slice(*self._range(prefix))]

    def agreeing_with(self, removed: bytes) -> list[int]:
        """Ids of the tokens that begin with `removed`, or are a beginning of it: what may be generated next."""
        found = self.beginning_with(removed)
        for length in range(1, min(len(removed), self._longest + 1)):
            place = bisect_left(self._bytes, removed[:length])
            if place < len(self._bytes) and self._bytes[place] == removed[:length]:
                found.append(self._ids[place])
        return found

    def back_up(self, pieces: Sequence[bytes]) -> int:
        """How many tokens at the end of a prompt to remove; `pieces` are the bytes of its tokens.

        As many as a token could cover, wholly or in part, that begins in the prompt and ends after it. Looking at bytes
        and not only at whole tokens matters for indentation: the last of several spaces belongs to the next word.
        """
        end = b""
        for data in reversed(pieces):
            end = data + end
            if len(end) >= self._longest:
                break
        overlap = next((n for n in range(min(len(end), self._longest - 1), 0, -1) if self._extends(end[-n:])), 0)
        count = 0
        while overlap > 0:
            count += 1
            overlap -= len(pieces[-count])
        return count

    def _extends(self, prefix: bytes) -> bool:
        """Whether a token begins with `prefix` and is longer."""
        start, stop = self._range(prefix)
        return start < stop and len(self._bytes[stop - 1]) > len(prefix)

    def _range(self, prefix: bytes) -> tuple[int, int]:
        def head(data: bytes) -> bytes:
            return data[: len(prefix)]

        return bisect_left(self._bytes, prefix, key=head), bisect_right(self._bytes, prefix, key=head)

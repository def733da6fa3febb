"""Drafts: what may come next, copied from where the same tokens stood before, for the network to verify in one pass.

Speculative decoding (Leviathan et al. 2023) without a draft model: the longest match of the last tokens, in the text so
far (prompt lookup, Saxena 2023) or in the training files, proposes the tokens that followed there. The network scores
all of them at once, which costs little more than scoring one; each is then chosen as if there were no draft, and the
draft only says whether the scores after it are of use. So the choice never depends on drafts, for any settings: a
draft d is kept with the probability p(d) of choosing it, which is the best that an exact scheme can do with a draft
that is certain of itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from cllm.inference.engine import Engine
from cllm.memory.mixture import Reader

LONGEST = 32  # tokens of a draft
_SHORTEST_MATCH = 2  # tokens; the place of the last occurrence of each such pair is kept
_ASKED = 16  # places of the training files with the longest match
_LONGEST_MATCH = 64  # tokens compared; more of them tell nothing more

# What a pass of T tokens costs, one token being 1: measured with models of 1 to 15 million weights (docs/drafts.md).
_SEVERAL, _EACH = 1.4, 0.03
_LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, LONGEST)

# Matches up to these lengths are alike; how often the next token of a draft was right, before anything was seen.
_CLASSES = (2, 3, 4, 6, 9, 14, 24, _LONGEST_MATCH)
_PRIOR = (0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.9, 0.95)
_PRIOR_WEIGHT = 6.0  # tokens that the prior counts for
_RECOVERY = 0.02  # of the way back to the prior, each time that a match is not worth a draft
_MEMORY = 0.97  # weight of what was seen one draft earlier


class Source(Protocol):
    """Something else to copy from, such as the training files."""

    def follow(self, longest: int) -> tuple[int, list[int]]:
        """How many of the text's last tokens match somewhere, and at most `longest` tokens that follow there."""
        ...


class TrainingFiles:
    """The `Source` of a memory: what most often followed the longest match in the training files.

    `reader` reads the same text, and is fed before anything is proposed.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def follow(self, longest: int) -> tuple[int, list[int]]:
        """See `Source`. Of many places with the same match some are asked; at each token the most of them decide."""
        index, cursor = self._reader.memory.index, self._reader.cursor
        match = len(cursor.low) - 1
        if match < _SHORTEST_MATCH:
            return match, []
        low, high = int(cursor.low[match]), int(cursor.high[match])
        rows = range(low, high) if high - low <= _ASKED else [low + (high - low) * n // _ASKED for n in range(_ASKED)]
        places = [index.tokens[p : p + longest].tolist() for p in index.order[rows].tolist()]
        following: list[int] = []
        while len(following) < longest:
            places = [tokens for tokens in places if len(tokens) > len(following)]
            if not places:
                break
            token = Counter(tokens[len(following)] for tokens in places).most_common(1)[0][0]
            if token == index.end_of_text:
                break
            following.append(token)
            places = [tokens for tokens in places if tokens[len(following) - 1] == token]
        return match, following


@dataclass(frozen=True)
class Draft:
    """Tokens proposed. `kind` tells how far to trust them: by where they are from, and how much matched there."""

    tokens: list[int]
    kind: int


NOTHING = Draft([], 0)


class Drafter:
    """Proposes drafts for one text as it grows, and learns how far matches can be trusted in it."""

    def __init__(self, tokens: Iterable[int], source: Source | None = None) -> None:
        self._source = source
        self._tokens: list[int] = []
        self._last: dict[tuple[int, int], int] = {}  # pair of tokens -> place after its last occurrence but the newest
        self._pending: tuple[tuple[int, int], int] | None = None
        self._right = [_PRIOR_WEIGHT * p for p in _PRIOR] * 2  # of matches in the text, and in the source
        self._tested = [_PRIOR_WEIGHT for _ in _PRIOR] * 2
        for token in tokens:
            self.accept(token)

    def accept(self, token: int) -> None:
        """The text goes on with this token."""
        if self._pending is not None:
            self._last[self._pending[0]] = self._pending[1]
        self._tokens.append(token)
        if len(self._tokens) >= _SHORTEST_MATCH:
            self._pending = (self._tokens[-2], token), len(self._tokens)

    def propose(self, most: int) -> Draft:
        """The draft of at most `most` tokens that promises the most tokens for its time; `NOTHING` if none pays."""
        if most < 1:
            return NOTHING
        found = [self._follow(LONGEST)]
        if self._source is not None:
            found.append(self._source.follow(LONGEST))
        best, draft = 1.0, NOTHING
        for origin, (match, tokens) in enumerate(found):
            if tokens and match >= _SHORTEST_MATCH:
                kind = origin * len(_CLASSES) + _class_of(match)
                rate, length = self._worth(kind, min(most, len(tokens)))
                if rate > best:
                    best, draft = rate, Draft(tokens[:length], kind)
                elif not length:
                    self._trust_again(kind)
        return draft

    def learn(self, draft: Draft, kept: int) -> None:
        """`kept` tokens of `draft` were chosen; the one after them, if any, was not."""
        kind = draft.kind
        self._right[kind] = _MEMORY * self._right[kind] + kept
        self._tested[kind] = _MEMORY * self._tested[kind] + min(kept + 1, len(draft.tokens))

    def _trust_again(self, kind: int) -> None:
        """Drift back to the prior, so that a kind of match that failed is tried again some day."""
        prior = _PRIOR_WEIGHT * _PRIOR[kind % len(_PRIOR)]
        self._right[kind] += _RECOVERY * (prior - self._right[kind])
        self._tested[kind] += _RECOVERY * (_PRIOR_WEIGHT - self._tested[kind])

    def _follow(self, longest: int) -> tuple[int, list[int]]:
        """What followed the last pair of tokens where it stood before in the text: as `Source.follow`."""
        tokens = self._tokens
        place = None if self._pending is None else self._last.get(self._pending[0])
        if place is None:
            return 0, []
        match, bound = _SHORTEST_MATCH, min(place, _LONGEST_MATCH)
        while match < bound and tokens[place - match - 1] == tokens[-match - 1]:
            match += 1
        following = tokens[place : place + longest]
        while len(following) < longest:  # the text repeats itself up to its very end
            following += following[: longest - len(following)]
        return match, following

    def _worth(self, kind: int, most: int) -> tuple[float, int]:
        """The length of a draft, 0 to `most`, that brings the most tokens for the time of a pass, and how many."""
        trust = min(0.99, self._right[kind] / self._tested[kind])
        best, length = 1.0, 0
        for n in (*(n for n in _LENGTHS if n < most), most):
            rate = (1 - trust ** (n + 1)) / (1 - trust) / (_SEVERAL + _EACH * n)
            if rate > best:
                best, length = rate, n
        return best, length


def _class_of(match: int) -> int:
    return next((kind for kind, limit in enumerate(_CLASSES) if match <= limit), len(_CLASSES) - 1)


class Ahead:
    """The scores of one sequence's next tokens, computed ahead along drafts."""

    def __init__(self, engine: Engine, drafter: Drafter | None) -> None:
        self._engine, self._drafter = engine, drafter
        self._draft, self._agreed = NOTHING, 0  # tokens of the draft that were chosen
        self._scores_TV: Tensor  # after the token before the draft, and after each of the draft's tokens
        self.passes = 0  # through the model

    def prefill(self, ids: Sequence[int]) -> Tensor:
        """Begin with these ids; returns scores (V,) of the next token."""
        return self._engine.prefill([ids])[0]

    def after(self, token: int, most: int) -> Tensor:
        """Scores (V,) of the token after `token`, the one that was chosen; at most `most` more will be."""
        if self._drafter is not None:
            self._drafter.accept(token)
        if self._agreed < len(self._draft.tokens) and self._draft.tokens[self._agreed] == token:
            self._agreed += 1
            return self._scores_TV[self._agreed]
        self._end_draft()
        if self._drafter is not None:
            self._draft = self._drafter.propose(min(most, self._engine.room - 1))
        self._scores_TV = self._engine.extend([token, *self._draft.tokens])
        self.passes += 1
        return self._scores_TV[0]

    @property
    def settled(self) -> bool:
        """Whether the last scores are, to the last bit, those of a sequence without drafts."""
        return self._engine.settled

    def settle(self) -> Tensor:
        """The last scores (V,) again, without the rounding of what was computed together."""
        self._end_draft()
        return self._engine.settle()

    def _end_draft(self) -> None:
        if self._draft.tokens:
            assert self._drafter is not None
            self._drafter.learn(self._draft, self._agreed)
            self._engine.rewind(len(self._draft.tokens) - self._agreed)
        self._draft, self._agreed = NOTHING, 0

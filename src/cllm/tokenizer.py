"""Byte-level BPE: text to token ids and back, without losing a byte.

The tokens are made as GPT-2 made them (Radford et al. 2019: BPE merges over bytes), after splitting the text by the
pattern of Qwen2, which transformers and llama.cpp know by name, so that an exported model needs no code of its own.
There is no normaliser: Qwen2's NFC would change source text.

Ids 0 to 4 are the specials, in the spelling of StarCoder (Li et al. 2023); then come the 256 bytes and the merges.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from cllm.errors import InvalidCheckpoint, InvalidSettings

END_OF_TEXT = "<|endoftext|>"
FIM_PREFIX = "<fim_prefix>"
FIM_MIDDLE = "<fim_middle>"
FIM_SUFFIX = "<fim_suffix>"
FILE_SEPARATOR = "<file_sep>"
SPECIALS = (END_OF_TEXT, FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX, FILE_SEPARATOR)

QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SMALLEST_VOCABULARY = len(SPECIALS) + 256
LARGEST_VOCABULARY = 1 << 16  # token files hold uint16

# The library's threads do not survive a fork. Saying so here keeps it from warning in every child that is forked.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.register_at_fork(after_in_child=lambda: os.environ.__setitem__("TOKENIZERS_PARALLELISM", "false"))

# What the pattern means in ASCII text, for which Python's own matcher and a table of words are three times as fast as
# the library: code is mostly ASCII, and repeats its words.
_ASCII_WORD = re.compile(
    QWEN2_PATTERN.replace(r"?\p{L}+", "?[A-Za-z]+")
    .replace(r"|\p{N}|", "|[0-9]|")
    .replace(r"\p{L}", "A-Za-z")
    .replace(r"\p{N}", "0-9"),
    re.ASCII,
)
_WORDS = 1 << 18  # words that the table holds at most

# The pattern always ends a word between a line end and a character that is not white space, so texts may be cut there.
_CUT = re.compile(r"\n(?=[!-~])")
_CHUNK = 1 << 14  # characters


def suggested_vocabulary(train_bytes: int) -> int:
    """Tokens for a corpus of `train_bytes` bytes: a multiple of 64 from 512 to 16384.

    Distinct words grow with about the square root of a text (Heaps' law); the factor gives 4096 at 7 MB.
    """
    return max(512, min(16384, 64 * round(1.55 * math.sqrt(train_bytes) / 64)))


def _untrained() -> tokenizers.Tokenizer:
    """Everything but the vocabulary and the merges."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(QWEN2_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _layout(tokenizer: tokenizers.Tokenizer) -> dict[str, Any]:
    """What must be the same in every tokenizer of ours: all of its JSON but the trained part."""
    parsed: dict[str, Any] = json.loads(tokenizer.to_str())
    parsed["model"] = {key: value for key, value in parsed["model"].items() if key not in {"vocab", "merges"}}
    return parsed


def _byte_of_character() -> dict[str, int]:
    """GPT-2's table: which byte each character of the vocabulary's spelling stands for."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}


class Tokenizer:
    """A trained tokenizer. `decode_bytes(encode(text)) == text.encode()` for every text.

    Text is only ever text: `encode` reads `<|endoftext|>` in a source file as the characters it is written with.
    Specials enter a sequence by their ids.
    """

    def __init__(self, text: str):
        """Use `Tokenizer.from_json` or `Tokenizer.train`. Raises `InvalidCheckpoint` for what `to_json` never wrote."""
        try:
            tokenizer = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the library raises no narrower one
            raise InvalidCheckpoint(f"the tokenizer cannot be read ({error}): take another copy of the file") from error
        ours = _untrained()
        ours.add_special_tokens(list(SPECIALS))
        if _layout(tokenizer) != _layout(ours):
            raise InvalidCheckpoint("the tokenizer is not one that CLLM makes: take a file written by 'cllm train'")
        tokenizer.encode_special_tokens = True  # specials in the text are text; not part of the library's JSON
        self._tokenizer = tokenizer
        self._json = text
        self.sha256 = hashlib.sha256(text.encode()).hexdigest()
        self.vocabulary: int = tokenizer.get_vocab_size()
        self.end_of_text, self.fim_prefix, self.fim_middle, self.fim_suffix, self.file_separator = range(len(SPECIALS))
        self.specials = frozenset(range(len(SPECIALS)))
        self._bytes = self._table()
        self._words: dict[str, bytes] = {}

    def _table(self) -> list[bytes]:
        byte_of = _byte_of_character()
        table = [b""] * self.vocabulary
        try:
            for spelling, token in self._tokenizer.get_vocab().items():
                if token not in self.specials:
                    table[token] = bytes(byte_of[character] for character in spelling)
        except (KeyError, IndexError) as error:
            raise InvalidCheckpoint("the tokenizer's vocabulary is not one of bytes: take another file") from error
        if len({token for token in table if len(token) == 1}) != 256:
            raise InvalidCheckpoint("the tokenizer's vocabulary lacks some bytes: take another copy of the file")
        return table

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary: int) -> Tokenizer:
        """Learn at most `vocabulary` tokens, specials and single bytes among them, from `texts`.

        The same texts in the same order always give the same tokenizer. A small corpus gives fewer tokens: no merge is
        made that occurs only once. Raises `InvalidSettings` when `vocabulary` is out of bounds.
        """
        if not SMALLEST_VOCABULARY <= vocabulary <= LARGEST_VOCABULARY:
            raise InvalidSettings(
                f"vocabulary = {vocabulary}: it must be from {SMALLEST_VOCABULARY} (the bytes and the specials)"
                f" to {LARGEST_VOCABULARY}; 0 lets the size of the corpus decide"
            )
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            min_frequency=2,
            special_tokens=list(SPECIALS),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer = _untrained()
        tokenizer.train_from_iterator((chunk for text in texts for chunk in _chunks(text)), trainer)
        return cls(tokenizer.to_str())

    @classmethod
    def from_json(cls, text: str) -> Tokenizer:
        """The tokenizer that `to_json` wrote. Raises `InvalidCheckpoint`."""
        return cls(text)

    def to_json(self) -> str:
        """The `tokenizer.json` that the tokenizers and transformers libraries read."""
        return self._json

    def encode(self, text: str) -> list[int]:
        """Ids of `text`; never a special."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each of `texts`; never a special."""
        return [ids.tolist() for ids in self.encode_arrays(texts)]

    def encode_arrays(self, texts: Sequence[str]) -> list[npt.NDArray[np.uint16]]:
        """The same as arrays, in less time."""
        chunked = [_chunks(text) for text in texts]
        others = self._encode_by_library([chunk for chunks in chunked for chunk in chunks if not chunk.isascii()])
        return [
            np.frombuffer(b"".join([self._encode_ascii(c) if c.isascii() else next(others) for c in chunks]), np.uint16)
            for chunks in chunked
        ]

    def _encode_by_library(self, texts: list[str]) -> Iterator[bytes]:
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return (array("H", encoding.ids).tobytes() for encoding in encodings)

    def _encode_ascii(self, text: str) -> bytes:
        if len(self._words) > _WORDS:
            self._words = {}  # a new one: another thread may be reading the old
        known = self._words
        words = _ASCII_WORD.findall(text)
        unknown = list(set(words).difference(known))
        known.update(zip(unknown, self._encode_by_library(unknown), strict=True))
        return b"".join(map(known.__getitem__, words))

    def token_bytes(self, token: int) -> bytes:
        """The bytes that `token` stands for; none for a special."""
        return self._bytes[token]

    def decode_bytes(self, tokens: Iterable[int]) -> bytes:
        """The bytes of `tokens`, exactly; specials give none. A sequence may end inside a character."""
        return b"".join([self._bytes[token] for token in tokens])

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of `tokens`; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(tokens).decode(errors="replace")


def _chunks(text: str) -> list[str]:
    """`text` in parts of about `_CHUNK` characters whose tokens, joined, are the tokens of the whole."""
    if len(text) <= _CHUNK:
        return [text]
    parts, begin = [], 0
    while cut := _CUT.search(text, begin + _CHUNK):
        parts.append(text[begin : cut.end()])
        begin = cut.end()
    return [*parts, text[begin:]]

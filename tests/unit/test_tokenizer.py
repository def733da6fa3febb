"""The tokenizer: exact, the same as transformers', and deaf to special strings in source text."""

import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from cllm.errors import InvalidCheckpoint, InvalidSettings
from cllm.tokenizer import SMALLEST_VOCABULARY, SPECIALS, Tokenizer, suggested_vocabulary

AWKWARD = (
    "",
    " ",
    "\n",
    "\r\n\t \n",
    "def f(x):\n    return x  \n\n\n\n        # trailing\t\n",
    "I'LL it's 'S 'ſ \u00a0\u2003x\u0085y\x1cz\x0b\x0c1 22 333",
    "e\u0301 é ﬁ Å 中文注释 🙂🏽 \u0000\ufeff\uffff\U0010ffff",
    "x" * 40_000,
    " " * 40_000 + "\n" + "\t" * 40_000 + "x",
    "".join(f"<{special}>{special}" for special in SPECIALS),
    "".join(f"line {number} of a text that is long enough to be cut\n" for number in range(2000)),
    "".join(f"línea {number} of a text that is long enough to be cut\n    \n\n" for number in range(2000)),
)


@pytest.fixture(scope="module")
def texts(tiny_corpus: Path) -> list[str]:
    return [path.read_text() for path in sorted(tiny_corpus.iterdir())]


@pytest.fixture(scope="module")
def tokenizer(texts: list[str]) -> Tokenizer:
    return Tokenizer.train(texts, 1024)


@pytest.fixture(scope="module")
def reference(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    """The same tokenizer.json, read by transformers."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_text(tokenizer.to_json())
    return PreTrainedTokenizerFast(tokenizer_file=str(path))


@pytest.mark.parametrize("text", AWKWARD, ids=range(len(AWKWARD)))
def test_every_byte_comes_back_and_no_special_does(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert tokenizer.decode(ids) == text
    assert not tokenizer.specials & set(ids)


@pytest.mark.parametrize("text", AWKWARD, ids=range(len(AWKWARD)))
def test_ids_are_those_of_transformers(tokenizer: Tokenizer, reference: PreTrainedTokenizerFast, text: str) -> None:
    expected = reference(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert tokenizer.encode(text) == expected


def test_real_code_has_the_ids_of_transformers(
    tokenizer: Tokenizer, reference: PreTrainedTokenizerFast, texts: list[str]
) -> None:
    assert tokenizer.encode_batch(texts) == reference(texts, add_special_tokens=False)["input_ids"]


def test_specials_have_the_ids_that_transformers_gives_them(
    tokenizer: Tokenizer, reference: PreTrainedTokenizerFast
) -> None:
    t = tokenizer
    ids = [t.end_of_text, t.fim_prefix, t.fim_middle, t.fim_suffix, t.file_separator]
    assert reference.convert_tokens_to_ids(list(SPECIALS)) == ids
    assert tokenizer.specials == set(ids)
    assert tokenizer.decode_bytes([*ids, *tokenizer.encode("x"), *ids]) == b"x"
    assert [tokenizer.token_bytes(token) for token in ids] == [b""] * 5


def test_a_batch_is_encoded_like_its_texts(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode_batch(AWKWARD) == [tokenizer.encode(text) for text in AWKWARD]
    assert tokenizer.encode_batch([]) == []


def test_tokens_that_end_inside_a_character_are_exact_as_bytes(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("🙂")
    assert len(ids) > 1
    assert tokenizer.decode_bytes(ids[:-1]) == "🙂".encode()[: len(tokenizer.decode_bytes(ids[:-1]))]
    assert "\ufffd" in tokenizer.decode(ids[:-1])


def test_json_round_trip(tokenizer: Tokenizer) -> None:
    again = Tokenizer.from_json(tokenizer.to_json())
    assert again.to_json() == tokenizer.to_json()
    assert again.sha256 == tokenizer.sha256
    assert again.encode("<|endoftext|>") == tokenizer.encode("<|endoftext|>")


def test_vocabulary_counts_bytes_and_specials(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocabulary == 1024
    small = Tokenizer.train(["ab ab ab"], 5000)
    assert SMALLEST_VOCABULARY < small.vocabulary < SMALLEST_VOCABULARY + 5
    assert Tokenizer.train([], 300).vocabulary == SMALLEST_VOCABULARY == 261
    assert Tokenizer.train(["abc"], 300).vocabulary == 261  # no pair is there twice
    assert small.decode_bytes(range(small.vocabulary))  # every id has an entry
    assert {small.token_bytes(token) for token in range(5, 261)} == {bytes([byte]) for byte in range(256)}


@pytest.mark.parametrize("vocabulary", [-1, 0, 260, 65537])
def test_an_impossible_vocabulary_is_refused(vocabulary: int) -> None:
    with pytest.raises(InvalidSettings, match="vocabulary"):
        Tokenizer.train(["x"], vocabulary)


def test_training_gives_the_same_in_every_process(tiny_corpus: Path, tokenizer: Tokenizer) -> None:
    script = (
        "import sys, pathlib; from cllm.tokenizer import Tokenizer\n"
        "paths = sorted(pathlib.Path(sys.argv[1]).iterdir())\n"
        "print(Tokenizer.train((path.read_text() for path in paths), 1024).sha256)"
    )
    done = subprocess.run([sys.executable, "-c", script, tiny_corpus], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == tokenizer.sha256


def _altered(text: str, **changes: object) -> str:
    return json.dumps(json.loads(text) | changes)


def test_a_tokenizer_of_another_make_is_refused() -> None:
    text = Tokenizer.train([], SMALLEST_VOCABULARY).to_json()  # no merges, which would need the byte that is taken out
    assert Tokenizer.from_json(text).vocabulary == SMALLEST_VOCABULARY
    model = json.loads(text)["model"]
    without_a_byte = {spelling: token for spelling, token in model["vocab"].items() if spelling != "!"}
    twice_a_byte = without_a_byte | {"##": model["vocab"]["!"]}
    strange = model["vocab"] | {"\u4e2d": 2000}
    for bad in (
        "",
        "{}",
        text[:-100],
        _altered(text, normalizer={"type": "NFC"}),
        _altered(text, pre_tokenizer=None),
        _altered(text, added_tokens=[]),
        _altered(text, model=model | {"vocab": without_a_byte}),
        _altered(text, model=model | {"vocab": twice_a_byte}),
        _altered(text, model=model | {"vocab": strange}),
    ):
        with pytest.raises(InvalidCheckpoint, match="tokenizer"):
            Tokenizer.from_json(bad)


def test_many_different_words_do_not_fill_the_memory(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cllm.tokenizer._WORDS", 100)
    text = "".join(f"word{chr(97 + number % 26) * (number % 50)}\n" for number in range(5000))
    fresh = Tokenizer.from_json(tokenizer.to_json())
    assert fresh.encode(text) == tokenizer.encode(text)
    fresh.encode("x")
    assert len(fresh._words) <= 101


MANY = [f"é = {number}\n" for number in range(200)]  # enough for the library to use its threads


def _encode_in_child(tokenizer: Tokenizer, results: "multiprocessing.SimpleQueue[list[list[int]]]") -> None:
    results.put(tokenizer.encode_batch(MANY))


@pytest.mark.skipif(sys.platform == "darwin", reason="fork is not safe there")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_can_encode(tokenizer: Tokenizer) -> None:
    expected = tokenizer.encode_batch(MANY)
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=_encode_in_child, args=(tokenizer, results))
    child.start()
    child.join(20)
    if child.is_alive():
        child.kill()
        pytest.fail("the child hangs")
    assert results.get() == expected


def test_suggested_vocabulary() -> None:
    assert suggested_vocabulary(0) == 512
    assert suggested_vocabulary(7_000_000) == 4096
    assert suggested_vocabulary(10**12) == 16384
    sizes = [suggested_vocabulary(10**power) for power in range(10)]
    assert sizes == sorted(sizes)
    assert all(size % 64 == 0 for size in sizes)


def test_seven_megabytes_take_seconds(texts: list[str]) -> None:
    """A wide bound: it catches what is wrong by an order of magnitude, not a busy machine."""
    corpus = [f"# {number}\n{text}" for number in range(30) for text in texts]
    begin = time.process_time()
    tokenizer = Tokenizer.train(corpus[: len(texts) * 10], 1024)
    tokenizer.encode_batch(corpus)
    assert time.process_time() - begin < 15

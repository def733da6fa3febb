"""Next lines of a text that the model knows by heart, and of one that it does not."""

from __future__ import annotations

from cllm.corpus.textfile import Document
from cllm.evaluation.completion import edit_similarity, levenshtein, next_line
from cllm.evaluation.points import Point, draw, has_content, line_starts
from cllm.inference.completer import Completer
from tests.memorised import TEXT, memorised


def document(text: str, path: str = "a.py") -> Document:
    return Document(path, text.encode(), "python")


def test_lines_known_by_heart_are_exact() -> None:
    calls: list[tuple[int, int]] = []
    found = next_line(
        Completer(memorised()), [document(TEXT)], 100, progress=lambda done, total: calls.append((done, total))
    )
    assert found is not None
    assert found.points == sum(has_content(line) for line in TEXT.splitlines()[1:]) == calls[-1][0]
    assert (found.exact_match, found.edit_similarity) == (1.0, 1.0)


def test_white_space_at_the_end_of_a_line_does_not_count_but_indentation_does() -> None:
    changed = TEXT.replace("import sys\n", "import sys  \r\n").replace("        print(path)", "      print(path)")
    found = next_line(Completer(memorised()), [document(changed)], 100)
    assert found is not None
    wrong = round((1 - found.exact_match) * found.points)
    assert 1 <= wrong < found.points


def test_nothing_to_complete() -> None:
    assert next_line(Completer(memorised()), [document("first line of it\n}\n\n   x\n")], 10) is None


def test_levenshtein() -> None:
    assert [levenshtein(*p) for p in (("kitten", "sitting"), ("", "abc"), ("abc", "abc"), ("flaw", "lawn"))] == [
        3,
        3,
        0,
        2,
    ]
    assert edit_similarity("kitten", "sitting") == 1 - 3 / 7
    assert edit_similarity("", "") == 1


def test_points_depend_on_the_seed_and_the_texts_only() -> None:
    texts = [document("".join(f"line_{i}_of_{n} = {i}\n" for i in range(30)), f"{n}.py") for n in range(4)]

    def chosen(documents: list[Document], seed: int, count: int = 10) -> list[tuple[bytes, int]]:
        return [(p.document.text, p.offset) for p in draw(documents, lambda _, text: line_starts(text), count, seed)]

    moved = [Document("else/" + d.path, d.text, d.language) for d in reversed(texts)]
    assert chosen(texts, 0) == chosen(moved, 0)
    assert chosen(texts, 0) != chosen(texts, 1)
    assert chosen(texts, 0, 5) == chosen(texts, 0)[:5]
    assert len(set(chosen(texts, 0, 1000))) == 4 * 29
    assert len({text for text, _ in chosen(texts, 0, 20)}) > 1


def test_a_prompt_is_long_enough_and_begins_a_line() -> None:
    text = "".join(f"number {i}\n" for i in range(5000))
    point = Point(document(text), text, text.index("number 4000\n"))
    assert point.before.endswith("number 3999\n")
    prompt = point.prompt(context=16)
    assert point.before.endswith(prompt)
    assert prompt.startswith("number ")
    assert 16 * 16 - 20 < len(prompt) <= 16 * 16
    assert point.prompt(context=8192) == point.before

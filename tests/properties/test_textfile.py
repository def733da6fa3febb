"""Whatever the files hold, the prepared text file gives them back exactly."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from cllm.corpus.textfile import Document, is_prepared, marker_line, read_documents, write_document

paths = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
markers = st.builds(lambda path, size: marker_line(path, "c", size).decode(), paths, st.integers(0, 99))
lines = st.one_of(markers, st.sampled_from(["", "\n", "\r\n", "//==== FILE", '//==== FILE "a" c 3 ====', "x = 1\n"]))
texts = st.one_of(st.lists(lines | st.text(), max_size=6).map("".join), st.text())
documents = st.builds(
    Document, paths, texts.map(lambda t: t.encode("utf-8", "replace")), st.sampled_from(["c", "python"])
)


@given(st.lists(documents, min_size=1, max_size=6))
def test_round_trip(corpus: list[Document]) -> None:
    stream = io.BytesIO()
    offsets = []
    for document in corpus:
        start = stream.tell()
        offsets.append(start + write_document(stream, document))
    found = list(read_documents(stream, "corpus.txt"))
    assert [document for document, _ in found] == corpus
    assert [offset for _, offset in found] == offsets
    data = stream.getvalue()
    assert all(data[o : o + len(d.text)] == d.text for d, o in found)
    assert is_prepared(data)


@given(
    st.lists(
        st.tuples(paths, st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n/")), max_size=4)),
        min_size=1,
    )
)
def test_after_editing_by_hand_the_marker_lines_decide(files: list[tuple[str, list[str]]]) -> None:
    data = b"".join(marker_line(path, "c", 10**9) + "\n".join(rows).encode() + b"\n" for path, rows in files)
    found = [(document.path, document.text) for document, _ in read_documents(io.BytesIO(data), "corpus.txt")]
    assert found == [(path, "\n".join(rows).encode()) for path, rows in files]


@given(st.binary(max_size=200))
def test_a_file_without_a_marker_is_one_document(data: bytes) -> None:
    found = list(read_documents(io.BytesIO(data), "corpus.txt"))
    assert [(document.path, document.text, offset) for document, offset in found] == [("corpus.txt", data, 0)]
    assert not is_prepared(data)


def test_a_text_that_was_made_longer_at_the_end_of_the_file() -> None:
    data = marker_line("a.c", "c", 3) + b"abcd"
    assert [document.text for document, _ in read_documents(io.BytesIO(data), "x")] == [b"abcd"]


def test_windows_line_ends_of_an_editor() -> None:
    stream = io.BytesIO()
    for name in ("a.c", "b.c"):
        write_document(stream, Document(name, b"one\ntwo\n", "c"))
    data = stream.getvalue().replace(b"\n", b"\r\n")
    found = [
        (document.path, document.text.replace(b"\r", b"").strip())
        for document, _ in read_documents(io.BytesIO(data), "x")
    ]
    assert found == [("a.c", b"one\ntwo"), ("b.c", b"one\ntwo")]
